"""What people really bring: loads, and answers as ONNX Runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from quantlib.execution.float_run import float_tensors
from quantlib.graph.runtime import open_session
from tests.brought import case, quality_db
from tests.graph.kinds import MADE
from tests.graph.transformers import TOKENS, Encoder, tokens
from tests.models import build, normal
from tests.paths import GOLDEN
from tests.verdicts import sqnr_db

node = helper.make_node
QONNX = GOLDEN / "qonnx"


@pytest.mark.parametrize(
    ("start", "least_db"),
    [("05", 30), ("06", 25), ("07", 30), ("08", 30), ("09", 30), ("10", 30), ("11", 30),
     ("12", 40), ("13", 30), ("14", 30), ("17", 30), ("20", 30), ("21", 100), ("22", 30)],
)  # fmt: skip
def test_a_recorded_case_is_right(start: str, least_db: float) -> None:
    found = case(start)
    assert quality_db(found.path, found.inputs, found.outputs) >= least_db


def test_probabilities_are_read_before_they_become_dictionaries() -> None:
    found = case("15")
    graph = ql.load_model(found.path)
    assert graph.output_names == ("label", "p")
    (note,) = graph.notes
    assert "'probabilities'" in note and "ZipMap" in note and "0, 1, 2" in note
    label, dictionaries = open_session(found.path.read_bytes()).run(None, {"x": found.inputs[0]})
    scores = np.array([[row[key] for key in (0, 1, 2)] for row in dictionaries])
    assert quality_db(found.path, found.inputs, (label, scores)) >= 30


def feeds_of(model: onnx.ModelProto, inputs: tuple[Any, ...]) -> dict[str, Any]:
    stored = {t.name for t in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in stored]
    return dict(zip(names, inputs, strict=True))


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_model_of_each_kind_answers_as_onnx_runtime(name: str) -> None:
    model, inputs = MADE[name]()
    expected = open_session(model.SerializeToString()).run(None, feeds_of(model, inputs))
    assert quality_db(model, inputs, tuple(expected)) >= 30


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("reversed_nodes", ["stand before what they read", "sorted"]),
        ("stale_shapes_of_convolutions", ["'c' is noted as n x 3 x 4 x 4 and is n x 3 x 6 x 6"]),
        ("stale_shapes_of_two_outputs", ["'a' is noted as n x 5", "'b' is noted as n x 3"]),
        ("initializers_that_are_no_inputs_in_an_old_file", ["IR version 3"]),
        ("sparse_weights_by_place", ["sparse", "'w'"]),
        ("an_optional_value", ["one float operator", "Optional"]),
    ],
)
def test_what_was_mended_is_said(name: str, words: list[str]) -> None:
    notes = " ".join(ql.load_model(MADE[name]()[0]).notes)
    assert all(word in notes for word in words), notes


def test_a_sound_model_has_no_notes() -> None:
    model = build([node("Relu", ["x"], ["y"])], inputs={"x": ["n", 2]}, outputs=["y"])
    assert ql.load_model(model).notes == ()


@pytest.mark.parametrize(
    ("name", "bits", "signed"),
    [("grids_of_16_bits_of_the_runtime", 16, False), ("grids_of_4_bits_of_the_runtime", 4, False)],
)
def test_grids_of_the_runtimes_own_domain_are_carried(name: str, bits: int, signed: bool) -> None:
    model, inputs = MADE[name]()
    graph = ql.load_model(model)
    module = ql.quantize(graph, inputs, ql.QuantizationConfig.from_n_bits(3))
    (grid,) = module.inputs
    assert grid is not None
    assert (grid.n_bits, grid.is_signed, grid.zero_point) == (bits, signed, 3)
    expected = open_session(model.SerializeToString()).run(None, {"x": inputs[0]})
    assert sqnr_db(expected, [module.forward(*inputs)]) >= 100


def as_dictionaries(labels: dict[str, Any], names: bool) -> onnx.ModelProto:
    classifier: dict[str, Any] = {"classlabels_strings" if names else "classlabels_ints": [*labels]}
    zipped: dict[str, Any] = {"classlabels_strings" if names else "classlabels_int64s": [*labels]}
    rng = np.random.default_rng(0)
    nodes = [
        node("Scaler", ["x"], ["h"], domain="ai.onnx.ml", offset=[0.1] * 4, scale=[0.5] * 4),
        node("LinearClassifier", ["h"], ["label", "p"], domain="ai.onnx.ml", multi_class=1,
             post_transform="SOFTMAX", coefficients=rng.normal(size=12).tolist(),
             intercepts=[0.0, 0.1, -0.1], **classifier),
        node("ZipMap", ["p"], ["out"], domain="ai.onnx.ml", **zipped),
    ]  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["label", "out"], opset=13,
                  domains=[("ai.onnx.ml", 2)])  # fmt: skip
    model.graph.output[0].type.tensor_type.elem_type = (
        TensorProto.STRING if names else TensorProto.INT64
    )
    model.graph.output[1].CopyFrom(onnx.ValueInfoProto(name="out"))
    return model


@pytest.mark.parametrize("names", [False, True], ids=["numbers", "texts"])
def test_a_classifier_of_a_scikit_learn_converter_gives_its_scores(names: bool) -> None:
    labels: Any = dict.fromkeys(["red", "green", "blue"] if names else [4, 5, 6])
    model = as_dictionaries(labels, names)
    x = normal(30, 4)
    given = open_session(model.SerializeToString()).run(None, {"x": x})
    scores = np.array([[row[key] for key in labels] for row in given[1]])
    graph = ql.load_model(model)
    assert graph.output_names == ("label", "p")
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(8))
    found: Any = module.forward(x)
    assert sqnr_db([scores], [found[1]]) >= 30
    chosen = np.array(list(labels))[scores.argmax(axis=1)]
    assert np.mean(found[0] == chosen) >= 0.9


# Operator set 6 and older


def old_convolution() -> onnx.ModelProto:
    """Operator set 5: an Add with an axis, a test-mode Dropout."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", ["c", "b"], ["s"], broadcast=1, axis=1),
        node("Relu", ["s"], ["r"]),
        node("Dropout", ["r"], ["d"], is_test=1),
        node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    return old_model(nodes, 5, w=normal(3, 2, 3, 3), b=normal(3))


