"""One calibrated operator and how it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from quantlib import breadcrumbs
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.tensor import Tensor
from quantlib.execution.deferred import Deferred, Lines, Origin
from quantlib.ops.base import FloatOp, MixingOp, MovingOp, QuantizedOp, Treatment, WeightedOp
from quantlib.ops.carried import DynamicQuantizer
from quantlib.ops.inside import Place
from quantlib.ops.kernels import excess_bits, round_low_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from quantlib.arrays import AnyArray, Codes
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.params import UniformQuantizationParameters
    from quantlib.core.stats import MinMaxQuantizationStats
    from quantlib.core.tensor import Value
    from quantlib.execution.input_ranges import InputMeasure
    from quantlib.graph.model import Node

_ORDERED = frozenset({
    "Add", "BatchNormalization", "Clip", "Div", "LeakyRelu", "Max", "Min", "Mul", "Neg", "PRelu",
    "Relu", "Sub",
})  # fmt: skip
"""Float operators that keep the order of the values of a channel or reverse it, to the last bit:
each rounds once, or is a chain of operations that do."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerRun:
    """What one layer did on some data.

    Parameters
    ----------
    given : tuple, or callable
        The operands, or what gives them when they are asked for: nobody may.
    accumulator : integer-valued array or None
        The exact accumulator before rounding, of integer operators.
    results : tuple
        One value per node output; None for outputs the node leaves out.
    """

    given: tuple[Value | None, ...] | Callable[[], tuple[Value | None, ...]]
    accumulator: Codes | None
    results: tuple[Value | None, ...]

    @property
    def operands(self) -> tuple[Value | None, ...]:
        """Inputs as the operator used them: on their grids for integer operators, else reals."""
        return self.given() if callable(self.given) else self.given


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
    input_measures : mapping of int to InputMeasure
        What the variable inputs, by position, were measured to hold: what `input_ranges` are
        chosen from, so that the range at another width can be told without data.
    input_grids : tuple of UniformQuantizer
        Grids of the variable inputs as the operator reads them, of integer operators.
    key : str
        Digest of all that calibration read for this layer; equal keys on equal data mean equal
        layers.
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
    input_measures: Mapping[int, InputMeasure] = field(default_factory=dict)
    input_grids: tuple[UniformQuantizer, ...] = ()
    key: str = ""
    lines: Lines = field(default_factory=Lines, init=False, repr=False)

    @property
    def name(self) -> str:
        """The node's unique name."""
        return self.node.name

    @property
    def operand_grid(self) -> UniformQuantizer | None:
        """Grid on which the first variable input is read; None until calibration knows it."""
        return self.input_grids[0] if self.input_grids else None

    @property
    def variables(self) -> tuple[tuple[int, str], ...]:
        """Position and tensor name of each input that depends on data."""
        return tuple(
            (i, name) for i, name in enumerate(self.node.inputs) if name and i not in self.constants
        )

    @property
    def weight_position(self) -> int | None:
        """Position of the constant factor of a product; None where there is none.

        The second input as a rule; the first where a matrix product has its constant there.
        """
        if not isinstance(self.op, WeightedOp):
            return None
        return next((i for i in (1, 0) if i in self.constants), None)

    def channel_axis(self, ndim: int) -> int | None:
        """Return the axis of output channels in an accumulator with `ndim` axes.

        The operator's own, but the axis before where the first factor of a matrix product is the
        constant; None for accumulators that have no such axis.
        """
        assert isinstance(self.op, MixingOp)
        axis = self.op.output_channel_axis
        if axis < 0:
            return axis - 1 if self.weight_position == 0 else axis
        return axis if ndim > axis else None

    def arguments(self, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
        """Return the node's inputs by position: constants, given values, None if left out."""
        return tuple(
            self.constants[i] if i in self.constants else values[name] if name else None
            for i, name in enumerate(self.node.inputs)
        )

    def run(self, values: Mapping[str, Value]) -> LayerRun:
        """Compute the layer's outputs from the tensors by name."""
        breadcrumbs.node(self.node.name, self.node.op_type)
        arguments = self.arguments(values)
        if isinstance(self.op, MixingOp):
            operands = self.on_grid(arguments)
            accumulator = self.op.accumulate(*operands, output=self.output_grid())
            return LayerRun(operands, accumulator, (self.finish(accumulator, operands),))
        if isinstance(self.op, MovingOp):
            operands = self.on_grid(arguments)
            moved = self.op.move(*operands)
            if self.op.keeps_incoming_bits and isinstance(arguments[0], Tensor):
                moved = tuple(part.labelled(arguments[0].n_bits) for part in moved)
            return LayerRun(operands, None, moved)
        origin = self.deferred(arguments)
        if origin is not None and self.outputs[0] is not None:
            (result,) = self.on_outputs(origin, arguments)
            return LayerRun(lambda: real_values(arguments), None, (result,))
        reals = real_values(arguments)
        return LayerRun(reals, None, self.wrap(self.op.float_results(*reals), arguments))

    def deferred(self, arguments: tuple[Value | None, ...]) -> Origin | None:
        """Return from which integers a float operator's result is computed.

        None where it is no ordered function of a tensor that knows its integers.
        """
        op, op_type = self.op, self.node.op_type
        ((place, _), *others) = self.variables or ((0, ""),)
        x = arguments[place] if arguments else None
        if not isinstance(x, Deferred) or others or op_type not in _ORDERED:
            return None
        if not isinstance(op, FloatOp) or op.keeps_grid or len(self.node.outputs) != 1:
            return None
        constants = [c for i, c in enumerate(arguments) if i != place and c is not None]
        if not all(isinstance(c, np.ndarray) for c in constants):
            return None
        if op_type != "BatchNormalization" and not all(
            _within(c.shape, x.shape) for c in constants
        ):
            return None
        if op_type in ("Div", "PRelu", "Clip", "BatchNormalization") and place != 0:
            return None
        slopes = [self.node.attributes.get("alpha", 1.0)]
        if op_type == "PRelu":
            slopes.append(np.min(constants[0]))  # type: ignore[arg-type]
        if min(slopes) < 0:
            return None

        fixed = tuple(None if i == place else a for i, a in enumerate(arguments))

        def function(values: AnyArray) -> AnyArray:
            given = [values if i == place else a for i, a in enumerate(fixed)]
            (result,) = op.float_results(*given)  # type: ignore[arg-type]
            return result

        return x.origin.then(self.name, function)

    def on_outputs(
        self, origin: Origin, arguments: tuple[Value | None, ...]
    ) -> tuple[Value | None, ...]:
        """Return the output, on its grid, of an operator whose result is deferred."""
        (grid,) = self.outputs
        assert grid is not None

        def values() -> AnyArray:
            (result,) = self.op.float_results(*real_values(arguments))
            return result

        return (Deferred(grid, origin, values),)

    def wrap(
        self, results: tuple[AnyArray | None, ...], arguments: tuple[Value | None, ...]
    ) -> tuple[Value | None, ...]:
        """Put float results on their output grids; raw ones, and outputs left out, have none."""
        source = arguments[0] if arguments else None
        grids = self.outputs
        if isinstance(self.op, DynamicQuantizer):
            (real,) = real_values(arguments)
            assert real is not None
            grids = (self.op.grid_of(real),)
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

    def leaving_params(
        self, operands: tuple[Value | None, ...]
    ) -> UniformQuantizationParameters | None:
        """Return the grid of an accumulator that is a graph output.

        None inside the graph, for operators that return requantized values there too, and where
        the grid would depend on data.
        """
        assert isinstance(self.op, MixingOp)
        return self.op.output_params(*operands) if self._leaves else None

    @property
    def _leaves(self) -> bool:
        """Whether the accumulator itself may leave the graph, on a grid that no data change."""
        assert isinstance(self.op, MixingOp)
        return self.is_graph_output and all(
            i in self.constants
            for i in self.op.constant_inputs
            if i < len(self.node.inputs) and self.node.inputs[i]
        )

    @property
    def place(self) -> Place:
        """Where the integer operator stands, as it is told for what it holds inside."""
        return Place(self.constants, self.output_grid(), self._leaves, self.lsbs_to_remove)

    def with_rounding(
        self, run: LayerRun, values: Mapping[str, Value], bits: int
    ) -> tuple[QuantizedLayer, LayerRun]:
        """Return the layer with the low bits that a threshold of `bits` removes, and its run.

        `run` is what the layer did on the calibration data `values`. An accumulator that leaves
        the graph as it is keeps its bits; what rounds before it is rounded all the same.
        """
        op = self.op
        if not (isinstance(op, MixingOp) and op.rounds_accumulator):
            return self, run
        layer, operands = self, run.operands
        op = op.with_rounded_operands(
            *operands,
            constants=self.constants,
            threshold_bits=bits,
        )
        if op is not self.op:
            layer = dataclasses.replace(self, op=op)
            run = layer.run(values)
        if self.leaving_params(operands) is not None:
            return layer, run
        accumulator = run.accumulator
        assert accumulator is not None
        shifted = accumulator + op.rounding_offset(*operands)
        layer = dataclasses.replace(layer, lsbs_to_remove=excess_bits(shifted, bits))
        return layer, LayerRun(operands, accumulator, (layer.finish(accumulator, operands),))

    def with_rounding_of(
        self, pieces: Callable[[], Iterable[Mapping[str, Value]]], bits: int
    ) -> QuantizedLayer:
        """Return the layer with the low bits that a threshold removes, for data in pieces.

        `pieces` gives the calibration data anew each time it is called. What rounds before the
        accumulator needs its operands in one piece.
        """
        op = self.op
        if not (isinstance(op, MixingOp) and op.rounds_accumulator):
            return self
        layer = self
        if type(op).with_rounded_operands is not MixingOp.with_rounded_operands:
            every = [self.on_grid(self.arguments(values)) for values in pieces()]
            rounded = op.with_rounded_operands(
                *map(_joined, zip(*every, strict=True)),
                constants=self.constants,
                threshold_bits=bits,
            )
            layer = dataclasses.replace(self, op=rounded)
        ends: list[int] = []
        for values in pieces():
            run = layer.run(values)
            if layer.leaving_params(run.operands) is not None:
                return layer
            assert run.accumulator is not None and isinstance(layer.op, MixingOp)
            shifted = run.accumulator + layer.op.rounding_offset(*run.operands)
            ends += [int(shifted.min()), int(shifted.max())]
        return dataclasses.replace(layer, lsbs_to_remove=excess_bits(np.array(ends), bits))

    def finish(self, accumulator: Codes, operands: tuple[Value | None, ...]) -> Value:
        """Turn the accumulator into the layer's output: reals where that has no grid."""
        op, output = self.op, self.outputs[0]
        assert isinstance(op, MixingOp)
        params = self.leaving_params(operands)
        if params is not None:
            options = output.quant_options if output else self.input_options
            grid = UniformQuantizer(options, output.quant_stats if output else None, params)
            return Tensor(grid, codes=accumulator)
        source = operands[0]
        if op.keeps_operand_grid and isinstance(source, Tensor) and source.quantizer.is_carried:
            return Tensor(source.quantizer, codes=accumulator)
        rounded = accumulator
        if self.lsbs_to_remove:
            offset = op.rounding_offset(*operands)
            rounded = round_low_bits(accumulator + offset, self.lsbs_to_remove) - offset
        if output is None or not self._scales_alone(operands):
            values = op.dequantize(rounded, *operands, output=self.output_grid())
            return values if output is None else Tensor(output, values=values)
        placeholders = tuple(
            _placeholder(x) if isinstance(x, Tensor) and i not in self.constants else x
            for i, x in enumerate(operands)
        )

        def reals(integers: Codes) -> AnyArray:
            return op.dequantize(integers, *placeholders, output=self.output_grid())

        # what the scale comes from may differ from call to call: a grid that data choose
        grids = [
            (np.asarray(x.quantizer.scale).tobytes(), np.asarray(x.quantizer.zero_point).tobytes())
            for i, x in enumerate(operands)
            if isinstance(x, Tensor) and i not in self.constants
        ]
        step = f"{self.lsbs_to_remove} {grids}"
        origin = Origin.of(rounded, reals, self.lines, step=step)
        return Deferred(output, origin, lambda: reals(rounded))

    def _scales_alone(self, operands: tuple[Value | None, ...]) -> bool:
        """Tell whether accumulators become reals without the data that they were made from.

        A product of two variable matrices is completed with sums over its factors.
        """
        variables = [i for i, _ in self.variables]
        tensors = all(isinstance(operands[i], Tensor) for i in variables)
        return tensors and (len(variables) == 1 or not isinstance(self.op, WeightedOp))


def _placeholder(x: Tensor) -> Tensor:
    """Return a tensor of the same grid and shape that keeps no data."""
    code = int(np.ravel(np.asarray(x.quantizer.zero_point))[0])
    return Tensor(x.quantizer, codes=np.broadcast_to(np.int64(code), x.shape))


def _within(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Tell whether an array broadcasts against another without making that larger."""
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False


def _joined(pieces: tuple[Value | None, ...]) -> Value | None:
    """Return one operand of all pieces as one; constants are in each."""
    first = pieces[0]
    if not isinstance(first, Tensor) or all(piece is first for piece in pieces):
        return first
    codes = [piece.codes for piece in pieces if isinstance(piece, Tensor)]
    return Tensor(first.quantizer, codes=np.concatenate(codes))


def real_values(arguments: tuple[Value | None, ...]) -> tuple[AnyArray | None, ...]:
    """Return tensors as their real values, raw arrays as they are."""
    return tuple(a.values if isinstance(a, Tensor) else a for a in arguments)
