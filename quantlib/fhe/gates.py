"""What an encrypted computation is made of: sums of products with constants, and look-ups.

A gate computes one integer tensor of a sample. Adding, multiplying by a constant and moving are
nearly free under encryption; what costs are look-ups and roundings, element by element.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import IntArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gate:
    """What makes one integer tensor.

    Parameters
    ----------
    name : str
        The tensor, unique within the plan.
    layer : str
        The layer it belongs to; for messages.
    shape : tuple of int
        Of one sample.
    low, high : int
        Bounds of its integers.
    sources : tuple of str
        The tensors it reads.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    low: int
    high: int
    sources: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many integers one sample has."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def constant(self) -> IntArray | None:
        """The clear integers it computes with."""
        return None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entry(Gate):
    """Codes of a model input, encrypted by whoever has the key.

    Parameters
    ----------
    input_name : str
        The model's name for it.
    """

    input_name: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Product(Gate):
    """``source @ weights``, or ``weights @ source``.

    Parameters
    ----------
    weights : int64 array
        Constant.
    on_left : bool
        Whether the weights are the left factor.
    """

    weights: IntArray
    on_left: bool

    @property
    def constant(self) -> IntArray:
        """The weights."""
        return self.weights


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Convolution(Gate):
    """Convolution of (C, H, W), not padded, with (O, C / group, *kernel)."""

    weights: IntArray
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int

    @property
    def constant(self) -> IntArray:
        """The weights."""
        return self.weights


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shift(Gate):
    """``source + amount``; the amount broadcasts against the shape."""

    amount: IntArray

    @property
    def constant(self) -> IntArray:
        """The amount."""
        return self.amount


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scale(Gate):
    """``source * factor``."""

    factor: int

    @property
    def constant(self) -> IntArray:
        """The factor."""
        return np.asarray(self.factor, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Add(Gate):
    """Sum of two tensors, shapes equal or broadcast."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Subtract(Gate):
    """Difference of two tensors, shapes equal or broadcast."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Total(Gate):
    """Sum over an axis of the sample, counted from the end.

    Parameters
    ----------
    axis : int
        Negative.
    keepdims : bool
        Whether the axis stays, of size 1.
    count : int
        Its size before.
    """

    axis: int
    keepdims: bool
    count: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rounded(Gate):
    """``floor(source / 2**lsbs + 1/2) * 2**lsbs``: to multiples, ties upward; see `LookUp`."""

    lsbs: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LookUp(Gate):
    """A function of each integer, by a table: one programmable bootstrap an element.

    Parameters
    ----------
    entries : int64 array, (functions, count)
        Values at the integers from `first` on; beyond them the ends hold.
    first : int
        The integer of the first entry.
    lsbs : int
        Low bits that a `Rounded` source has lost: its integers count in steps of ``2**lsbs``.
    which : int array
        Number of the function of each element; broadcasts against the shape.
    """

    entries: IntArray
    first: int
    lsbs: int
    which: IntArray

    def __call__(self, steps: IntArray) -> IntArray:
        """Return the values at integers counted in steps, (N, *shape)."""
        place = np.clip(steps - self.first, 0, self.entries.shape[1] - 1)
        return np.asarray(self.entries[np.broadcast_to(self.which, steps.shape), place])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gather(Gate):
    """The elements of the source at these numbers, counted in C order.

    Parameters
    ----------
    index : int64 array, `shape`
        Which element comes to each place.
    """

    index: IntArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Join(Gate):
    """All elements of the sources one after the other, then constants.

    Parameters
    ----------
    constants : int64 array, (m,)
        May be empty.
    """

    constants: IntArray

    @property
    def constant(self) -> IntArray | None:
        """The constants."""
        return self.constants if self.constants.size else None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pad(Gate):
    """The source in the middle of a constant.

    Parameters
    ----------
    start : tuple of int
        Where its first element stands, one number per axis.
    fill : int64 array, ()
        The constant.
    """

    start: tuple[int, ...]
    fill: IntArray

    @property
    def constant(self) -> IntArray:
        """The constant around it."""
        return self.fill


def box(start: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the slices of a tensor of `shape` that stands at `start`."""
    return tuple(slice(a, a + size) for a, size in zip(start, shape, strict=True))
