"""How wide the integers of an encrypted computation are held, before any compiler is asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.widths.cost import RoundingMethod
from quantlib.analysis.widths.table_costs import look_up_complexity
from quantlib.core.widths import bit_width
from quantlib.fhe import gates
from quantlib.fhe.evaluate import bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quantlib.fhe.gates import Gate
    from quantlib.fhe.plan import Plan

OWN_WIDTH_BITS = 8
"""Up to this width an integer goes through a table of its own width, even where it is held wider;
beyond it through one of the width it is held in. A rule of Concrete 2.10 and 2.11
(``optimize_tlu_based_on_original_bit_width``)."""


@dataclass(frozen=True, slots=True)
class Width:
    """How an integer tensor is held.

    Parameters
    ----------
    signed : bool
        Whether it can be negative.
    needed_bits : int
        What its own integers need.
    held_bits : int
        What it gets: sums, products with constants and moves work within one width, so that all
        tensors that they link are held in that of the widest.
    """

    signed: bool
    needed_bits: int
    held_bits: int


def widths_of(plan: Plan) -> dict[str, Width]:
    """Return how each tensor of a plan is held, by name.

    Notes
    -----
    Concrete asks a solver for the least sum of widths under these equations and lower bounds; each
    group of linked tensors then has the width of its widest, constants included.
    """
    lsbs: dict[str, int] = {}
    for gate in plan.gates:
        if isinstance(gate, gates.Rounded):
            lsbs[gate.sources[0]] = max(lsbs.get(gate.sources[0], 0), gate.lsbs)
    signs: dict[str, bool] = {}
    needed: dict[str, int] = {}
    for gate in plan.gates:
        if isinstance(gate, gates.Rounded):
            source = gate.sources[0]
            highest = 2 ** (needed[source] - signs[source]) - 1
            signs[gate.name] = signs[source]
            needed[gate.name] = needed[source] + (gate.high > highest)
        else:
            signs[gate.name] = gate.low < 0
            least = lsbs.get(gate.name, -1) + 1  # one bit is left at least
            needed[gate.name] = max(bit_width(gate.low, gate.high), least)
    groups = _Groups(needed)
    for gate in plan.gates:
        if not isinstance(gate, gates.LookUp):
            for source in gate.sources:
                groups.link(gate.name, source)
        if gate.constant is not None:
            groups.widen(gate.name, bit_width(int(gate.constant.min()), int(gate.constant.max())))
    return {name: Width(signs[name], bits, groups.width_of(name)) for name, bits in needed.items()}


class _Groups:
    """Sets of tensors that are held in one width."""

    def __init__(self, needed: Mapping[str, int]) -> None:
        self._parent = {name: name for name in needed}
        self._width = dict(needed)

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def link(self, one: str, other: str) -> None:
        a, b = self._root(one), self._root(other)
        self._parent[a] = b
        self._width[b] = max(self._width[a], self._width[b])

    def widen(self, name: str, bits: int) -> None:
        root = self._root(name)
        self._width[root] = max(self._width[root], bits)

    def width_of(self, name: str) -> int:
        return self._width[self._root(name)]


@dataclass(frozen=True, slots=True)
class LayerGates:
    """What a layer of a plan costs per sample.

    Parameters
    ----------
    layer : str
        Which.
    low, high : int
        Its integers, those that tables give left out.
    needed_bits, held_bits : int
        Widths of the widest of them, as in `Width`.
    bootstraps : mapping of int to int
        Look-ups on its integers by the width of what enters, bits; 1 for the low bits that exact
        rounding takes one by one.
    """

    layer: str
    low: int
    high: int
    needed_bits: int
    held_bits: int
    bootstraps: Mapping[int, int]

    @property
    def n_bootstraps(self) -> int:
        """All of them."""
        return sum(self.bootstraps.values())

    @property
    def table_bits(self) -> int:
        """Width of what enters its widest table; 0 without one."""
        return max(self.bootstraps, default=0)

    @property
    def complexity(self) -> int:
        """What they cost at an error probability of ``2**-40``, floating-point operations."""
        return complexity(self.bootstraps)


def complexity(bootstraps: Mapping[int, int]) -> int:
    """Return what look-ups cost at an error probability of ``2**-40``, operations."""
    return sum(count * look_up_complexity(width) for width, count in bootstraps.items())


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a plan costs under encryption, layer by layer.

    Parameters
    ----------
    layers : tuple of LayerGates
        In the order in which they are computed.
    rounding : RoundingMethod
        How low bits go.
    """

    layers: tuple[LayerGates, ...]
    rounding: RoundingMethod

    @property
    def bootstraps(self) -> dict[int, int]:
        """Bootstraps by the width of what enters, narrow first."""
        return by_width(layer.bootstraps for layer in self.layers)

    @property
    def n_bootstraps(self) -> int:
        """All bootstraps."""
        return sum(layer.n_bootstraps for layer in self.layers)

    @property
    def complexity(self) -> int:
        """What they cost at an error probability of ``2**-40``, floating-point operations."""
        return sum(layer.complexity for layer in self.layers)

    @property
    def widest_bits(self) -> int:
        """Width in which the widest integers are held."""
        return max((layer.held_bits for layer in self.layers), default=0)


