from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnxruntime.quantization.calibrate import HistogramCollector

from quantlib.calibration.estimators import RULES, estimate_channel_ranges, estimate_range
from quantlib.calibration.statistics import measure
from quantlib.core.estimator import ESTIMATORS, Estimator
from quantlib.core.options import QuantizationOptions
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import OptionsError, TensorError

AFFINE = QuantizationOptions(8)
SYMMETRIC = QuantizationOptions(8, is_signed=True, is_symmetric=True)
rng = np.random.default_rng(5)
GAUSS = rng.normal(0.3, 1.0, size=(400, 100)).astype(np.float32)
LAPLACE = rng.laplace(0.0, 2.0, size=(400, 100)).astype(np.float32)
RELU = np.maximum(GAUSS, 0)
HEAVY = rng.standard_t(3, size=(400, 100)).astype(np.float32)
DATA = {"gauss": GAUSS, "laplace": LAPLACE, "relu": RELU, "heavy": HEAVY}


@st.composite
def grids(draw: st.DrawFn) -> QuantizationOptions:
    n_bits = draw(st.integers(1, 16))
    signed = draw(st.booleans())
    symmetric = signed and n_bits > 1 and draw(st.booleans())
    return QuantizationOptions(n_bits, is_signed=signed, is_symmetric=symmetric)


numbers = st.one_of(
    st.floats(-(2.0**60), 2.0**60, allow_nan=False, width=32),
    st.floats(-2, 2, width=32),
    st.sampled_from([0.0, 1.0, -3.0]),
)
tensors = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda kind: arrays.arrays(
        kind, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=numbers
    )
)


@given(tensors, grids(), st.sampled_from(sorted(ESTIMATORS)))
def test_every_range_lies_within_the_extremes_and_has_their_dtype(
    x: Any, options: QuantizationOptions, name: str
) -> None:
    found = estimate_range(Estimator(name), measure(x), options)
    assert x.min() <= found.rmin <= found.rmax <= x.max()
    assert found.rmin.dtype == found.rmax.dtype == x.dtype
    assert found.rmax - found.rmin >= min(1e-6, x.max() - x.min())
    assert np.isfinite(UniformQuantizer.from_stats(options, found).scale)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize("value", [0.0, 5.0, -1e-9, 1e6])
def test_a_constant_tensor_keeps_its_range(name: str, value: float) -> None:
    x = np.full((3, 4), value, dtype=np.float32)
    found = estimate_range(Estimator(name), measure(x), AFFINE)
    assert found == MinMaxQuantizationStats.from_values(x)
    assert estimate_range(Estimator(name), measure(x[:1, :1]), SYMMETRIC) == found


@given(tensors, grids())
def test_min_max_is_the_exact_range(x: Any, options: QuantizationOptions) -> None:
    found = estimate_range(Estimator("min-max"), measure(x), options)
    wanted = MinMaxQuantizationStats.from_values(x)
    assert (found.rmin, found.rmax) == (wanted.rmin, wanted.rmax)
    assert found.rmin.dtype == wanted.rmin.dtype


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_half_precision_stays_half_precision(name: str) -> None:
    x = np.append(np.linspace(-60_000, 60_000, 49), np.linspace(-9, 9, 351)).astype(np.float16)
    found = estimate_range(Estimator(name), measure(x.reshape(4, 100)), QuantizationOptions(4))
    assert found.rmin.dtype == found.rmax.dtype == np.float16
    assert -60_000 <= found.rmin < found.rmax <= 60_000


def test_the_moving_average_follows_the_samples() -> None:
    low, high = GAUSS[0].min().astype(float), GAUSS[0].max().astype(float)
    for sample in GAUSS[1:].astype(float):
        low += 0.01 * (sample.min() - low)
        high += 0.01 * (sample.max() - high)
    found = estimate_range(Estimator("moving-average"), measure(GAUSS), AFFINE)
    assert (found.rmin, found.rmax) == (np.float32(low), np.float32(high))


def test_the_sample_mean_averages_the_extremes() -> None:
    found = estimate_range(Estimator("sample-mean"), measure(GAUSS), AFFINE)
    assert found.rmin == pytest.approx(GAUSS.min(axis=1).mean(), rel=1e-6)
    assert found.rmax == pytest.approx(GAUSS.max(axis=1).mean(), rel=1e-6)


