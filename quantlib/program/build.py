"""From a calibrated module's layers to an integer program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.errors import OptionsError
from quantlib.ops.base import MixingOp, MovingOp, Treatment
from quantlib.ops.movers import Concat, common_grid
from quantlib.program import steps
from quantlib.program.mixing import mixed
from quantlib.program.moves import index_map
from quantlib.program.program import IntegerProgram
from quantlib.program.segments import Refused, Segment, Source, is_elementwise, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantlib.arrays import AnyArray, Codes, IntArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.graph.model import Graph

PROBED = 2
"""Samples that are run to learn shapes, and that samples do not mix."""


def build_program(
    graph: Graph,
    layers: Sequence[QuantizedLayer],
    inputs: Sequence[UniformQuantizer | None],
    samples: Sequence[AnyArray],
) -> IntegerProgram:
    """Write a quantized module down as integers.

    Parameters
    ----------
    graph : Graph
        The model.
    layers : sequence of QuantizedLayer
        Calibrated, in topological order.
    inputs : sequence of UniformQuantizer or None
        Grid of each model input.
    samples : sequence of arrays
        Codes of at least two samples, one array per input; they tell shapes.

    Raises
    ------
    OptionsError
        The model takes integers, mixes samples, or has an output that depends on no input; the
        message names the place.
    """
    for info, grid in zip(graph.inputs, inputs, strict=True):
        if grid is None:
            raise OptionsError(
                f"input {info.name!r} holds integers ({info.dtype}), which are not quantized; an "
                "integer program takes codes of real inputs. Make the input real."
            )
    _check_samples(graph)
    return _Builder(graph, layers, inputs, samples).program()


def _check_samples(graph: Graph) -> None:
    """Raise OptionsError unless each sample can be computed by itself, along axis 0."""
    batch = graph.batch
    if batch.mixes or (batch.size or 1) > 1:
        raise OptionsError(
            f"{batch.words} An integer program computes each sample by itself; export the model "
            "with a free batch axis, along which nothing is combined."
        )
    for name in (*(info.name for info in graph.inputs), *graph.output_names):
        axis = batch.axis_of(name)
        if axis != 0:
            where = "has no samples" if axis is None else f"numbers its samples along axis {axis}"
            raise OptionsError(
                f"{name!r} {where}; an integer program takes and gives samples along axis 0. Move "
                "the axis, or make the input a constant."
            )


class Probe:
    """What every layer did on one sample, and on two where a call takes several."""

    def __init__(
        self,
        graph: Graph,
        layers: Sequence[QuantizedLayer],
        inputs: Sequence[UniformQuantizer | None],
        samples: Sequence[AnyArray],
    ) -> None:
        self.runs: list[dict[str, LayerRun]] = []
        self.values: list[dict[str, Value]] = []
        for count in (1,) if graph.batch.size == 1 else (1, PROBED):
            values: dict[str, Value] = dict(graph.constants)
            for info, grid, codes in zip(graph.inputs, inputs, samples, strict=True):
                assert grid is not None
                values[info.name] = Tensor(grid, codes=codes[:count])
            runs: dict[str, LayerRun] = {}
            for layer in layers:
                run = layer.run(values)
                runs[layer.name] = run
                named = zip(layer.node.outputs, run.results, strict=True)
                values.update((name, value) for name, value in named if value is not None)
            self.runs.append(runs)
            self.values.append(values)

    def sample_shape(self, arrays: Sequence[Any], layer: QuantizedLayer) -> tuple[int, ...]:
        """Return the shape of one sample, given a tensor of each run."""
        shapes = [tuple(array.shape) for array in arrays]
        if any(shape != (count, *shapes[0][1:]) for count, shape in enumerate(shapes, start=1)):
            raise mixes_samples(layer)
        return shapes[0][1:]


def mixes_samples(layer: QuantizedLayer) -> OptionsError:
    """Return the error for a layer whose samples depend on each other."""
    return OptionsError(
        f"layer {layer.name!r} ({layer.node.op_type}) joins samples of a batch or moves their "
        "axis; an integer program computes each sample by itself. Keep samples along axis 0."
    )


class _Builder:
    """The steps so far, and what each tensor of the graph is made of."""

    def __init__(
        self,
        graph: Graph,
        layers: Sequence[QuantizedLayer],
        inputs: Sequence[UniformQuantizer | None],
        samples: Sequence[AnyArray],
    ) -> None:
        self.graph, self.layers = graph, layers
        self.probe = Probe(graph, layers, inputs, samples)
        self.steps: list[steps.Step] = []
        self.taken: set[str] = set()
        self.sources: dict[str, Source] = {}
        self.made_of: dict[str, frozenset[str]] = {}
        self.floats: dict[str, QuantizedLayer] = {}
        self.islands: dict[str, QuantizedLayer | None] = {}
        self.raw: dict[str, AnyArray] = {}
        self.reads: dict[tuple[Any, ...], str] = {}
        for info, grid, codes in zip(graph.inputs, inputs, samples, strict=True):
            assert grid is not None
            self._add_input(info.name, info.dtype, grid, codes.shape[1:])

    def program(self) -> IntegerProgram:
        """Visit all layers and outputs."""
        for layer in self.layers:
            if isinstance(layer.op, MixingOp):
                self._mix(layer)
            elif isinstance(layer.op, MovingOp):
                self._move(layer)
            else:
                self._float(layer)
        outputs = tuple(self._output(info.name) for info in self.graph.outputs)
        needed = {output.source for output in outputs}
        kept = []
        for step in reversed(self.steps):
            if step.name in needed or isinstance(step, steps.Input):
                kept.append(step)
                needed.update(step.sources)
        return IntegerProgram(self.graph.name, tuple(reversed(kept)), outputs)

    def add(self, kind: type[Any], name: str, **members: Any) -> str:
        """Append a step; return its tensor's name, made unique."""
        unique, count = name, 1
        while unique in self.taken:
            count += 1
            unique = f"{name}#{count}"
        self.taken.add(unique)
        self.steps.append(kind(name=unique, **members))
        return unique

    def step(self, name: str) -> steps.Step:
        """Return the step that makes a tensor."""
        return next(step for step in reversed(self.steps) if step.name == name)

    def _add_input(
        self, name: str, dtype: str, grid: UniformQuantizer, shape: tuple[int, ...]
    ) -> None:
        tensor = self.add(
            steps.Input, name, layer=name, shape=shape, low=grid.qmin, high=grid.qmax,
            input_name=name, scale=float(np.asarray(grid.scale)),
            zero_point=int(np.asarray(grid.zero_point)), float_dtype=dtype,
            rounding=str(grid.rounding),
        )  # fmt: skip
        self._source(name, tensor, lambda codes: Tensor(grid, codes=codes), on_grid=True)

    def _source(
        self, name: str, tensor: str, value: Callable[[IntArray], Value], *, on_grid: bool
    ) -> None:
        step = self.step(tensor)
        self.sources[name] = Source(tensor, name, step.shape, step.low, step.high, value, on_grid)
        self.made_of[name] = frozenset([name])
        self.islands[name] = None

    # -- layers ---------------------------------------------------------------------------------

    def _float(self, layer: QuantizedLayer) -> None:
        """Note what a float operator reads; it is run inside its readers' segments."""
        of_inputs = [name for _, name in layer.variables if name in self.made_of]
        made_of = frozenset().union(*(self.made_of[name] for name in of_inputs))
        for name, value in zip(
            layer.node.outputs, self.probe.runs[0][layer.name].results, strict=True
        ):
            if not name or value is None:
                continue
            if layer.treatment is Treatment.RAW or not made_of:
                self.raw[name] = (
                    np.asarray(value) if not isinstance(value, Tensor) else value.values
                )
                continue
            inner = next((self.islands[n] for n in of_inputs if self.islands[n]), None)
            mixes = len(made_of) > 1 or not is_elementwise(layer)
            self.made_of[name] = made_of
            self.floats[name] = layer
            self.islands[name] = inner or (layer if mixes else None)

    def _mix(self, layer: QuantizedLayer) -> None:
        """Add the steps of an integer operator."""
        probed = [runs[layer.name] for runs in self.probe.runs]
        shape = self.probe.sample_shape([run.accumulator for run in probed], layer)
        tensor = mixed(self, layer, probed[0].operands, shape)
        at_zero = tuple(
            _at_zero(operand)
            if isinstance(operand, Tensor) and i not in layer.constants
            else operand
            for i, operand in enumerate(probed[0].operands)
        )
        name = layer.node.outputs[0]
        if layer.leaving_params(probed[0].operands) is not None:
            self._source(name, tensor, lambda a: layer.finish(a, at_zero), on_grid=True)
            return
        assert isinstance(layer.op, MixingOp)
        source = at_zero[0]
        kept = (
            layer.op.keeps_operand_grid
            and isinstance(source, Tensor)
            and source.quantizer.is_carried
        )
        lsbs = layer.lsbs_to_remove
        if not lsbs or kept:
            self._source(name, tensor, lambda a: layer.finish(a, at_zero), on_grid=kept)
            return
        offset = int(np.max(layer.op.rounding_offset(*at_zero)))
        made = self.step(tensor)
        low, high = ((end + offset + 2 ** (lsbs - 1)) >> lsbs for end in (made.low, made.high))
        rounded = self.add(
            steps.Round, f"{name}:rounded", layer=layer.name, shape=made.shape, low=low, high=high,
            source=tensor, lsbs=lsbs, offset=offset,
        )  # fmt: skip
        self._source(
            name,
            rounded,
            lambda r: layer.finish((r << lsbs) - offset, at_zero),
            on_grid=False,
        )

    def _move(self, layer: QuantizedLayer) -> None:
        """Add the one move that a mover is."""
        op = layer.op
        assert isinstance(op, MovingOp)
        operands = [run[layer.name].operands for run in self.probe.runs]
        tensors = [i for i, operand in enumerate(operands[0]) if isinstance(operand, Tensor)]
        parts, grids = {}, {}
        joins = isinstance(op, Concat)
        for i in tensors:
            operand = operands[0][i]
            assert isinstance(operand, Tensor)
            grids[i] = operand
        joined = common_grid([_at_zero(grids[i]) for i in tensors]) if joins else None
        for place, i in enumerate(tensors):
            if i in layer.constants:
                continue
            parts[i] = self.operand(
                layer, i, term=self._joining(tensors, grids, place) if joins else None,
                key=("concat", layer.name) if joins else (),
            )  # fmt: skip
        for i in parts:
            self.probe.sample_shape([o[i] for o in operands], layer)
        result = index_map(layer, operands, list(parts), joined)
        if result is None:
            raise mixes_samples(layer)
        index, fill = result
        name = layer.node.outputs[0]
        tensor = self.move(name, layer, tuple(parts.values()), index, fill)
        output = self.probe.runs[0][layer.name].results[0]
        assert isinstance(output, Tensor)
        grid = output.quantizer
        self._source(name, tensor, lambda codes: Tensor(grid, codes=codes), on_grid=True)

    @staticmethod
    def _joining(
        tensors: list[int], grids: Mapping[int, Tensor], place: int
    ) -> Callable[[Tensor], Codes]:
        """Return what brings one input of a Concat to the grid of all."""

        def term(value: Tensor) -> Codes:
            others = [_at_zero(grids[i]) for i in tensors]
            others[place] = value
            return common_grid(others)[place].codes

        return term

    def move(
        self,
        name: str,
        layer: QuantizedLayer,
        parts: tuple[str, ...],
        index: IntArray,
        fill: IntArray | int = 0,
    ) -> str:
        """Add a move; its bounds are the parts' and the constants'."""
        made = [self.step(part) for part in parts]
        fill = np.asarray(fill, dtype=np.int64)
        constants = np.broadcast_to(fill, index.shape)[index < 0]
        used = [int(constants.min()), int(constants.max())] if constants.size else []
        return self.add(
            steps.Move, name, layer=layer.name, shape=index.shape,
            low=min([s.low for s in made] + used), high=max([s.high for s in made] + used),
            parts=parts, index=index, fill=fill,
        )  # fmt: skip

    # -- reading --------------------------------------------------------------------------------

    def operand(
        self,
        layer: QuantizedLayer,
        position: int,
        *,
        term: Callable[[Tensor], Codes] | None = None,
        key: tuple[Any, ...] = (),
    ) -> str:
        """Return the tensor with a layer's operand in integers.

        Parameters
        ----------
        layer : QuantizedLayer
            Who reads.
        position : int
            Which of its inputs.
        term : callable, optional
            What the operator makes of the tensor on its grid before it combines it; its codes.
        key : tuple
            Tells `term` from others.
        """
        options, stats = layer.input_options, layer.input_ranges.get(position)

        def codes(value: Tensor) -> Codes:
            on_grid = value.requantized(options, stats)
            return on_grid.codes if term is None else term(on_grid)

        ends = () if stats is None else (float(stats.rmin), float(stats.rmax))
        name = layer.node.inputs[position]
        return self._read(name, layer.name, codes, (repr(options), ends, *key))

    def _read(
        self,
        name: str,
        reader: str,
        codes: Callable[[Tensor], Codes],
        key: tuple[Any, ...],
    ) -> str:
        """Return the tensor with what a reader makes of a tensor of the graph."""
        if (name, *key) in self.reads:
            return self.reads[(name, *key)]
        if name not in self.made_of:
            raise OptionsError(
                f"{reader!r} reads {name!r}, which depends on no input or holds no real numbers; "
                "fold it into a constant."
            )
        inside = self._inside(name)
        raw = {n: self.raw[n] for layer in inside for n in layer.node.inputs if n in self.raw}
        sources = tuple(self.sources[n] for n in sorted(self.made_of[name]))
        segment = Segment(sources, inside, raw, name, codes)
        tensor = self._segment(segment, reader)
        self.reads[(name, *key)] = tensor
        return tensor

    def _inside(self, name: str) -> tuple[QuantizedLayer, ...]:
        """Return the float layers between a tensor and its sources, in order."""
        wanted, todo = set(), [name]
        while todo:
            layer = self.floats.get(todo.pop())
            if layer is not None and layer.name not in wanted:
                wanted.add(layer.name)
                todo.extend(n for _, n in layer.variables)
        return tuple(layer for layer in self.layers if layer.name in wanted)

    def _segment(self, segment: Segment, reader: str) -> str:
        """Add the table, or the island, of a segment."""
        source = segment.sources[0]
        island = self.islands[segment.name]
        title = f"{segment.name}@{reader}"
        if island is not None:
            refused = Refused(
                f"{island.node.op_type} computes each value from several",
                "take it out of the model, or run it in float outside the integer program",
            )
            return self._island(segment, reader, title, island.name, island.node.op_type, refused)
        zeros = np.zeros((1, *source.shape), dtype=np.int64) + source.low
        shape = segment(zeros).shape[1:]
        tensor, step = source.tensor, self.step(source.tensor)
        if shape != source.shape:
            if len(shape) != len(source.shape):
                raise mixes_samples(segment.layers[-1])
            numbers = np.arange(int(np.prod(source.shape, dtype=np.int64)))
            index = np.broadcast_to(numbers.reshape(source.shape), shape)
            tensor = self.move(f"{title}:widened", segment.layers[-1], (tensor,), index.copy())
        found = tables_of(segment, shape, source.low, source.high)
        if isinstance(found, Refused):
            last = segment.layers[-1] if segment.layers else None
            layer = last.name if last else step.layer
            op_type = last.node.op_type if last else "requantization"
            return self._island(segment, reader, title, layer, op_type, found)
        (first, *others) = found.staircases
        integers = first.values[1:]
        same = not others and np.array_equal(first.thresholds, integers)
        if (
            same
            and int(first.values[0]) == source.low
            and len(first.values) == (source.high - source.low + 1)
        ):
            return tensor
        return self.add(
            steps.Table, title, layer=step.layer, shape=shape,
            low=min(int(s.values.min()) for s in found.staircases),
            high=max(int(s.values.max()) for s in found.staircases),
            source=tensor, reader=reader, through=tuple(item.name for item in segment.layers),
            axes=found.axes, rows=found.rows, staircases=found.staircases,
            source_low=source.low, source_high=source.high,
        )  # fmt: skip

    def _island(
        self, segment: Segment, reader: str, title: str, layer: str, op_type: str, why: Refused
    ) -> str:
        """Add a float island; its codes are bounded by the reader's grid, or as seen."""
        zeros = [np.full((1, *s.shape), s.low, dtype=np.int64) for s in segment.sources]
        shape = segment(*zeros).shape[1:]
        ends = segment.codes
        low, high = _ends_of(ends, self.probe.values[0][segment.name])
        return self.add(
            steps.Island, title, layer=layer, shape=shape, low=low, high=high,
            parts=tuple(s.tensor for s in segment.sources), function=segment, reader=reader,
            op_type=op_type, reason=why.reason, remedy=why.remedy,
        )  # fmt: skip

    def _output(self, name: str) -> steps.Output:
        """Return a model output and add what leads to it."""
        value = self.probe.values[0].get(name)
        if not isinstance(value, Tensor) or name not in self.made_of:
            raise OptionsError(
                f"output {name!r} holds no quantized real numbers; an integer program gives codes. "
                "Take it out of the outputs."
            )
        source = self.sources.get(name)
        if source is not None and source.on_grid:
            tensor = source.tensor
        else:
            tensor = self._read(name, name, lambda v: v.codes, ("output",))
        grid = value.quantizer
        return steps.Output(name, tensor, grid.scale, grid.zero_point)


def _ends_of(codes: Callable[[Tensor], Codes], value: Value) -> tuple[int, int]:
    """Return the lowest and the highest code that any real number has."""
    assert isinstance(value, Tensor)
    # finite, beyond every range of float32 data, and down to 0: an inverse is furthest there
    far = np.finfo(np.float32).max * 2.0 ** -np.arange(278)
    made = np.asarray(codes(Tensor(value.quantizer, values=np.concatenate([-far, [0.0], far]))))
    return int(made.min()), int(made.max())


def _at_zero(x: Tensor) -> Tensor:
    """Return a tensor of one sample whose codes all stand for 0.0."""
    code = int(np.ravel(np.asarray(x.quantizer.zero_point))[0])
    return Tensor(x.quantizer, codes=np.broadcast_to(np.int64(code), (1, *x.shape[1:])))
