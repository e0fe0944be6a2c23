"""Calibration data in pieces: what does not fit in memory waits on disk."""

from __future__ import annotations

import math
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.errors import LimitError
from quantlib.execution.deferred import OnGrid
from quantlib.limits import MIB, above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Value
    from quantlib.graph.model import Graph

PIECE_BYTES = 128 * 2**20
"""About what one operator may take while it runs on one piece of the data."""

CACHED_BYTES = 16 * 2**20
"""The same where only speed asks for pieces: what the last level of cache holds."""

KEEP_BYTES = 128 * 2**20
"""Tensors that wait for their readers stay in memory up to this size together."""

_COPIES = 4
"""Float64 arrays of an operator's output size that live at once, roughly."""


def samples_per_piece(graph: Graph, n_samples: int, *, budget: int = PIECE_BYTES) -> int:
    """Return how many samples run through an operator at once.

    All of them where they fit: results are then those of one pass, to the last bit. The
    estimate counts an operator's output; a convolution's window columns are few at a time.
    """
    largest = 0
    for node in graph.nodes:
        shape = graph.shapes.get(node.outputs[0], ())
        size = math.prod(s for s in shape[1:] if isinstance(s, int))
        largest = max(largest, 8 * _COPIES * size)
    return max(1, min(n_samples, budget // max(1, largest)))


class Spill:
    """A file without a name for arrays that wait: gone with the process, however that ends.

    Room that is released is written again, at the first place where an array fits.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._free: list[tuple[int, int]] = []
        self._end = 0

    @property
    def in_use(self) -> int:
        """How many bytes wait."""
        return self._end - sum(size for _, size in self._free)

    def write(self, array: AnyArray) -> tuple[int, int]:
        """Write an array; return where it starts and how many bytes it has.

        Raises
        ------
        LimitError
            More would wait than ``quantlib.limits`` allows, or than the disk takes.
        """
        size = array.nbytes
        if too_much := above("spill_mb", (self.in_use + size) / MIB):
            raise LimitError(
                f"{(self.in_use + size) / MIB:.0f} MB of tensors would wait on disk, {too_much}; "
                "give fewer samples, or a smaller model."
            )
        place = next((i for i, (_, room) in enumerate(self._free) if room >= size), None)
        start = self._end if place is None else self._free[place][0]
        try:
            self._file.seek(start)
            self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise LimitError(
                f"tensors of {size / MIB:.0f} MB do not fit on the disk where they would wait; "
                "give fewer samples, or make room."
            ) from error
        if place is None:
            self._end += size
        else:
            room = self._free[place][1]
            self._free[place : place + 1] = [(start + size, room - size)] if room > size else []
        return start, size

    def read(
        self, place: tuple[int, int], dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> AnyArray:
        """Return an array that was written."""
        self._file.seek(place[0])
        return np.frombuffer(self._file.read(place[1]), dtype=dtype).reshape(shape)

    def release(self, place: tuple[int, int]) -> None:
        """Give the room of an array back; what lies side by side becomes one."""
        merged: list[tuple[int, int]] = []
        for start, size in sorted([*self._free, place]):
            if merged and sum(merged[-1]) == start:
                merged[-1] = merged[-1][0], merged[-1][1] + size
            else:
                merged.append((start, size))
        if merged and sum(merged[-1]) == self._end:
            self._end = merged.pop()[0]
        self._free = merged

    def close(self) -> None:
        """Give everything back."""
        self._file.close()


class Shelf:
    """Keeps the pieces of tensors until they are read for the last time.

    Use as a context manager: what waits on disk goes with it. `disk` is None while memory was
    enough.
    """

    def __init__(self, limit: int = KEEP_BYTES) -> None:
        self._limit = limit
        self._held = 0
        self.disk: Spill | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.disk is not None:
            self.disk.close()

    def put(self, value: Value) -> Kept:
        """Keep a value, in memory while there is room."""
        array, restored = _stored(value)
        if self._held + array.nbytes <= self._limit:
            self._held += array.nbytes
            return Kept(lambda: restored(array), lambda: self._release(array.nbytes))
        if self.disk is None:
            self.disk = Spill()
        place = self.disk.write(array)
        disk, dtype, shape = self.disk, array.dtype, array.shape
        return Kept(lambda: restored(disk.read(place, dtype, shape)), lambda: disk.release(place))

    def _release(self, size: int) -> None:
        self._held -= size


class Kept:
    """One value that waits to be read."""

    def __init__(self, get: Callable[[], Value], drop: Callable[[], None]) -> None:
        self.get = get
        self.drop = drop


def in_memory(value: Value) -> Kept:
    """Keep a value without counting it."""
    return Kept(lambda: value, lambda: None)


def made_anew(array: AnyArray, grid: UniformQuantizer | None) -> Kept:
    """Keep an array; each reader gets a tensor of its own, whose codes go with it."""
    return Kept(lambda: _value(array, grid), lambda: None)


def _stored(value: Value) -> tuple[AnyArray, Callable[[AnyArray], Value]]:
    """Return the array that tells a value, the smallest there is, and how that is restored."""
    if not isinstance(value, Tensor):
        return value, lambda array: array
    grid = value.quantizer
    if isinstance(value, OnGrid):
        ends = value.origin.ends
        return value.origin.integers, lambda codes: OnGrid(grid, codes, ends)
    return value.values, lambda values: _value(values, grid)


def _value(array: AnyArray, grid: UniformQuantizer | None) -> Value:
    """Return a tensor made anew: what a reader computes from it does not stay with the piece."""
    return array if grid is None else Tensor(grid, values=array)


def percentiles_of_pieces(
    pieces: Callable[[], Iterable[AnyArray]], shares: Sequence[float]
) -> list[np.float64]:
    """Return percentiles of data that come in pieces, exactly as `numpy.percentile` does.

    Parameters
    ----------
    pieces : callable
        Gives the arrays anew each time it is called; it is called three times.
    shares : sequence of float
        Per cent.

    Notes
    -----
    Ranges, then counts in 65,536 bins, then only the values in the bins that hold the order
    statistics wanted: memory does not grow with the data.
    """
    low = min(float(piece.min()) for piece in pieces())
    high = max(float(piece.max()) for piece in pieces())
    if low == high:
        return [np.float64(low)] * len(shares)
    edges = np.linspace(low, high, 2**16 + 1)
    edges[-1] = np.inf
    counts = np.zeros(2**16, dtype=np.int64)
    for piece in pieces():
        counts += np.histogram(piece, bins=edges)[0]
    ends = np.cumsum(counts)
    total = int(ends[-1])
    positions = [share / 100 * (total - 1) for share in shares]
    ranks = sorted({r for p in positions for r in (math.floor(p), math.ceil(p))})
    bins = {int(np.searchsorted(ends, rank, side="right")) for rank in ranks}
    kept: dict[int, list[AnyArray]] = {b: [] for b in bins}
    for piece in pieces():
        for b, found in kept.items():
            found.append(piece[(piece >= edges[b]) & (piece < edges[b + 1])])
    ordered = {b: np.sort(np.concatenate(found)) for b, found in kept.items()}

    def value(rank: int) -> np.float64:
        b = int(np.searchsorted(ends, rank, side="right"))
        before = int(ends[b - 1]) if b else 0
        return np.float64(ordered[b][rank - before])

    return [
        np.float64(value(math.floor(p)) + (value(math.ceil(p)) - value(math.floor(p))) * (p % 1))
        for p in positions
    ]
