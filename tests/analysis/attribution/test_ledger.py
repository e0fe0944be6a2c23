from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import quantlib as ql
from quantlib.analysis.attribution.ledger import (
    ErrorLedger,
    ErrorSource,
    error_ledger,
    error_ledgers,
)
from quantlib.analysis.float_model import FloatModel
from quantlib.core.estimator import Estimator
from quantlib.core.tensor import Tensor
from tests import models
from tests.sample_data import NAMES, Sample, sample

GAP = 2e-6
"""The float model runs in float32 and the exact one in float64; nothing else may differ."""

GAPS = {"digits_detector": 5e-6}
"""Outputs of up to 8 pixels against errors of 0.07: float32's last bits weigh more there."""

SOURCES = list(ErrorSource)


def measured(module: ql.QuantizedModule, reference: FloatModel) -> float:
    """Return the mean squared error of the integer run, from its outputs alone."""
    outputs = module.forward(*reference.inputs)
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    return float(np.mean((first - reference.output().astype(np.float64)) ** 2))


def assert_sums(ledger: ErrorLedger, mse: float, gap: float = GAP) -> None:
    assert ledger.mse == pytest.approx(mse, rel=1e-9)
    shares = sum(entry.share for entry in ledger.entries)
    assert shares == pytest.approx(mse, rel=gap)
    parts = sum(entry.alone + entry.interaction for entry in ledger.entries)
    assert parts == pytest.approx(mse, rel=gap)
    assert ledger.relative_gap < gap


@pytest.mark.parametrize("threshold", [None, 6], ids=["exact-sums", "rounded-sums"])
@pytest.mark.parametrize("n_bits", [2, 4, 8])
@pytest.mark.parametrize(
    "name",
    [  # the transformer takes ten times as long as digits_resnet
        pytest.param(name, marks=[pytest.mark.exhaustive] if name == "digits_transformer" else [])
        for name in NAMES
    ],
)
def test_the_parts_sum_to_the_error_of_the_integer_run(
    name: str, n_bits: int, threshold: int | None
) -> None:
    made: Sample = sample(name)
    config = ql.QuantizationConfig.from_n_bits(n_bits, rounding_threshold_bits=threshold)
    module = ql.quantize(made.graph, made.data.calibration, config)
    ledger = error_ledger(module, made.reference)
    assert_sums(ledger, measured(module, made.reference), GAPS.get(name, GAP))
    assert ledger.n_samples == len(made.data.evaluation[0])


BRANCHES = models.build(
    [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], "c1", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["m"], "pool", kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("Sigmoid", ["m"], ["s"], "act"),
        helper.make_node("Conv", ["s", "w2"], ["d"], "c2", kernel_shape=[2, 2]),
        helper.make_node("Conv", ["s", "w3"], ["e"], "c3", kernel_shape=[2, 2]),
        helper.make_node("Sub", ["d", "e"], ["k"], "minus"),
        helper.make_node("Concat", ["k", "e"], ["f"], "join", axis=1),
        helper.make_node("Relu", ["f"], ["r"], "act2"),
        helper.make_node("Flatten", ["r"], ["g"], "flat"),
        helper.make_node("Gemm", ["g", "w4"], ["h"], "g1"),
        helper.make_node("Softmax", ["h"], ["y"], "soft"),
    ],
    inputs={"x": ["n", 1, 5, 5]},
    outputs=["y"],
    constants={
        "w1": models.normal(3, 1, 3, 3),
        "b1": models.normal(3, seed=1),
        "w2": models.normal(2, 3, 2, 2, seed=2),
        "w3": models.normal(2, 3, 2, 2, seed=3),
        "w4": models.normal(36, 4, seed=4),
    },
)


