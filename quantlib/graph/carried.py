"""Grids that a model brings with it: what its quantizer nodes say.

Read are ONNX's QuantizeLinear and DequantizeLinear, and QONNX's Quant (newer: IntQuant),
BipolarQuant and Trunc, which Brevitas exports too.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.arguments import as_float
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.rounding import Rounding, round_codes
from quantlib.errors import OptionsError, UnsupportedOpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.graph.model import Node

QONNX_DOMAINS = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"})
QONNX_OPS = frozenset({"Quant", "IntQuant", "BipolarQuant", "Trunc"})
"""In these domains, and in ONNX's own in older files."""

FLOAT_QUANT = "FloatQuant"
"""QONNX's operator whose grid is that of small floating-point numbers: no integer grid."""

FLOAT_QUANT_PARAMETERS = ("scale", "exponent width", "mantissa width", "bias", "largest value")
"""What its inputs after the first are."""

OWN_DOMAIN = "quantlib"
PAIR = "QuantizeDequantize"
"""Our name for a QuantizeLinear that only DequantizeLinear reads, made one node."""

DYNAMIC = "DynamicQuantizeDequantize"
"""Our name for rounding to eight unsigned bits over the range of the tensor itself."""

WIDEST = 16
"""Widest grid that is taken over, bits; 32-bit biases stay real numbers."""


def is_qonnx(domain: str, op_type: str) -> bool:
    """Tell whether an operator is one of QONNX's quantizers."""
    return op_type in QONNX_OPS and (not domain or domain in QONNX_DOMAINS)


def is_carrier(node: Node) -> bool:
    """Tell whether a node may hold a grid: QONNX's operators, a pair, a DequantizeLinear."""
    return (
        is_qonnx(node.domain, node.op_type)
        or (node.domain, node.op_type) in ((OWN_DOMAIN, PAIR), (OWN_DOMAIN, DYNAMIC))
        or node.op_type == "DequantizeLinear"
    )


def carried_quantizer(node: Node, parameters: Sequence[AnyArray | None]) -> UniformQuantizer | None:
    """Return the grid a quantizer node lays its output on.

    Parameters
    ----------
    node : Node
        One for which `is_carrier` holds. A linear one tells the integer type and the rank of
        its tensor by the attributes ``kind`` and ``rank``, and the codes that are left of the
        type by ``codes``, which `quantlib.graph.integers` sets.
    parameters : sequence of arrays
        Its inputs after the first: scale, zero point and widths; None where left out.

    Returns
    -------
    UniformQuantizer or None
        Without statistics. None where the grid is no integer grid of at most 16 bits, or has a
        scale per block.

    Raises
    ------
    UnsupportedOpError
        The parameters are no numbers a grid can have; the message names the node.

    Notes
    -----
    https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html and the operator definitions in
    https://github.com/fastmachinelearning/qonnx/tree/main/docs/qonnx-custom-ops.
    """
    try:
        if is_qonnx(node.domain, node.op_type):
            return _QONNX[node.op_type](node, [_given(node, p) for p in parameters])
        return _linear(node, parameters)
    except OptionsError as error:
        raise _wrong(node, str(error)) from None


def check_number(node: Node, parameter: AnyArray | None, what: str) -> None:
    """Raise UnsupportedOpError when a constant parameter of a quantizer holds no finite numbers."""
    if parameter is not None and not np.isfinite(np.asarray(parameter, dtype=np.float64)).all():
        raise _wrong(node, f"its {what} is {np.ravel(parameter)[:3]}")


def quantize_values(
    node: Node, quantizer: UniformQuantizer, values: FloatArray, parameters: Sequence[AnyArray]
) -> FloatArray:
    """Return the real values of a quantizer node's output, in the dtype of `values`."""
    reals = as_float(values)
    if node.op_type == "Trunc":
        return _truncated(node, quantizer, reals, parameters)
    return quantizer.dequant(quantizer.quant(reals)).astype(reals.dtype)


def _linear(node: Node, parameters: Sequence[AnyArray | None]) -> UniformQuantizer | None:
    """Read QuantizeLinear and DequantizeLinear."""
    scale, zero_point = (*parameters, None)[:2]
    if scale is None or node.attributes.get("block_size"):
        return None
    kind = str(node.attributes.get("kind", ""))
    n_bits = int(kind.removeprefix("u").removeprefix("int") or 0) if "int" in kind else 0
    if not 1 <= n_bits <= WIDEST or np.ndim(scale) > 1:
        return None
    points = np.zeros_like(scale) if zero_point is None else zero_point.astype(np.float64)
    signed = not kind.startswith("u")
    options, reach = _narrowed(n_bits, signed, node.attributes.get("codes"))
    rank = int(node.attributes.get("rank", 0))
    if np.size(scale) > 1:
        if not rank:
            return None
        shape = [1] * rank
        shape[int(node.attributes.get("axis", 1)) % rank] = -1
        scale, points = np.reshape(scale, shape), np.reshape(points, shape)
    return _grid(node, options, scale, points, rounding=Rounding.NEAREST_FIRST, code_range=reach)


def _narrowed(
    n_bits: int, signed: bool, codes: tuple[int, int] | None
) -> tuple[QuantizationOptions, tuple[int, int] | None]:
    """Return the narrowest grid that holds codes, and the codes where it holds more."""
    if codes is None:
        return QuantizationOptions(n_bits, is_signed=signed), None
    low, high = codes
    if low >= 0:
        signed = False
        bits, whole = max(1, high.bit_length()), (0, (1 << max(1, high.bit_length())) - 1)
    else:
        signed = True
        bits = max((-low - 1).bit_length(), high.bit_length() if high > 0 else 0) + 1
        whole = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    narrow = signed and bits > 1 and (low, high) == (whole[0] + 1, whole[1])
    options = QuantizationOptions(bits, is_signed=signed, is_narrow=narrow)
    return options, None if narrow or (low, high) == whole else (low, high)