def old_normalization() -> onnx.ModelProto:
    """Operator set 6: BatchNormalization in test mode."""
    ones = {name: np.abs(normal(2, seed=i)) + 0.5 for i, name in enumerate("gbmv")}
    nodes = [
        node("BatchNormalization", ["x", *"gbmv"], ["n"], is_test=1, spatial=1, epsilon=1e-5),
        node("LeakyRelu", ["n"], ["y"], alpha=0.1),
    ]
    return old_model(nodes, 6, **ones)


def old_model(nodes: list[onnx.NodeProto], opset: int, **constants: Any) -> onnx.ModelProto:
    model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], constants=constants)
    model.opset_import[0].version, model.ir_version = opset, 3
    for name, value in constants.items():
        model.graph.input.append(helper.make_tensor_value_info(name, 1, value.shape))
    return model


def convolved(x: Any) -> Any:
    w, b = normal(3, 2, 3, 3), normal(3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    summed = np.einsum("nchwij,kcij->nkhw", windows, w) + b[:, None, None]
    return np.maximum(summed, 0).reshape(len(x), 3, 3, 2, 3, 2).max(axis=(3, 5))


def normalized(x: Any) -> Any:
    g, b, m, v = (np.abs(normal(2, seed=i))[:, None, None] + 0.5 for i in range(4))
    y = (x - m) / np.sqrt(v + 1e-5) * g + b
    return np.where(y < 0, np.float32(0.1) * y, y)


@pytest.mark.parametrize(
    ("make", "right"),
    [(old_convolution, convolved), (old_normalization, normalized)],
    ids=["opset-5", "opset-6"],
)
def test_old_operator_sets_are_converted_when_the_file_is_trusted(make: Any, right: Any) -> None:
    model, x = make(), normal(20, 2, 6, 6)
    graph = ql.load_model(model)
    assert any("converted to 13" in note for note in graph.notes)
    assert quality_db(model, (x,), (right(x),)) >= 30
    data = model.SerializeToString()
    with pytest.raises(ql.ModelLoadError, match=r"operator set .*convert_version\(model, 13\)"):
        ql.load_model(data)
    assert ql.load_model(data, convert=True).opsets[""] == 13
    with pytest.raises(ql.ModelLoadError, match="convert=True"):
        ql.load_model(model, convert=False)


# QONNX


@pytest.mark.parametrize("name", sorted(path.stem for path in QONNX.glob("*.onnx")))
def test_a_qonnx_model_executes_as_qonnx_executes_it(name: str) -> None:
    """Recorded from qonnx 1.0 by tests/golden/qonnx/record.py."""
    recorded = np.load(QONNX / f"{name}.npz")
    x, y = recorded["x0"], recorded["y0"]
    graph = ql.load_model(QONNX / f"{name}.onnx")
    (output,) = graph.output_names
    exact = float_tensors(graph, (x,), tensors=[output])[output]
    # a product of float32 weights may be summed in another order
    assert np.abs(exact - y).max() <= 1e-6 * max(1.0, np.abs(y).max())
    if name.startswith("float_"):  # from here on without the powers of two of the record
        x, y = x[:20], y[:20]
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(8))
    assert sqnr_db([y], [module.forward(x)]) >= 20