@pytest.mark.parametrize("threshold", [None, 5], ids=["exact-sums", "rounded-sums"])
@pytest.mark.parametrize("estimator", ["min-max", "percentile"])
def test_the_parts_sum_on_branches_joins_and_an_output_that_is_rounded(
    threshold: int | None, estimator: str
) -> None:
    graph = ql.load_model(BRANCHES)
    x = models.normal(90, 1, 5, 5, seed=8)
    base = ql.QuantizationConfig.from_n_bits(4, rounding_threshold_bits=threshold)
    chosen = Estimator() if estimator == "min-max" else Estimator("percentile", 97.0)
    config = base.replace(
        weights=base.weights.replace(estimator=chosen),
        activations=base.activations.replace(estimator=chosen),
    )
    module = ql.quantize(graph, x[:30], config)
    reference = FloatModel(graph, (x,))
    ledger = error_ledger(module, reference)
    assert_sums(ledger, measured(module, reference))
    assert "output y" in ledger.places
    assert ledger.of("output y")
    assert {"c1", "pool", "c2", "c3", "join", "minus", "flat", "g1"} <= set(ledger.places)
    clipped = abs(ledger.total_of(ErrorSource.WEIGHT_CLIPPING))
    assert (clipped > 0) == (estimator == "percentile")


GEMM = ql.load_model(
    models.build(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "g")],
        inputs={"x": ["n", 5]},
        outputs=["y"],
        constants={"w": models.normal(5, 3), "b": models.normal(3, seed=1)},
    )
)


def on(grid: Any, values: Any) -> tuple[Any, Any]:
    """Return values of which those are clipped that no code is for, and those of their codes."""
    free = np.rint(values / grid.scale + grid.zero_point)
    codes = np.clip(free, grid.qmin, grid.qmax)
    stands_for = float(grid.scale) * (codes - grid.zero_point)
    return np.where(free == codes, values, stands_for), stands_for


def test_one_matrix_product_has_the_parts_that_algebra_gives() -> None:
    x = models.normal(80, 5, seed=3)
    x[20:] *= 2
    base = ql.QuantizationConfig.from_n_bits(3)
    config = base.replace(weights=base.weights.replace(estimator=Estimator("percentile", 90.0)))
    module = ql.quantize(GEMM, x[:20], config)  # later samples leave the range
    layer = module.layers[0]
    w = GEMM.constants["w"].astype(np.float64)
    weight = layer.constants[1]
    assert isinstance(weight, Tensor)
    w_clipped, w_rounded = on(weight.quantizer, w)
    x_clipped, x_rounded = on(layer.operand_grid, x)
    assert np.any(w_clipped != w)
    assert np.any(x_clipped != x)
    changes = {
        ErrorSource.WEIGHT_CLIPPING: x @ (w_clipped - w),
        ErrorSource.WEIGHT_ROUNDING: x @ (w_rounded - w_clipped),
        ErrorSource.ACTIVATION_CLIPPING: (x_clipped - x) @ w_rounded,
        ErrorSource.ACTIVATION_ROUNDING: (x_rounded - x_clipped) @ w_rounded,
    }
    alone = changes | {
        ErrorSource.ACTIVATION_CLIPPING: (x_clipped - x) @ w,
        ErrorSource.ACTIVATION_ROUNDING: (x_rounded - x_clipped) @ w,
    }
    error = sum(changes.values())
    ledger = error_ledger(module, FloatModel(GEMM, (x,)))
    found = ledger.of("g")
    assert set(found) == set(changes)
    for source, change in changes.items():
        assert found[source].share == pytest.approx(np.mean(change * error), rel=1e-5, abs=1e-9)
        assert found[source].alone == pytest.approx(np.mean(alone[source] ** 2), rel=1e-5)


def test_a_range_that_holds_every_value_clips_nothing() -> None:
    """Rounding the zero point leaves ends of the range beyond the grid; that is no clipping."""
    beyond = 0
    for seed in range(6):
        x = models.normal(60, 5, seed=seed)
        module = ql.quantize(GEMM, x, ql.QuantizationConfig.from_n_bits(3))
        grid: Any = module.layers[0].operand_grid
        ends = sorted(float(grid.scale) * (c - grid.zero_point) for c in (grid.qmin, grid.qmax))
        beyond += int(np.sum((x < ends[0]) | (x > ends[1])))
        ledger = error_ledger(module, FloatModel(GEMM, (x,)))
        assert {entry.source for entry in ledger.entries} == {
            ErrorSource.WEIGHT_ROUNDING,
            ErrorSource.ACTIVATION_ROUNDING,
        }
        assert_sums(ledger, measured(module, FloatModel(GEMM, (x,))))
    assert beyond > 0