def _int_quant(node: Node, parameters: list[AnyArray]) -> UniformQuantizer:
    scale, zero_point, width = parameters[:3]
    signed = bool(node.attributes.get("signed", 1))
    narrow = bool(node.attributes.get("narrow", 0))
    n_bits = _whole(node, width, "bit width")
    if signed and n_bits == 1:  # as QONNX executes it: -1 and 1, like BipolarQuant
        options = QuantizationOptions(1, is_signed=True)
        return _grid(node, options, scale, zero_point, rounding=Rounding.SIGN, code_range=(-1, 1))
    options = QuantizationOptions(n_bits, is_signed=signed, is_narrow=signed and narrow)
    word = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    aliases = {"HALF_EVEN": "ROUND", "ROUND_TO_ZERO": "DOWN"}
    try:
        rounding = Rounding(aliases.get(word, word))
    except ValueError:
        raise _wrong(node, f"its rounding mode {word!r} is unknown") from None
    top = (0, 2**n_bits - 2) if narrow and not signed else None
    return _grid(node, options, scale, zero_point, rounding=rounding, code_range=top)


def _bipolar(node: Node, parameters: list[AnyArray]) -> UniformQuantizer:
    options = QuantizationOptions(1, is_signed=True)
    zeros = np.zeros_like(parameters[0])
    return _grid(node, options, parameters[0], zeros, rounding=Rounding.SIGN, code_range=(-1, 1))


def _trunc(node: Node, parameters: list[AnyArray]) -> UniformQuantizer:
    """Read Trunc: version 1 has no output scale, version 2 has one, and may repeat its point."""
    scale, zero_point = parameters[:2]
    n_bits = _whole(node, parameters[-1], "output bit width")
    signed = bool(node.attributes.get("signed", 1))
    narrow = signed and bool(node.attributes.get("narrow", 0))
    options = QuantizationOptions(n_bits, is_signed=signed, is_narrow=narrow)
    if len(parameters) == 4:  # its result is neither rescaled nor clipped
        grid = _grid(node, options, scale, zero_point)
        return dataclasses.replace(grid, no_clipping=True)
    return _grid(node, options, parameters[3], zero_point / _trunc_step(parameters))


_QONNX = {
    "Quant": _int_quant,
    "IntQuant": _int_quant,
    "BipolarQuant": _bipolar,
    "Trunc": _trunc,
}


def _trunc_step(parameters: Sequence[AnyArray]) -> AnyArray:
    """Return by what a Trunc divides codes: a power of two."""
    scale, _, in_width, *rest = parameters
    if len(parameters) == 4:
        return np.asarray(np.exp2(np.float64(in_width) - np.float64(rest[0])))
    return np.asarray(np.exp2(np.round(np.log2(np.float64(rest[0]) / np.float64(scale)))))


def _truncated(
    node: Node, quantizer: UniformQuantizer, values: FloatArray, parameters: Sequence[AnyArray]
) -> FloatArray:
    scale, zero_point = (np.asarray(p, dtype=values.dtype) for p in parameters[:2])
    codes = np.rint(values / scale + zero_point) / _trunc_step(parameters).astype(values.dtype)
    if not quantizer.no_clipping:
        codes = np.clip(codes, quantizer.qmin, quantizer.qmax)
    mode = str(node.attributes.get("rounding_mode", "FLOOR")).upper()
    return quantizer.dequant(round_codes(codes, Rounding(mode))).astype(values.dtype)


def _grid(
    node: Node,
    options: QuantizationOptions,
    scale: AnyArray,
    zero_point: AnyArray,
    *,
    rounding: Rounding = Rounding.NEAREST,
    code_range: tuple[int, int] | None = None,
) -> UniformQuantizer:
    scale = np.asarray(scale, dtype=np.float64)
    points = np.asarray(zero_point, dtype=np.float64)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise _wrong(node, f"its scale is {scale.ravel()[:3]}")
    if not np.array_equal(points, np.rint(points)):
        raise _wrong(node, f"its zero point is {points.ravel()[:3]}, no integer")
    if scale.size > 1 or points.size > 1:
        scale, points = (np.array(part) for part in np.broadcast_arrays(scale, points))
        params = UniformQuantizationParameters(scale, points, options.offset)
    else:
        params = UniformQuantizationParameters(
            np.float64(scale.item()), int(points.item()), options.offset
        )
    return UniformQuantizer(options, None, params, rounding=rounding, code_range=code_range)


def _given(node: Node, parameter: AnyArray | None) -> AnyArray:
    if parameter is None:
        raise _wrong(node, "its scale, zero point or bit width is computed from the data")
    return parameter


def _whole(node: Node, width: AnyArray, what: str) -> int:
    number = float(np.max(width)) if np.size(width) == 1 else np.nan
    if not np.isfinite(number) or number != round(number):
        raise _wrong(node, f"its {what} is {np.ravel(width)[:3]}, not one integer")
    return int(number)


def _wrong(node: Node, what: str) -> UnsupportedOpError:
    return UnsupportedOpError(
        f"node {node.name!r} ({node.op_type}): {what.rstrip('.')}; export the model with a "
        "constant positive scale, integer zero points and widths of 1 to 32 bits.",
        op_type=node.op_type,
        node_name=node.name,
    )
