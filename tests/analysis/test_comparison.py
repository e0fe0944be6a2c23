from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import rel_entr, softmax
from scipy.stats import binomtest

import quantlib as ql
from quantlib.analysis.attribution.flip_origin import AT_INPUT, AT_OUTPUT, divergences
from quantlib.analysis.comparison import (
    agreement_by_margin,
    compare_outputs,
    confusion_change,
    dequantized_outputs,
    reference_scheme,
)
from quantlib.core.estimator import Estimator
from quantlib.core.scheme import LayerOverride, Scheme
from quantlib.core.tensor import Tensor
from quantlib.errors import TensorError
from quantlib.ops.base import MixingOp, MovingOp
from tests import models
from tests.sample_data import sample

BEFORE = np.array([[3.0, 1, 0], [0, 2, 1], [0, 1, 5], [2, 1.5, 0]])
AFTER = np.array([[3.0, 0, 0], [0, 1, 2], [0, 1, 4], [1, 1.5, 0]])
LABELS = np.array([0, 1, 2, 1])


def test_confusion_counts_labels_and_answers() -> None:
    found = confusion_change(BEFORE, AFTER, LABELS)
    assert found.before.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert found.after.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert found.change.tolist() == [[0, 0, 0], [-1, 0, 1], [0, 0, 0]]
    assert found.samples.tolist() == [1, 2, 1]
    assert found.changed_classes.tolist() == [0, 1, 2]
    assert found.most_changed(1).tolist() == [1]


@pytest.mark.parametrize(
    "labels", [LABELS.astype(float), LABELS[:, None]], ids=["whole-floats", "a-column"]
)
def test_class_numbers_are_read_in_any_form(labels: Any) -> None:
    found = compare_outputs(BEFORE, AFTER, labels).confusion
    assert found is not None
    assert found.by_label
    assert found.samples.tolist() == [1, 2, 1]


def test_without_labels_the_answers_before_are_the_classes() -> None:
    found = compare_outputs(BEFORE, AFTER, np.array([0, 1, 2, 7])).confusion
    assert found is not None
    assert not found.by_label
    assert found.before.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert found.after.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]


def test_agreement_is_counted_where_the_margin_lies() -> None:
    small, *_, large = agreement_by_margin(BEFORE, AFTER, bins=4)
    assert (small.low, small.high, small.n_samples, small.n_agree) == (0.5, 0.5, 1, 0)
    assert (large.low, large.high, large.agreement) == (4.0, 4.0, 1.0)


@given(
    arrays.arrays(np.float64, (40, 3), elements=st.integers(-6, 6).map(float)),
    arrays.arrays(np.float64, (40, 3), elements=st.integers(-3, 3).map(lambda n: n / 4)),
    st.integers(1, 12),
)
def test_bins_hold_every_sample_once_and_order_the_margins(
    before: Any, error: Any, bins: int
) -> None:
    found = agreement_by_margin(before, before + error, bins=bins)
    agree = (before.argmax(1) == (before + error).argmax(1)).sum()
    assert sum(b.n_samples for b in found) == 40
    assert sum(b.n_agree for b in found) == agree
    assert all(a.high < b.low for a, b in itertools.pairwise(found))
    assert all(b.agreement == 1 for b in found if b.low > 2 * np.abs(error).max())


@given(
    arrays.arrays(np.float64, (20, 4), elements=st.floats(-5, 5)),
    arrays.arrays(np.float64, (20, 4), elements=st.floats(-5, 5)),
)
def test_what_a_class_loses_others_gain(before: Any, after: Any) -> None:
    found = compare_outputs(before, after)
    assert found.confusion is not None
    assert not found.confusion.change.sum(axis=1).any()
    moved = np.clip(found.confusion.change, 0, None).sum()
    assert moved == len(found.flips) == round(20 * (1 - (found.agreement or 0)))


def test_equal_outputs_have_no_difference() -> None:
    found = compare_outputs(BEFORE, BEFORE, LABELS)
    assert found.mse == found.max_error == 0
    assert found.sqnr_db == np.inf
    assert found.agreement == 1
    assert not found.flips
    assert found.confusion is not None
    assert not found.confusion.changed_classes.size


def test_outputs_that_are_no_scores_have_no_classes() -> None:
    found = compare_outputs(BEFORE[:, :1], AFTER[:, :1], LABELS)
    assert found.agreement is None
    assert found.confusion is None
    assert not found.margins
    assert not found.flips


def test_outputs_of_other_shapes_are_refused() -> None:
    with pytest.raises(TensorError, match=r"\(4, 3\) and \(2, 3\)"):
        compare_outputs(BEFORE, AFTER[:2])


def test_outputs_in_batches_are_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sample("digits_mlp")
    module = ql.quantize(made.graph, made.data.calibration, ql.QuantizationConfig.from_n_bits(4))
    monkeypatch.setattr("quantlib.execution.calls.BATCH", 100)
    assert np.array_equal(
        dequantized_outputs(module, made.reference), module.forward(*made.data.evaluation)
    )


def test_the_reference_scheme_keeps_widths_and_rounding_only() -> None:
    base = ql.QuantizationConfig.from_n_bits(5, rounding_threshold_bits=7)
    chosen = base.replace(
        weights=Scheme(4, per_channel=True, estimator=Estimator("percentile", 99.0)),
        activations=Scheme(5, signed=True),
        calibrate_on="float",
        overrides={"g1": LayerOverride(weights=Scheme(2))},
    )
    assert reference_scheme(chosen) == base.replace(weights=Scheme(4))
    assert reference_scheme(chosen).is_reference
    assert reference_scheme(base) == base