@pytest.mark.parametrize(
    ("name", "weights", "first"),
    [("tfc_w1a1", 1, 16), ("tfc_w2a2", 2, 16), ("cnv_w1a1", 1, 4), ("jet_tagging", 6, 24),
     ("keyword", 3, 20), ("intrusion", 2, 16), ("channels_last_2d", 4, 5)],
)  # fmt: skip
def test_weights_of_a_qonnx_model_keep_their_width(name: str, weights: int, first: int) -> None:
    graph = ql.load_model(QONNX / f"{name}.onnx")
    recorded = np.load(QONNX / f"{name}.npz")
    module = ql.quantize(graph, recorded["x0"], ql.QuantizationConfig.from_n_bits(8))
    products = [p for p in module.layers if p.node.op_type in {"Conv", "MatMul", "Gemm"}]
    constants: list[Any] = [layer.constants[1] for layer in products]
    assert {constant.n_bits for constant in constants} == {weights}
    assert first in constants[0].shape


@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("op_type", ["Quant", "IntQuant"])
def test_one_signed_bit_stands_for_minus_one_and_one(op_type: str, narrow: int) -> None:
    quant = node(op_type, ["x", "s", "z", "b"], ["y"], "q", domain="qonnx.custom_op.general",
                 signed=1, narrow=narrow, rounding_mode="ROUND")  # fmt: skip
    constants = {"s": np.float32(0.5), "z": np.float32(0), "b": np.float32(1)}
    model = build([quant], inputs={"x": ["n"]}, outputs=["y"], opset=10, constants=constants,
                  domains=[("qonnx.custom_op.general", 1)])  # fmt: skip
    x = np.array([-3, -0.25, -1e-6, 0, 1e-6, 0.25, 3], dtype=np.float32)
    expected = [-0.5, -0.5, -0.5, 0.5, 0.5, 0.5, 0.5]
    graph = ql.load_model(model)
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(8))
    assert np.asarray(module.forward(x)).tolist() == expected
    assert open_session(graph.source).run(None, {"x": x})[0].tolist() == expected
    assert module.inputs[0] is not None and module.inputs[0].n_bits == 1


