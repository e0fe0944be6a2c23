"""From integers to integers by one multiplication, where that is proven to be the same function.

What happens between an accumulator and the codes of the next operator is often a clamped straight
line: a dozen passes over the data that round in float64 on the way, and one rounding to a code. A
line that rounds to the same code on both sides of every step does the same in four passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.blocks import Scratch, along, blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from quantlib.arrays import AnyArray, Codes, FloatArray

MOST_STEPS = 1 << 12
"""Most codes of a grid for which a line is proven."""

_REACH = 2.0**40
"""Integers up to this magnitude are exact in float64 with room for all sums on the way."""

_BEYOND = 2.0**63
"""No accumulator is larger."""

_PROBES = np.concatenate([[0.0], 2.0 ** np.arange(34)])
"""Distances from a function's own zero at which its slope is looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Rescale:
    """``clip(rint(slope * x + offset), low, high)`` for integer-valued x.

    Parameters
    ----------
    slope, offset : arrays
        Shapes broadcast against the integers; float32 where that was proven enough.
    low, high : float
        Lowest and highest code.
    """

    slope: FloatArray
    offset: FloatArray
    low: float
    high: float

    def __call__(self, integers: Codes, dtype: npt.DTypeLike) -> Codes:
        """Return the codes in a carrier, shape of `integers`; all passes on a block at a time."""
        result = np.empty(integers.shape, dtype=dtype)
        slope, offset = (along(p, integers.shape) for p in (self.slope, self.offset))
        work = Scratch(self.slope.dtype)
        for part in blocks(integers.shape):
            x = integers[part]
            line = work.like(x)
            line[...] = x
            line *= slope(part)
            line += offset(part)
            codes = result[part]
            np.rint(line, out=codes, casting="same_kind")
            codes.clip(self.low, self.high, out=codes)  # what is beyond stays beyond in float32
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A function of integers from `low` on, by its values.

    Parameters
    ----------
    low : int
        The first integer.
    entries : array, (width, *unit)
        Values at each integer; `unit` broadcasts against the integers.
    """

    low: int
    entries: AnyArray

    def __call__(self, integers: Codes, dtype: npt.DTypeLike) -> Codes:
        """Return the values at integers, all of which the table has, in a carrier."""
        _, *unit = self.entries.shape
        kinds = math.prod(unit)
        flat = np.ascontiguousarray(self.entries, dtype=dtype).reshape(-1)
        first = np.arange(kinds).reshape(unit or ()) - self.low * kinds
        result = np.empty(integers.shape, dtype=dtype)
        start = along(first if kinds > 1 else first.reshape(()), integers.shape)
        work = Scratch(np.intp)
        for part in blocks(integers.shape):
            x = integers[part]
            place = work.like(x)
            place[...] = x
            if kinds > 1:
                place *= kinds
            place += start(part)
            # the mode that does not stop to raise; no place is outside
            np.take(flat, place, out=result[part], mode="clip")
        return result


def line_of(
    codes: Callable[[Codes], Codes],
    positions: Callable[[Codes], FloatArray],
    zero: FloatArray,
) -> Rescale | None:
    """Return the line that rounds to the same codes as a monotone function; None if there is none.

    Parameters
    ----------
    codes : callable
        The function: integer-valued float64 arrays, shape of ``zero`` behind one further axis, to
        codes. It rises, or falls, with its argument, everywhere.
    positions : callable
        The same before it is rounded and clipped.
    zero : float64 array
        Where in about the function's argument lies for real 0.0; its shape tells along which axes
        the function changes.

    Notes
    -----
    Two monotone functions of an integer are equal if they agree far below and far above, and at
    and beside each step of one of them: between two steps that function is constant, and the
    other has the same value at both ends. All that is evaluated here, in the arithmetic that will
    run: steps lie where integers are exact, and far is beyond all accumulators. A tie that falls
    differently, or a function that is no clamped line, gives None.
    """
    centre = np.rint(zero)
    far = np.stack([centre - _BEYOND, centre + _BEYOND])
    ends = codes(far).astype(np.float64)
    low, high = float(ends.min()), float(ends.max())
    if (
        not high - low <= MOST_STEPS
        or np.any(ends.min(axis=0) != low)
        or np.any(ends.max(axis=0) != high)
    ):
        return None
    found = _slope(positions, centre)
    if found is None:
        return None
    slope, offset = found
    with np.errstate(all="ignore"):
        middles = np.arange(low, high) + 0.5
        middles = middles.reshape(-1, *(1,) * zero.ndim)
        before = np.floor((middles - offset) / slope)
        if not np.all(np.abs(before) < _REACH):
            return None
    points = np.concatenate([before - 1, before + 1, before, far])
    wanted = codes(points)
    kinds: tuple[type, ...] = (np.float64,)
    span = max(abs(low), abs(high)) + 1
    if span * 2.0**-22 * points.size < 0.5 * float(np.abs(slope).min()):
        kinds = (np.float32, np.float64)  # so coarse that float32 will do as a rule
    for kind in kinds:
        line = Rescale(slope.astype(kind), offset.astype(kind), low, high)
        if kind is np.float32 and np.abs(points[:-2]).max(initial=0) >= 2**24:
            continue
        if _is_same(line, points, wanted, middles):
            return line
    return None


def _is_same(line: Rescale, points: AnyArray, wanted: AnyArray, middles: AnyArray) -> bool:
    """Tell whether a line has the wanted codes, and steps where it was thought to step."""
    made = line(points, np.float64)
    n = len(middles)
    first, second = made[:n] < middles, made[n : 2 * n] < middles
    return bool(np.array_equal(made, wanted) and np.all(first != second))


def _slope(
    positions: Callable[[Codes], FloatArray], centre: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Return slope and offset of the steepest stretch, as near to the centre as it begins."""
    around = np.concatenate([-_PROBES[:0:-1], _PROBES]).reshape(-1, *(1,) * centre.ndim)
    points = centre + around
    with np.errstate(all="ignore"):
        found = positions(points)
        rises = np.diff(found, axis=0) / np.diff(points, axis=0)
        size = np.abs(rises)
    if found.shape != points.shape or not np.all(np.isfinite(size)):
        return None
    steepest = size.max(axis=0)
    if not np.all(steepest > 0):
        return None
    # long stretches tell a slope best, near ones an offset
    alike = size >= steepest * (1 - 2.0**-20)
    far = np.abs(found[:-1]) + np.abs(found[1:])
    reach = np.where(alike, np.abs(np.diff(points, axis=0)), 0)
    useful = alike & (far < 2.0**20)
    if not np.all(useful.any(axis=0)):
        return None
    chosen = np.where(useful, reach, 0).argmax(axis=0)[None]
    slope = np.take_along_axis(rises, chosen, axis=0)[0]
    near = np.where(useful, far, np.inf).argmin(axis=0)[None]
    start = np.take_along_axis(points[:-1], near, axis=0)[0]
    offset = np.take_along_axis(found[:-1], near, axis=0)[0] - slope * start
    return slope, offset
