"""What a calibrated module's integer operators read, found without running data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.sizes import Observed, Probe, Sizes, inferred_sizes, probe
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.execution.calls import rows_together
from quantlib.execution.input_grids import deciding_reader
from quantlib.execution.layer import real_values
from quantlib.execution.treatments import plan
from quantlib.ops.base import FloatOp, MixingOp, MovingOp
from quantlib.ops.movers import Concat, common_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule

_RESHAPERS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Movers that leave the order of the elements as it is."""

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
    readers : tuple of str
        The layers that read the same codes through it; empty for a graph output.
    """

    source: str
    elements: int
    codes: tuple[int, int] | None
    readers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """One layer's reading of one tensor, or a graph output's.

    Parameters
    ----------
    tensor : str
        What is read.
    reader : str
        The layer; empty for a graph output.
    grid : tuple
        What the table in between makes; empty where the codes are read as they are.
    """

    tensor: str
    reader: str
    grid: tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """A module's integer operators and tables.

    Parameters
    ----------
    facts : tuple of LayerFacts
        The integer operators, in topological order.
    tables : tuple of TableRead
        The table look-ups, in the order in which they are met.
    joined : tuple of tuple of str
        Layers that hold one tensor's codes in common without a table in between.
    moved_bits : mapping of str to int
        Width of the codes of each mover, by layer name.
    """

    facts: tuple[LayerFacts, ...]
    tables: tuple[TableRead, ...]
    joined: tuple[tuple[str, ...], ...]
    moved_bits: Mapping[str, int]


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
    def name(self) -> str:
        """The operator's name."""
        return self.layer.name

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
    return walk(module).facts


def walk(module: QuantizedModule) -> Walked:
    """Return the facts of the integer operators and every table look-up of the graph."""
    state = _Walk(module)
    for layer in module.layers:
        state.visit(layer)
    for name in module.graph.output_names:
        state.leave(name)
    return Walked(tuple(state.facts), state.tables(), state.joined(), state.moved_bits)


class _Walk:
    """The extreme codes of each tensor while the layers are visited."""

    def __init__(self, module: QuantizedModule) -> None:
        graph = module.graph
        self.module = module
        self.facts: list[LayerFacts] = []
        self.reads: list[_Read] = []
        self.reshaped: dict[str, str] = {}
        self.moved_bits: dict[str, int] = {}
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
                moved = _moved(layer, arguments, operands)
                results = (moved,)
                self.coded.add(layer.node.outputs[0])
                self.moved_bits[layer.name] = bit_width(*_ends(moved))
                if self._keeps_shape(layer):
                    self.reshaped[layer.node.outputs[0]] = layer.node.inputs[0]
            else:
                results = (self._mixed(layer, arguments, operands),)
        named = zip(layer.node.outputs, results, strict=True)
        self.values.update((name, value) for name, value in named if value is not None)

    def leave(self, name: str) -> None:
        """Note the table that a graph output comes from, if it does."""
        value = self.values.get(name)
        if isinstance(value, Tensor) and name not in self.coded:
            self.reads.append(_Read(name, "", ("output",)))

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
        their operands on a further, common scale, and products of two encrypted tensors, which
        copy their factors by a table each; behind a table that copy is part of it.
        """
        op = layer.op
        copies = isinstance(op, MixingOp) and op.copies_factors(layer.constants)
        for i, name in enumerate(layer.node.inputs):
            given, used = arguments[i], operands[i]
            if i in layer.constants or not (isinstance(given, Tensor) and isinstance(used, Tensor)):
                continue
            grid: tuple[object, ...] = ()
            if isinstance(op, MixingOp) and op.rescales(i):
                grid = (layer.name, i)
            elif name not in self.coded or used.quantizer is not given.quantizer:
                grid = (*dataclasses.astuple(layer.input_options), "copy" if copies else "")
            elif copies:
                grid = ("copy",)
            self.reads.append(_Read(name, layer.name, grid))

    def tables(self) -> tuple[TableRead, ...]:
        """Return the tables; readers of one tensor on one grid share one.

        A table behind a mover that moves nothing follows the table before it; where it is the
        only reader, the two are one.
        """
        found: dict[tuple[object, ...], list[_Read]] = {}
        for read in self.reads:
            if read.grid:
                found.setdefault((read.tensor, *read.grid), []).append(read)
        for moved, before in self.reshaped.items():
            behind = {key for key in found if key[0] == moved}
            direct = any(read.tensor == moved and not read.grid for read in self.reads)
            inner = [
                key
                for key, reads in found.items()
                if key[0] == before and any(moved in self._made_by(read) for read in reads)
            ]
            if len(behind) == 1 and not direct and len(inner) == 1 and len(found[inner[0]]) == 1:
                (outer,) = behind
                found[outer] = [dataclasses.replace(r, tensor=before) for r in found[outer]]
                del found[inner[0]]
        return tuple(table for reads in found.values() for table in self._tables_of(reads))

    def _made_by(self, read: _Read) -> tuple[str, ...]:
        """Return the tensors that the reading layer makes."""
        (made,) = [x.node.outputs for x in self.module.layers if x.name == read.reader] or [()]
        return made

    def _tables_of(self, reads: list[_Read]) -> Iterator[TableRead]:
        """Yield one table for each integer tensor that what is read is a function of."""
        readers = tuple(read.reader for read in reads if read.reader)
        for source in self.sources.get(reads[0].tensor, ()):
            value = self.values.get(source)
            codes = None
            if isinstance(value, Tensor) and source not in self.accumulators:
                codes = _ends(value)
            sizes = self._size_of(source)
            elements = int(np.prod([size or 1 for size in sizes], dtype=np.int64))
            yield TableRead(source, elements, codes, readers)

    def joined(self) -> tuple[tuple[str, ...], ...]:
        """Return the layers that hold one tensor's codes in common: its readers, and its mover."""
        groups: dict[str, list[str]] = {}
        for read in self.reads:
            if not read.grid:
                groups.setdefault(read.tensor, []).append(read.reader)
        for layer in self.module.layers:
            for name in layer.node.outputs:
                if name in groups and layer.name in self.moved_bits:
                    groups[name].append(layer.name)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    def _keeps_shape(self, layer: QuantizedLayer) -> bool:
        """Tell whether a mover's result is its first operand in the same order and shape."""
        if layer.node.op_type not in _RESHAPERS:
            return False
        before, after = (self._size_of(n) for n in (layer.node.inputs[0], layer.node.outputs[0]))
        return before == after

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


def _ends(x: Tensor) -> tuple[int, int]:
    """Return the smallest and the largest code of a tensor."""
    return int(x.codes.min()), int(x.codes.max())


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
