"""One walk over a graph that turns every node into a calibrated layer."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from quantlib import breadcrumbs
from quantlib.arrays import digest_of
from quantlib.calibration.statistics import measure
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.tensor import Tensor, Value
from quantlib.errors import (
    OptionsError,
    QuantlibError,
    TensorError,
    UnsupportedOpError,
    name_file,
)
from quantlib.execution.calls import calls, n_samples
from quantlib.execution.deferred import OnGrid, regridded
from quantlib.execution.input_grids import input_grid
from quantlib.execution.input_ranges import InputMeasure
from quantlib.execution.layer import QuantizedLayer, real_values
from quantlib.execution.measured import Measured
from quantlib.execution.memo import key_of
from quantlib.execution.own_grids import runs_alone
from quantlib.execution.pieces import in_memory, made_anew
from quantlib.execution.treatments import NodePlan, plan
from quantlib.execution.weights import layer_constants
from quantlib.graph.faults import why
from quantlib.ops.base import (
    FloatOp,
    IslandOp,
    MixingOp,
    MovingOp,
    Treatment,
)
from quantlib.ops.carried import CarriedQuantizer, DynamicQuantizer
from quantlib.ops.linear import Gemm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.calibration.statistics import TensorStatistics
    from quantlib.core.config import QuantizationConfig
    from quantlib.execution.measured import FloatRanges
    from quantlib.execution.memo import Memo
    from quantlib.execution.pieces import Kept, Shelf
    from quantlib.graph.model import Graph, Node


class MixedSamplesError(Exception):
    """An operator mixes samples, so that data cannot run through it in pieces."""


class Calibration:
    """The state of one walk: the calibration data of each tensor that is still to be read.

    Parameters
    ----------
    graph, config
        What is calibrated, and how.
    shelf : Shelf
        Where pieces of the data wait.
    float_ranges : FloatRanges
        Ranges measured elsewhere.
    memo : Memo or None
        Results of earlier walks over the same data; only used for data in one piece.
    """

    def __init__(
        self,
        graph: Graph,
        config: QuantizationConfig,
        shelf: Shelf,
        float_ranges: FloatRanges,
        memo: Memo | None,
    ) -> None:
        self.graph = graph
        self.config = config
        self.shelf = shelf
        self.float_ranges = float_ranges
        self.memo = memo
        self.plans = plan(graph, quantize_rest=config.quantize_rest)
        self.alone = runs_alone(graph, config.quantize_rest)
        self.sources = {info.name: frozenset([info.name]) for info in graph.inputs}
        for node, node_plan in zip(graph.nodes, self.plans, strict=True):
            self.sources.update(dict.fromkeys(node.outputs, node_plan.sources))
        self.linear_only = all(issubclass(p.op_class, Gemm) for p in self.plans)
        self.estimates = config.uses_estimators
        self.pieces: dict[str, list[Kept]] = {}
        self.keys: dict[str, str] = {}
        self.measured: dict[str, TensorStatistics] = dict(float_ranges.statistics)
        self.entered: dict[str, Tensor | None] = {}
        self.n_pieces = 1
        self.rows: list[int] = []
        self.by_ranges = config.calibrate_on == "float" and bool(float_ranges.shapes)
        self.without_data = self.by_ranges and self._needs_no_data()

    def _needs_no_data(self) -> bool:
        """Tell whether ranges and weights decide everything: no operator learns from integers.

        Rounding looks at accumulators, a division at its divisor; models that bring grids are left
        to the data.
        """
        if self.alone or self.graph.grids or self.config.rounding_threshold_bits is not None:
            return False
        classes = [p.op_class for p in self.plans]
        return not any(
            issubclass(kind, CarriedQuantizer | DynamicQuantizer)
            or (issubclass(kind, MixingOp) and kind.calibrated is not MixingOp.calibrated)
            for kind in classes
        )

    def walk(
        self, data: tuple[AnyArray, ...], samples_per_piece: int
    ) -> tuple[tuple[QuantizedLayer, ...], tuple[UniformQuantizer | None, ...]]:
        """Return the layers and the grids of the model inputs."""
        origin = "" if self.memo is None else key_of(self.graph.identity, digest_of(*data))
        self._enter(data, samples_per_piece, origin)
        last = {n: i for i, node in enumerate(self.graph.nodes) for n in node.inputs}
        layers = []
        for i, (node, node_plan) in enumerate(zip(self.graph.nodes, self.plans, strict=True)):
            layers.append(self._named(node, node_plan))
            for name in {n for n in (*node.inputs, *node.outputs) if last.get(n, i) == i}:
                for kept in self.pieces.pop(name, []):
                    kept.drop()
        grids = (
            input_grid(value, name, layers, self.sources, alone=self.alone)
            for name, value in self.entered.items()
        )
        return tuple(layers), tuple(grids)

    def _enter(self, data: tuple[AnyArray, ...], step: int, origin: str) -> None:
        """Put the model inputs on the shelf, in pieces: the calls of the model.

        `origin` tells model and data apart.
        """
        every = list(calls(self.graph, data, step))
        self.n_pieces = len(every)
        self.rows = [n_samples(self.graph, call) for call in every]
        for i, (info, array) in enumerate(zip(self.graph.inputs, data, strict=True)):
            grid = None
            if array.dtype.kind == "f":
                stats = self.float_ranges.ranges.get(info.name)
                stats = stats or MinMaxQuantizationStats.from_values(array)
                options = QuantizationOptions(self.config.input_bits, is_signed=True)
                grid = UniformQuantizer.from_stats(options, stats)
                if self.estimates and info.name not in self.measured:
                    self.measured[info.name] = measure(array)
            parts = [call[i] for call in every]
            self.entered[info.name] = grid if grid is None else Tensor(grid, values=parts[0])
            self.keys[info.name] = key_of(
                origin, info.name, grid, sorted(self.float_ranges.ranges.items())
            )
            self.pieces[info.name] = [made_anew(part, grid) for part in parts]

    def _named(self, node: Node, node_plan: NodePlan) -> QuantizedLayer:
        """Calibrate one node; errors name it."""
        try:
            return self._remembered(node, node_plan)
        except OptionsError as error:
            raise OptionsError(f"layer {node.name!r}: {error}") from None
        except TensorError as error:
            place = "" if repr(node.name) in str(error) else f"layer {node.name!r}: "
            raise TensorError(f"{self.graph.name}: {place}{error}") from None
        except UnsupportedOpError as error:
            name_file(error, self.graph.name)
            raise
        except QuantlibError:
            raise
        except (ValueError, IndexError, TypeError, MemoryError) as error:
            held = {n: p[0].get().shape for n in node.inputs if (p := self.pieces.get(n))}
            raise UnsupportedOpError(
                f"{self.graph.name}: node {node.name!r} ({node.op_type}) cannot be computed: "
                f"{why(error, held)}; check the model and the shape of the data.",
                op_type=node.op_type,
                node_name=node.name,
            ) from error

    def _remembered(self, node: Node, node_plan: NodePlan) -> QuantizedLayer:
        """Calibrate one node, or find it calibrated; leave the data of its outputs."""
        config = self.config
        key = key_of(
            node.name,
            config.weights_of(node.name),
            config.activations_of(node.name),
            (config.output_bits, config.rounding_threshold_bits, config.calibrate_on),
            (config.quantize_rest, config.conventions),
            self.estimates,
            [self.keys.get(name) for name in node.inputs],
        )
        if self.memo is None or self.n_pieces > 1:
            done = self._layer(node, node_plan, key)
        else:
            done = self.memo.get(key, lambda: self._layer(node, node_plan, key), _size_of)
        for name, values in zip(node.outputs, done.outputs, strict=True):
            if values is not None:
                self.pieces[name] = values
                self.keys[name] = key_of(key, name)
        self.measured.update(done.statistics)
        return done.layer

    def _inputs(self, node: Node) -> Iterator[dict[str, Value]]:
        """Yield the node's variable inputs, piece after piece."""
        names = [name for name in dict.fromkeys(node.inputs) if name in self.pieces]
        for i in range(self.n_pieces):
            yield {name: self.pieces[name][i].get() for name in names}

    def _layer(self, node: Node, node_plan: NodePlan, key: str) -> _Done:
        """Calibrate one node on all pieces of the data."""
        layer, on_integers = self._uncalibrated(node, node_plan, key)
        if self.without_data and (done := self._from_ranges(layer, on_integers)) is not None:
            return done
        in_float = isinstance(layer.op, FloatOp)
        measured = Measured(layer, self.float_ranges, estimates=self.estimates)
        if on_integers and (done := self._deferred(layer, measured)) is not None:
            return done
        measured = Measured(layer, self.float_ranges, estimates=self.estimates)
        results: list[tuple[Kept | None, ...]] = []
        for i, values in enumerate(self._inputs(node)):
            breadcrumbs.node(layer.node.name, layer.node.op_type)
            found = layer.op.float_results(*real_values(layer.arguments(values)))
            cut_here = self.n_pieces > 1 and self.graph.batch.is_free
            if cut_here and layer.treatment is not Treatment.RAW:
                self._check_rows(i, found)
            measured.add(found)
            if in_float or self.linear_only:
                results.append(tuple(None if r is None else self._put(r) for r in found))
        grids = self._output_grids(layer, measured, results, on_integers=on_integers)
        layer = dataclasses.replace(layer, outputs=grids)
        if in_float:
            # nothing rounds an island's result before an integer operator reads it
            rounded = layer.treatment is not Treatment.FLOAT
            outputs = self._shelved(self._wrapped(layer, results), rounded=rounded)
            return _Done(layer, outputs, measured.statistics)
        layer, outputs = self._integers(layer, results)
        return _Done(layer, outputs, measured.statistics)

    def _from_ranges(self, layer: QuantizedLayer, on_integers: bool) -> _Done | None:
        """Calibrate one node by the ranges of its outputs; None where one is not known.

        What comes out is real 0.0 everywhere: nothing that follows looks at more than the shape.
        Movers, and what makes shapes, run on these.
        """
        known, names = self.float_ranges, layer.node.outputs
        if layer.treatment is Treatment.RAW or isinstance(layer.op, MovingOp):
            return None
        if not all(name in known.ranges and name in known.shapes for name in names):
            return None
        measured = Measured(layer, known, estimates=False)
        measured.add([np.zeros(1) for _ in names])  # real numbers, whose ranges are known
        grids = self._output_grids(layer, measured, [(None,) * len(names)], on_integers=on_integers)
        layer = dataclasses.replace(layer, outputs=grids)
        (values,) = self._inputs(layer.node)
        arguments = layer.arguments(values)
        made: tuple[Value | None, ...]
        if isinstance(layer.op, MixingOp):
            operands = layer.on_grid(arguments)
            layer = dataclasses.replace(layer, input_grids=_grids(layer, operands))
            nothing = np.broadcast_to(np.float64(0), known.shapes[names[0]])
            made = (layer.finish(nothing, operands),)
        else:
            nothings = tuple(np.broadcast_to(np.float64(0), known.shapes[name]) for name in names)
            made = layer.wrap(nothings, arguments)
        outputs: list[list[Kept] | None] = [
            None if value is None else [in_memory(_at_zero(value))] for value in made
        ]
        return _Done(layer, outputs, {})

    def _deferred(self, layer: QuantizedLayer, measured: Measured) -> _Done | None:
        """Calibrate a float operator by the ends of its input alone; None where it takes all data.

        Its result is an ordered function of codes, of which nobody asks more than its range.
        """
        op = layer.op
        if not isinstance(op, FloatOp) or self.estimates or self.alone:
            return None
        if op.clips_outliers or layer.treatment is not Treatment.LOOKUP:
            return None
        for values in self._inputs(layer.node):
            origin = layer.deferred(layer.arguments(values))
            ends = None if origin is None else origin.extremes()
            if ends is None or not np.all(np.isfinite(ends)):
                return None
            measured.add([np.array(ends)])
        grids = self._output_grids(layer, measured, [(None,)], on_integers=True)
        layer = dataclasses.replace(layer, outputs=grids)
        made = (layer.run(values).results for values in self._inputs(layer.node))
        return _Done(layer, self._shelved(made), measured.statistics)

    def _check_rows(self, piece: int, results: tuple[AnyArray | None, ...]) -> None:
        """Raise MixedSamplesError when results do not have one row per sample of the piece."""
        for result in results:
            if result is not None and result.shape[:1] != (self.rows[piece],):
                raise MixedSamplesError

    def _put(self, value: Value) -> Kept:
        """Keep a value for later; data in one piece stay in memory."""
        return in_memory(value) if self.n_pieces == 1 else self.shelf.put(value)

    def _uncalibrated(
        self, node: Node, node_plan: NodePlan, key: str
    ) -> tuple[QuantizedLayer, bool]:
        """Return the layer before its outputs are known, and whether it reads tensors."""
        graph, config = self.graph, self.config
        variables = {n: p[0].get() for n in node.inputs if (p := self.pieces.get(n))}
        tensors = [name for name, value in variables.items() if isinstance(value, Tensor)]
        op_class, treatment = node_plan.op_class, node_plan.treatment
        raw_reals = any(
            isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in variables.values()
        )
        if issubclass(op_class, MixingOp | MovingOp) and (not tensors or raw_reals):
            op_class, treatment = IslandOp, Treatment.FLOAT if tensors else Treatment.RAW
        signed = any(self._goes_below_zero(name) for name in tensors)
        scheme = config.activations_of(node.name)
        options = scheme.options(auto_signed=signed, auto_symmetric=False)
        if op_class.uses_output_bits:
            options = dataclasses.replace(options, n_bits=config.output_bits)
        op = graph.fact(
            ("operator", node.name, op_class), lambda: op_class.from_node(node, graph.opsets)
        )
        if self.alone or config.conventions == "onnx":
            op = op.as_onnx()
        measures = self._input_measures(node, op_class)
        chosen = {i: found.range(scheme, options) for i, found in measures.items()}
        ranges = {i: stats for i, stats in chosen.items() if stats is not None}
        layer = QuantizedLayer(
            node=node,
            op=op,
            treatment=treatment,
            constants=layer_constants(
                graph, node, op, config.weights_of(node.name), memo=self.memo
            ),
            input_options=options,
            outputs=(None,) * len(node.outputs),
            is_graph_output=any(name in graph.output_names for name in node.outputs),
            input_ranges=ranges,
            input_measures=measures,
            key=key,
        )
        if isinstance(layer.op, MixingOp):
            for values in self._inputs(node):
                reals = real_values(layer.arguments(values))
                calibrated = layer.op.calibrated(*reals, output_bits=config.output_bits)
                layer = dataclasses.replace(layer, op=calibrated)
        return layer, bool(tensors)

    def _goes_below_zero(self, name: str) -> bool:
        known = self.float_ranges.ranges.get(name) if self.by_ranges else None
        if known is not None:
            return bool(known.rmin < 0)
        values = (kept.get() for kept in self.pieces[name])  # one at a time in memory
        tensors = (v for v in values if isinstance(v, Tensor) and 0 not in v.shape)
        return any(v.extremes()[0] < 0 for v in tensors)

    def _input_measures(self, node: Node, op_class: type) -> dict[int, InputMeasure]:
        """Return what the variable inputs of an integer operator were measured to hold."""
        if not issubclass(op_class, MixingOp):
            return {}
        measures = {}
        for i, name in enumerate(node.inputs):
            value = self.pieces[name][0].get() if name in self.pieces else None
            stats = value.quantizer.quant_stats if isinstance(value, Tensor) else None
            if stats is not None:
                measures[i] = InputMeasure(stats, self.measured.get(name))
        return measures

    def _output_grids(
        self,
        layer: QuantizedLayer,
        measured: Measured,
        results: Sequence[tuple[Kept | None, ...]],
        *,
        on_integers: bool,
    ) -> tuple[UniformQuantizer | None, ...]:
        """Return the grid of each output; raw results have none."""
        if layer.treatment is Treatment.RAW:
            return (None,) * len(layer.node.outputs)
        unsigned = QuantizationOptions(self.config.output_bits)
        options = unsigned
        scheme = self.config.activations_of(layer.name)
        if on_integers and scheme.signed is None and scheme.symmetric is None:
            signed = layer.input_options.is_signed
            options = dataclasses.replace(unsigned, is_signed=signed)
        if isinstance(layer.op, DynamicQuantizer):
            seen = measured.range_of(0, [part[0] for part in results])
            assert seen is not None
            return (layer.op.grid_of(np.array([seen.rmin, seen.rmax])),)
        if isinstance(layer.op, CarriedQuantizer):
            parameters = range(1, len(layer.node.inputs))
            carried = layer.op.quantizer([layer.constants.get(i) for i in parameters])
            if carried is not None and not carried.is_per_channel:
                return (carried,)
        if self.alone:  # real numbers on no grid
            return (None,) * len(layer.node.outputs)
        grids: list[UniformQuantizer | None] = []
        for i, _ in enumerate(layer.node.outputs):
            stats = measured.range_of(i, [part[i] for part in results])
            if stats is None:
                grids.append(None)
                continue
            params = UniformQuantizationParameters.from_stats(unsigned, stats)
            grids.append(UniformQuantizer(options, stats, params))
        return tuple(grids)

    def _wrapped(
        self, layer: QuantizedLayer, results: Sequence[tuple[Kept | None, ...]]
    ) -> Iterator[tuple[Value | None, ...]]:
        """Put float results, piece after piece, on their grids."""
        assert isinstance(layer.op, FloatOp)
        for values, kept in zip(self._inputs(layer.node), results, strict=True):
            arguments = layer.arguments(values)
            source = arguments[0] if arguments else None
            if layer.op.keeps_grid and isinstance(source, Tensor) and self._is_first(layer.node):
                # the reference calibrates it on the grid that an integer operator would read
                arguments = (source.requantized(layer.input_options), *arguments[1:])
            yield layer.wrap(_taken(kept), arguments)

    def _is_first(self, node: Node) -> bool:
        """Tell whether a node's first input is a model input."""
        return any(info.name == node.inputs[0] for info in self.graph.inputs)

    def _integers(
        self, layer: QuantizedLayer, results: Sequence[tuple[Kept | None, ...]]
    ) -> tuple[QuantizedLayer, list[list[Kept] | None]]:
        """Run a layer on integers; rounding learns how many bits to remove."""
        threshold = self.config.rounding_threshold_bits
        first = next(self._inputs(layer.node))
        run = layer.run(first)
        layer = dataclasses.replace(layer, input_grids=_grids(layer, run.operands))
        made: Iterable[tuple[Value | None, ...]]
        if self.n_pieces == 1:
            if threshold is not None:
                layer, run = layer.with_rounding(run, first, threshold)
            made = [run.results]
        else:
            if threshold is not None:
                layer = layer.with_rounding_of(lambda: self._inputs(layer.node), threshold)
            made = (layer.run(values).results for values in self._inputs(layer.node))
        if self.linear_only:
            made = (
                tuple(_with_values(output, real) for output, real in zip(outs, reals, strict=True))
                for outs, reals in zip(made, map(_taken, results), strict=True)
            )
            return layer, self._shelved(made, rounded=False)
        return layer, self._shelved(made)

    def _shelved(
        self, made: Iterable[tuple[Value | None, ...]], *, rounded: bool = True
    ) -> list[list[Kept] | None]:
        """Keep what the pieces made, by output; tensors with the values of their codes."""
        columns: list[list[Kept] | None] = []
        for outputs in made:
            columns = columns or [None if value is None else [] for value in outputs]
            for column, value in zip(columns, outputs, strict=True):
                if column is None or value is None:
                    continue
                if rounded and isinstance(value, Tensor):
                    # values on the grid; codes clip to the width the tensor is labelled with
                    value = regridded(value)
                column.append(self._put(value))
        return columns


