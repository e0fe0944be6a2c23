"""What a calibrated module's integer operators read, found without running data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.sizes import Observed, Probe, Sizes, inferred_sizes, probe
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.tensor import Tensor
from quantlib.execution.calls import rows_together
from quantlib.execution.input_grids import deciding_reader
from quantlib.execution.layer import real_values
from quantlib.execution.treatments import plan
from quantlib.ops.base import FloatOp, MixingOp, MovingOp
from quantlib.ops.movers import Concat, common_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.execution.layer import QuantizedLayer, Value
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule

_ANYTHING = np.array([-np.inf, np.inf])


@dataclass(frozen=True, slots=True, eq=False)
class TableRead:
    """A table look-up that a reader puts between an integer tensor and itself.

    Parameters
    ----------
    source : str
        The integer tensor whose elements enter the table: a graph input, an accumulator, or what
        a mover made.
    elements : int
        How many elements one sample has there.
    codes : (int, int) or None
        Smallest and largest of them; None for an accumulator, whose bounds tell.
    """

    source: str
    elements: int
    codes: tuple[int, int] | None


@dataclass(frozen=True, slots=True, eq=False)
class LayerFacts:
    """An integer operator and all that its inputs can be.

    Parameters
    ----------
    layer : QuantizedLayer
        The operator, calibrated.
    graph, config
        The model and the configuration it belongs to.
    arguments : tuple of Tensor, array or None
        Its inputs by position as they arrive, in the form of `operands`.
    operands : tuple of Tensor, array or None
        Its inputs by position on the grids it reads them on: constants as they are; for a
        variable input a tensor of shape (2,) with the smallest and the largest code that can
        arrive.
    shapes : tuple of Sizes
        Shape of each operand; ``()`` for one left out.
    output_shape : Sizes
        Shape of the accumulator.
    rows : int
        Samples that an axis of unknown size is taken to hold.
    decides : frozenset of int
        Positions of the model inputs whose grid is the layer's: at another width of the layer
        they enter the model on another grid.
    """

    layer: QuantizedLayer
    graph: Graph
    config: QuantizationConfig
    arguments: tuple[Value | None, ...]
    operands: tuple[Value | None, ...]
    shapes: tuple[Sizes, ...]
    output_shape: Sizes
    rows: int
    decides: frozenset[int] = frozenset()

    @property
    def op(self) -> MixingOp:
        """What the layer computes."""
        assert isinstance(self.layer.op, MixingOp)
        return self.layer.op

    @property
    def channels(self) -> int:
        """How many output channels there are; 1 when their number is that of the samples."""
        axis = self.layer.channel_axis(len(self.output_shape))
        return 1 if axis is None else self.output_shape[axis] or 1

    @property
    def leaves(self) -> bool:
        """Whether the accumulator itself is a graph output; no table look-up reads it."""
        return self.layer.leaving_params(self.at_zero()) is not None

    def at_zero(self) -> tuple[Value | None, ...]:
        """Return the operands with variable ones at their zero point, as one sample has them."""
        made = list(self.operands)
        for i, tensor in self.variables():
            shape = tuple(size or 1 for size in self.shapes[i])
            zero_point = np.ravel(tensor.quantizer.zero_point)[0]
            made[i] = Tensor(tensor.quantizer, codes=np.broadcast_to(np.int64(zero_point), shape))
        return tuple(made)

    def with_operands(self, operands: Mapping[int, Tensor]) -> LayerFacts:
        """Return the facts with other tensors at some positions."""
        changed = tuple(operands.get(i, operand) for i, operand in enumerate(self.operands))
        return dataclasses.replace(self, operands=changed)

    def variables(self) -> tuple[tuple[int, Tensor], ...]:
        """Return position and tensor of each variable input on a grid."""
        return tuple(
            (i, operand)
            for i, operand in enumerate(self.operands)
            if isinstance(operand, Tensor) and i not in self.layer.constants
        )


def _reals(
    layer: QuantizedLayer, arguments: tuple[Value | None, ...]
) -> tuple[AnyArray | None, ...]:
    """Return what a float operator can make: anything, which its output's grid clips.

    A grid that does not clip (QONNX's Trunc) takes what the codes before it make.
    """
    grid, source = layer.outputs[0], arguments[0] if arguments else None
    if grid is None or not grid.no_clipping or not isinstance(source, Tensor):
        return (_ANYTHING,) * len(layer.node.outputs)
    rest = real_values(arguments[1:])
    return layer.op.float_results(source.rounded().values, *rest)


def layer_facts(module: QuantizedModule) -> tuple[LayerFacts, ...]:
    """Return what each integer operator of a module can read, in topological order.

    Notes
    -----
    The smallest and the largest code of every tensor are walked through the graph by the
    module's own requantization, which is monotone. What a float operator returns may be any
    real number, so its reader can see its whole grid. Tensors are taken to be independent of
    each other. An axis of free size is taken as long as in the calibration data. An axis that
    grows with the number of samples, where a sum or product runs over it, is taken to hold the
    calibration data or one batch, whichever is more.
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
        self.rows = rows_together(graph, module.calibration)
        self.probed: Probe | None = None
        self.accumulators: set[str] = set()
        self.sources = {info.name: frozenset([info.name]) for info in graph.inputs}
        for node, decided in zip(
            graph.nodes, plan(graph, quantize_rest=module.config.quantize_rest), strict=True
        ):
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
            results = layer.wrap(_reals(layer, arguments), arguments)
        else:
            operands = layer.on_grid(arguments)
            self._note_tables(layer, arguments, operands)
            if isinstance(layer.op, MovingOp):
                results = (_moved(layer, arguments, operands),)
                self.coded.add(layer.node.outputs[0])
            else:
                results = (self._mixed(layer, arguments, operands),)
        named = zip(layer.node.outputs, results, strict=True)
        self.values.update((name, value) for name, value in named if value is not None)

    def leave(self, name: str) -> None:
        """Note the table that a graph output comes from, if it does."""
        value = self.values.get(name)
        if isinstance(value, Tensor) and name not in self.coded:
            self._note(name, ("output",))

    def _mixed(
        self,
        layer: QuantizedLayer,
        arguments: tuple[Value | None, ...],
        operands: tuple[Value | None, ...],
    ) -> Value:
        """Keep the facts of an integer operator; return what its output can be."""
        op, grid, name = layer.op, layer.outputs[0], layer.node.outputs[0]
        assert isinstance(op, MixingOp)
        seen = self._shapes(layer)
        known = tuple(o if r is None else r for r, o in zip(seen.raw, operands, strict=True))
        facts = LayerFacts(
            layer=layer,
            graph=self.module.graph,
            config=self.module.config,
            arguments=arguments,
            operands=known,
            shapes=seen.operands,
            output_shape=seen.accumulator,
            rows=self.rows,
            decides=self._decided(layer),
        )
        self.facts.append(facts)
        self.accumulators.add(name)
        source = operands[0]
        if op.keeps_operand_grid and isinstance(source, Tensor) and source.quantizer.is_carried:
            self.coded.add(name)
            return source.with_codes(_with_padding(source))
        if not facts.leaves:
            return _ANYTHING if grid is None else Tensor(grid, values=_ANYTHING)
        if grid is None:  # nobody but a float operator reads it
            return _ANYTHING
        self.coded.add(name)
        # whoever reads an accumulator puts it on a new grid
        params = UniformQuantizationParameters(np.float64(1.0), np.zeros(1), 0)
        return Tensor(dataclasses.replace(grid, quant_params=params), values=_ANYTHING)

    def _decided(self, layer: QuantizedLayer) -> frozenset[int]:
        """Return the positions of the model inputs that take the layer's grid."""
        names = {info.name for info in self.module.graph.inputs}
        return frozenset(
            i
            for i, name in enumerate(layer.node.inputs)
            if name in names and deciding_reader(name, self.module.layers, self.sources) is layer
        )

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
            if isinstance(layer.op, MixingOp) and layer.op.rescales(i):
                self._note(name, (layer.name, i))
            elif name not in self.coded or used.quantizer is not given.quantizer:
                options = dataclasses.astuple(layer.input_options)
                self._note(name, options)

    def _note(self, name: str, grid: tuple[object, ...]) -> None:
        """Note a table; readers of one tensor on one grid share it."""
        for source in self.sources.get(name, ()):
            value = self.values.get(source)
            codes = None
            if isinstance(value, Tensor) and source not in self.accumulators:
                codes = int(value.codes.min()), int(value.codes.max())
            sizes = self._size_of(source)
            elements = int(np.prod([size or 1 for size in sizes], dtype=np.int64))
            self.tables.setdefault((name, *grid), TableRead(source, elements, codes))

    def _size_of(self, name: str) -> Sizes:
        """Return the shape of a tensor, by inference or a run."""
        found = inferred_sizes(self.module.graph.shapes, name)
        return self._probe().tensors[name] if found is None else found

    def _shapes(self, layer: QuantizedLayer) -> Observed:
        """Return shapes of operands and accumulator, and operands known only when run."""
        node, constants = layer.node, layer.constants
        operands: list[Sizes] = []
        for i, name in enumerate(node.inputs):
            if not name:
                operands.append(())
            elif i in constants:
                operands.append(tuple(constants[i].shape))
            elif isinstance(self.values[name], Tensor):
                operands.append(self._size_of(name))
            else:
                return self._probe().layers[layer.name]
        output = self._size_of(node.outputs[0])
        return Observed(tuple(operands), output, (None,) * len(operands))

    def _probe(self) -> Probe:
        """Run one sample and two; sizes that differ grow with the number of samples."""
        if self.probed is None:
            self.probed = probe(self.module)
        return self.probed


def _with_padding(x: Tensor) -> AnyArray:
    """Return the extreme codes of what is selected from a tensor and its zero point."""
    codes = np.append(x.codes, np.ravel(x.quantizer.zero_point)[0])
    return np.array([codes.min(), codes.max()])


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