@pytest.mark.parametrize("k", [1.0, 2.5])
def test_mean_and_deviation_give_the_range(k: float) -> None:
    found = estimate_range(Estimator("mean-std", k), measure(GAUSS), AFFINE)
    wide = GAUSS.astype(float)
    assert found.rmin == pytest.approx(wide.mean() - k * wide.std(), rel=1e-6)
    assert found.rmax == pytest.approx(wide.mean() + k * wide.std(), rel=1e-6)


def ort_percentile(x: Any, percent: float, *, symmetric: bool) -> tuple[float, float, float]:
    """Return ONNX Runtime's range on the histogram of `measure`, and the bin width."""
    statistics = measure(x)
    histogram = statistics.histogram.folded() if symmetric else statistics.histogram
    collector = HistogramCollector("percentile", symmetric, 2048, 128, percent, "same")
    collector.histogram_dict["x"] = (histogram.counts, histogram.edges, x.min(), x.max())
    low, high, *_ = collector.compute_percentile()["x"]
    return float(low), float(high), histogram.width


@pytest.mark.parametrize("percent", [75.003, 99.013, 99.903, 99.997])
@pytest.mark.parametrize("name", sorted(DATA))
def test_percentiles_are_those_of_onnx_runtime_up_to_a_bin(name: str, percent: float) -> None:
    x = DATA[name]
    for options in (AFFINE, SYMMETRIC):
        symmetric = options.is_symmetric
        low, high, width = ort_percentile(x, percent, symmetric=symmetric)
        found = estimate_range(Estimator("percentile", percent), measure(x), options)
        assert found.rmin == pytest.approx(max(low, x.min()), abs=width * 1.001)
        assert found.rmax == pytest.approx(min(high, x.max()), abs=width * 1.001)


@pytest.mark.parametrize("percent", [60.003, 99.013, 99.987])
@pytest.mark.parametrize("name", sorted(DATA))
def test_percentiles_are_those_of_the_values_up_to_a_bin(name: str, percent: float) -> None:
    x = DATA[name]
    statistics = measure(x)
    found = estimate_range(Estimator("percentile", percent), statistics, AFFINE)
    cut = (100 - percent) / 2
    ends = np.percentile(x, [cut, 100 - cut], method="inverted_cdf")
    assert np.abs([found.rmin - ends[0], found.rmax - ends[1]]).max() <= statistics.histogram.width


def test_percentiles_of_channels_are_exact() -> None:
    found = estimate_channel_ranges(Estimator("percentile", 90.0), GAUSS, AFFINE, 1)
    ends = np.percentile(GAUSS, [5, 95], axis=0, method="inverted_cdf")
    assert [(s.rmin, s.rmax) for s in found] == list(zip(*ends, strict=True))


def ort_entropy(x: Any, n_bins: int, n_levels: int) -> tuple[float, float]:
    collector = HistogramCollector("entropy", False, n_bins, n_levels, 99.999, "same")
    collector.collect({"x": x})
    low, high, *_ = collector.compute_collection_result()["x"]
    return float(low), float(high)


def test_entropy_with_onnx_runtimes_default_bins_clips_nothing() -> None:
    x = np.concatenate([GAUSS.ravel(), np.array([-1000, 1000], np.float32)])
    assert ort_entropy(x, 128, 128) == (-1000.0, 1000.0)
    low, high = ort_entropy(x, 4096, 128)
    assert high - low < 200
    coarse, fine = measure(x, max_bins=128), measure(x, max_bins=4096)
    seven = QuantizationOptions(7)
    assert estimate_range(Estimator("entropy"), coarse, seven) == coarse.extremes
    found = estimate_range(Estimator("entropy"), fine, seven)
    assert found.rmax - found.rmin < 200


def test_entropy_clips_nothing_with_as_many_levels_as_bins() -> None:
    statistics = measure(HEAVY)
    for n_bits in (11, 12, 16):
        found = estimate_range(Estimator("entropy"), statistics, QuantizationOptions(n_bits))
        assert found == statistics.extremes


def test_entropy_clips_outliers_and_less_with_more_bits() -> None:
    statistics = measure(HEAVY)
    for symmetric in (False, True):
        spans = []
        for n_bits in (3, 5, 7):
            options = QuantizationOptions(n_bits, is_signed=symmetric, is_symmetric=symmetric)
            found = estimate_range(Estimator("entropy"), statistics, options)
            spans.append(float(found.rmax - found.rmin))
        assert spans == sorted(spans)
        assert spans[0] < 0.5 * float(HEAVY.max() - HEAVY.min())


