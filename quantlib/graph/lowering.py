"""QONNX's quantizers in ONNX's own operators, so that any runtime runs the model in float."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantlib.errors import UnsupportedOpError
from quantlib.graph.carried import FLOAT_QUANT, QONNX_DOMAINS, is_qonnx

if TYPE_CHECKING:
    from collections.abc import Mapping

OLDEST_OPSET = 9
"""Sign and Where came with it."""

_FIRST_ROUND = 11
"""Operator set with which Round came."""

_WHOLE_FROM = float(2**23)
"""Smallest magnitude from which every float32 is an integer."""

_ARITY = {"Quant": (4,), "IntQuant": (4,), "BipolarQuant": (2,), "Trunc": (5, 6), FLOAT_QUANT: (6,)}


def is_quantizer(node: onnx.NodeProto) -> bool:
    """Tell whether a node is one of QONNX's quantizers, of integers or of floats."""
    return is_qonnx(node.domain, node.op_type) or (
        node.op_type == FLOAT_QUANT and node.domain in QONNX_DOMAINS
    )


def lower_quantizers(
    model: onnx.ModelProto,
) -> tuple[onnx.ModelProto, dict[str, onnx.NodeProto], dict[str, onnx.GraphProto]]:
    """Replace QONNX's operators.

    Returns
    -------
    model : ModelProto
        The model itself when it has none.
    originals : dict of str to NodeProto
        Which node the new ones, by name, stand for; the last of each group has the original's
        name, the others have a ``/`` and a number behind it.
    bodies : dict of str to GraphProto
        What computes a node, by its name, of those that are not read as grids.

    Raises
    ------
    UnsupportedOpError
        The model's operator set is older than 9, or a node has another number of inputs than
        its definition.
    """
    found = [n for n in model.graph.node if is_quantizer(n)]
    if not found:
        return model, {}, {}
    version = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    for node in found:
        if len(node.input) not in _ARITY[node.op_type] or not all(node.input):
            wanted = " or ".join(map(str, _ARITY[node.op_type]))
            raise UnsupportedOpError(
                f"node {node.name!r}: {node.op_type} has {sum(map(bool, node.input))} inputs, its "
                f"definition {wanted}; export the model again.",
                op_type=node.op_type,
                node_name=node.name,
            )
    if version < OLDEST_OPSET:
        raise UnsupportedOpError(
            f"node {found[0].name!r}: {found[0].op_type} needs operator set {OLDEST_OPSET} or "
            f"newer, the model has {version}; export it again.",
            op_type=found[0].op_type,
            node_name=found[0].name,
        )
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    del lowered.graph.node[:], lowered.opset_import[:]
    lowered.opset_import.extend(e for e in model.opset_import if e.domain not in QONNX_DOMAINS)
    originals: dict[str, onnx.NodeProto] = {}
    bodies: dict[str, onnx.GraphProto] = {}
    widths = _single_numbers(model)
    for node in model.graph.node:
        if is_quantizer(node):
            group = _Group(node, version, widths)
            _WRITERS[node.op_type](group, _attributes(node))
            group.close()
            if node.op_type == FLOAT_QUANT:
                bodies[node.name] = onnx.GraphProto(node=group.nodes, initializer=group.constants)
            originals.update((part.name, node) for part in group.nodes)
            lowered.graph.node.extend(group.nodes)
            lowered.graph.initializer.extend(group.constants)
        else:
            lowered.graph.node.append(node)
    return lowered, originals, bodies


def _single_numbers(model: onnx.ModelProto) -> dict[str, float]:
    """Return the stored tensors of one number, by the name they are read by."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            stored[node.output[0]] = node.attribute[0].t
    found: dict[str, float] = {}
    for name, tensor in stored.items():
        if len(tensor.dims) <= 1 and all(size == 1 for size in tensor.dims):
            # what cannot be read is refused by name where all tensors are
            with contextlib.suppress(ValueError, TypeError):
                found[name] = float(numpy_helper.to_array(tensor).item())
    return found


class _Group:
    """The nodes that replace one node, written one after another.

    `version` is the operator set they are written in; `known` holds single numbers by name.
    """

    def __init__(self, node: onnx.NodeProto, version: int, known: Mapping[str, float]) -> None:
        self.node = node
        self.version = version
        self.known = known
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op_type: str, *inputs: str) -> str:
        """Append an operator; return its output's name."""
        name = f"{self.node.name}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name))
        return name

    def number(self, value: float) -> str:
        """Return the name of a new float constant."""
        name = f"{self.node.name}/c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def real(self, name: str) -> str:
        """Cast a tensor to float32: widths may be integers."""
        cast = self.add("Cast", name)
        self.nodes[-1].attribute.append(helper.make_attribute("to", onnx.TensorProto.FLOAT))
        return cast

    def nearest(self, codes: str) -> str:
        """Round to the nearest integer, ties to even.

        Before Round there was addition: a float32 of at most 2**23 that 2**23 is added to keeps
        no fraction, and is rounded in exactly this way.
        """
        if self.version >= _FIRST_ROUND:
            return self.add("Round", codes)
        size, large = self.add("Abs", codes), self.number(_WHOLE_FROM)
        whole = self.add("Sub", self.add("Add", size, large), large)
        size = self.add("Where", self.add("Less", size, large), whole, size)
        return self.add("Mul", self.add("Sign", codes), size)

    def close(self) -> None:
        """Give the last node the replaced node's name and output."""
        self.nodes[-1].name = self.node.name
        self.nodes[-1].output[0] = self.node.output[0]