def predict(plan: Plan, rounding: RoundingMethod = RoundingMethod.EXACT) -> Prediction:
    """Return what a plan costs under encryption."""
    widths = widths_of(plan)
    reach: dict[str, list[Gate]] = {}
    counted: dict[str, Counter[int]] = {}
    by_name = {gate.name: gate for gate in plan.gates}
    alive = _alive(plan, widths)
    for gate in plan.gates:
        reach.setdefault(gate.layer, [])
        if isinstance(gate, gates.LookUp | gates.Rounded) and gate.name not in alive:
            continue
        if isinstance(gate, gates.LookUp):
            layer = counted.setdefault(gate.layer, Counter())
            layer[table_width(gate, by_name, widths, rounding)] += gate.size
        elif isinstance(gate, gates.Rounded):
            if rounding is RoundingMethod.EXACT:
                counted.setdefault(gate.layer, Counter())[1] += gate.size * gate.lsbs
        else:
            reach[gate.layer].append(gate)
    return Prediction(
        tuple(
            LayerGates(
                layer=name,
                low=min((gate.low for gate in found), default=0),
                high=max((gate.high for gate in found), default=0),
                needed_bits=max((widths[gate.name].needed_bits for gate in found), default=0),
                held_bits=max((widths[gate.name].held_bits for gate in found), default=0),
                bootstraps=dict(sorted(counted.get(name, Counter()).items())),
            )
            for name, found in reach.items()
        ),
        rounding,
    )


def _alive(plan: Plan, widths: Mapping[str, Width]) -> frozenset[str]:
    """Return the tensors that are computed: a table without a step gives a constant.

    Concrete leaves such a table out, and what only it reads.
    """
    needed = set(plan.outputs)
    for gate in reversed(plan.gates):
        if gate.name not in needed:
            continue
        if isinstance(gate, gates.LookUp) and _is_constant(gate, widths[gate.sources[0]]):
            needed.discard(gate.name)
            continue
        needed.update(gate.sources)
    return frozenset(needed)


def _is_constant(gate: gates.LookUp, source: Width) -> bool:
    """Tell whether a table has one value at all integers of its source's width."""
    ends = (-(2 ** (source.needed_bits - 1)), 2 ** (source.needed_bits - 1) - 1)
    low, high = ends if source.signed else (0, 2**source.needed_bits - 1)
    return bounds(gate, (low, high))[0] == bounds(gate, (low, high))[1]


def table_width(
    gate: gates.LookUp,
    by_name: Mapping[str, Gate],
    widths: Mapping[str, Width],
    rounding: RoundingMethod,
) -> int:
    """Return the width of what enters a table, bits."""
    source = gate.sources[0]
    if gate.lsbs:
        if rounding is RoundingMethod.APPROXIMATE:
            source = by_name[source].sources[0]
        return widths[source].needed_bits - gate.lsbs
    found = widths[source]
    return found.needed_bits if found.needed_bits <= OWN_WIDTH_BITS else found.held_bits


def by_width(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return counts by table width of several layers as one, narrow first."""
    counted: Counter[int] = Counter()
    for part in counts:
        counted.update(part)
    return dict(sorted(counted.items()))