@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp", "diabetes_mlp"])
def test_accumulators_lose_nothing_unless_a_threshold_rounds_them(name: str) -> None:
    made = sample(name)
    for threshold, loses in ((None, False), (5, True)):
        config = ql.QuantizationConfig.from_n_bits(4, rounding_threshold_bits=threshold)
        module = ql.quantize(made.graph, made.data.calibration, config)
        ledger = error_ledger(module, made.reference)
        found = [e for e in ledger.entries if e.source is ErrorSource.ACCUMULATOR_ROUNDING]
        assert bool(found) is loses


MLP = ql.load_model(models.mlp())
X = models.normal(120, 6, seed=9)
REFERENCE = FloatModel(MLP, (X,))


@settings(max_examples=30, deadline=None)
@given(
    weights=st.integers(2, 9),
    activations=st.integers(2, 9),
    threshold=st.none() | st.integers(3, 9),
    per_channel=st.booleans(),
    share=st.floats(80, 100),
)
def test_any_configuration_sums(
    weights: int, activations: int, threshold: int | None, per_channel: bool, share: float
) -> None:
    base = ql.QuantizationConfig.from_n_bits(
        {"op_weights": weights, "op_inputs": activations}, rounding_threshold_bits=threshold
    )
    chosen = Estimator("percentile", share)
    config = base.replace(
        weights=base.weights.replace(estimator=chosen, per_channel=per_channel),
        activations=base.activations.replace(estimator=chosen),
    )
    module = ql.quantize(MLP, X[:50], config)
    assert_sums(error_ledger(module, REFERENCE), measured(module, REFERENCE))


def test_batches_give_the_ledger_of_one_pass_and_can_be_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ql.quantize(MLP, X[:50], ql.QuantizationConfig.from_n_bits(3))
    whole = error_ledger(module, REFERENCE)
    monkeypatch.setattr("quantlib.analysis.attribution.partial_run.MAX_BATCH", 50)
    parts = list(error_ledgers(module, REFERENCE))
    assert [part.n_samples for part in parts] == [50, 100, 120]
    assert parts[-1].mse == pytest.approx(whole.mse)
    for a, b in zip(parts[-1].entries, whole.entries, strict=True):
        assert (a.place, a.source) == (b.place, b.source)
        assert a.share == pytest.approx(b.share, abs=1e-9 * whole.mse)
        assert a.alone == pytest.approx(b.alone)
    for part in parts:
        assert part.relative_gap < GAP


def test_a_ledger_that_is_told_to_stop_yields_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ql.quantize(MLP, X[:50], ql.QuantizationConfig.from_n_bits(3))
    monkeypatch.setattr("quantlib.analysis.attribution.partial_run.MAX_BATCH", 50)
    answers = iter([True, True, False])
    assert [x.n_samples for x in error_ledgers(module, REFERENCE, go_on=lambda: next(answers))] == [
        50
    ]


def test_entries_stand_in_execution_order() -> None:
    module = ql.quantize(MLP, X[:50], ql.QuantizationConfig.from_n_bits(3))
    ledger = error_ledger(module, REFERENCE)
    order = [(ledger.places.index(e.place), SOURCES.index(e.source)) for e in ledger.entries]
    assert order == sorted(order)
    assert ledger.places == ("g1", "g2")
    total = sum(ledger.total_of(source) for source in ErrorSource)
    assert total == pytest.approx(ledger.explained)
    assert ledger.interaction == pytest.approx(
        ledger.explained - sum(e.alone for e in ledger.entries)
    )