def _attributes(node: onnx.NodeProto) -> dict[str, str | int]:
    """Return a quantizer's attributes: whole numbers, and its rounding mode."""
    values: dict[str, str | int] = {}
    for attribute in node.attribute:
        is_text = attribute.name == "rounding_mode"
        if attribute.type != (attribute.STRING if is_text else attribute.INT):
            raise UnsupportedOpError(
                f"node {node.name!r} ({node.op_type}): attribute {attribute.name!r} is no "
                f"{'text' if is_text else 'whole number'}; correct it and export again.",
                op_type=node.op_type,
                node_name=node.name,
            )
        values[attribute.name] = (
            attribute.s.decode("utf-8", "replace") if is_text else int(attribute.i)
        )
    return values


def _clip(group: _Group, codes: str, width: str, attributes: Mapping[str, str | int]) -> str:
    """Clip to the codes of a width."""
    signed, narrow = (int(attributes.get(n, d)) for n, d in (("signed", 1), ("narrow", 0)))
    bits = group.real(width)
    bits = group.add("Sub", bits, group.number(1.0)) if signed else bits
    reach = group.add("Pow", group.number(2.0), bits)
    top = group.add("Sub", reach, group.number(2.0 if narrow and not signed else 1.0))
    low = group.add("Sub", group.number(float(narrow)), reach) if signed else group.number(0.0)
    return group.add("Max", group.add("Min", codes, top), low)


def _round(group: _Group, codes: str, mode: str) -> str:
    """Round by one of QONNX's modes; see `quantlib.core.rounding`."""
    plain = {"CEIL": "Ceil", "FLOOR": "Floor"}
    if mode in {"ROUND", "HALF_EVEN"}:
        return group.nearest(codes)
    if mode in plain:
        return group.add(plain[mode], codes)
    size, sign = group.add("Abs", codes), group.add("Sign", codes)
    if mode == "HALF_UP":
        size = group.add("Floor", group.add("Add", size, group.number(0.5)))
    elif mode == "HALF_DOWN":
        size = group.add("Ceil", group.add("Sub", size, group.number(0.5)))
    elif mode == "UP":
        size = group.add("Ceil", size)
    elif mode in {"DOWN", "ROUND_TO_ZERO"}:
        size = group.add("Floor", size)
    else:
        node = group.node
        raise UnsupportedOpError(
            f"node {node.name!r}: {node.op_type} has the rounding mode {mode!r}, which QONNX does "
            "not define; export the model again.",
            op_type=node.op_type,
            node_name=node.name,
        )
    return group.add("Mul", sign, size)


def _write_quant(group: _Group, attributes: Mapping[str, str | int]) -> None:
    x, scale, zero_point, width = group.node.input[:4]
    position = group.add("Add", group.add("Div", x, scale), zero_point)
    signed, bits = attributes.get("signed", 1), group.known.get(width)
    codes = position
    if not signed or bits != 1:
        codes = _clip(group, codes, width, attributes)
        codes = _round(group, codes, str(attributes.get("rounding_mode", "ROUND")).upper())
    if signed and bits in (None, 1):  # one signed bit stands for -1 and 1, as in BipolarQuant
        sign = _sign(group, position)
        single = group.add("Less", group.real(width), group.number(1.5))
        codes = sign if bits else group.add("Where", single, sign, codes)
    group.add("Mul", group.add("Sub", codes, zero_point), scale)


def _sign(group: _Group, values: str) -> str:
    """Return -1 below zero, else 1."""
    negative = group.add("Less", values, group.number(0.0))
    return group.add("Where", negative, group.number(-1.0), group.number(1.0))


