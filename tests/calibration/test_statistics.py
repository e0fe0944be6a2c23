from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantlib.calibration.histogram import DyadicHistogram
from quantlib.calibration.statistics import TensorStatistics, measure
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import OptionsError, TensorError

numbers = st.floats(-(2.0**100), 2.0**100, allow_nan=False, width=32)
batches = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda kind: arrays.arrays(
        kind,
        st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3)),
        elements=st.one_of(numbers, st.floats(-4, 4, width=32), st.just(0.0)),
    )
)
limits = st.sampled_from([2, 3, 16, 2048])


def merged(pieces: list[Any], **options: Any) -> TensorStatistics:
    whole = measure(pieces[0], **options)
    for piece in pieces[1:]:
        whole = whole.merge(measure(piece, **options))
    return whole


def cut(values: Any, places: list[int]) -> list[Any]:
    return [piece for piece in np.split(values, sorted(places)) if len(piece)]


def same_histogram(a: DyadicHistogram, b: DyadicHistogram) -> bool:
    return (a.exponent, a.first) == (b.exponent, b.first) and np.array_equal(a.counts, b.counts)


def assert_same(a: TensorStatistics, b: TensorStatistics, scale: float) -> None:
    assert a.extremes == b.extremes
    assert a.dtype == b.dtype
    assert (a.count, a.zeros) == (b.count, b.zeros)
    assert same_histogram(a.histogram, b.histogram)
    assert a.mean == pytest.approx(b.mean, rel=1e-9, abs=1e-12 * scale)
    assert a.variance == pytest.approx(b.variance, rel=1e-9, abs=1e-12 * scale**2)
    assert a.samples.n_samples == b.samples.n_samples
    for name in ("mean_min", "mean_max"):
        found, wanted = getattr(a.samples, name), getattr(b.samples, name)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12 * scale)


@given(batches, st.lists(st.integers(0, 12), max_size=4), limits, st.randoms())
def test_statistics_depend_neither_on_the_size_nor_on_the_order_of_batches(
    x: Any, places: list[int], max_bins: int, random: Any
) -> None:
    whole = measure(x, 1, max_bins=max_bins)
    pieces = cut(x, places)
    random.shuffle(pieces)
    found = merged(pieces, channel_axis=1, max_bins=max_bins)
    scale = float(np.abs(x).max())
    assert_same(found, whole, scale)
    for a, b in zip(found.channels, whole.channels, strict=True):
        assert_same(a, b, scale)


@given(batches, st.lists(st.integers(0, 12), max_size=4))
def test_the_moving_average_depends_on_the_order_of_samples_only(x: Any, places: list[int]) -> None:
    low, high = x[0].min().astype(float), x[0].max().astype(float)
    for sample in x[1:].astype(float):
        low, high = 0.99 * low + 0.01 * sample.min(), 0.99 * high + 0.01 * sample.max()
    found = merged(cut(x, places)).samples
    scale = float(np.abs(x).max())
    assert found.moving_min == pytest.approx(low, rel=1e-9, abs=1e-12 * scale)
    assert found.moving_max == pytest.approx(high, rel=1e-9, abs=1e-12 * scale)


def test_the_moving_average_of_many_samples_forgets_the_first() -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    average = x[0].max()
    for sample in x[1:]:
        average += 0.01 * (sample.max() - average)
    assert measure(x).samples.moving_max == pytest.approx(average, rel=1e-12)


@given(batches)
def test_measures_are_those_of_numpy(x: Any) -> None:
    found = measure(x)
    assert found.extremes == MinMaxQuantizationStats.from_values(x)
    assert found.dtype == x.dtype
    assert (found.count, found.zeros) == (x.size, int(np.sum(x == 0)))
    scale = float(np.abs(x).max())
    wide = x.astype(np.float64)
    assert found.mean == pytest.approx(wide.mean(), rel=1e-9, abs=1e-12 * scale)
    assert found.variance == pytest.approx(wide.var(), rel=1e-9, abs=1e-12 * scale**2)
    assert found.samples.mean_min == pytest.approx(
        wide.reshape(len(x), -1).min(1).mean(), rel=1e-9, abs=1e-12 * scale
    )


@given(batches, limits)
def test_a_histogram_counts_each_value_between_its_edges(x: Any, max_bins: int) -> None:
    found = measure(x, max_bins=max_bins).histogram
    edges = found.edges
    place = np.searchsorted(edges, x.ravel().astype(np.float64), side="right") - 1
    assert np.array_equal(found.counts, np.bincount(place, minlength=found.counts.size))
    assert found.counts.size <= max_bins
    assert found.counts[0] > 0 and found.counts[-1] > 0
    assert np.all(edges / found.width == np.floor(edges / found.width))


