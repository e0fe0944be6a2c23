"""One calibrated operator and how it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.tensor import Tensor
from quantlib.ops.base import FloatOp, MixingOp, MovingOp, QuantizedOp, Treatment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray, Codes
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.params import UniformQuantizationParameters
    from quantlib.core.stats import MinMaxQuantizationStats
    from quantlib.graph.model import Node

Value: TypeAlias = "Tensor | AnyArray"
"""A quantized tensor, or a raw array (shapes, indices, truth values)."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerRun:
    """What one layer did on some data.

    Parameters
    ----------
    operands : tuple
        Inputs as the operator used them: on their grids for integer operators.
    accumulator : integer-valued array or None
        The exact accumulator before rounding, of integer operators.
    results : tuple
        One value per node output; None for outputs the node leaves out.
    """

    operands: tuple[Value | None, ...]
    accumulator: Codes | None
    results: tuple[Value | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedLayer:
    """A node with everything calibration decided about it.

    Parameters
    ----------
    node : Node
        The operator's place in the graph.
    op : QuantizedOp
        What it computes.
    treatment : Treatment
        How it is treated here.
    constants : mapping of int to Tensor or array
        Constant inputs by position; tensors where the operator quantizes them.
    input_options : QuantizationOptions
        Grid of the variable inputs.
    outputs : tuple of UniformQuantizer or None
        Grid of each output; None for raw outputs, and until calibration knows it.
    is_graph_output : bool
        The accumulator itself leaves the graph.
    lsbs_to_remove : int
        Low bits that rounding takes from the accumulator.
    input_ranges : mapping of int to MinMaxQuantizationStats
        Ranges of variable inputs, by position, that differ from what the tensor was measured
        to hold: another estimator's, or one fitted to the grid.
    input_grids : tuple of UniformQuantizer
        Grids of the variable inputs as the operator reads them, of integer operators.
    """

    node: Node
    op: QuantizedOp
    treatment: Treatment
    constants: Mapping[int, Value]
    input_options: QuantizationOptions
    outputs: tuple[UniformQuantizer | None, ...]
    is_graph_output: bool
    lsbs_to_remove: int = 0
    input_ranges: Mapping[int, MinMaxQuantizationStats] = field(default_factory=dict)
    input_grids: tuple[UniformQuantizer, ...] = ()

    @property
    def name(self) -> str:
        """The node's unique name."""
        return self.node.name

    @property
    def operand_grid(self) -> UniformQuantizer | None:
        """Grid on which the first variable input is read; None until calibration knows it."""
        return self.input_grids[0] if self.input_grids else None

    def arguments(self, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
        """Return the node's inputs by position: constants, given values, None if left out."""
        return tuple(
            self.constants[i] if i in self.constants else values[name] if name else None
            for i, name in enumerate(self.node.inputs)
        )

    def run(self, values: Mapping[str, Value]) -> LayerRun:
        """Compute the layer's outputs from the tensors by name."""
        arguments = self.arguments(values)
        if isinstance(self.op, MixingOp):
            operands = self.on_grid(arguments)
            accumulator = self.op.accumulate(*operands, output=self.output_grid())  # type: ignore[arg-type]
            return LayerRun(operands, accumulator, (self.finish(accumulator, operands),))
        if isinstance(self.op, MovingOp):
            operands = self.on_grid(arguments)
            moved = self.op.move(*operands)
            if self.op.keeps_incoming_bits and isinstance(arguments[0], Tensor):
                moved = tuple(part.labelled(arguments[0].n_bits) for part in moved)
            return LayerRun(operands, None, moved)
        reals = real_values(arguments)
        return LayerRun(reals, None, self.wrap(self.op.float_results(*reals), arguments))

    def wrap(
        self, results: tuple[AnyArray | None, ...], arguments: tuple[Value | None, ...]
    ) -> tuple[Value | None, ...]:
        """Put float results on their output grids; raw ones, and outputs left out, have none."""
        source = arguments[0] if arguments else None
        grids = self.outputs
        if isinstance(self.op, FloatOp) and self.op.keeps_grid and isinstance(source, Tensor):
            params = source.quantizer.quant_params
            grids = tuple(g and dataclasses.replace(g, quant_params=params) for g in grids)
        return tuple(
            Tensor(grid, values=result) if grid is not None and result is not None else result
            for result, grid in zip(results, grids, strict=True)
        )

    def on_grid(self, arguments: tuple[Value | None, ...]) -> tuple[Value | None, ...]:
        """Requantize variable tensors to the input grid; constants are on theirs."""
        return tuple(
            argument.requantized(self.input_options, self.input_ranges.get(i))
            if isinstance(argument, Tensor) and i not in self.constants
            else argument
            for i, argument in enumerate(arguments)
        )

    def output_grid(self) -> UniformQuantizationParameters | None:
        """Return the grid that `MixingOp.accumulate` is told of; None for a graph output."""
        output = self.outputs[0]
        return None if self.is_graph_output or output is None else output.quant_params

    @property
    def accumulator_leaves(self) -> bool:
        """Whether a graph output is the accumulator: its grid must not depend on data."""
        assert isinstance(self.op, MixingOp)
        return self.is_graph_output and all(
            i in self.constants
            for i in self.op.constant_inputs
            if i < len(self.node.inputs) and self.node.inputs[i]
        )

    def finish(self, accumulator: Codes, operands: tuple[Value | None, ...]) -> Tensor:
        """Turn the accumulator into the layer's output tensor."""
        op, output = self.op, self.outputs[0]
        assert isinstance(op, MixingOp) and output is not None
        params = op.output_params(*operands) if self.accumulator_leaves else None  # type: ignore[arg-type]
        if params is not None:
            grid = UniformQuantizer(output.quant_options, output.quant_stats, params)
            return Tensor(grid, codes=accumulator)
        offset = op.rounding_offset(*operands) if self.lsbs_to_remove else 0  # type: ignore[arg-type]
        rounded = round_low_bits(accumulator + offset, self.lsbs_to_remove) - offset
        values = op.dequantize(rounded, *operands, output=self.output_grid())  # type: ignore[arg-type]
        return Tensor(output, values=values)


def real_values(arguments: tuple[Value | None, ...]) -> tuple[AnyArray | None, ...]:
    """Return tensors as their real values, raw arrays as they are."""
    return tuple(a.values if isinstance(a, Tensor) else a for a in arguments)


def round_low_bits(accumulator: Codes, lsbs_to_remove: int) -> Codes:
    """Round integers to multiples of ``2**lsbs_to_remove``, to nearest, ties upward."""
    if lsbs_to_remove == 0:
        return accumulator
    step = 2**lsbs_to_remove
    if accumulator.dtype.kind == "i":
        return np.asarray((accumulator + step // 2) // step * step)
    rounded: Codes = accumulator.astype(np.float64)
    rounded += step // 2
    rounded /= step
    np.floor(rounded, out=rounded)
    rounded *= step
    return rounded
