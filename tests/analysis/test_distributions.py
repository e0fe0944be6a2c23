from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.distributions import (
    RangeOrigin,
    activation_distributions,
    codes_in_use,
    distribution,
    exact_fit,
    given_choice,
    grid_fit,
    range_choices,
    weight_distributions,
)
from quantlib.analysis.float_model import FloatModel
from quantlib.calibration.estimators import RULES
from quantlib.core.metrics import sqnr_db
from tests.models import mlp, normal

GRAPH = ql.load_model(mlp())
X = normal(600, 6)


def test_every_float_tensor_is_measured_over_all_batches() -> None:
    found = activation_distributions(FloatModel(GRAPH, (X,)))
    assert set(found) == {"x", "h", "r", "y"}
    assert found["x"].statistics.count == X.size
    assert found["x"].extremes.rmin == X.min()
    assert np.array_equal(found["x"].sample_high, X.max(axis=1))
    channels = found["x"].channels
    assert channels is not None
    assert np.array_equal(channels.low, X.min(axis=0))
    relu = found["r"].channels
    assert relu is not None
    assert relu.zero_share.mean() == pytest.approx(
        found["r"].statistics.zeros / found["r"].statistics.count
    )


def test_weights_are_measured_along_their_output_channels() -> None:
    found = weight_distributions(GRAPH)
    weights = GRAPH.constants["w1"]
    channels = found["w1"].channels
    assert channels is not None
    assert np.array_equal(channels.high, weights.max(axis=1))
    assert found["b1"].channels is None


def test_dead_and_clipped_channels_are_listed() -> None:
    values = normal(50, 4)
    values[:, 2] = 0
    values[7, 1] = 40
    channels = distribution(values, channel_axis=1).channels
    assert channels is not None
    assert channels.dead == (2,)
    grid = ql.UniformQuantizer.from_stats(
        ql.QuantizationOptions(4),
        ql.MinMaxQuantizationStats(rmax=np.float64(5), rmin=np.float64(-5)),
    )
    assert channels.clipped(grid) == (1,)


def test_a_range_that_one_sample_sets_names_the_sample() -> None:
    values = normal(300, 6)
    graph = ql.load_model(mlp())
    assert activation_distributions(FloatModel(graph, (values,)))["x"].range_setter is None
    values[41, 3] = 30
    assert activation_distributions(FloatModel(graph, (values,)))["x"].range_setter == 41


@pytest.mark.parametrize("n_bits", [2, 4, 8])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_the_fit_of_a_grid_is_that_of_the_values(n_bits: int, share: float) -> None:
    values = np.random.default_rng(3).normal(0.2, 1.0, size=200_000)
    options = ql.QuantizationOptions(n_bits, is_signed=True)
    stats = ql.MinMaxQuantizationStats(
        rmax=np.float64(share * values.max()), rmin=np.float64(share * values.min())
    )
    grid = ql.UniformQuantizer.from_stats(options, stats)
    fit = grid_fit(distribution(values), grid)
    rounded = grid.dequant(grid.quant(values))
    assert fit.sqnr_db == pytest.approx(sqnr_db(values, rounded), abs=0.1)
    low, high = grid.dequant(np.array([grid.qmin, grid.qmax]))
    half = grid.scale / 2
    outside = np.mean((values < low - half) | (values > high + half))
    assert fit.clipped_share == pytest.approx(outside, abs=2e-3)
    # with fewer than two bins to a code the histogram may leave it open, but never says wrong
    used = np.unique(grid.quant(values)).size
    assert fit.used_codes == used or (n_bits == 8 and fit.used_codes is None)
    exact = exact_fit(values, grid)
    assert exact.sqnr_db == pytest.approx(sqnr_db(values, rounded))
    assert exact.clipped_share == pytest.approx(outside)
    assert exact.used_codes == used
    zeros = np.mean(rounded == 0)
    assert exact.zero_share == pytest.approx(zeros)
    assert fit.zero_share == pytest.approx(zeros, abs=0.02)


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e30, 1e-40])
def test_a_constant_has_a_distribution_and_a_grid(constant: float) -> None:
    measured = distribution(np.full(7, constant))
    for choice in range_choices(measured, ql.QuantizationOptions(4)):
        assert np.isfinite(choice.fit.clipped_share)
    assert np.all(np.diff(measured.edges) > 0)


