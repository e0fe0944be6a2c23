"""The exact bit-width budget: how wide each accumulator is, can be, and may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.observation import Seen, Watch
from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.ranges import ChannelRange, Part
from quantlib.analysis.widths.rounding import Rounding, rounded_integers, rounded_range, rounding
from quantlib.execution.calls import calls
from quantlib.execution.inputs import check_inputs
from quantlib.execution.treatments import plan, unseen_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray
    from quantlib.quantized_module import QuantizedModule

SHIFTED = "shifted sum"
"""The part that rounding rounds instead of the accumulator."""


@dataclass(frozen=True, slots=True, eq=False)
class PartBudget:
    """An integer that is computed on the way to an accumulator.

    Parameters
    ----------
    name : str
        As in `quantlib.analysis.widths.ranges.Part`.
    weights : ChannelRange
        What the actual weights allow.
    seen : ChannelRange or None
        What occurred on the data.
    """

    name: str
    weights: ChannelRange
    seen: ChannelRange | None


@dataclass(frozen=True, slots=True, eq=False)
class LayerBudget:
    """The accumulator of one integer operator, by three measures.

    Parameters
    ----------
    name, op_type : str
        Which operator.
    types : ChannelRange
        What the types allow: every code of the inputs' grids, every code of the weights' grid.
    weights : ChannelRange
        What the actual integer weights allow: the exact extremes over all inputs on the grid.
    seen : ChannelRange or None
        What occurred on the data that was given; None without data.
    parts : tuple of PartBudget
        Intermediate integers that an encrypted computation also holds. Symmetric weights have a
        zero point of 0 and need none for a product.
    limit_bits : int
        Widest accumulator allowed.
    exact : bool
        Whether an input attains `weights`; False where it is only a bound.
    enters_table : bool
        Whether the accumulator is rounded off by a table look-up; a graph output is not.
    rounding : Rounding or None
        What rounding takes; None when it takes nothing.
    """

    name: str
    op_type: str
    types: ChannelRange
    weights: ChannelRange
    seen: ChannelRange | None
    parts: tuple[PartBudget, ...]
    limit_bits: int
    exact: bool
    enters_table: bool
    rounding: Rounding | None

    @property
    def headroom_bits(self) -> float:
        """Limit less what the weights need: 0 exactly at the limit, below 0 beyond it."""
        return self.weights.headroom_bits(self.limit_bits)

    @property
    def seen_headroom_bits(self) -> float | None:
        """Limit less what the data needed; None without data."""
        return None if self.seen is None else self.seen.headroom_bits(self.limit_bits)

    @property
    def fits(self) -> bool:
        """Whether no input on the grid can take the accumulator beyond the limit."""
        return self.weights.width_bits <= self.limit_bits

    def counted(self, criterion: Criterion) -> ChannelRange | None:
        """Return the integers that count against the limit; None without data to see.

        The accumulator, or the high bits that rounding leaves of it.
        """
        if criterion is Criterion.ANY_INPUT:
            return self.weights if self.rounding is None else self.rounding.kept
        if self.seen is None or self.rounding is None:
            return self.seen
        shift = next(
            (p.weights.range[0] - self.weights.range[0] for p in self.parts if p.name == SHIFTED),
            0,
        )
        low, high = self.seen.range
        shifted = ChannelRange.of(low + shift, high + shift)
        return rounded_range(shifted, self.rounding.lsbs_to_remove)

    def counted_bits(self, criterion: Criterion) -> int:
        """Return the width that counts against the limit, bits; 0 without data to see."""
        found = self.counted(criterion)
        return 0 if found is None else found.width_bits

    def fits_by(self, criterion: Criterion) -> bool:
        """Tell whether what counts is within the limit."""
        return self.counted_bits(criterion) <= self.limit_bits

    def headroom_by(self, criterion: Criterion) -> float | None:
        """Return the limit less what counts, in fractions of a bit; None without data to see."""
        found = self.counted(criterion)
        return None if found is None else found.headroom_bits(self.limit_bits)

    @property
    def intermediate_width_bits(self) -> int:
        """Width of the widest of accumulator and parts, for all inputs on the grid."""
        widths = [part.weights.width_bits for part in self.parts]
        return max([self.weights.width_bits, *widths])

    @property
    def seen_intermediate_width_bits(self) -> int | None:
        """Width of the widest of accumulator and parts on the data; None without data."""
        if self.seen is None:
            return None
        widths = [part.seen.width_bits for part in self.parts if part.seen is not None]
        return max([self.seen.width_bits, *widths])

    @property
    def widest_channel(self) -> int | None:
        """The output channel that sets the width of `weights`; None without channels."""
        return self.weights.widest_channel if self.weights.channels > 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """The accumulators of a module against its limit.

    Parameters
    ----------
    layers : tuple of LayerBudget
        Integer operators in topological order.
    limit_bits : int
        Widest accumulator allowed.
    unbounded : tuple of str
        Integer operators for which there is no rule; they are not among `layers`.
    unseen : tuple of str
        Float operators whose products nobody looked into.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> budget = ql.bit_width_budget(bench.module(ql.QuantizationConfig.from_n_bits(4)))
    >>> budget.widest.name, budget.widest.weights.width_bits, budget.over_limit
    ('/f/Gemm', 9, ())
    """

    layers: tuple[LayerBudget, ...]
    limit_bits: int
    unbounded: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> LayerBudget:
        """Return the layer of this name; KeyError when it has no budget."""
        found = [layer for layer in self.layers if layer.name == name]
        if not found:
            raise KeyError(name)
        return found[0]

    @property
    def widest(self) -> LayerBudget | None:
        """The layer that needs the most bits, for all inputs on the grid."""
        return max(self.layers, key=lambda layer: layer.weights.needed_bits, default=None)

    def counted_bits(self, criterion: Criterion) -> int:
        """Return the widest that counts against the limit, bits; 0 without layers."""
        return max((layer.counted_bits(criterion) for layer in self.layers), default=0)

    def over_limit_by(self, criterion: Criterion) -> tuple[LayerBudget, ...]:
        """Return the layers of which what counts is beyond the limit."""
        return tuple(layer for layer in self.layers if not layer.fits_by(criterion))

    def fits_by(self, criterion: Criterion) -> bool | None:
        """Tell whether what counts is within the limit in every layer.

        None where it is in those with bounds, and products are left that nobody looked into.
        """
        if self.over_limit_by(criterion):
            return False
        return None if self.unbounded or self.unseen else True

    @property
    def fits(self) -> bool | None:
        """Whether no input can take an accumulator beyond the limit; None where that is open."""
        return self.fits_by(Criterion.ANY_INPUT)

    @property
    def over_limit(self) -> tuple[LayerBudget, ...]:
        """The layers whose accumulator can leave the limit."""
        return tuple(layer for layer in self.layers if not layer.fits)


def bit_width_budget(
    module: QuantizedModule,
    data: AnyArray | tuple[AnyArray, ...] | None = None,
    *,
    seen: Mapping[str, Seen] | None = None,
    limit_bits: int | None = None,
) -> Budget:
    """Return how wide each accumulator of a module can be, and was.

    Parameters
    ----------
    module : QuantizedModule
        From `quantize`.
    data : array or tuple of arrays, optional
        Real model inputs, samples along axis 0; run in batches. Without them nothing runs.
    seen : mapping of str to Seen, optional
        What a run on data held already, by layer name (`Evaluation.seen`); instead of `data`.
    limit_bits : int, optional
        Widest accumulator allowed; the configuration's when not given.

    Returns
    -------
    Budget

    Raises
    ------
    TensorError
        The data do not fit the model.

    Notes
    -----
    The accumulator is ``sum x * (w - zw)`` in codes, what a table look-up reads. A circuit of
    Concrete computes it as ``sum x * w - zw * sum x`` and reports the widest of these integers,
    which `LayerBudget.intermediate_width_bits` is. On any data ``seen`` lies within ``weights``
    and that within ``types``, channel by channel.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> module = ql.quantize(graph, data.calibration, ql.QuantizationConfig.from_n_bits(4))
    >>> layer = ql.bit_width_budget(module, data.evaluation)["/f/Gemm"]
    >>> layer.seen.width_bits <= layer.weights.width_bits <= layer.types.width_bits
    True
    """
    limit = module.config.limit_bits if limit_bits is None else limit_bits
    held = dict(seen or {}) if data is None else _held(module, data)
    layers, unbounded = [], []
    for facts in layer_facts(module):
        found = bounds(facts)
        layer = facts.layer
        if found is None:
            unbounded.append(layer.name)
            continue
        on_data = held.get(layer.name)
        taken = rounding(facts, found.weights)
        parts = found.parts
        if taken is not None:
            parts = (*parts, Part("rounded", rounded_integers(facts, found.weights)))
        layers.append(
            LayerBudget(
                name=layer.name,
                op_type=layer.node.op_type,
                types=found.types,
                weights=found.weights,
                seen=on_data.accumulator if on_data else None,
                parts=tuple(
                    PartBudget(part.name, part.weights, _part(on_data, part.name)) for part in parts
                ),
                limit_bits=limit,
                exact=found.exact,
                enters_table=not facts.leaves,
                rounding=taken,
            )
        )
    plans = plan(module.graph, quantize_rest=module.config.quantize_rest)
    return Budget(tuple(layers), limit, tuple(unbounded), unseen_nodes(module.graph, plans))


def _held(module: QuantizedModule, data: AnyArray | tuple[AnyArray, ...]) -> dict[str, Seen]:
    """Run data through a module and return what its layers held."""
    given = data if isinstance(data, tuple) else (data,)
    watch = Watch(module)
    for call in calls(module.graph, check_inputs(module.graph, given, what="data")):
        watch.run(call)
    return watch.seen


def _part(seen: Seen | None, name: str) -> ChannelRange | None:
    return seen.parts.get(name) if seen else None
