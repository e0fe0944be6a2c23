from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.distributions import (
    activation_distributions,
    distribution,
    exact_fit,
    given_choice,
    grid_fit,
    range_choices,
    weight_distributions,
)
from quantlib.analysis.float_model import FloatReference
from quantlib.calibration.estimators import RULES
from quantlib.core.metrics import sqnr_db
from tests.models import mlp, normal

GRAPH = ql.load_model(mlp())
X = normal(600, 6)


def test_every_float_tensor_is_measured_over_all_batches() -> None:
    found = activation_distributions(FloatReference(GRAPH, (X,)))
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
    assert activation_distributions(FloatReference(graph, (values,)))["x"].range_setter is None
    values[41, 3] = 30
    assert activation_distributions(FloatReference(graph, (values,)))["x"].range_setter == 41


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
    assert fit.used_codes == np.unique(grid.quant(values)).size
    exact = exact_fit(values, grid)
    assert exact.sqnr_db == pytest.approx(sqnr_db(values, rounded))
    assert exact.clipped_share == pytest.approx(outside)
    assert exact.used_codes == fit.used_codes
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
    assert set(choices) == set(RULES)
    best = max(choice.fit.sqnr_db for choice in choices.values())
    assert choices["mse"].fit.sqnr_db >= best - 0.15
    assert choices["min-max"].fit.clipped_share == 0


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
    found = activation_distributions(FloatReference(graph, (x,)))
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
