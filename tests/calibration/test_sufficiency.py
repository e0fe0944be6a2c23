from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlib.calibration.sufficiency import Sufficiency, assess_samples, integer_widths
from quantlib.calibration.tail import TailFit
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError, TensorError

EIGHT = QuantizationOptions(8)


def assess(low: Any, high: Any, seed: int = 1, **options: Any) -> Sufficiency:
    return assess_samples(low, high, EIGHT, rng=np.random.default_rng(seed), **options)


def positive(draw: Any, n: int, **options: Any) -> Sufficiency:
    return assess(np.zeros(n), draw(n), **options)


@given(st.integers(-(2**50), 2**50), st.integers(0, 2**50))
def test_widths_are_those_of_the_integers(low: int, span: int) -> None:
    high = low + span
    found = integer_widths(np.array([float(low)]), np.array([float(high)]))
    assert found.tolist() == [bit_width(low, high)]


@given(st.floats(-500, 500), st.floats(0, 900), st.sampled_from([0.25, 0.1, 3.0]))
def test_widths_of_reals_are_those_of_their_codes(low: float, span: float, step: float) -> None:
    high = low + span
    codes = np.rint(low / step), np.rint(high / step)
    clear = [abs(abs(x / step) % 1 - 0.5) > 1e-6 for x in (low, high)]
    if all(clear):
        found = integer_widths(np.array([low]), np.array([high]), step)
        assert found.tolist() == [bit_width(int(codes[0]), int(codes[1]))]


def test_bands_are_bootstrap_quantiles_of_the_extremes() -> None:
    rng = np.random.default_rng(2)
    low, high = -rng.exponential(3, size=50), rng.exponential(5, size=50)
    found = assess(low, high, n_resamples=4000, n_sizes=5)
    assert found.sizes.tolist() == [10, 20, 30, 40, 50]
    other = np.random.default_rng(3)
    for i, size in enumerate(found.sizes):
        rows = other.integers(0, 50, size=(4000, size))
        tops, bottoms = high[rows].max(1), low[rows].min(1)
        for band, figures in (
            (found.range, tops - bottoms),
            (found.scale, (tops - bottoms) / 255),
            (found.width_bits, integer_widths(bottoms, tops)),
        ):
            wanted = np.quantile(figures, [0.05, 0.5, 0.95])
            ends = [band.low[i], band.median[i], band.high[i]]
            assert np.allclose(ends, wanted, rtol=0.06)


def test_bands_grow_towards_the_figures_of_all_samples() -> None:
    rng = np.random.default_rng(4)
    low, high = rng.normal(-90, 20, size=300), rng.normal(500, 90, size=300)
    found = assess(low, high)
    assert found.sizes.tolist() == list(range(30, 301, 30))
    for band in (found.range, found.scale, found.width_bits):
        assert np.all(np.diff(band.median) >= 0)
        assert np.all(band.low <= band.median) and np.all(band.median <= band.high)
    assert found.range.high.max() <= high.max() - low.min()
    assert found.width_bits.high.max() <= found.present_bits
    assert found.present_bits == bit_width(round(low.min()), round(high.max()))


@pytest.mark.parametrize("symmetric", [False, True])
def test_scales_are_those_of_the_quantizer(symmetric: bool) -> None:
    options = QuantizationOptions(5, is_signed=symmetric, is_symmetric=symmetric)
    low, high = np.full(10, -3.0), np.full(10, 7.0)
    found = assess_samples(low, high, options, rng=np.random.default_rng(0))
    stats = MinMaxQuantizationStats(rmin=np.float64(-3.0), rmax=np.float64(7.0))
    scale = UniformQuantizationParameters.from_stats(options, stats).scale
    assert np.all(found.scale.low == scale) and np.all(found.scale.high == scale)


