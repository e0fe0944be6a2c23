"""Statistics of many tensors as JSON text and npz bytes, and back."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import read_only
from quantlib.calibration.histogram import DyadicHistogram, bin_index, width_exponent
from quantlib.calibration.statistics import SampleExtremes, TensorStatistics
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import DataLoadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import IntArray

FORMAT = "quantlib-calibration-1"
"""Name and version of the document; other versions are refused."""

_HEADER_BYTES = 4096


def save_statistics(tensors: Mapping[str, TensorStatistics]) -> tuple[str, bytes]:
    """Write statistics by tensor name.

    Parameters
    ----------
    tensors : mapping of str to TensorStatistics
        What to write.

    Returns
    -------
    text : str
        JSON: everything but the counts.
    payload : bytes
        An npz archive whose one array, ``counts`` (int64), joins the counts of all histograms in
        the order of the text.
    """
    pieces: list[IntArray] = [np.zeros(0, dtype=np.int64)]
    document = {
        "format": FORMAT,
        "tensors": {name: _dump(statistics, pieces) for name, statistics in tensors.items()},
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, counts=np.concatenate(pieces))
    return json.dumps(document), buffer.getvalue()


def load_statistics(text: str, payload: bytes) -> dict[str, TensorStatistics]:
    """Read what `save_statistics` wrote.

    Parameters
    ----------
    text : str
        The JSON text.
    payload : bytes
        The npz archive. Nothing in it is executed, and nothing larger than the text promises is
        unpacked.

    Raises
    ------
    DataLoadError
        The two are not statistics, are damaged, or do not belong together.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataLoadError(f"the statistics are no JSON ({error}); save them again.") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise DataLoadError(f"the statistics have format {found!r}, not {FORMAT!r}; measure again.")
    try:
        entries = document["tensors"].items()
        total = sum(_bins(entry) for _, entry in entries)
        reader = _Reader(_read_counts(payload, total))
        return {str(name): _load(entry, reader) for name, entry in entries}
    except DataLoadError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DataLoadError(
            f"the statistics are damaged ({type(error).__name__}: {error}); save them again."
        ) from error


class _Reader:
    """Hands out the joined counts piece by piece."""

    def __init__(self, counts: IntArray) -> None:
        self._counts = counts
        self._place = 0

    def take(self, bins: int) -> IntArray:
        """Return the next `bins` counts."""
        piece = self._counts[self._place : self._place + bins]
        self._place += bins
        return read_only(piece)


def _dump(statistics: TensorStatistics, pieces: list[IntArray]) -> dict[str, Any]:
    """Return the JSON part of one tensor and append its counts to `pieces`."""
    histogram = statistics.histogram
    pieces.append(histogram.counts)
    return {
        "extremes": statistics.extremes.dump_dict(),
        "count": statistics.count,
        "zeros": statistics.zeros,
        "mean": statistics.mean,
        "variance": statistics.variance,
        "samples": asdict(statistics.samples),
        "histogram": {
            "exponent": histogram.exponent,
            "first": histogram.first,
            "bins": histogram.counts.size,
            "max_bins": histogram.max_bins,
        },
        "channel_axis": statistics.channel_axis,
        "channels": [_dump(channel, pieces) for channel in statistics.channels],
    }


def _bins(entry: dict[str, Any]) -> int:
    """Return how many counts one tensor and its channels claim."""
    claimed = entry["histogram"]["bins"]
    if not isinstance(claimed, int) or claimed < 1:
        raise ValueError(f"a histogram of {claimed!r} bins")
    return claimed + sum(_bins(channel) for channel in entry["channels"])


def _read_counts(payload: bytes, total: int) -> IntArray:
    """Return the joined counts; refuse an archive of another size before unpacking it."""
    size = total * np.dtype(np.int64).itemsize
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            found = archive.getinfo("counts.npy").file_size
        if not size < found <= size + _HEADER_BYTES:
            raise DataLoadError(
                f"the archive holds {found} bytes of counts where the text promises {size}; "
                "give the text and the archive of one save."
            )
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            counts: IntArray = archive["counts"]
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError) as error:
        if isinstance(error, DataLoadError):
            raise
        raise DataLoadError(
            f"the counts are no readable npz archive ({error}); save the statistics again."
        ) from error
    if counts.dtype != np.int64 or counts.shape != (total,) or np.any(counts < 0):
        raise DataLoadError(
            f"the counts are {counts.dtype} of shape {counts.shape}, not {total} int64 values of "
            "at least 0; give the text and the archive of one save."
        )
    return counts


def _load(entry: dict[str, Any], reader: _Reader) -> TensorStatistics:
    """Rebuild one tensor; its numbers have to agree with each other."""
    extremes = MinMaxQuantizationStats.load_dict(entry["extremes"])
    rmin, rmax = float(extremes.rmin), float(extremes.rmax)
    claim = entry["histogram"]
    histogram = DyadicHistogram(
        int(claim["exponent"]), int(claim["first"]), reader.take(claim["bins"]), claim["max_bins"]
    )
    statistics = TensorStatistics(
        extremes=extremes,
        count=int(entry["count"]),
        zeros=int(entry["zeros"]),
        mean=float(entry["mean"]),
        variance=float(entry["variance"]),
        histogram=histogram,
        samples=SampleExtremes(**entry["samples"]),
        channel_axis=entry["channel_axis"],
        channels=tuple(_load(channel, reader) for channel in entry["channels"]),
    )
    bins = np.flatnonzero(histogram.counts)
    agrees = (
        histogram.exponent == width_exponent(rmin, rmax, histogram.max_bins)
        and histogram.first == bin_index(rmin, histogram.exponent)
        and histogram.first + bins[-1] == bin_index(rmax, histogram.exponent)
        and bins[0] == 0
        and bins[-1] == histogram.counts.size - 1
        and int(histogram.counts.sum()) == statistics.count
        and 0 <= statistics.zeros <= statistics.count
        and statistics.samples.n_samples >= 1
        and math.isfinite(statistics.mean)
        and 0 <= statistics.variance < math.inf
        and all(math.isfinite(value) for value in asdict(statistics.samples).values())
    )
    if not agrees:
        raise DataLoadError(
            f"statistics of a range [{rmin:g}, {rmax:g}] contradict themselves; measure again."
        )
    return statistics
