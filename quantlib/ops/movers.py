"""Operators that rearrange, select or join codes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self

import numpy as np

from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.tensor import Tensor, Value
from quantlib.graph.node_functions import NodeFunction, serialize_node
from quantlib.ops.base import MovingOp
from quantlib.ops.registry import register_op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Node

_PAD_WITH_INPUTS = 13
"""An operator set in which Pad takes its amounts and its value as inputs."""


@register_op("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand")
class Rearrange(MovingOp):
    """Changes the shape or order of codes; shapes and axes are raw."""

    keeps_incoming_bits = True


@register_op("Flatten")
class Flatten(MovingOp):
    """Makes codes two-dimensional."""


@register_op("Slice", "Gather")
class Select(MovingOp):
    """Selects codes; indices are raw."""

    uses_output_bits = False


@register_op("Pad")
class Pad(MovingOp):
    """Pads codes with the code of 0.0, or of the given value.

    Before operator set 11 amounts and value are attributes; they are read as what later
    operator sets take as inputs, so that the value is a real number and no code.
    """

    uses_output_bits = False

    def __init__(self, function: NodeFunction, given: tuple[AnyArray, ...] = ()) -> None:
        super().__init__(function)
        self.given = given

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the attributes of old operator sets; wrap the node's own implementation."""
        amounts = node.attributes.get("pads", node.attributes.get("paddings"))
        if amounts is None:
            return cls(NodeFunction(node, opsets))
        mode = node.attributes.get("mode", "constant")
        inputs = (node.inputs[0], f"{node.name}/pads", f"{node.name}/value")
        proto = serialize_node("Pad", node.name, inputs, node.outputs, {"mode": mode})
        newer = dataclasses.replace(
            node, inputs=inputs, attributes={"mode": mode}, proto=proto, fixed={}
        )
        filler = np.float64(node.attributes.get("value", 0.0))
        function = NodeFunction(newer, {**opsets, "": _PAD_WITH_INPUTS})
        return cls(function, (np.array(amounts, dtype=np.int64), np.asarray(filler)))

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Pad real values."""
        x, *rest = _cropped(*inputs, *self.given)
        assert x is not None
        if len(rest) > 1 and rest[1] is not None:
            rest[1] = rest[1].astype(x.dtype)
        return self.function(x, *rest)

    def move(self, *operands: Value | None) -> tuple[Tensor, ...]:
        """Pad codes that are shifted so that 0 stands for 0.0."""
        tensor, *rest = operands
        assert isinstance(tensor, Tensor)
        zero_point = int(np.asarray(tensor.quantizer.zero_point))
        shifted = tensor.codes - tensor.codes.dtype.type(zero_point)
        rest += self.given
        arguments = [item if isinstance(item, np.ndarray) else None for item in rest]
        if len(arguments) > 1 and arguments[1] is not None:
            filler = np.rint(arguments[1] / tensor.quantizer.scale)
            arguments[1] = np.asarray(filler, dtype=shifted.dtype)
        (padded,) = self.function(*_cropped(shifted, *arguments))
        return (tensor.with_codes(padded + padded.dtype.type(zero_point)),)


def _cropped(*inputs: AnyArray | None) -> tuple[AnyArray | None, ...]:
    """Crop by negative pads first: the onnx package only pads."""
    x, *rest = inputs
    pads = rest[0] if rest else None
    if x is None or pads is None or pads.min(initial=0) >= 0:
        return inputs
    axes = rest[2] if len(rest) > 2 and rest[2] is not None else np.arange(x.ndim)
    begins, ends = np.split(np.minimum(pads, 0), 2)
    window = [slice(None)] * x.ndim
    for axis, begin, end in zip(axes, begins, ends, strict=True):
        window[int(axis)] = slice(-int(begin), int(end) or None)
    return (x[tuple(window)], np.maximum(pads, 0), *rest[1:])


@register_op("Concat")
class Concat(MovingOp):
    """Joins codes.

    Concrete ML refuses inputs on different grids; here they are first requantized to the grid
    of their common range.
    """

    keeps_incoming_bits = takes_variables = True

    def move(self, *operands: Value | None) -> tuple[Tensor, ...]:
        """Join codes on one grid."""
        tensors = [item for item in operands if isinstance(item, Tensor)]
        assert len(tensors) == len(operands), "constants are quantized before they are joined"
        joined = common_grid(tensors)
        (codes,) = self.function(*(tensor.codes for tensor in joined))
        return (joined[0].with_codes(codes),)


def common_grid(tensors: list[Tensor]) -> list[Tensor]:
    """Return the tensors on one grid: as they are if they share one, else that of all ranges."""
    first = tensors[0].quantizer
    if all(t.quantizer.quant_params == first.quant_params for t in tensors):
        return tensors
    statistics = _range_of(first)
    signed = False
    for tensor in tensors:
        statistics = statistics.merge(_range_of(tensor.quantizer))
        signed = signed or tensor.quantizer.is_signed
    options = next((t for t in tensors if t.quantizer.is_signed == signed), tensors[0])
    quantizer = UniformQuantizer.from_stats(options.quantizer.quant_options, statistics)
    return [Tensor(quantizer, values=np.asarray(tensor.values)) for tensor in tensors]


def _range_of(quantizer: UniformQuantizer) -> MinMaxQuantizationStats:
    """Return the measured range, or all of a grid that came with the model."""
    if quantizer.quant_stats is not None:
        return quantizer.quant_stats
    ends = quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax]))
    return MinMaxQuantizationStats(rmax=ends.max(), rmin=ends.min())
