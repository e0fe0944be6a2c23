"""The exact bit-width budget: how wide each accumulator is, can be, and may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.ranges import Part
from quantlib.analysis.widths.rounding import Rounding, rounded_range, rounding
from quantlib.analysis.widths.seen import Seen, observe

if TYPE_CHECKING:
    from quantlib.analysis.widths.ranges import ChannelRange
    from quantlib.arrays import AnyArray
    from quantlib.quantized_module import QuantizedModule


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
    """

    layers: tuple[LayerBudget, ...]
    limit_bits: int
    unbounded: tuple[str, ...]

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

    @property
    def over_limit(self) -> tuple[LayerBudget, ...]:
        """The layers whose accumulator can leave the limit."""
        return tuple(layer for layer in self.layers if not layer.fits)


def bit_width_budget(
    module: QuantizedModule,
    data: AnyArray | tuple[AnyArray, ...] | None = None,
    *,
    limit_bits: int | None = None,
) -> Budget:
    """Return how wide each accumulator of a module can be, and was.

    Parameters
    ----------
    module : QuantizedModule
        From `quantize`.
    data : array or tuple of arrays, optional
        Real model inputs, samples along axis 0; run in batches. Without them nothing runs.
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
    """
    limit = module.config.limit_bits if limit_bits is None else limit_bits
    seen = {} if data is None else observe(module, data)
    layers, unbounded = [], []
    for facts in layer_facts(module):
        found = bounds(facts)
        layer = facts.layer
        if found is None:
            unbounded.append(layer.name)
            continue
        on_data = seen.get(layer.name)
        taken = rounding(facts, found.weights)
        parts = found.parts
        if taken is not None:
            parts = (*parts, Part("rounded", rounded_range(facts, found.weights)))
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
    return Budget(tuple(layers), limit, tuple(unbounded))


def _part(seen: Seen | None, name: str) -> ChannelRange | None:
    return seen.parts.get(name) if seen else None
