"""Calibration data in pieces: what does not fit in memory waits on disk."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.execution.deferred import OnGrid

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


class Shelf:
    """Keeps the pieces of tensors until they are read for the last time.

    Use as a context manager: the folder on disk, if one was needed, goes with it.
    """

    def __init__(self, limit: int = KEEP_BYTES) -> None:
        self._limit = limit
        self._held = 0
        self._files = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def folder(self) -> str | None:
        """Where pieces wait on disk; None while memory was enough."""
        return self._folder.name if self._folder else None

    def put(self, value: Value) -> Kept:
        """Keep a value, in memory while there is room."""
        array, restored = _stored(value)
        if self._held + array.nbytes <= self._limit:
            self._held += array.nbytes
            return Kept(lambda: restored(array), lambda: self._release(array.nbytes))
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="quantlib-")
        self._files += 1
        file = Path(self._folder.name) / f"{self._files}.npy"
        np.save(file, array, allow_pickle=False)
        return Kept(lambda: restored(np.load(file, allow_pickle=False)), file.unlink)

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