def test_one_seed_gives_one_result() -> None:
    rng = np.random.default_rng(5)
    low, high = -rng.exponential(3, size=60), rng.exponential(5, size=60)
    a, b, c = assess(low, high, 7), assess(low, high, 7), assess(low, high, 8)
    assert np.array_equal(a.range.low, b.range.low)
    assert (a.chance_wider, a.chance_wider_high) == (b.chance_wider, b.chance_wider_high)
    assert not np.array_equal(a.range.low, c.range.low)


def test_leaving_the_range_is_as_likely_as_being_the_largest_of_all() -> None:
    rng = np.random.default_rng(6)
    n = 24
    x = rng.normal(size=(20_000, n + 1))
    outside = (x[:, n] > x[:, :n].max(1)) | (x[:, n] < x[:, :n].min(1))
    found = assess(x[0, :n], x[0, :n] + 1.0)
    assert found.chance_new_extreme == pytest.approx(2 / (n + 1))
    assert outside.mean() == pytest.approx(found.chance_new_extreme, rel=0.05)
    one_end = assess(np.zeros(n), np.abs(x[0, :n]))
    assert one_end.chance_new_extreme == pytest.approx(1 / (n + 1))


@pytest.mark.parametrize("shape", [0.0, 0.25])
def test_a_tail_is_recovered(shape: float) -> None:
    rng = np.random.default_rng(7)
    uniform = rng.uniform(size=(400, 2000))
    x = -np.log(uniform) if shape == 0 else (uniform**-shape - 1) / shape
    limit = float(np.log(5000) if shape == 0 else (5000**shape - 1) / shape)
    fit = TailFit.fit(x)
    assert fit.share == 0.1
    assert np.median(fit.shape) == pytest.approx(shape, abs=0.06)
    assert np.median(fit.chance_above(limit)) == pytest.approx(1 / 5000, rel=0.25)


def test_equal_largest_samples_are_an_end() -> None:
    fit = TailFit.fit(np.full((2, 50), 3.0))
    assert fit.chance_above(4.0).tolist() == [0.0, 0.0]


