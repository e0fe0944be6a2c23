"""What a calibrated module's integer operators read, found without running data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.tensor import Tensor
from quantlib.execution.float_run import BATCH
from quantlib.execution.treatments import plan
from quantlib.ops.base import FloatOp, MixingOp, MovingOp
from quantlib.ops.linear import Gemm
from quantlib.ops.movers import Concat, common_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.execution.layer import LayerRun, QuantizedLayer, Value
    from quantlib.quantized_module import QuantizedModule

Sizes: TypeAlias = "tuple[int | None, ...]"
"""A shape; None for an axis that grows with the number of samples."""

_ANYTHING = np.array([-np.inf, np.inf])


@dataclass(frozen=True, slots=True, eq=False)
class TableRead:
    """A tensor that a layer reads through a table look-up.

    Parameters
    ----------
    source : str
        The integer tensor whose elements enter the table.
    tensor, grid : str, tuple
        What the table returns: the values of this tensor on this grid. Equal pairs share a
        table.
    """

    source: str
    tensor: str
    grid: tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LayerFacts:
    """An integer operator and all that its inputs can be.

    Parameters
    ----------
    layer : QuantizedLayer
        The operator, calibrated.
    operands : tuple of Tensor, array or None
        Its inputs by position: constants as they are; for a variable input a tensor of shape
        (2,) with the smallest and the largest code that can arrive.
    shapes : tuple of Sizes
        Shape of each operand; ``()`` for one left out.
    output_shape : Sizes
        Shape of the accumulator.
    rows : int
        Samples that an axis of unknown size is taken to hold.
    """

    layer: QuantizedLayer
    operands: tuple[Value | None, ...]
    shapes: tuple[Sizes, ...]
    output_shape: Sizes
    rows: int

    @property
    def op(self) -> MixingOp:
        """What the layer computes."""
        assert isinstance(self.layer.op, MixingOp)
        return self.layer.op

    @property
    def channels(self) -> int:
        """How many output channels there are; 1 when their number is that of the samples."""
        axis = channel_axis(self.layer, len(self.output_shape))
        return 1 if axis is None else self.output_shape[axis] or 1

    def variables(self) -> tuple[tuple[int, Tensor], ...]:
        """Return position and tensor of each variable input on a grid."""
        return tuple(
            (i, operand)
            for i, operand in enumerate(self.operands)
            if isinstance(operand, Tensor) and i not in self.layer.constants
        )


def channel_axis(layer: QuantizedLayer, ndim: int) -> int | None:
    """Return the axis of output channels in an accumulator with `ndim` axes.

    The last axis of a matrix product (the one before it, if the first factor is the constant),
    axis 1 of all else; None when there is no such axis.
    """
    if isinstance(layer.op, Gemm):
        return -2 if 0 in layer.constants else -1
    return 1 if ndim > 1 else None


def layer_facts(module: QuantizedModule) -> tuple[LayerFacts, ...]:
    """Return what each integer operator of a module can read, in topological order.

    Notes
    -----
    The smallest and the largest code of every tensor are walked through the graph by the
    module's own requantization, which is monotone. What a float operator returns may be any
    real number, so its reader can see its whole grid. Tensors are taken to be independent of
    each other. An axis that grows with the number of samples, where a sum or product runs over
    it, is taken to hold the calibration data or one batch, whichever is more.
    """
    return walk(module)[0]


def walk(module: QuantizedModule) -> tuple[tuple[LayerFacts, ...], tuple[TableRead, ...]]:
    """Return the facts of the integer operators and every table look-up of the graph."""
    state = _Walk(module)
    for layer in module.layers:
        state.visit(layer)
    for name in module.graph.output_names:
        state.leave(name)
    return tuple(state.facts), tuple(state.tables.values())


class _Walk:
    """The extreme codes of each tensor while the layers are visited."""

    def __init__(self, module: QuantizedModule) -> None:
        graph = module.graph
        self.module = module
        self.facts: list[LayerFacts] = []
        self.tables: dict[tuple[object, ...], TableRead] = {}
        self.values: dict[str, Value] = {}
        self.rows = max(BATCH, len(module.calibration[0]))
        self.probed: dict[str, tuple[tuple[Sizes, ...], Sizes, tuple[object, ...]]] = {}
        self.sources = {info.name: frozenset([info.name]) for info in graph.inputs}
        for node, decided in zip(graph.nodes, plan(graph), strict=True):
            self.sources.update(dict.fromkeys(node.outputs, decided.sources))
        for info, grid in zip(graph.inputs, module.inputs, strict=True):
            self.values[info.name] = (
                _ANYTHING if grid is None else Tensor(grid, codes=np.array([grid.qmin, grid.qmax]))
            )
        self.coded = {info.name for info in graph.inputs}

    def visit(self, layer: QuantizedLayer) -> None:
        """Note what a layer reads and leave the extremes of what it makes."""
        arguments = layer.arguments(self.values)
        results: tuple[Value | None, ...]
        if isinstance(layer.op, FloatOp):
            results = layer.wrap((_ANYTHING,) * len(layer.node.outputs), arguments)
        else:
            operands = layer.on_grid(arguments)
            self._note_tables(layer, arguments, operands)
            if isinstance(layer.op, MovingOp):
                results = (_moved(layer, arguments, operands),)
                self.coded.add(layer.node.outputs[0])
            else:
                results = (self._mixed(layer, operands),)
        named = zip(layer.node.outputs, results, strict=True)
        self.values.update((name, value) for name, value in named if value is not None)

    def leave(self, name: str) -> None:
        """Note the table that a graph output comes from, if it does."""
        value = self.values.get(name)
        if isinstance(value, Tensor) and name not in self.coded:
            self._note(name, ("output",))

    def _mixed(self, layer: QuantizedLayer, operands: tuple[Value | None, ...]) -> Value:
        """Keep the facts of an integer operator; return what its output can be."""
        op, grid, name = layer.op, layer.outputs[0], layer.node.outputs[0]
        assert isinstance(op, MixingOp) and grid is not None
        shapes, output_shape, raw = self._shapes(layer)
        known = tuple(r if r is not None else o for r, o in zip(raw, operands, strict=True))
        facts = LayerFacts(layer, known, shapes, output_shape, self.rows)  # type: ignore[arg-type]
        self.facts.append(facts)
        if not layer.accumulator_leaves:
            return Tensor(grid, values=_ANYTHING)
        self.coded.add(name)
        # whoever reads an accumulator puts it on a new grid
        params = UniformQuantizationParameters(np.float64(1.0), np.zeros(1), 0)
        return Tensor(dataclasses.replace(grid, quant_params=params), values=_ANYTHING)

    def _note_tables(
        self,
        layer: QuantizedLayer,
        arguments: tuple[Value | None, ...],
        operands: tuple[Value | None, ...],
    ) -> None:
        """Note the tables through which a layer reads its variable inputs.

        Codes that are on the layer's grid already need none, except for operators that put
        their operands on a further, common scale.
        """
        for i, name in enumerate(layer.node.inputs):
            given, used = arguments[i], operands[i]
            if i in layer.constants or not (isinstance(given, Tensor) and isinstance(used, Tensor)):
                continue
            rescales = layer.node.op_type in ("Add", "Sub") or (layer.node.op_type == "Div" and i)
            if rescales:
                self._note(name, (layer.name, i))
            elif name not in self.coded or used.quantizer is not given.quantizer:
                options = dataclasses.astuple(layer.input_options)
                self._note(name, options)

    def _note(self, name: str, grid: tuple[object, ...]) -> None:
        for source in self.sources.get(name, ()):
            self.tables.setdefault((name, *grid), TableRead(source, name, grid))

    def _shapes(self, layer: QuantizedLayer) -> tuple[tuple[Sizes, ...], Sizes, tuple[object, ...]]:
        """Return shapes of operands and accumulator, and raw operands, by inference or a run."""
        node, constants = layer.node, layer.constants
        shapes: list[Sizes] = []
        for i, name in enumerate(node.inputs):
            value = constants.get(i)
            found = (
                np.shape(value.codes if isinstance(value, Tensor) else value)
                if (value is not None)
                else (_sizes(self.module.graph.shapes, name) if name else ())
            )
            raw = value is None and name and not isinstance(self.values.get(name), Tensor)
            if found is None or raw:
                return self._probe(layer)
            shapes.append(found)
        output = _sizes(self.module.graph.shapes, node.outputs[0])
        if output is None:
            return self._probe(layer)
        return tuple(shapes), output, (None,) * len(node.inputs)

    def _probe(self, layer: QuantizedLayer) -> tuple[tuple[Sizes, ...], Sizes, tuple[object, ...]]:
        """Run one sample and two; what differs grows with the number of samples."""
        if not self.probed:
            one, two = (_observed_shapes(self.module, count) for count in (1, 2))
            for name, (shapes, output, raw) in one.items():
                pairs = zip(shapes, two[name][0], strict=True)
                merged = tuple(_agreed(a, b) for a, b in pairs)
                self.probed[name] = (merged, _agreed(output, two[name][1]), raw)
        return self.probed[layer.name]


def _moved(
    layer: QuantizedLayer, arguments: tuple[Value | None, ...], operands: tuple[Value | None, ...]
) -> Tensor:
    """Return the extremes of what a mover makes: those of its input, and of what it fills in."""
    op, first = layer.op, operands[0]
    assert isinstance(op, MovingOp)
    if isinstance(op, Concat):
        joined = common_grid([item for item in operands if isinstance(item, Tensor)])
        codes = np.concatenate([np.ravel(item.codes) for item in joined])
        first = joined[0]
    else:
        assert isinstance(first, Tensor)
        codes = first.codes
        if layer.node.op_type == "Pad":
            filler = operands[2] if len(operands) > 2 else None
            value = float(np.ravel(filler)[0]) if isinstance(filler, np.ndarray) else 0.0
            zero_point = int(np.asarray(first.quantizer.zero_point))
            codes = np.append(codes, np.rint(value / first.quantizer.scale) + zero_point)
    moved = first.with_codes(np.array([codes.min(), codes.max()]))
    if op.keeps_incoming_bits and isinstance(arguments[0], Tensor):
        return moved.labelled(arguments[0].n_bits)
    return moved


def _sizes(shapes: Mapping[str, tuple[int | str | None, ...]], name: str) -> Sizes | None:
    """Return an inferred shape whose axes are all known but the samples', or None."""
    shape = shapes.get(name)
    if shape is None or not all(isinstance(size, int) for size in shape[1:]):
        return None
    return tuple(size if isinstance(size, int) else None for size in shape)


def _observed_shapes(
    module: QuantizedModule, count: int
) -> dict[str, tuple[tuple[Sizes, ...], Sizes, tuple[object, ...]]]:
    """Return each layer's shapes and raw operands on the first `count` samples."""
    found: dict[str, tuple[tuple[Sizes, ...], Sizes, tuple[object, ...]]] = {}

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        if run.accumulator is not None:
            shapes = tuple(() if o is None else tuple(o.shape) for o in run.operands)
            raw = tuple(o if isinstance(o, np.ndarray) else None for o in run.operands)
            found[layer.name] = (shapes, tuple(run.accumulator.shape), raw)

    module.run(
        *(np.resize(x[:count], (count, *x.shape[1:])) for x in module.calibration), observe=note
    )
    return found


def _agreed(one: Sizes, two: Sizes) -> Sizes:
    return tuple(a if a == b else None for a, b in zip(one, two, strict=True))


def grid_range(quantizer: UniformQuantizer, codes: AnyArray) -> tuple[int, int]:
    """Return the codes of a grid, and those beyond it that arrive nevertheless."""
    return (
        min(quantizer.qmin, int(codes.min())),
        max(quantizer.qmax, int(codes.max())),
    )