def test_ties_go_to_even_where_round_did_not_exist() -> None:
    quant = node("Quant", ["x", "s", "z", "b"], ["y"], "q", domain="qonnx.custom_op.general")
    constants = {"s": np.float32(1), "z": np.float32(0), "b": np.float32(26)}
    model = build([quant], inputs={"x": ["n"]}, outputs=["y"], opset=9, constants=constants,
                  domains=[("qonnx.custom_op.general", 1)])  # fmt: skip
    halves = np.arange(-33, 34, dtype=np.float32) / 2
    edges = np.array([2**22 + 0.5, 2**22 + 1.5, 2**23 - 0.5, 2**23, 2**24, 0.49999997], np.float32)
    x = np.concatenate([halves, edges, -edges])
    found = open_session(ql.load_model(model).source).run(None, {"x": x})[0]
    assert np.array_equal(found, np.rint(x))


# Transformers


@pytest.mark.parametrize("style", ["torchscript", "dynamo", "fused"])
@pytest.mark.parametrize("opset", range(13, 21))
def test_a_small_transformer_gives_30_db_at_8_bits_however_it_was_exported(
    style: str, opset: int
) -> None:
    model, x = Encoder(opset, style).model(), tokens(16)
    expected = open_session(model.SerializeToString()).run(None, feeds_of(model, x))
    assert quality_db(model, x, tuple(expected)) >= 30


class Masked(Encoder):
    """Masks with minus infinity: chosen by Where, or a constant triangle."""

    causal = False

    def mask(self) -> str:
        if self.causal:
            below = np.tril(np.ones((TOKENS, TOKENS))) > 0
            return str(self.const(np.where(below, 0.0, -np.inf)))
        wide = self.op("Unsqueeze", "attention_mask", self.const(np.array([1, 2])))
        there = self.op("Cast", wide, to=TensorProto.BOOL)
        return str(self.op("Where", there, self.const(0.0), self.const(-np.inf)))


@pytest.mark.parametrize("causal", [False, True], ids=["chosen", "causal"])
@pytest.mark.parametrize("style", ["torchscript", "dynamo"])
def test_masks_may_hold_minus_infinity(style: str, causal: bool) -> None:
    encoder = Masked(17, style)
    encoder.causal = causal
    model, x = encoder.model(), tokens(16)
    expected = open_session(model.SerializeToString()).run(None, feeds_of(model, x))
    assert quality_db(model, x, tuple(expected)) >= 30
    graph = ql.load_model(model)
    assert any("minus infinity" in note for note in graph.notes)
    changed = open_session(graph.source).run(None, feeds_of(model, x))
    assert np.array_equal(changed[0], expected[0])


def test_minus_infinity_that_is_read_elsewhere_stays() -> None:
    nodes = [
        node("Add", ["x", "low"], ["a"]),
        node("Softmax", ["a"], ["p"]),
        node("Max", ["x", "low"], ["m"]),
        node("Add", ["p", "m"], ["y"]),
    ]
    low = np.array([0, -np.inf, 0, 0], dtype=np.float32)
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants={"low": low})
    graph = ql.load_model(model)
    assert graph.notes == ("constant 'low' holds 1 of 4 values that are infinite; they are kept.",)
    assert np.isneginf(graph.constants["low"]).any()


def test_layer_normalization_in_small_operators_is_one_node() -> None:
    graph = ql.load_model(Encoder(13, "torchscript").model())
    kinds = [n.op_type for n in graph.nodes]
    assert kinds.count("LayerNormalization") == 5
    assert "Sqrt" not in kinds and "ReduceMean" not in kinds
    assert any("5 groups" in note and "LayerNormalization" in note for note in graph.notes)


def spelled_normalization(*, axis: int = -1, reread: bool = False, gain: int = 6) -> Any:
    """LayerNormalization in nine operators, or something that only looks like it."""
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[axis]),
        node("Sub", ["x", "mean"], ["d"]),
        node("Pow", ["d", "two"], ["q"]),
        node("ReduceMean", ["q"], ["v"], axes=[axis]),
        node("Add", ["v", "epsilon"], ["e"]),
        node("Sqrt", ["e"], ["r"]),
        node("Div", ["d", "r"], ["z"]),
        node("Mul", ["z", "g"], ["s"]),
        node("Add", ["s", "b"], ["n"]),
        node("Mul", ["n", "mean" if reread else "b"], ["y"]),
    ]
    constants = {"two": np.float32(2), "epsilon": np.float32(1e-5), "b": normal(6),
                 "g": normal(gain)}  # fmt: skip
    return build(nodes, inputs={"x": ["n", 5, 6]}, outputs=["y"], opset=13, constants=constants)