FAMILIES: dict[str, tuple[Any, Any, tuple[float, float]]] = {
    "exponential": (
        lambda rng, n: rng.exponential(40, size=n),
        lambda x: math.exp(-x / 40),
        (0.5, 2.0),
    ),
    "pareto": (
        lambda rng, n: 40 * rng.pareto(2.5, size=n),
        lambda x: (1 + x / 40) ** -2.5,
        (0.25, 1.5),
    ),
    "normal": (
        lambda rng, n: np.abs(rng.normal(0, 60, size=n)),
        lambda x: math.erfc(x / 60 / math.sqrt(2)),
        (0.5, 25.0),  # an exponential tail is heavier: too high, never 0
    ),
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_chance_of_one_more_bit_is_that_of_the_distribution(family: str) -> None:
    draw, survival, (least, most) = FAMILIES[family]
    rng = np.random.default_rng(8)
    estimated, true = [], []
    for _ in range(150):
        found = positive(lambda n: draw(rng, n), 300, n_resamples=40)
        estimated.append(found.chance_wider)
        true.append(survival(2.0**found.present_bits - 0.5))
        assert 0 <= found.chance_wider <= 1 / 301
        assert found.chance_wider <= found.chance_wider_high
        assert found.is_fitted
    assert least < np.mean(estimated) / np.mean(true) < most


LAWS: dict[str, tuple[Any, Any]] = {
    "half-normal": (
        lambda rng, n: np.abs(rng.normal(0, 60, size=n)),
        lambda x: math.erfc(x / 60 / math.sqrt(2)),
    ),
    "half-normal, near the limit": (
        lambda rng, n: np.abs(rng.normal(0, 90, size=n)),
        lambda x: math.erfc(x / 90 / math.sqrt(2)),
    ),
    "uniform": (
        lambda rng, n: rng.uniform(0, 257, size=n),
        lambda x: max(0.0, 1 - x / 257),
    ),
    "exponential": (lambda rng, n: rng.exponential(40, size=n), lambda x: math.exp(-x / 40)),
    "Pareto": (
        lambda rng, n: 40 * rng.pareto(1.2, size=n),
        lambda x: (1 + x / 40) ** -1.2,
    ),
    "Cauchy": (
        lambda rng, n: np.abs(20 * rng.standard_cauchy(size=n)),
        lambda x: 1 - 2 / math.pi * math.atan(x / 20),
    ),
}


@pytest.mark.parametrize("confidence", [0.5, 0.9])
@pytest.mark.parametrize("n", [7, 300])
@pytest.mark.parametrize("law", sorted(LAWS))
def test_the_upper_limit_covers_the_true_chance_as_often_as_it_says(
    law: str, n: int, confidence: float
) -> None:
    draw, survival = LAWS[law]
    rng = np.random.default_rng(20)
    runs, covered = 250, 0
    for _ in range(runs):
        # far from 0, so that only the upper end can be left: one end, all of the doubt
        high = draw(rng, n)
        found = assess(np.full(n, -1.0), high, n_resamples=1, n_sizes=1, confidence=confidence)
        covered += survival(2.0 ** (found.present_bits - 1) - 0.5) <= found.chance_wider_high
    slack = 3 * math.sqrt(confidence * (1 - confidence) / runs)
    assert covered / runs >= confidence - slack


def test_the_upper_limit_is_reached_by_rare_wide_samples() -> None:
    """Samples that need a bit more with just that chance are missed by one set in ten."""
    n, runs = 60, 3000
    rare = (1 - 0.1 ** (1 / n)) * 1.001
    rng = np.random.default_rng(21)
    wide = (rng.uniform(size=(runs, n)) < rare).any(axis=1)
    found = assess(np.full(n, -1.0), np.full(n, 100.0) + np.arange(n) / n)
    assert found.present_bits == 8
    assert rare > found.chance_wider_high == pytest.approx(rare / 1.001)
    assert 1 - wide.mean() == pytest.approx(0.1, abs=0.02)


def test_data_that_may_turn_negative_have_two_ends_to_leave() -> None:
    n = 50
    rng = np.random.default_rng(22)
    found = assess(rng.uniform(1, 2, size=n), rng.uniform(90, 100, size=n))
    assert found.chance_wider_high == pytest.approx(2 * (1 - 0.05 ** (1 / n)))


def test_bounded_samples_far_from_the_next_power_are_sufficient() -> None:
    rng = np.random.default_rng(9)
    found = positive(lambda n: rng.uniform(0, 140, size=n), 300)
    assert found.present_bits == 8
    assert found.chance_wider < 1e-6 and found.is_enough
    assert found.enough_samples < 30


def first_of_its_width(survival: Any, n: int) -> float:
    """Return the chance that sample n + 1 is wider than all before, from the true survival."""
    above = [1.0] + [survival(2.0**w - 0.5) for w in range(1, 60)]
    chance: float = above[-1] * (1 - above[-1]) ** n
    for less, more in itertools.pairwise(above):
        chance += (less - more) * (1 - less) ** n
    return chance


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_enough_samples_are_those_of_the_distribution(family: str) -> None:
    draw, survival, _ = FAMILIES[family]
    wanted = next(n for n in range(1, 200) if first_of_its_width(survival, n) <= 0.01)
    rng = np.random.default_rng(10)
    found = [positive(lambda n: draw(rng, n), 500, n_resamples=1).enough_samples for _ in range(60)]
    assert np.median(found) == pytest.approx(wanted, rel=0.15)
    assert max(found) <= 99


def test_the_formula_of_records_is_their_frequency() -> None:
    rng = np.random.default_rng(11)
    x = rng.exponential(40, size=(40_000, 21))
    widths = integer_widths(np.zeros_like(x), x)
    record = widths[:, 20] > widths[:, :20].max(axis=1)
    survival = FAMILIES["exponential"][1]
    assert record.mean() == pytest.approx(first_of_its_width(survival, 20), rel=0.1)


@pytest.mark.parametrize(
    ("confidence", "target", "wanted"), [(0.95, 0.01, 299), (0.95, 0.05, 59), (0.9, 0.1, 22)]
)
def test_certain_samples_are_wilks_numbers(confidence: float, target: float, wanted: int) -> None:
    found = assess(np.zeros(5), np.arange(5.0), confidence=confidence, target=target)
    assert found.certain_samples == wanted
    assert (1 - target) ** wanted <= 1 - confidence < (1 - target) ** (wanted - 1)


def test_few_samples_get_the_bound_of_any_distribution() -> None:
    found = assess(np.arange(-9.0, -2.0), np.arange(1.0, 8.0))
    assert not found.is_fitted
    assert found.chance_wider == pytest.approx(1 / 8)
    assert found.chance_wider_high == pytest.approx(1 - 0.1 ** (1 / 7))
    assert not found.is_enough


def test_one_sample_is_assessed() -> None:
    found = assess(np.array([-3.0]), np.array([200.0]))
    assert found.sizes.tolist() == [1]
    assert found.present_bits == 9
    assert found.chance_new_extreme == 1.0
    assert found.chance_wider == 0.5


def test_samples_that_agree_are_taken_as_bounds() -> None:
    found = assess(np.zeros(100), np.full(100, 7.0))
    assert (found.chance_new_extreme, found.chance_wider, found.present_bits) == (0.0, 0.0, 3)
    assert found.enough_samples == 1


def test_data_close_to_zero_may_turn_negative() -> None:
    rng = np.random.default_rng(12)
    minima = np.abs(rng.normal(2, 0.8, size=200))
    close = assess(minima, np.full(200, 100.0))
    far = assess(50 + minima, np.full(200, 100.0))
    assert close.present_bits == far.present_bits == 7
    true = math.erfc(2.5 / 0.8 / math.sqrt(2)) / 2
    assert far.chance_wider < 1e-9
    assert true / 10 < close.chance_wider < true * 10


def test_a_tensor_is_assessed_in_steps_of_its_scale() -> None:
    rng = np.random.default_rng(13)
    low, high = -rng.exponential(3, size=80), rng.exponential(5, size=80)
    real = assess(low * 0.125, high * 0.125, step=0.125)
    codes = assess(low, high)
    assert real.present_bits == codes.present_bits
    assert real.chance_wider == pytest.approx(codes.chance_wider)
    assert np.array_equal(real.width_bits.median, codes.width_bits.median)
    assert np.allclose(real.range.median, codes.range.median * 0.125)


def test_many_samples_are_resampled_in_blocks() -> None:
    rng = np.random.default_rng(14)
    found = positive(lambda n: rng.exponential(40, size=n), 300_000, n_resamples=9)
    assert found.sizes[-1] == 300_000
    assert found.range.median.shape == (10,)
    assert found.chance_wider <= 1 / 300_001


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (np.zeros(0), np.zeros(0), "no elements"),
        (np.zeros(3), np.ones(2), "give one number"),
        (np.zeros((2, 2)), np.ones((2, 2)), "give one number"),
        (np.array([np.nan]), np.ones(1), "minima holds 1 NaN"),
        (np.zeros(1), np.array([np.inf]), "maxima holds 1 NaN"),
        (np.array([0.0, 2.0]), np.ones(2), "sample 1 has minimum 2"),
    ],
)
def test_wrong_extremes_are_refused(low: Any, high: Any, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        assess(low, high)


@pytest.mark.parametrize(
    "option",
    [
        {"step": 0.0},
        {"step": float("nan")},
        {"n_sizes": 0},
        {"n_resamples": 0},
        {"confidence": 1.0},
        {"target": 0.0},
    ],
)
def test_wrong_options_are_refused(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(OptionsError, match=name):
        assess(np.zeros(3), np.ones(3), **option)
