"""The range of an integer tensor, one pair per output channel, and the bounds of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import exact_kind, read_only
from quantlib.core.widths import bit_width, bit_widths, needed_bits

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRange:
    """Smallest and largest integer of each output channel.

    Parameters
    ----------
    low, high : int64 arrays, or object arrays of Python ints, shape (channels,)
        Bounds, both included. Python ints carry what 64 bits do not hold.
    """

    low: AnyArray
    high: AnyArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", read_only(np.atleast_1d(self.low)))
        object.__setattr__(self, "high", read_only(np.atleast_1d(self.high)))

    @classmethod
    def of(cls, low: int, high: int, *, channels: int = 1) -> ChannelRange:
        """Return one range for all channels."""
        kind = exact_kind(max(abs(low), abs(high)))
        return cls(np.full(channels, low, dtype=kind), np.full(channels, high, dtype=kind))

    @property
    def channels(self) -> int:
        """How many channels there are; 1 where they are not told apart."""
        return len(self.low)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest integer of all channels."""
        return int(self.low.min()), int(self.high.max())

    @property
    def width_bits(self) -> int:
        """Width of the one integer type that holds every channel."""
        return bit_width(*self.range)

    @property
    def channel_widths(self) -> IntArray:
        """Width of the integer type of each channel alone, int64, shape (channels,)."""
        return bit_widths(self.low, self.high)

    @property
    def widest_channel(self) -> int:
        """The channel that sets the width: the largest magnitude in the type of all channels."""
        return int(np.argmax(np.maximum(self.high, -self.low - 1)))

    @property
    def needed_bits(self) -> float:
        """Width of all channels in fractions of a bit; see `quantlib.core.widths.needed_bits`."""
        return needed_bits(*self.range)

    def headroom_bits(self, limit_bits: int) -> float:
        """Return ``limit_bits - needed_bits``: 0 at the limit, below 0 beyond it."""
        return limit_bits - self.needed_bits

    def within(self, other: ChannelRange) -> bool:
        """Tell whether each channel lies in the same channel of `other`, or in its only one."""
        return bool(np.all(self.low >= other.low) and np.all(self.high <= other.high))

    def merge(self, other: ChannelRange) -> ChannelRange:
        """Return the smallest range that holds both, channel by channel where they match."""
        if self.channels != other.channels:
            lows, highs = zip(self.range, other.range, strict=True)
            return ChannelRange.of(min(lows), max(highs))
        return ChannelRange(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An integer that is computed on the way to the accumulator.

    Parameters
    ----------
    name : str
        ``"product"`` of codes and weight codes, ``"input sum"``, ``"zero-point term"`` (the
        input sum times minus the weights' zero point), ``"first term"`` and ``"second term"`` of
        a sum, ``"shifted sum"`` (a sum of codes less their zero points). Of two encrypted
        matrices also ``"factors' sum"`` and ``"factors' difference"``, ``"square of the sum"``
        and ``"square of the difference"`` (a quarter of each), ``"column sum"`` of the second
        factor, ``"column term"`` (times the first one's zero point), and ``"shifted product"``
        and ``"whole product"`` (with the constant terms). Of two encrypted tensors also
        ``"first zero-point term"``, ``"centred product"`` (less that term),
        ``"second zero-point term"`` and ``"whole product"``. ``"rounded"`` is the accumulator with
        its low bits rounded off.
    weights : ChannelRange
        What the actual weights allow.
    """

    name: str
    weights: ChannelRange


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """The range of one accumulator.

    Parameters
    ----------
    types : ChannelRange
        Every code of the inputs' grids with every code of the weights' grid.
    weights : ChannelRange
        Every code that can arrive, with the actual weights.
    parts : tuple of Part
        Intermediate integers that may be wider than the accumulator.
    exact : bool
        Whether an input attains `weights`; False where an axis of unknown size is summed.
    """

    types: ChannelRange
    weights: ChannelRange
    parts: tuple[Part, ...] = ()
    exact: bool = True