def hybrid_classes(module: ql.QuantizedModule, x: Any, last: int) -> Any:
    """Return the classes with layers up to `last` in integers, by walking the module itself."""
    done: list[int] = []

    def execute(layer: Any, values: Any) -> Any:
        index = len(done)
        done.append(index)
        if index <= last:
            return layer.run(values).results
        arguments = [
            a.values.astype(np.float64) if isinstance(a, Tensor) else a
            for a in layer.arguments(values)
        ]
        results = layer.op.float_results(*arguments)
        return tuple(
            Tensor(grid, values=r) if grid is not None else r
            for r, grid in zip(results, layer.outputs, strict=True)
        )

    (output,) = module.run_with(execute, x)
    assert isinstance(output, Tensor)
    return output.values.argmax(1)


@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp", "digits_resnet", "iris_linear"])
def test_from_the_place_of_divergence_on_the_class_is_wrong(name: str) -> None:
    made = sample(name)
    bits = {"op_weights": 4, "op_inputs": 4, "model_inputs": 14, "model_outputs": 5}
    module = ql.quantize(made.graph, made.data.calibration, ql.QuantizationConfig.from_n_bits(bits))
    (x,) = made.data.evaluation
    y_float = made.reference.output().argmax(1)
    flipped = np.flatnonzero(module.forward(x).argmax(1) != y_float)  # type: ignore[union-attr]
    assert flipped.size
    found = list(divergences(module, (x,), flipped.tolist()))
    assert [d.sample for d in found] == flipped.tolist()
    integer = [
        i for i, layer in enumerate(module.layers) if isinstance(layer.op, MixingOp | MovingOp)
    ]
    wrong = {k: hybrid_classes(module, x, k) != y_float for k in integer}
    for d in found:
        assert module.layers[d.position].name == d.layer
        assert all(wrong[k][d.sample] for k in integer if k >= d.position)
        before = [k for k in integer if k < d.position]
        assert not before or not wrong[before[-1]][d.sample]


def test_a_sample_that_keeps_its_class_diverges_nowhere_and_rounding_the_output_is_named() -> None:
    made = sample("wine_sklearn")
    module = ql.quantize(made.graph, made.data.calibration, ql.QuantizationConfig.from_n_bits(6))
    y_float = made.reference.output().argmax(1)
    same = module.forward(*made.data.evaluation).argmax(1) == y_float  # type: ignore[union-attr]
    found = list(divergences(module, made.data.evaluation, range(len(same))))
    assert {d.layer for d, kept in zip(found, same, strict=True) if kept} == {""}
    assert {d.layer for d, kept in zip(found, same, strict=True) if not kept} <= {
        AT_INPUT, AT_OUTPUT, "Gemm_Node", "Gemm_Node_2",
    }  # fmt: skip
    assert AT_INPUT in {d.layer for d in found}


def test_one_layer_is_where_everything_diverges() -> None:
    graph = ql.load_model(models.mlp())
    x = models.normal(400, 6, seed=5)
    config = ql.QuantizationConfig.from_n_bits(12).with_override(
        "g2", LayerOverride(weights=Scheme(2), activations=Scheme(12))
    )
    module = ql.quantize(graph, x, config)
    flipped = np.flatnonzero(
        module.forward(x).argmax(1)  # type: ignore[union-attr]
        != compare_float(graph, x).argmax(1)
    )
    assert flipped.size
    assert {d.layer for d in divergences(module, (x,), flipped.tolist())} == {"g2"}


def compare_float(graph: ql.Graph, x: Any) -> Any:
    h = np.maximum(x @ graph.constants["w1"].T + graph.constants["b1"], 0)
    return h @ graph.constants["w2"].T + graph.constants["b2"]


@pytest.mark.parametrize("kind", [bool, np.uint8])
def test_outputs_that_do_not_subtract_are_compared_all_the_same(kind: type) -> None:
    before: Any = np.array([[1, 0], [0, 1], [1, 0]], dtype=kind)
    after: Any = np.array([[1, 0], [1, 0], [1, 0]], dtype=kind)
    found = compare_outputs(before, after)
    assert found.agreement == pytest.approx(2 / 3)
    assert [flip.sample for flip in found.flips] == [1]


def test_only_scores_and_samples_that_are_there_diverge() -> None:
    graph = ql.load_model(models.mlp())
    x = models.normal(20, 6)
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(3))
    for samples in ([20], [-1], [True, False], [0.5]):
        with pytest.raises(ql.TensorError, match="from 0 to 19"):
            list(divergences(module, [x], samples))  # type: ignore[arg-type]
    assert list(divergences(module, [x], [])) == []


def test_a_comparison_says_how_sure_its_share_is_and_how_far_distributions_are() -> None:
    rng = np.random.default_rng(5)
    before = rng.normal(0, 3, size=(150, 4))
    after = before + rng.normal(0, 1, size=before.shape)
    found = compare_outputs(before, after)
    agree = int((before.argmax(1) == after.argmax(1)).sum())
    expected = binomtest(agree, 150).proportion_ci(0.95, method="wilson")
    assert found.agreement_interval == pytest.approx((expected.low, expected.high))
    assert found.divergence is not None
    p, q = softmax(before, axis=1), softmax(after, axis=1)
    assert found.divergence.nats == pytest.approx(rel_entr(p, q).sum(axis=1).mean())
    one_column = compare_outputs(before[:, :1], after[:, :1])
    assert one_column.agreement_interval is None
    assert one_column.divergence is None