def grid_error(x: Any, stats: MinMaxQuantizationStats, options: Any, p: float) -> float:
    quantizer = UniformQuantizer.from_stats(options, stats)
    wide = x.astype(np.float64)
    return float(np.mean(np.abs(wide - quantizer.dequant(quantizer.quant(wide))) ** p))


def brute_force(x: Any, options: Any, p: float) -> float:
    """Return the smallest error of a dense grid of ranges."""
    low, high = float(x.min()), float(x.max())
    ends = np.linspace(0, 1, 61)[1:]
    best = np.inf
    if options.is_symmetric:
        reach = max(-low, high)
        ranges = [(-reach * t, reach * t) for t in np.linspace(0, 1, 400)[1:]]
    else:
        middle = float(np.median(x))
        ranges = [
            (middle + (low - middle) * a, middle + (high - middle) * b) for a in ends for b in ends
        ]
    for bottom, top in ranges:
        stats = MinMaxQuantizationStats(rmin=bottom, rmax=top)
        best = min(best, grid_error(x, stats, options, p))
    return best


@pytest.mark.parametrize("p", [1.0, 2.0, 2.4, 4.0])
@pytest.mark.parametrize(
    "options",
    [
        QuantizationOptions(2),
        QuantizationOptions(4),
        QuantizationOptions(3, is_signed=True),
        QuantizationOptions(4, is_signed=True, is_symmetric=True),
    ],
)
@pytest.mark.parametrize("name", ["gauss", "relu", "heavy"])
def test_no_range_of_a_dense_grid_has_a_smaller_error(name: str, options: Any, p: float) -> None:
    x = DATA[name].ravel()[:300]
    (exact,) = estimate_channel_ranges(Estimator("lp-norm", p), x[None], options, 0)
    binned = estimate_range(Estimator("lp-norm", p), measure(x), options)
    best = brute_force(x, options, p)
    assert grid_error(x, exact, options, p) <= 1.03 * best
    assert grid_error(x, binned, options, p) <= 1.06 * best


@pytest.mark.parametrize("n_bits", [1, 4, 8, 12, 16])
def test_mse_is_the_norm_with_exponent_2_and_never_worse_than_min_max(n_bits: int) -> None:
    options = QuantizationOptions(n_bits)
    statistics = measure(LAPLACE)
    found = estimate_range(Estimator("mse"), statistics, options)
    assert found == estimate_range(Estimator("lp-norm", 2.0), statistics, options)
    full = grid_error(LAPLACE, statistics.extremes, options, 2.0)
    assert grid_error(LAPLACE, found, options, 2.0) <= 1.01 * full


@pytest.mark.parametrize(("name", "family"), [("gauss", "aciq-gauss"), ("laplace", "aciq-laplace")])
@pytest.mark.parametrize("n_bits", [3, 4, 5, 6])
def test_aciq_is_near_the_best_range_of_its_own_distribution(
    name: str, family: str, n_bits: int
) -> None:
    x, options = DATA[name], QuantizationOptions(n_bits)
    statistics = measure(x)
    best = estimate_range(Estimator("mse"), statistics, options)
    found = estimate_range(Estimator(family), statistics, options)
    error = grid_error(x, found, options, 2.0)
    assert error <= 1.15 * grid_error(x, best, options, 2.0)
    assert error < grid_error(x, statistics.extremes, options, 2.0)


def test_aciq_measures_the_spread_of_its_distribution() -> None:
    wide = GAUSS.astype(float)
    statistics = measure(GAUSS)
    four = QuantizationOptions(4)
    gauss = estimate_range(Estimator("aciq-gauss"), statistics, four)
    assert gauss.rmax == pytest.approx(wide.mean() + 2.55 * wide.std(), rel=1e-6)
    four = QuantizationOptions(4, is_signed=True, is_symmetric=True)
    gauss = estimate_range(Estimator("aciq-gauss"), statistics, four)
    assert gauss.rmax == pytest.approx(2.55 * np.sqrt(np.mean(wide**2)), rel=1e-6)
    (exact,) = estimate_channel_ranges(Estimator("aciq-laplace"), wide.reshape(1, -1), four, 0)
    assert exact.rmin == pytest.approx(-min(5.03 * np.abs(wide).mean(), -wide.min()))
    two = QuantizationOptions(2)
    laplace = estimate_range(Estimator("aciq-laplace"), statistics, two)
    reach = 2.83 * np.abs(wide - wide.mean()).mean()
    assert laplace.rmax == pytest.approx(wide.mean() + reach, rel=1e-4)