def test_every_estimator_is_offered_and_least_squares_wins_its_own_game() -> None:
    values: Any = np.random.default_rng(1).standard_t(3, size=(400, 50))
    measured = distribution(values)
    options = ql.QuantizationOptions(4, is_signed=True, is_symmetric=True)
    choices = {c.estimator.name: c for c in range_choices(measured, options) if c.estimator}
    assert set(choices) == set(RULES) - {"moving-average", "sample-mean"}
    best = max(choice.fit.sqnr_db for choice in choices.values())
    assert choices["mse"].fit.sqnr_db >= best - 0.15
    assert choices["min-max"].fit.clipped_share == 0


def test_what_works_on_samples_is_offered_for_activations_alone() -> None:
    measured = activation_distributions(FloatModel(GRAPH, (X,)))["h"]
    names = {c.estimator.name for c in range_choices(measured, ql.QuantizationOptions(6))
             if c.estimator}  # fmt: skip
    assert names == set(RULES)


def test_estimators_without_a_rule_for_the_width_are_left_out() -> None:
    measured = distribution(normal(100, 6))
    names = {c.estimator.name for c in range_choices(measured, ql.QuantizationOptions(20))
             if c.estimator}  # fmt: skip
    assert "min-max" in names
    assert "mse" not in names


def test_a_range_by_hand_is_judged_like_the_others() -> None:
    measured = distribution(normal(100, 6))
    stats = ql.MinMaxQuantizationStats(rmax=np.float64(1), rmin=np.float64(-1))
    choice = given_choice(measured, stats, ql.QuantizationOptions(4))
    assert choice.estimator is None
    assert choice.fit.clipped_share > 0.2


def test_channels_of_a_sample_are_merged_over_batches() -> None:
    path = Path(__file__).parents[2] / "sample_models" / "digits_cnn.onnx"
    graph = ql.load_model(path)
    x = np.load(path.with_suffix(".npz"))["evaluation"]
    found = activation_distributions(FloatModel(graph, (x,)))
    relu = next(n for n in graph.nodes if n.op_type == "Relu")
    channels = found[relu.outputs[0]].channels
    assert channels is not None
    assert len(channels.low) == 12 or len(channels.low) == graph.shapes[relu.outputs[0]][1]
    assert channels.low.min() == 0


def test_a_grid_per_channel_fits_each_channel() -> None:
    values = normal(8, 40) * np.logspace(0, 2, 8)[:, None]
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    options = ql.QuantizationOptions(4, is_signed=True)
    per_channel = ql.UniformQuantizer.from_channels(options, low, high)
    whole = ql.UniformQuantizer.from_stats(options, ql.MinMaxQuantizationStats.from_values(values))
    assert exact_fit(values, per_channel).clipped_share == 0
    assert exact_fit(values, per_channel).sqnr_db > exact_fit(values, whole).sqnr_db
    assert not per_channel.averaged().is_per_channel
    assert np.isfinite(grid_fit(distribution(values), per_channel).sqnr_db)


def min_max(values: Any, n_bits: int = 8) -> ql.UniformQuantizer:
    return ql.UniformQuantizer.from_stats(
        ql.QuantizationOptions(n_bits), ql.MinMaxQuantizationStats.from_values(values)
    )


RNG = np.random.default_rng(8)
CLIPPED: dict[str, Any] = {
    "hardtanh": np.clip(RNG.normal(0, 2, size=(400, 300)), -1, 1),
    "integers": RNG.integers(-7, 9, size=(400, 300)).astype(np.float32),
    "float32": RNG.normal(size=(400, 300)).astype(np.float32),
    "away from zero": np.clip(RNG.normal(5, 2, size=(400, 300)), 3.3, 6.1),
}


@pytest.mark.parametrize("n_bits", [2, 4, 8, 12])
@pytest.mark.parametrize("kind", sorted(CLIPPED))
def test_a_grid_over_the_extremes_clips_nothing(kind: str, n_bits: int) -> None:
    values = CLIPPED[kind]
    assert grid_fit(distribution(values), min_max(values, n_bits)).clipped_share == 0.0


@pytest.mark.parametrize("kind", sorted(CLIPPED))
def test_shares_of_a_narrower_grid_are_those_of_the_values(kind: str) -> None:
    values = CLIPPED[kind]
    low, high = 0.6 * float(values.min()), 0.6 * float(values.max())
    stats = ql.MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
    grid = ql.UniformQuantizer.from_stats(ql.QuantizationOptions(4), stats)
    found, exact = grid_fit(distribution(values), grid), exact_fit(values, grid)
    assert found.clipped_share == pytest.approx(exact.clipped_share, abs=1e-3)
    assert found.zero_share == pytest.approx(exact.zero_share, abs=2e-3)
    assert found.sqnr_db == pytest.approx(exact.sqnr_db, abs=0.05)


