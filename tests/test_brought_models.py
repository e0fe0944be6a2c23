"""Small models that stand for what people bring; see `tests/cases`: inputs x0, right outputs y0."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.attribution.ledger import error_ledger
from quantlib.analysis.comparison import dequantized_outputs
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.reports import OutputKind
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.workbench import Workbench
from quantlib.core.tensor import Tensor
from quantlib.data import Dataset, load_data, synthetic_data
from quantlib.graph.runtime import open_session
from tests.cli.running import run
from tests.models import build, normal
from tests.paths import ROOT

CASES = ROOT / "tests" / "cases"


def case(number: str) -> tuple[Any, list[Any], list[Any]]:
    (path,) = CASES.glob(f"{number}_*.onnx")
    with np.load(path.with_suffix(".npz")) as arrays:
        return (
            path,
            [arrays[k] for k in sorted(arrays) if k.startswith("x")],
            [arrays[k] for k in sorted(arrays) if k.startswith("y")],
        )


def decibel(expected: Any, actual: Any) -> float:
    a, b = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    noise = float(np.sum((a - b) ** 2))
    return 10 * float(np.log10(float(np.sum(a**2)) / noise)) if noise else np.inf


def module_of(graph: ql.Graph, x: Any, bits: int = 8, **changes: Any) -> Any:
    config = ql.QuantizationConfig.from_n_bits(bits).replace(**changes)
    return ql.quantize(graph, tuple(x), config)


def bench_of(graph: ql.Graph, *x: Any, labels: Any = None) -> Workbench:
    return Workbench(graph, Dataset("made", x, x, labels, (), "d"))


@pytest.mark.parametrize("number", ["01", "17", "18", "19", "23"])
def test_a_model_runs_as_it_was_meant(number: str) -> None:
    path, x, (y,) = case(number)
    graph = ql.load_model(path)
    assert decibel(y, module_of(graph, x).forward(*x)) >= 30
    found = evaluate(bench_of(graph, *x), ql.QuantizationConfig.from_n_bits(8))
    assert found.sqnr_db >= 30
    assert found.sqnr_db == pytest.approx(decibel(y, module_of(graph, x).forward(*x)), abs=0.1)


@pytest.mark.parametrize(
    ("number", "words"), [("01", "one sample at a time"), ("19", "run together"), ("17", "")]
)
def test_the_command_says_how_samples_reach_it(number: str, words: str) -> None:
    path, _, _ = case(number)
    written = run("inspect", path).stdout
    assert ("samples  " in written) == bool(words)
    assert words in written


@pytest.mark.parametrize("number", ["01", "18", "23"])
def test_generated_data_fit_it(number: str) -> None:
    path, _, _ = case(number)
    graph = ql.load_model(path)
    data = synthetic_data(graph)
    assert evaluate(Workbench(graph, data), ql.QuantizationConfig.from_n_bits(8)).mse >= 0.0
    run("quantize", path, "--synthetic")


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
@pytest.mark.parametrize("number", ["02", "03", "04"])
def test_a_model_on_its_own_grids_runs_on_them_whatever_else_is_chosen(
    number: str, bits: int
) -> None:
    path, x, (y,) = case(number)
    assert decibel(y, module_of(ql.load_model(path), x, bits).forward(*x)) >= 100


def test_the_clip_between_quantizers_is_the_grid() -> None:
    path, x, _ = case("03")
    module = module_of(ql.load_model(path), x)
    (grid,) = module.inputs
    assert (grid.n_bits, grid.qmin, grid.qmax, grid.is_signed) == (4, -8, 7, True)
    product = module.layers[-1]
    weight = product.constants[1]
    assert isinstance(weight, Tensor)
    assert (weight.n_bits, weight.quantizer.qmin, weight.quantizer.qmax) == (4, -7, 7)
    assert module.bitwidth_and_range_report()["fc"]["range"] == (-222, 202)


def test_an_integer_product_is_held_against_the_limit(tmp_path: Any) -> None:
    path, x, _ = case("02")
    data = tmp_path / "data.npz"
    np.savez(data, calibration=x[0], evaluation=x[0])
    written = run("quantize", path, data, "--check", "--limit", "12", code=1)
    assert "does not fit" in written.stderr
    run("quantize", path, data, "--check", "--limit", "20")
    found = evaluate(bench_of(ql.load_model(path), *x), ql.QuantizationConfig.from_n_bits(8))
    assert found.weight_bytes == 512
    # the product with codes less their zero point, as the definition of QLinearMatMul has it
    module = module_of(ql.load_model(path), x)
    _, trace = module.forward(*x, debug=True)
    (weight,) = [c for c in module.layers[1].constants.values() if isinstance(c, Tensor)]
    centred = trace["QLinearMatMul_1"]["output"] - 128 * weight.codes.astype(np.int64).sum(axis=0)
    assert (centred.min(), centred.max()) == (-78375, 68121)


def pair(name: str, x: str, *, clip: bool = False, op: Any = None) -> list[onnx.NodeProto]:
    """QuantizeLinear and DequantizeLinear, with something between them."""
    between = [helper.make_node("Clip", ["q" + name, "lo", "hi"], ["b" + name])] if clip else []
    if op is not None:
        between = [op("q" + name, "b" + name)]
    return [
        helper.make_node("QuantizeLinear", [x, "s", "z"], ["q" + name], f"quantize {name}"),
        *between,
        helper.make_node(
            "DequantizeLinear", [f"b{name}" if between else f"q{name}", "s", "z"], [name]
        ),
    ]


BETWEEN = {
    "MaxPool": lambda a, b: helper.make_node(
        "MaxPool", [a], [b], kernel_shape=[2, 2], pads=[1, 1, 1, 1]
    ),
    "Reshape": lambda a, b: helper.make_node("Reshape", [a, "shape"], [b]),
    "Transpose": lambda a, b: helper.make_node("Transpose", [a], [b], perm=[0, 1, 3, 2]),
    "Concat": lambda a, b: helper.make_node("Concat", [a, a], [b], axis=3),
    "Slice": lambda a, b: helper.make_node("Slice", [a, "starts", "ends", "axes"], [b]),
    "Pad": lambda a, b: helper.make_node("Pad", [a, "pads"], [b]),
    "Relu": lambda a, b: helper.make_node("Relu", [a], [b]),
}


@pytest.mark.parametrize(
    ("name", "zero_point"),
    [(name, point) for name in BETWEEN for point in (0, -5) if (name, point) != ("Relu", -5)],
)
def test_what_moves_codes_between_quantizers_leaves_their_grid(name: str, zero_point: int) -> None:
    nodes = [
        *pair("d", "x", op=BETWEEN[name]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"]),
        helper.make_node("Conv", ["d", "wd"], ["y"], "conv"),
    ]
    codes = np.random.default_rng(2).integers(-128, 128, (4, 2, 1, 1)).astype(np.int8)
    model = build(nodes, inputs={"x": ["n", 2, 4, 4]}, outputs=["y"], opset=17, constants={
        "s": np.float32(0.02), "z": np.int8(zero_point), "w": codes, "sw": np.float32(0.01),
        "shape": np.array([0, 2, 2, 8]), "starts": np.array([1]), "ends": np.array([3]),
        "axes": np.array([2]), "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1])})  # fmt: skip
    x = normal(30, 2, 4, 4)
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    module = module_of(ql.load_model(model), [x], bits=3)
    assert decibel(expected, module.forward(x)) >= 100
    assert module.layers[-1].operand_grid.n_bits == (8 if name != "Relu" else 7)
    assert module.inputs[0].n_bits in (7, 8)
    assert bit_width_budget(module)["conv"].seen is None


@pytest.mark.parametrize(
    ("low", "high", "kind", "bits"),
    [(-8, 7, np.int8, 4), (-7, 7, np.int8, 4), (0, 15, np.uint8, 4), (3, 9, np.uint8, 4),
     (-3, 1, np.int8, 3), (0, 1, np.int8, 1)],
)  # fmt: skip
def test_a_clip_of_codes_tells_the_narrowest_grid(
    low: int, high: int, kind: Any, bits: int
) -> None:
    nodes = [
        *pair("d", "x", clip=True),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"]),
        helper.make_node("MatMul", ["d", "wd"], ["y"], "fc"),
    ]
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=17, constants={
        "s": np.float32(0.2), "z": kind(0), "lo": kind(low), "hi": kind(high),
        "w": np.arange(-9, 9).astype(np.int8).reshape(6, 3), "sw": np.float32(0.5)})  # fmt: skip
    x = normal(50, 6)
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    module = module_of(ql.load_model(model), [x], bits=5)
    assert decibel(expected, module.forward(x)) >= 100
    (grid,) = module.inputs
    assert (grid.n_bits, grid.qmin, grid.qmax) == (bits, low, high)


@pytest.mark.parametrize("spelled", ["quantizer", "dequantizer", "neither"])
def test_a_zero_point_that_is_left_out_is_zero(spelled: str) -> None:
    zero = ["z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", *(zero if spelled == "quantizer" else [])],
                         ["q"]),
        helper.make_node("DequantizeLinear",
                         ["q", "s", *(zero if spelled == "dequantizer" else [])], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"]),
        helper.make_node("MatMul", ["d", "wd"], ["y"], "fc"),
    ]  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=17, constants={
        "s": np.float32(0.01), "z": np.uint8(0), "sw": np.float32(0.5),
        "w": np.arange(-9, 9).astype(np.int8).reshape(6, 3)})  # fmt: skip
    x = np.abs(normal(50, 6))
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    module = module_of(ql.load_model(model), [x], bits=3)
    assert decibel(expected, module.forward(x)) >= 100
    assert module.inputs[0].n_bits == 8


def residual() -> onnx.ModelProto:
    """A residual block as quantize_static writes it: a sum, a scalar constant, a rest in float."""
    nodes = [
        *pair("d", "x"),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"]),
        helper.make_node("MatMul", ["d", "wd"], ["h"], "fc"),
        helper.make_node("QuantizeLinear", ["h", "sh", "zh"], ["qh"]),
        helper.make_node("DequantizeLinear", ["qh", "sh", "zh"], ["dh"]),
        helper.make_node("Add", ["d", "dh"], ["a"], "sum"),
        helper.make_node("QuantizeLinear", ["half", "sh", "zh"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "sh", "zh"], ["dc"]),
        helper.make_node("Mul", ["a", "dc"], ["m"], "scaled"),
        helper.make_node("QuantizeLinear", ["m", "sh", "zh"], ["qm"]),
        helper.make_node("DequantizeLinear", ["qm", "sh", "zh"], ["dm"]),
        helper.make_node("MatMul", ["dm", "rest"], ["r"], "rest"),
        helper.make_node("Softmax", ["r"], ["y"], "softmax", axis=1),
    ]
    codes = np.random.default_rng(5).integers(-127, 128, (6, 6)).astype(np.int8)
    return build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=17, constants={
        "s": np.float32(0.03), "z": np.uint8(120), "w": codes, "sw": np.float32(0.01),
        "sh": np.float32(0.05), "zh": np.uint8(128), "half": np.float32(0.5),
        "rest": normal(6, 4)})  # fmt: skip


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_what_own_grids_do_not_cover_stays_in_float(bits: int) -> None:
    model = residual()
    graph = ql.load_model(model)
    x = normal(200, 6)
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    module = module_of(graph, [x], bits)
    steps = np.abs(np.asarray(module.forward(x)) - expected)
    assert np.mean(steps > 1e-5) < 0.02  # float32 decides ties of codes by its last bit
    assert set(module.bitwidth_and_range_report()) == {"fc"}
    found = evaluate(bench_of(graph, x), ql.QuantizationConfig.from_n_bits(bits))
    assert found.unseen == ("rest",)
    assert found.sqnr_db > 30
    asked = module_of(graph, [x], bits, quantize_rest=True)
    assert {"fc", "sum", "rest"} <= set(asked.bitwidth_and_range_report())


def test_a_sum_on_grids_whose_steps_are_multiples_is_exact_in_integers() -> None:
    nodes = [
        *pair("d", "x"),
        helper.make_node("QuantizeLinear", ["x2", "s4", "z"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "s4", "z"], ["d2"]),
        helper.make_node("Add", ["d", "d2"], ["y"], "sum"),
    ]
    model = build(nodes, inputs={"x": ["n", 5], "x2": ["n", 5]}, outputs=["y"], opset=17,
                  constants={"s": np.float32(0.25), "s4": np.float32(1.0),
                             "z": np.int8(3)})  # fmt: skip
    x, x2 = normal(40, 5) * 8, normal(40, 5, seed=9) * 8
    expected = open_session(model.SerializeToString()).run(None, {"x": x, "x2": x2})[0]
    module = module_of(ql.load_model(model), [x, x2], bits=3)
    assert np.array_equal(np.asarray(module.forward(x, x2)), expected)
    _, trace = module.forward(x, x2, debug=True)
    assert np.array_equal(trace["sum"]["output"], np.rint(expected / 0.25))


def two_heads() -> onnx.ModelProto:
    """A fine head, a coarse one whose weights hold an outlier, and a label."""
    coarse = normal(6, 3, seed=3)
    coarse[0, 0] = 60.0
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["fine"], "head a"),
        helper.make_node("Gemm", ["x", "b"], ["coarse"], "head b"),
        helper.make_node("ArgMax", ["fine"], ["label"], "label", axis=1, keepdims=0),
    ]
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["label", "fine", "coarse"], opset=17,
                  constants={"a": normal(6, 3), "b": coarse})  # fmt: skip
    model.graph.output[0].type.tensor_type.elem_type = 7
    return model


def test_every_output_is_measured_and_the_worst_leads() -> None:
    graph = ql.load_model(two_heads())
    x = normal(90, 6)
    labels = (x @ normal(6, 3)).argmax(1)
    config = ql.QuantizationConfig.from_n_bits(5)
    found = evaluate(bench_of(graph, x, labels=labels), config)
    expected = open_session(two_heads().SerializeToString()).run(None, {"x": x})
    actual = module_of(graph, [x], 5).forward(x)
    by_name = {output.name: output for output in found.outputs}
    assert list(by_name) == ["label", "fine", "coarse"]
    for name, y, z in zip(by_name, expected, actual, strict=True):
        output = by_name[name]
        if name == "label":
            assert output.kind is OutputKind.CLASSES
            assert output.agreement == pytest.approx(float(np.mean(y == z)))
            assert output.score is not None
            assert output.score.quantized_value == pytest.approx(float(np.mean(z == labels)))
            changed = float(np.mean(y != z))
            assert output.mse == pytest.approx(2 * changed / 3)
            assert output.max_error == (1.0 if changed else 0.0)
        else:
            assert output.sqnr_db == pytest.approx(decibel(y, z), abs=1e-3)
            assert output.agreement == pytest.approx(float(np.mean(y.argmax(1) == z.argmax(1))))
    worst = min(("fine", "coarse"), key=lambda name: by_name[name].sqnr_db or 0.0)
    assert (found.output, found.sqnr_db) == (worst, by_name[worst].sqnr_db)
    other = {"fine": "coarse", "coarse": "fine"}[worst]
    chosen = evaluate(bench_of(graph, x, labels=labels), config, output=other)
    assert (chosen.output, chosen.sqnr_db) == (other, by_name[other].sqnr_db)
    led = evaluate(Workbench(graph, bench_of(graph, x).data, output=other), config)
    assert (led.output, led.outputs[0].name) == (other, other)
    with pytest.raises(ql.OptionsError, match="no output 'nothing'"):
        evaluate(bench_of(graph, x), config, output="nothing")


def test_a_label_before_probabilities_does_not_lead(tmp_path: Any) -> None:
    path, x, (labels, p) = case("16")
    graph = ql.load_model(path)
    found = evaluate(bench_of(graph, *x, labels=labels), ql.QuantizationConfig.from_n_bits(8))
    module = module_of(graph, x)
    label, probabilities = module.forward(*x)
    assert found.output == "p"
    assert found.sqnr_db == pytest.approx(decibel(p, probabilities), abs=1e-3)
    summary = found.outputs[0]
    assert (summary.name, summary.kind) == ("label", OutputKind.CLASSES)
    assert summary.agreement == pytest.approx(float(np.mean(label == labels)))
    data = tmp_path / "data.npz"
    np.savez(data, calibration=x[0], evaluation=x[0])
    written = run("quantize", path, data, "--bits", "8", "--output", "label").stdout
    assert "label *" in written


def test_studies_of_one_output_take_the_first_that_can_be_subtracted() -> None:
    path, x, (_, p) = case("16")
    graph = ql.load_model(path)
    assert (graph.output_names[0], graph.lead_output) == ("label", "p")
    bench = bench_of(graph, *x)
    module = module_of(graph, x)
    error = float(np.mean((np.asarray(module.forward(*x)[1]) - p) ** 2))
    assert np.array_equal(bench.float_model.output(), p)
    assert error_ledger(module, bench.float_model).mse == pytest.approx(error, rel=1e-4)
    assert np.array_equal(dequantized_outputs(module, bench.float_model), module.forward(*x)[1])


def test_labels_as_text_are_compared_as_classes() -> None:
    nodes = [helper.make_node(
        "LinearClassifier", ["x"], ["label", "p"], "classifier", domain="ai.onnx.ml",
        classlabels_strings=["cat", "dog", "fox"], multi_class=1, post_transform="SOFTMAX",
        coefficients=normal(12).tolist(), intercepts=[0.0, 0.1, -0.1],
    )]  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["label", "p"], opset=17,
                  domains=[("ai.onnx.ml", 3)])  # fmt: skip
    model.graph.output[0].type.tensor_type.elem_type = 8
    x = normal(60, 4)
    found = evaluate(bench_of(ql.load_model(model), x), ql.QuantizationConfig.from_n_bits(3))
    summary = {output.name: output for output in found.outputs}["label"]
    assert summary.kind is OutputKind.CLASSES
    assert summary.agreement is not None
    assert found.output == "p"


def test_padding_of_a_pool_wins_as_in_concrete_ml_or_never_as_in_onnx() -> None:
    path, x, (y,) = case("24")
    graph = ql.load_model(path)
    rule = [node for node in ql.inspect_model(graph).conventions if node.op_type == "MaxPool"]
    assert [node.name for node in rule] == ["pool"]
    assert "0.0" in rule[0].convention
    assert decibel(y, module_of(graph, x).forward(*x)) < 15
    assert decibel(y, module_of(graph, x, conventions="onnx").forward(*x)) > 30
    assert decibel(y, module_of(graph, x, 12, conventions="onnx").forward(*x)) > 50
    assert run("inspect", path).stdout.count("pads with 0.0") == 1


def test_a_normalization_may_keep_all_values() -> None:
    nodes = [helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], "bn")]
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    model = build(nodes, inputs={"x": ["n", 3]}, outputs=["y"], opset=15,
                  constants={"g": ones, "b": zeros, "m": zeros, "v": ones})  # fmt: skip
    graph = ql.load_model(model)
    x = normal(4000, 3)
    x[0] = 40.0
    (node,) = ql.inspect_model(graph).conventions
    assert "0.1 %" in node.convention
    assert np.asarray(module_of(graph, [x]).forward(x)).max() < 10
    kept = np.asarray(module_of(graph, [x], conventions="onnx").forward(x))
    assert kept.max() == pytest.approx(40.0, rel=1e-2)


def test_a_padded_pool_of_what_is_never_negative_costs_nothing_and_says_nothing() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["y"], "pool", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
    ]
    model = build(nodes, inputs={"x": ["n", 1, 4, 4]}, outputs=["y"], opset=17)
    graph = ql.load_model(model)
    assert ql.inspect_model(graph).conventions == ()
    x = normal(20, 1, 4, 4)
    onnx_like = module_of(graph, [x], conventions="onnx").forward(x)
    assert np.array_equal(np.asarray(module_of(graph, [x]).forward(x)), np.asarray(onnx_like))


def archive(tmp_path: Any, **arrays: Any) -> bytes:
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    content: bytes = (tmp_path / "a.npz").read_bytes()
    return content


def sum_of(*names: str) -> ql.Graph:
    nodes = [helper.make_node("Sum", list(names), ["y"], "sum")]
    shapes: dict[str, Any] = {name: ["n", 3] for name in names}
    return ql.load_model(build(nodes, inputs=shapes, outputs=["y"], opset=17))


def test_inputs_that_differ_in_case_get_their_own_arrays(tmp_path: Any) -> None:
    graph = sum_of("x", "X")
    small, large = normal(6, 3), normal(6, 3, seed=9)
    data = load_data(archive(tmp_path, x=small, X=large), graph, name="a.npz")
    assert np.array_equal(data.calibration[0], small[:3])
    assert np.array_equal(data.calibration[1], large[:3])
    with pytest.raises(ql.DataLoadError, match="after the model's inputs"):
        load_data(archive(tmp_path, X=large), graph, name="a.npz")


def test_arrays_that_nobody_asked_for_are_named(tmp_path: Any) -> None:
    x = normal(6, 3)
    content = archive(tmp_path, calibration=x, evaluation=x, weights=x, Y=np.zeros(6, int))
    data = load_data(content, sum_of("x"), name="a.npz")
    assert [note for note in data.notes if "'weights'" in note]
    assert not [note for note in data.notes if "'Y'" in note]
    assert data.labels is not None


def test_labels_of_one_class_may_compress_a_thousandfold(tmp_path: Any) -> None:
    x = normal(20_000, 3)
    content = archive(tmp_path, calibration=x[:9], evaluation=x, labels=np.zeros(20_000, int))
    assert load_data(content, sum_of("x"), name="a.npz").labels is not None


def test_a_number_beside_samples_is_read_once(tmp_path: Any) -> None:
    path, (x, rate), _ = case("18")
    graph = ql.load_model(path)
    for names in ({"calibration": x, "evaluation": x, "rate": rate}, {"x": x, "rate": rate}):
        data = load_data(archive(tmp_path, **names), graph, name="a.npz")
        assert data.calibration[1].shape == data.evaluation[1].shape == ()
        assert data.evaluation[1] == rate


@pytest.mark.parametrize(
    ("nodes", "shape", "wanted"),
    [
        ([helper.make_node("Gemm", ["x", "w"], ["y"])], ["a", "b"], (4,)),
        ([helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"])],
         ["a", "b", "c"], (8, 4)),
        ([helper.make_node("Conv", ["x", "k"], ["y"])], ["a", "b", "c", "d"], (2, 8, 8)),
        ([helper.make_node("Mul", ["x", "v"], ["m"]),
          helper.make_node("MatMul", ["m", "w"], ["y"])], ["a", "b"], (4,)),
    ],
)  # fmt: skip
def test_generated_data_have_the_sizes_that_weights_imply(
    nodes: Any, shape: Any, wanted: Any
) -> None:
    used = {name for node in nodes for name in node.input}
    constants = {"w": normal(4, 3), "k": normal(5, 2, 3, 3), "v": normal(4)}
    model = build(nodes, inputs={"x": shape}, outputs=["y"], opset=17,
                  constants={k: v for k, v in constants.items() if k in used})  # fmt: skip
    data = synthetic_data(ql.load_model(model))
    assert data.calibration[0].shape[1:] == wanted


def test_large_models_get_few_generated_samples() -> None:
    nodes = [helper.make_node("Conv", ["x", "k"], ["h"], pads=[1, 1, 1, 1]),
             helper.make_node("Conv", ["h", "k2"], ["y"], pads=[1, 1, 1, 1])]  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 3, 640, 640]}, outputs=["y"], opset=17,
                  constants={"k": normal(16, 3, 3, 3), "k2": normal(16, 16, 3, 3)})  # fmt: skip
    graph = ql.load_model(model)
    data = synthetic_data(graph)
    assert 1 <= len(data.calibration[0]) <= 8
    assert len(synthetic_data(sum_of("x")).calibration[0]) == 256
    assert len(synthetic_data(graph, samples=3).calibration[0]) == 3


def test_codes_that_are_moved_once_may_be_read_as_reals_many_times() -> None:
    readers = [helper.make_node("DequantizeLinear", ["p", "s", "z"], [f"d{i}"]) for i in range(3)]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("MaxPool", ["q"], ["p"], "p", kernel_shape=[2, 2], strides=[2, 2]),
        *readers,
        helper.make_node("Add", ["d0", "d1"], ["a"], "a"),
        helper.make_node("Add", ["a", "d2"], ["y"], "b"),
    ]
    constants = {"s": np.float32(0.125), "z": np.int8(3)}
    model = build(nodes, inputs={"x": ["n", 1, 4, 4]}, outputs=["y"], constants=constants)
    graph = ql.load_model(model.SerializeToString())
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    x = normal(20, 1, 4, 4)
    made = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(8))
    [expected] = open_session(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(made.forward(x), expected, atol=1e-6)
    assert evaluate(bench_of(graph, x), made.config).sqnr_db > 100