def test_aciq_takes_a_rectified_tensor_as_half_a_distribution() -> None:
    x = np.maximum(rng.laplace(size=(100, 1000)), 0)
    found = estimate_range(Estimator("aciq-laplace"), measure(x), QuantizationOptions(3))
    assert found.rmin == 0.0
    assert found.rmax == pytest.approx(5.03, rel=0.02)
    x = np.maximum(rng.normal(size=(100, 1000)), 0)
    found = estimate_range(Estimator("aciq-gauss"), measure(x), QuantizationOptions(3))
    assert found.rmax == pytest.approx(2.55, rel=0.02)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_zero_is_not_forced_into_the_range(name: str) -> None:
    x = (GAUSS + 100).astype(np.float32)
    found = estimate_range(Estimator(name), measure(x), QuantizationOptions(4))
    assert found.rmin > 90


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_symmetric_grid_gets_a_symmetric_range(name: str) -> None:
    x = np.concatenate([GAUSS, -GAUSS], axis=1)
    options = QuantizationOptions(5, is_signed=True, is_symmetric=True)
    found = estimate_range(Estimator(name), measure(x), options)
    assert found.rmin == pytest.approx(-found.rmax, rel=1e-6)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_channels_are_estimated_one_by_one(name: str) -> None:
    weights = np.stack([GAUSS[:50], 10 * GAUSS[50:100]])
    options = QuantizationOptions(4, is_signed=True)
    found = estimate_channel_ranges(Estimator(name), weights, options, 0)
    for channel, stats in zip(weights, found, strict=True):
        (alone,) = estimate_channel_ranges(Estimator(name), channel[None], options, 0)
        assert stats == alone
        assert channel.min() <= stats.rmin < stats.rmax <= channel.max()


def test_a_share_that_leaves_one_value_falls_back_on_the_extremes() -> None:
    x = np.zeros((100, 100), dtype=np.float32)
    x[0, 0] = 1.0
    found = estimate_range(Estimator("percentile", 99.0), measure(x), AFFINE)
    assert found == measure(x).extremes


@given(st.sampled_from(sorted(ESTIMATORS)), st.floats(0, 1))
def test_estimators_survive_json(name: str, place: float) -> None:
    wanted = ESTIMATORS[name].parameter
    number = None if wanted is None else wanted.low + place * (wanted.high - wanted.low)
    chosen = Estimator(name, number)
    assert Estimator.load_dict(json.loads(json.dumps(chosen.dump_dict()))) == chosen
    assert Estimator.load_dict(json.loads(json.dumps({"name": name}))) == Estimator(name)


def test_defaults_are_filled_in() -> None:
    assert Estimator("percentile") == Estimator("percentile", 99.999)
    assert Estimator("mean-std").parameter == 3.0
    assert Estimator("lp-norm").parameter == 2.4
    assert Estimator("mse").parameter is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("median",), "one of min-max, moving-average"),
        ((["min-max"],), "there is no estimator"),
        (("min-max", 3.0), "has no parameter"),
        (("percentile", 101.0), "from 50 to 100"),
        (("percentile", "99"), "from 50 to 100"),
        (("percentile", True), "from 50 to 100"),
        (("lp-norm", float("nan")), "from 1 to 8"),
        (("mean-std", 0.0), "from 0.1 to 100"),
    ],
)
def test_a_wrong_estimator_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        Estimator(*arguments)


def test_documents_that_are_no_estimator_are_refused() -> None:
    with pytest.raises(OptionsError, match="an estimator is"):
        Estimator.load_dict({"name": "mse", "bins": 3})
    with pytest.raises(OptionsError, match="an estimator is"):
        Estimator.load_dict({})


def test_grids_wider_than_16_bits_are_refused_where_the_width_counts() -> None:
    wide = QuantizationOptions(17)
    with pytest.raises(OptionsError, match="1 to 16 bits"):
        estimate_range(Estimator("mse"), measure(GAUSS), wide)
    statistics = measure(GAUSS)
    assert estimate_range(Estimator("min-max"), statistics, wide) == statistics.extremes


def test_a_missing_channel_axis_is_refused() -> None:
    with pytest.raises(TensorError, match="no axis 2"):
        estimate_channel_ranges(Estimator("mse"), GAUSS, AFFINE, 2)


def test_every_estimator_of_the_table_has_its_rule() -> None:
    assert set(RULES) == set(ESTIMATORS)