@pytest.mark.parametrize("constant", [-5.0, 5.0, -1e-3, -40.0, 0.0])
def test_a_constant_is_exact(constant: float) -> None:
    values = np.full((30, 4), constant)
    grid = min_max(values)
    fit = grid_fit(distribution(values), grid)
    assert np.array_equal(grid.dequant(grid.quant(values)), values)
    assert (fit.sqnr_db, fit.clipped_share, fit.zero_share) == (float("inf"), 0.0, 0.0)


def test_a_grid_that_runs_downwards_is_judged_by_its_values() -> None:
    """A constant of negative sign has a negative scale; other values may come to such a grid."""
    grid = min_max(np.full(3, -0.5), 4)
    assert grid.scale < 0
    values = np.random.default_rng(2).uniform(-9, 1, size=60_000)
    found, exact = grid_fit(distribution(values), grid), exact_fit(values, grid)
    assert found.sqnr_db == pytest.approx(exact.sqnr_db, abs=0.02)
    assert found.clipped_share == pytest.approx(exact.clipped_share, abs=1e-3)
    assert found.zero_share == pytest.approx(exact.zero_share, abs=1e-3)


def test_few_distinct_values_are_judged_exactly() -> None:
    """Pixels on 16 steps: a histogram would spread each over a bin and find noise."""
    values = RNG.integers(0, 17, size=(300, 64)).astype(np.float32) / 16
    grid = min_max(values, 5)
    found, exact = grid_fit(distribution(values), grid), exact_fit(values, grid)
    assert found.sqnr_db == pytest.approx(exact.sqnr_db, rel=1e-12)
    assert (found.clipped_share, found.zero_share, found.used_codes) == (
        exact.clipped_share, exact.zero_share, exact.used_codes,
    )  # fmt: skip
    with_step_of_pixels = ql.UniformQuantizer(
        grid.quant_options,
        grid.quant_stats,
        ql.UniformQuantizationParameters(np.float64(1 / 16), 0, 0),
    )
    fit = grid_fit(distribution(values), with_step_of_pixels)
    assert (fit.used_codes, fit.sqnr_db) == (17, float("inf"))


def test_points_merge_over_batches_and_end_where_values_are_many() -> None:
    x = RNG.integers(0, 9, size=(600, 6)).astype(np.float32)
    found = activation_distributions(FloatModel(GRAPH, (x,)))
    points = found["x"].points
    assert points is not None
    values, counts = np.unique(x, return_counts=True)
    assert np.array_equal(points.values, values)
    assert np.array_equal(points.counts, counts)
    assert activation_distributions(FloatModel(GRAPH, (normal(5000, 6),)))["x"].points is None
    late = np.concatenate([np.zeros(70_000), RNG.normal(size=70_000)])
    assert distribution(late).points is None
    assert distribution(late[65_000:75_000]).points is not None


@pytest.mark.parametrize("n_bits", [4, 12, 16])
def test_codes_are_counted_on_the_values(n_bits: int) -> None:
    reference = FloatModel(GRAPH, (normal(900, 6),))
    tensors: dict[str, list[Any]] = {"x": [], "h": []}
    for (x,), batch in reference.batches():
        tensors["x"].append(x)
        tensors["h"].append(batch["h"])
    whole = {name: np.concatenate(parts) for name, parts in tensors.items()}
    grids = {name: min_max(values, n_bits) for name, values in whole.items()}
    found = codes_in_use(reference, grids)
    assert found == {name: len(set(grids[name].quant(v).ravel())) for name, v in whole.items()}
    for name, values in whole.items():
        said = grid_fit(distribution(values), grids[name]).used_codes
        assert said in (None, found[name])


def test_the_current_grid_is_judged_as_its_estimator_is() -> None:
    values = np.random.default_rng(4).normal(size=(500, 30))
    measured = distribution(values)
    options = ql.QuantizationOptions(6, is_signed=True)
    row = next(c for c in range_choices(measured, options)
               if c.estimator and c.estimator.name == "min-max")  # fmt: skip
    current = grid_fit(measured, row.quantizer)
    own = given_choice(measured, measured.extremes, options)
    assert (row.origin, own.origin) == (RangeOrigin.ESTIMATOR, RangeOrigin.OWN)
    assert row.fit == current == own.fit