@pytest.mark.parametrize(
    ("named", "joined"),
    [({}, True), ({"axis": 2}, True), ({"axis": 1}, False), ({"reread": True}, False),
     ({"gain": 1}, False)],
    ids=["last", "last-counted", "another-axis", "mean-read-again", "one-gain-for-all"],
)  # fmt: skip
def test_only_what_is_a_layer_normalization_becomes_one(named: Any, joined: bool) -> None:
    model, x = spelled_normalization(**named), normal(40, 5, 6)
    graph = ql.load_model(model)
    assert ("LayerNormalization" in [n.op_type for n in graph.nodes]) == joined
    expected = open_session(model.SerializeToString()).run(None, {"x": x})
    assert quality_db(model, (x,), tuple(expected)) >= (30 if joined else 20)


# The analysis of what was brought


def evaluated(model: onnx.ModelProto, x: Any) -> tuple[Any, Any]:
    graph = ql.load_model(model)
    data = Dataset("made", (x,), (x,), None, (), "d")
    config = ql.QuantizationConfig.from_n_bits(6)
    found = evaluate(Workbench(graph, data), config)
    return found, bit_width_budget(ql.quantize(graph, x, config))


def test_a_squeeze_without_axes_keeps_the_samples_apart() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("GlobalAveragePool", ["c"], ["p"], "pool"),
        node("Squeeze", ["p"], ["s"], "squeeze"),
        node("Gemm", ["s", "v"], ["y"], "fc"),
    ]
    constants = {"w": normal(4, 2, 3, 3), "v": normal(4, 3)}
    for opset in (11, 17):
        model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], opset=opset,
                      constants=constants)  # fmt: skip
        found, budget = evaluated(model, normal(20, 2, 6, 6))
        assert found.sqnr_db > 20
        assert [layer.name for layer in budget.layers] == ["conv", "pool", "fc"]
        module = ql.PostTrainingAffineQuantization(8, model).quantize_module(normal(20, 2, 6, 6))
        assert np.shape(module.forward(normal(1, 2, 6, 6))) == (1, 3)
        assert any("'squeeze'" in note for note in module.graph.notes)


@pytest.mark.parametrize("op_type", ["Mul", "Add"])
def test_a_single_number_may_be_an_accumulator(op_type: str) -> None:
    nodes = [
        node("Gemm", ["x", "w"], ["h"], "fc"),
        node("ReduceSum", ["h"], ["s"], "sum", keepdims=0),
        node(op_type, ["s", "k"], ["m"], "scalar"),
        node("Mul", ["h", "m"], ["y"], "product"),
    ]
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"],
                  constants={"w": normal(4, 3), "k": np.float32(2)})  # fmt: skip
    found, budget = evaluated(model, normal(20, 4))
    assert found.sqnr_db > 15
    assert {layer.name for layer in budget.layers} >= {"fc", "sum", "product"}


def test_a_fixed_half_precision_weight_reaches_its_operator_as_it_is() -> None:
    """In float16 the gain 2049 is 2048: the island has the model's own numbers."""
    gain = np.full(4, 2049, dtype=np.float16)
    model = build([node("LayerNormalization", ["x", "g"], ["y"])], inputs={"x": ["n", 4]},
                  outputs=["y"], opset=17, output_type=TensorProto.FLOAT16)  # fmt: skip
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.initializer.append(numpy_helper.from_array(gain, "g"))
    x = normal(30, 4).astype(np.float16)
    expected = open_session(model.SerializeToString()).run(None, {"x": x})
    assert quality_db(model, (x,), tuple(expected)) >= 30