@given(batches)
def test_a_folded_histogram_counts_magnitudes(x: Any) -> None:
    x = x + np.asarray(0.123, x.dtype)  # off the edges, whose sign side differs
    statistics = measure(x)
    folded = statistics.histogram.folded()
    inner = np.abs(x.astype(np.float64)) / folded.width
    clear = inner != np.floor(inner)
    if clear.all():
        counts = np.bincount(inner.astype(int).ravel(), minlength=folded.counts.size)
        assert np.array_equal(folded.counts, counts)
    assert folded.first == 0 and folded.counts.sum() == x.size


def test_memory_does_not_grow_with_the_batches() -> None:
    rng = np.random.default_rng(1)
    whole = measure(rng.normal(size=(4, 3)), 1)
    for i in range(200):
        whole = whole.merge(measure(rng.normal(size=(4, 3)) * 1.1**i, 1))
    assert whole.histogram.counts.size <= 2048
    assert sum(channel.histogram.counts.size for channel in whole.channels) <= 3 * 2048
    assert whole.samples.n_samples == 804


@pytest.mark.parametrize("value", [0.0, -0.0, 3.0, -7.25, 1e-300, 1e140, -5e-324])
def test_a_constant_has_one_bin(value: float) -> None:
    found = measure(np.full((3, 2), value))
    assert found.histogram.counts.tolist() == [6]
    assert found.histogram.edges[0] <= value <= found.histogram.edges[1]
    assert found.variance == pytest.approx(0.0, abs=1e-12 * value**2)


def test_tiny_negative_values_stay_below_zero_beside_huge_ones() -> None:
    x = np.array([-5e-324, 5e-324, 1e140])
    found = measure(x)
    assert found.histogram.first == -1
    assert found.histogram.counts[:2].tolist() == [1, 1]
    assert same_histogram(found.histogram, merged([x[:1], x[1:]]).histogram)


def test_a_scalar_and_integers_are_measured() -> None:
    found = measure(np.arange(5))
    assert found.dtype == np.float64 and found.samples.n_samples == 5
    assert measure(np.array(2.5)).samples.n_samples == 1


def test_a_channel_of_axis_0_is_one_sample() -> None:
    weights = np.arange(6.0).reshape(2, 3)
    channels = measure(weights, 0).channels
    assert [c.extremes.rmax for c in channels] == [2.0, 5.0]
    assert [c.samples.n_samples for c in channels] == [1, 1]


def test_thin_and_wide_samples_have_the_same_extremes() -> None:
    x = np.random.default_rng(2).normal(size=(4000, 3))
    found = measure(x).samples
    assert found.mean_max == pytest.approx(x.max(1).mean())
    assert found.mean_min == pytest.approx(x.min(1).mean())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((0, 3)), "no elements"),
        (np.array([1.0, np.nan]), "NaN or infinite"),
        (np.array([1e200]), "too large to measure"),
    ],
)
def test_values_that_cannot_be_measured_are_refused(bad: Any, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        measure(bad)


def test_a_missing_axis_and_a_wrong_limit_are_refused() -> None:
    with pytest.raises(TensorError, match="no axis 2"):
        measure(np.ones((2, 2)), 2)
    with pytest.raises(OptionsError, match="max_bins is 1"):
        measure(np.ones(2), max_bins=1)


def test_statistics_that_differ_in_kind_do_not_merge() -> None:
    a = measure(np.ones((2, 2)))
    with pytest.raises(TensorError, match="float64 and float32"):
        a.merge(measure(np.ones((2, 2), np.float32)))
    with pytest.raises(TensorError, match="do not merge"):
        a.merge(measure(np.ones((2, 2)), 1))
    with pytest.raises(OptionsError, match="do not merge"):
        a.merge(measure(np.ones((2, 2)), max_bins=16))


def test_bins_are_joined_and_never_split() -> None:
    found = measure(np.arange(-5.0, 8.0)).histogram
    coarse = found.coarsened(2)
    assert (coarse.first, coarse.counts.tolist()) == (-2, [1, 4, 4, 4])
    assert found.coarsened(found.exponent) is found
    with pytest.raises(OptionsError, match="cannot be split"):
        coarse.coarsened(1)