def _write_bipolar(group: _Group, attributes: Mapping[str, str | int]) -> None:
    del attributes
    x, scale = group.node.input[:2]
    group.add("Mul", _sign(group, x), scale)


def _write_trunc(group: _Group, attributes: Mapping[str, str | int]) -> None:
    x, scale, zero_point, in_width, *rest = group.node.input
    mode = str(attributes.get("rounding_mode", "FLOOR")).upper()
    codes = group.nearest(group.add("Add", group.add("Div", x, scale), zero_point))
    two = group.number(2.0)
    if len(rest) == 1:
        bits = group.add("Sub", group.real(in_width), group.real(rest[0]))
        codes = _round(group, group.add("Div", codes, group.add("Pow", two, bits)), mode)
        group.add("Mul", group.add("Sub", codes, zero_point), scale)
        return
    out_scale, out_width = rest[0], rest[-1]
    ratio = group.add("Log", group.add("Div", out_scale, scale))
    bits = group.nearest(group.add("Div", ratio, group.number(float(np.log(2.0)))))
    step = group.add("Pow", two, bits)
    clipped = _clip(group, group.add("Div", codes, step), out_width, attributes)
    codes = _round(group, clipped, mode)
    group.add("Mul", group.add("Sub", codes, group.add("Div", zero_point, step)), out_scale)


def _write_float(group: _Group, attributes: Mapping[str, str | int]) -> None:
    """Round to numbers of few exponent and mantissa bits (QONNX FloatQuant).

    Values below the smallest normal number are multiples of the smallest subnormal one. The
    definition does not look at ``has_subnormal``, and neither is it here.
    """
    x, scale, *numbers = group.node.input
    exponent_bits, mantissa_bits, bias, largest = map(group.real, numbers)
    one, two = group.number(1.0), group.number(2.0)
    values = group.add("Div", x, scale)
    size = group.add(
        "Add", group.add("Abs", values), group.number(float(np.finfo(np.float32).tiny))
    )
    power = group.add("Div", group.add("Log", size), group.number(float(np.log(2.0))))
    power = group.add("Floor", power)
    # the quotient of logarithms may lie just beside an integer: compare with the powers
    below = group.real(group.add("Less", size, group.add("Pow", two, power)))
    power = group.add("Sub", power, below)
    above = group.add("Less", size, group.add("Pow", two, group.add("Add", power, one)))
    power = group.add("Add", power, group.add("Sub", one, group.real(above)))
    lowest = group.add("Sub", group.add("Sub", one, bias), mantissa_bits)
    step = group.add("Max", group.add("Sub", power, mantissa_bits), lowest)
    step = group.add("Pow", two, step)
    mode = str(attributes.get("rounding_mode", "ROUND")).upper()
    rounded = group.add("Mul", _round(group, group.add("Div", values, step), mode), step)
    fraction = group.add("Sub", two, group.add("Pow", two, group.add("Neg", mantissa_bits)))
    top = group.add("Sub", group.add("Sub", group.add("Pow", two, exponent_bits), one), bias)
    top = group.add("Mul", fraction, group.add("Pow", two, top))
    top = group.add("Min", top, largest)
    result = group.add("Max", group.add("Min", rounded, top), group.add("Neg", top))
    if not attributes.get("saturation", 1):
        result = _overflow(group, attributes, rounded, top, result)
    group.add("Mul", result, scale)


def _overflow(
    group: _Group, attributes: Mapping[str, str | int], rounded: str, top: str, result: str
) -> str:
    """Return `result` with infinity, or no number, where values lie beyond the largest one."""
    if not (attributes.get("has_inf") or attributes.get("has_nan")):
        node = group.node
        raise UnsupportedOpError(
            f"node {node.name!r}: FloatQuant neither saturates nor has infinity or NaN to go to; "
            "export the model with saturation=1.",
            op_type=node.op_type,
            node_name=node.name,
        )
    high, low = (np.inf, -np.inf) if attributes.get("has_inf") else (np.nan, np.nan)
    over = group.add("Less", top, rounded)
    result = group.add("Where", over, group.number(high), result)
    under = group.add("Less", rounded, group.add("Neg", top))
    return group.add("Where", under, group.number(low), result)


_WRITERS = {
    "Quant": _write_quant,
    "IntQuant": _write_quant,
    "BipolarQuant": _write_bipolar,
    "Trunc": _write_trunc,
    FLOAT_QUANT: _write_float,
}
