"""Counted ties against exact arithmetic, and against ranges whose last bit is moved."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.ties import count_ties
from quantlib.core.ties import ULPS
from tests import reference
from tests.models import build, normal

CASES = [
    pytest.param(name, key, id=f"{name}-{key}")
    for name in ("diabetes_mlp", "digits_mlp", "digits_cnn")
    for key in ("c2", "c6", "c8", "c10", "c12", "c14")
]


def given(name: str, key: str) -> ql.QuantizedModule:
    case = reference.model(name).cases[key]
    return reference.quantized(name, case, reference.statistics(case["tensors"]))


@pytest.mark.parametrize(("name", "key"), CASES)
def test_samples_without_ties_keep_every_integer_when_all_ranges_move_by_a_last_bit(
    name: str, key: str
) -> None:
    found, case = reference.model(name), reference.model(name).cases[key]
    module = given(name, key)
    free = ~count_ties(module, found.evaluation).samples
    recorded = reference.statistics(case["tensors"])
    outputs = module.quantized_forward(module.quantize_input(found.evaluation))  # type: ignore[arg-type]
    # a model whose first product is float32 knows nothing behind it better than that
    bit = max(float(np.finfo(stats.rmin.dtype).eps) for stats in recorded.values())
    rng = np.random.default_rng(5)
    for _ in range(4):
        moved = {
            tensor: ql.MinMaxQuantizationStats(
                rmax=_moved(stats.rmax, bit, rng), rmin=_moved(stats.rmin, bit, rng)
            )
            for tensor, stats in recorded.items()
        }
        other = reference.quantized(name, case, moved)
        codes = other.quantized_forward(other.quantize_input(found.evaluation))  # type: ignore[arg-type]
        assert np.array_equal(np.asarray(codes)[free], np.asarray(outputs)[free])


def _moved(value: Any, bit: float, rng: np.random.Generator) -> Any:
    """One last bit away, or not."""
    return type(value)(np.float64(value) * (1 + rng.integers(-1, 2) * bit))


def test_the_count_of_a_layer_is_that_of_exact_arithmetic() -> None:
    """The second layer's operand, from the first layer's accumulators in rational numbers."""
    found, module = reference.model("digits_mlp"), given("digits_mlp", "c11")
    first, _, second = module.layers[:3]
    _, trace = module.forward(found.evaluation, debug=True)
    x, w = trace[first.name][0].quantizer, first.constants[1].quantizer  # type: ignore[union-attr]
    weights = first.constants[1].codes.astype(np.int64)  # type: ignore[union-attr]
    bias = first.constants[2].values  # type: ignore[union-attr]
    if first.node.attributes.get("transB"):
        weights = weights.T
    step = Fraction(float(x.scale)) * Fraction(float(w.scale))
    grid = trace[second.name][0].quantizer
    ends = abs(grid.qmin - grid.zero_point), abs(grid.qmax - grid.zero_point), grid.qmax
    margin = Fraction(ULPS * 2.0**-23 * max(ends))
    constant = weights.shape[0] * int(x.zero_point) * int(w.zero_point)
    sums = constant - int(x.zero_point) * weights.sum(axis=0)
    expected = 0
    for row in trace[first.name]["output"].tolist():
        for total, shift, extra in zip(row, sums.tolist(), bias.tolist(), strict=True):
            real = max(Fraction(0), step * (total + shift) + Fraction(extra))
            position = real / Fraction(float(grid.scale)) + int(grid.zero_point)
            part = position - position.__floor__()
            inside = grid.qmin <= position < grid.qmax
            expected += inside and abs(part - Fraction(1, 2)) < margin
    (count,) = [t for t in count_ties(module, found.evaluation).layers if t.layer == second.name]
    assert count.decided == expected
    assert count.integers == trace[second.name][0].qvalues.size


def test_an_input_that_falls_on_half_steps_is_counted_apart() -> None:
    model = build(
        [helper.make_node("Gemm", ["x", "w"], ["y"], "g")],
        inputs={"x": ["batch", 2]},
        outputs=["y"],
        constants={"w": normal(2, 3)},
    )
    module = ql.PostTrainingAffineQuantization(
        {"op_inputs": 2, "op_weights": 4, "model_inputs": 2, "model_outputs": 4},
        ql.load_model(model),
    ).quantize_module(np.array([[0.0, 3.0], [1.5, 1.0]], dtype=np.float32))
    # codes 0 to 3, one apart: 1.5, 0.5 and 2.5 lie between two
    ties = count_ties(module, np.array([[1.5, 1.0], [0.5, 2.5], [2, 3]], dtype=np.float32))
    (entering,) = [layer for layer in ties.layers if layer.is_input]
    assert (entering.layer, entering.integers, entering.decided) == ("x", 6, 3)
    assert ties.decided == 3
    assert ties.decided_inside == 0
    assert not ties.samples.any()


def test_what_a_sum_rounds_inside_is_counted() -> None:
    """Two tensors on steps of 1 and 1/4, added on steps of 1/2: halves of it are ties."""
    model = build(
        [
            helper.make_node("Gemm", ["a", "one"], ["p"], "pa"),
            helper.make_node("Gemm", ["b", "one"], ["q"], "pb"),
            helper.make_node("Add", ["p", "q"], ["s"], "sum"),
            helper.make_node("Relu", ["s"], ["y"], "act"),
        ],
        inputs={"a": ["batch", 1], "b": ["batch", 1]},
        outputs=["y"],
        constants={"one": np.array([[1.0]], dtype=np.float32)},
    )
    a = np.arange(16, dtype=np.float32)[:, None]
    b = a / 4
    steps = {"p": (0.0, 15.0), "q": (0.0, 3.75), "s": (0.0, 7.5), "y": (0.0, 7.5)}
    stats = {
        name: ql.MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
        for name, (low, high) in steps.items()
    }
    quantizer = ql.PostTrainingAffineQuantization(
        {"op_inputs": 4, "op_weights": 4, "model_inputs": 4, "model_outputs": 4},
        ql.load_model(model),
    )
    module = quantizer.quantize_module(a, b, statistics=stats)
    (count,) = [layer for layer in count_ties(module, a, b).layers if layer.layer == "sum"]
    scales = [float(module.layers[i].outputs[0].scale) for i in (0, 1, 2)]  # type: ignore[union-attr]
    assert scales == [1.0, 0.25, 0.5]
    # operands read (2 x 16) lie on their grids; of the inner roundings those of b = 1/4, 3/4, ...
    assert count.decided == 8
    assert count.integers == 64


def test_what_a_dynamic_quantizer_rounds_is_counted() -> None:
    model = build(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "dynamic"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "back"),
            helper.make_node("MatMul", ["d", "w"], ["y"], "product"),
        ],
        inputs={"x": ["batch", 4]},
        outputs=["y"],
        constants={"w": normal(4, 3)},
    )
    # 0 to 255 in steps of 1: three halves lie between two codes
    data = np.array([[0, 255, 0.5, 1.5], [7, 100.5, 3, 0.25]], dtype=np.float32)
    module = ql.PostTrainingAffineQuantization(8, ql.load_model(model)).quantize_module(data)
    counts = [t for t in count_ties(module, data).layers if t.decided and not t.is_input]
    assert [(t.integers, t.decided) for t in counts] == [(8, 3)]


def test_calibration_rounds_more_than_a_run_and_its_ties_are_counted_so() -> None:
    module = given("digits_cnn", "c6")
    ran, calibrated = count_ties(module), count_ties(module, calibrating=True)
    assert calibrated.integers > ran.integers
    # its average pool leaves sums of four on a grid of half the step: every other one is a tie
    assert ran.decided_inside > 1000


def test_a_linear_graph_is_calibrated_without_rounding() -> None:
    module = given("cancer_linear", "c10")
    assert count_ties(module).integers > 0
    assert count_ties(module, calibrating=True).integers == 0


def test_batches_count_as_all_samples_at_once() -> None:
    found, module = reference.model("digits_cnn"), given("digits_cnn", "c6")
    data = np.concatenate([found.evaluation] * 3)
    whole = count_ties(module, data)
    part = count_ties(module, found.evaluation)
    assert len(data) > 256
    assert whole.decided == 3 * part.decided
    assert np.array_equal(whole.samples, np.tile(part.samples, 3))
