from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import HistogramCollector

from quantlib.calibration.entropy_window import entropy_window, window_divergences
from quantlib.calibration.statistics import measure


def divergence(counts: Any, start: int, stop: int, n_levels: int) -> float:
    """Return the divergence by its definition, bin by bin."""
    p = [float(c) for c in counts[start:stop]]
    p[0] += sum(counts[:start])
    p[-1] += sum(counts[stop:])
    q = [0.0] * len(p)
    for level in range(n_levels):
        group = range(level * len(p) // n_levels, (level + 1) * len(p) // n_levels)
        filled = [i for i in group if p[i] > 0]
        for i in filled:
            mass = sum(int(counts[start + j]) for j in group)
            q[i] = (mass or 1e-4) / len(filled)
    kept = sum(int(c) for c in counts[start:stop])
    if kept == 0:
        return math.inf
    pairs = [(a / sum(p), b / kept) for a, b in zip(p, q, strict=True) if a > 0]
    return sum(a * math.log(a / b) for a, b in pairs)


histograms = st.lists(st.one_of(st.just(0), st.integers(0, 50)), min_size=3, max_size=24).filter(
    any
)


@given(histograms, st.integers(2, 6), st.data())
def test_the_divergence_is_that_of_the_definition(
    bins: list[int], n_levels: int, data: st.DataObject
) -> None:
    counts = np.array(bins)
    n_levels = min(n_levels, counts.size)
    start = data.draw(st.integers(0, counts.size - n_levels))
    stop = data.draw(st.integers(start + n_levels, counts.size))
    (found,) = window_divergences(counts, np.array([start]), np.array([stop]), n_levels)
    assert found == pytest.approx(divergence(counts, start, stop, n_levels), abs=1e-9)


@given(histograms, st.integers(2, 4), st.data())
def test_the_window_has_the_least_divergence_of_all_candidates(
    bins: list[int], n_levels: int, data: st.DataObject
) -> None:
    counts = np.array(bins)
    centre = data.draw(st.one_of(st.none(), st.integers(0, counts.size - 1)))
    start, stop = entropy_window(counts, centre, n_levels)
    if centre is None:
        candidates = [(0, i) for i in range(1, counts.size + 1)]
    else:
        candidates = [
            (max(centre - i, 0), min(centre + i + 1, counts.size)) for i in range(counts.size)
        ]
    wide = [c for c in candidates if c[1] - c[0] >= n_levels] or [(0, counts.size)]
    assert (start, stop) in wide
    if counts.size > n_levels:
        least = min(divergence(counts, *window, n_levels) for window in wide)
        assert divergence(counts, start, stop, n_levels) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("n_levels", [64, 128])
@pytest.mark.parametrize("family", ["normal", "laplace", "logistic"])
def test_the_window_is_close_to_that_of_onnx_runtime(family: str, n_levels: int) -> None:
    half = getattr(np.random.default_rng(7), family)(size=200_000).astype(np.float32)
    x = np.concatenate([half, -half])
    histogram = measure(x).histogram
    collector = HistogramCollector("entropy", False, 2048, n_levels, 99.999, "same")
    middle = histogram.counts.size // 2
    _, high = collector.get_entropy_threshold(
        (histogram.counts, histogram.edges, x.min(), x.max(), np.abs(x).max()), n_levels
    )
    start, stop = entropy_window(histogram.counts, middle, n_levels)
    assert histogram.edges[stop] == pytest.approx(float(high), rel=0.2)
    reach = int(np.argmin(np.abs(histogram.edges - high))) - middle
    theirs, ours = window_divergences(
        histogram.counts,
        np.array([max(middle - reach + 1, 0), start]),
        np.array([min(middle + reach, histogram.counts.size), stop]),
        n_levels,
    )
    assert ours <= theirs <= 1.6 * ours


def test_as_many_levels_as_bins_leave_one_window() -> None:
    counts = np.array([5, 0, 3, 1])
    assert entropy_window(counts, 2, 4) == (0, 4)
    assert entropy_window(counts, None, 8) == (0, 4)


def test_equal_divergences_keep_the_wider_window() -> None:
    assert entropy_window(np.full(64, 7), 32, 4) == (0, 64)


def runtime_range(*batches: Any) -> tuple[float, float, float]:
    """Its range for the batches, and the largest magnitude among them."""
    collector = HistogramCollector("entropy", False, 128, 128, 99.999, "same")
    for batch in batches:
        collector.collect({"t": [batch]})
    low, high, *_ = collector.compute_collection_result()["t"]
    return float(low), float(high), max(float(np.abs(batch).max()) for batch in batches)


def test_one_batch_has_one_candidate_and_later_ones_that_widen_the_histogram_are_clipped() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(size=20_000).astype(np.float32)
    low, high, _ = runtime_range(first)
    assert (low, high) == (float(first.min()), float(first.max()))
    later = np.append(rng.normal(size=20_000), 12.0).astype(np.float32)
    low, high, reach = runtime_range(first, later)
    assert reach == 12.0
    assert high < 5.0