@dataclasses.dataclass(frozen=True, slots=True)
class _Done:
    """A calibrated layer, its outputs' data by output and piece, and their statistics."""

    layer: QuantizedLayer
    outputs: list[list[Kept] | None]
    statistics: Mapping[str, TensorStatistics]


def _grids(
    layer: QuantizedLayer, operands: tuple[Value | None, ...]
) -> tuple[UniformQuantizer, ...]:
    """Return the grids on which a layer reads its variable inputs."""
    return tuple(
        operand.quantizer
        for i, operand in enumerate(operands)
        if isinstance(operand, Tensor) and i not in layer.constants
    )


def _at_zero(value: Value) -> Value:
    """Return a tensor of real 0.0, or the lowest value of a grid without it; no memory."""
    if not isinstance(value, Tensor):
        return value
    grid = value.quantizer
    zero = np.clip(np.ravel(np.asarray(grid.zero_point, dtype=np.float64))[0], grid.qmin, grid.qmax)
    codes = np.broadcast_to(np.float64(np.rint(zero)), value.shape)
    if grid.is_per_channel or np.ndim(grid.zero_point):
        return Tensor(grid, codes=codes)
    return OnGrid(grid, codes, (grid.qmin, grid.qmax))


def _size_of(done: _Done) -> int:
    """Return about how many bytes a calibrated layer keeps alive."""
    values = [kept.get() for column in done.outputs for kept in column or ()]
    values += [value for value in done.layer.constants.values() if isinstance(value, Tensor)]
    # a tensor's reals may not be computed yet, and will be with its readers
    return 4096 + sum(8 * math.prod(v.shape) if isinstance(v, Tensor) else v.nbytes for v in values)


def _taken(kept: tuple[Kept | None, ...]) -> tuple[AnyArray | None, ...]:
    """Return what was kept and drop it."""
    found = tuple(None if k is None else k.get() for k in kept)
    for k in kept:
        if k is not None:
            k.drop()
    return found  # type: ignore[return-value]


def _with_values(output: Value | None, real: AnyArray | None) -> Value | None:
    """Return a tensor with other values on its grid."""
    if isinstance(output, Tensor) and real is not None:
        return Tensor(output.quantizer, values=real)
    return output
