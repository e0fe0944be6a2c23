"""Tensors that remember from which integers they were computed, so that codes need no reals.

Between an accumulator and the codes that the next operator reads lie the constant terms, the
scale, float operators and the next grid. A `Deferred` tensor computes its real values when they
are asked for, as any other does; when only its codes are, they come from the integers at once
where `quantlib.core.rescale` proves that one line gives the same ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import carrier
from quantlib.core.rescale import MOST_STEPS, Rescale, Table, line_of
from quantlib.core.rounding import Rounding
from quantlib.core.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any, TypeAlias

    from quantlib.arrays import Codes, FloatArray
    from quantlib.core.quantizer import UniformQuantizer

    Reals: TypeAlias = Callable[[Codes], FloatArray]
    """Integers to the real values that they stand for, element by element."""

VISITS = 6
"""Values per code and channel that a proof evaluates, roughly.

A line is looked for once as many values went by: it then never costs more than was spent before.
"""

FIXED = 1 << 19
"""Values that are as much work as the calls of NumPy that a proof takes, however few its points."""


@dataclass(slots=True, eq=False)
class Lines:
    """What is known of the functions of a layer's integers.

    Parameters
    ----------
    found : dict
        The line of a function, by its steps and grid; None where there is none.
    units : dict
        The shape along which a function changes, by its steps and the integers' shape.
    passed : dict
        How many values went through a function without a line.
    """

    found: dict[Hashable, Rescale | Table | None] = field(default_factory=dict)
    units: dict[Hashable, tuple[int, ...] | None] = field(default_factory=dict)
    passed: dict[Hashable, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """From which integers a tensor was computed, and how.

    Parameters
    ----------
    integers : integer-valued array
        An accumulator, after its low bits were rounded away.
    reals : callable
        The real values of integers.
    steps : tuple of str
        Layers between the integers and the tensor, which tell the function from others.
    lines : Lines
        What is known of functions of these integers; kept with the layer that makes them.
    base : callable
        What `reals` begins with: a scaled sum.
    ends : (int, int) or None
        Smallest and largest integer there can be, where they are the codes of a grid.
    """

    integers: Codes
    reals: Reals
    steps: tuple[str, ...]
    lines: Lines
    base: Reals
    ends: tuple[int, int] | None = None

    @classmethod
    def of(
        cls,
        integers: Codes,
        reals: Reals,
        lines: Lines,
        *,
        step: str = "",
        ends: tuple[int, int] | None = None,
    ) -> Origin:
        """Return where a tensor begins whose real values are a scaled sum of the integers."""
        return cls(integers, reals, (step,), lines, reals, ends)

    def then(self, layer: str, function: Reals) -> Origin:
        """Return the origin of a function of the tensor's values."""
        inner = self.reals
        return Origin(
            self.integers,
            lambda x: function(inner(x)),
            (*self.steps, layer),
            self.lines,
            self.base,
            self.ends,
        )

    def unit(self) -> tuple[int, ...] | None:
        """Return the shape along which the function changes, by channel at most; else None."""
        shape = self.integers.shape
        key = (self.steps, shape[1:])
        if key not in self.lines.units:
            self.lines.units[key] = self._unit(shape)
        return self.lines.units[key]

    def _unit(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        rank = len(shape)
        for axis in (None, 1, rank - 1):
            if axis is not None and not 0 < axis < rank:
                continue
            unit = tuple(size if i == axis else 1 for i, size in enumerate(shape))
            try:
                made = self.reals(np.zeros(unit))
            except ValueError:  # what is computed in place refuses to widen
                continue
            if made.shape == unit:
                return unit
        return None

    def extremes(self) -> tuple[np.floating[Any], np.floating[Any]] | None:
        """Return the smallest and the largest real value; None where all have to be computed.

        The function keeps order or reverses it, so that its ends are those of the integers.
        """
        unit = self.unit()
        if unit is None or not self.integers.size:
            return None
        others = tuple(i for i, size in enumerate(unit) if size == 1)
        ends = [end(self.integers, axis=others, keepdims=True) for end in (np.min, np.max)]
        reals = [self.reals(end) for end in ends]
        return np.minimum(*reals).min(), np.maximum(*reals).max()


class Deferred(Tensor):
    """A tensor known by the integers it is computed from.

    Parameters
    ----------
    quantizer : UniformQuantizer
        Its grid.
    origin : Origin
        The integers, and what is done with them; each step keeps order, or reverses it.
    values : callable
        Gives the real values, when they are asked for first.
    """

    __slots__ = ("_compute", "origin")

    def __init__(
        self, quantizer: UniformQuantizer, origin: Origin, values: Callable[[], FloatArray]
    ) -> None:
        super().__init__(quantizer, codes=origin.integers)
        self._codes = None
        self._clipped = not quantizer.no_clipping
        self._compute = values
        self.origin = origin

    @property
    def values(self) -> FloatArray:
        """Real values, computed when they are asked for first."""
        if self._values is None:
            self._values = self._compute()
        return self._values

    @property
    def codes(self) -> Codes:
        """Integers, in the cheapest exact carrier."""
        if self._codes is None:
            line = self._line()
            kind = carrier(2**self.n_bits)
            if line is None:
                self._codes = self.quantizer.quant(self.values, dtype=kind)
            else:
                self._codes = line(self.origin.integers, kind)
        return self._codes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of either form."""
        return self.origin.integers.shape

    def on(self, quantizer: UniformQuantizer) -> Tensor:
        """Return the same values on another grid."""
        return Deferred(quantizer, self.origin, lambda: self.values)

    def extremes(self) -> tuple[np.floating[Any], np.floating[Any]]:
        """Return the smallest and the largest real value."""
        found = None if self._values is not None else self.origin.extremes()
        return super().extremes() if found is None else found

    def _line(self) -> Rescale | Table | None:
        """Return the line from the integers to the codes; None where none is known or worth it."""
        grid = self.quantizer
        if grid.is_per_channel or np.ndim(grid.zero_point) or grid.no_clipping:
            return None
        steps = grid.qmax - grid.qmin
        if grid.rounding is not Rounding.NEAREST or steps > MOST_STEPS:
            return None
        key = (self.origin.steps, float(grid.scale), int(grid.zero_point), grid.qmin, grid.qmax)
        known = self.origin.lines.found
        if key not in known:
            ends, seen = self.origin.ends, self.origin.lines.passed
            work = VISITS * steps
            if ends is not None:
                work = min(work, ends[1] - ends[0] + 1)
            seen[key] = seen.get(key, 0) + math.prod(self.shape)
            if work + (FIXED if ends is None else FIXED // 16) > seen[key]:
                return None
            unit = self.origin.unit()
            if unit is not None and work * math.prod(unit) > seen[key]:
                return None
            if unit is None:
                known[key] = None
            elif ends is not None and ends[1] - ends[0] <= MOST_STEPS:
                known[key] = self._table(unit, *ends)
            else:
                known[key] = self._found(unit)
        return known[key]

    def _table(self, unit: tuple[int, ...], low: int, high: int) -> Table:
        """Evaluate every integer there can be."""
        every = np.arange(low, high + 1, dtype=np.float64).reshape(-1, *(1,) * (len(unit) - 1))
        points = np.broadcast_to(every, (every.shape[0], *unit[1:]))
        return Table(low, self.quantizer.quant(self.origin.reals(points), dtype=np.float64))

    def _found(self, unit: tuple[int, ...]) -> Rescale | None:
        """Look for the line."""
        grid = self.quantizer

        def along(reals: Reals, x: Codes) -> FloatArray:
            """Evaluate points, which come along a further axis, as so many samples."""
            return reals(x.reshape(-1, *unit[1:])).reshape(x.shape)

        def codes(x: Codes) -> Codes:
            return grid.quant(along(self.origin.reals, x), dtype=np.float64)

        def positions(x: Codes) -> FloatArray:
            return along(self.origin.reals, x) / grid.scale + grid.zero_point

        far = 2.0**30
        start = along(self.origin.base, np.stack([np.full(unit, x) for x in (-far, 0.0, far)]))
        with np.errstate(all="ignore"):
            zero = -start[1] / ((start[2] - start[0]) / (2 * far))
        zero[~(np.abs(zero) < 2.0**36)] = 0.0
        return line_of(codes, positions, zero)


class OnGrid(Deferred):
    """A tensor whose values are those of codes, which a reader rounds anew.

    Codes clip to the width that the tensor is labelled with.

    Parameters
    ----------
    quantizer : UniformQuantizer
        The grid, one for all channels.
    codes : integer-valued array
        On it.
    ends : (int, int) or None
        Smallest and largest code there can be, where that is known.
    """

    __slots__ = ()

    def __init__(
        self, quantizer: UniformQuantizer, codes: Codes, ends: tuple[int, int] | None
    ) -> None:
        origin = Origin.of(codes, quantizer.dequant, Lines(), ends=ends)
        super().__init__(quantizer, origin, lambda: quantizer.dequant(codes))


def regridded(tensor: Tensor) -> Tensor:
    """Return the values that a tensor's codes stand for."""
    grid, codes = tensor.quantizer, tensor.codes
    if grid.is_per_channel or np.ndim(grid.zero_point):
        return Tensor(grid, values=grid.dequant(codes))
    return OnGrid(grid, codes, (grid.qmin, grid.qmax) if tensor.is_clipped else None)
