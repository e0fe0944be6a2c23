"""How samples reach a model: freed only where that changes nothing, else call by call."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import quantlib as ql
from quantlib.analysis.attribution.ledger import error_ledger
from quantlib.analysis.attribution.sensitivity import sensitivity
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.sweep.result import measure
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from quantlib.graph.runtime import open_session
from tests.models import build, normal

CONFIG = ql.QuantizationConfig.from_n_bits(8)


def whole_image_attention() -> onnx.ModelProto:
    """Every pixel attends to every pixel; the batch is folded into the pixels."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "channels_last", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "pixels"], ["p"], "pixels"),
        helper.make_node("MatMul", ["p", "wq"], ["q"], "query"),
        helper.make_node("MatMul", ["p", "wk"], ["k"], "key"),
        helper.make_node("Transpose", ["k"], ["kt"], "turned", perm=[1, 0]),
        helper.make_node("MatMul", ["q", "kt"], ["s"], "scores"),
        helper.make_node("Softmax", ["s"], ["a"], "attention", axis=1),
        helper.make_node("MatMul", ["a", "p"], ["m"], "mixed"),
        helper.make_node("Reshape", ["m", "image"], ["y"], "image"),
    ]
    return build(nodes, inputs={"x": [1, 3, 4, 4]}, outputs=["y"], opset=17, constants={
        "pixels": np.array([-1, 3]), "image": np.array([-1, 4, 4, 3]),
        "wq": normal(3, 4), "wk": normal(3, 4, seed=2)})  # fmt: skip


def folded_instance_norm() -> onnx.ModelProto:
    """InstanceNormalization as batch normalization of one image: batch folded into channels."""
    nodes = [
        helper.make_node("Reshape", ["x", "folded"], ["f"], "fold"),
        helper.make_node("ReduceMean", ["f"], ["m"], "mean", axes=[0, 2], keepdims=1),
        helper.make_node("Sub", ["f", "m"], ["c"], "centred"),
        helper.make_node("Reshape", ["c", "image"], ["i"], "unfold"),
        helper.make_node("Conv", ["i", "w"], ["y"], "conv"),
    ]
    return build(nodes, inputs={"x": [1, 2, 5, 5]}, outputs=["y"], opset=17, constants={
        "folded": np.array([-1, 2, 25]), "image": np.array([-1, 2, 5, 5]),
        "w": normal(3, 2, 3, 3)})  # fmt: skip


def norm_over_the_batch() -> onnx.ModelProto:
    """LayerNormalization from axis 0 on."""
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g"], ["n"], "norm", axis=0),
        helper.make_node("Gemm", ["n", "w"], ["y"], "fc"),
    ]
    return build(nodes, inputs={"x": [1, 6]}, outputs=["y"], opset=17,
                 constants={"g": np.ones((1, 6), np.float32), "w": normal(6, 3)})  # fmt: skip


def shuffled_groups() -> onnx.ModelProto:
    """Groups of channels become samples and come back in another order."""
    nodes = [
        helper.make_node("Reshape", ["x", "groups"], ["g"], "groups"),
        helper.make_node("Gather", ["g", "order"], ["o"], "order", axis=0),
        helper.make_node("Reshape", ["o", "image"], ["i"], "image"),
        helper.make_node("Conv", ["i", "w"], ["y"], "conv"),
    ]
    return build(nodes, inputs={"x": [1, 4, 3, 3]}, outputs=["y"], opset=17, constants={
        "groups": np.array([-1, 2, 3, 3]), "order": np.array([1, 0]),
        "image": np.array([-1, 4, 3, 3]), "w": normal(5, 4, 1, 1)})  # fmt: skip


MIXING = [whole_image_attention, folded_instance_norm, norm_over_the_batch, shuffled_groups]


def sizes_of(graph: ql.Graph) -> list[int]:
    return [size for size in graph.inputs[0].shape[1:] if isinstance(size, int)]


def one_by_one(model: onnx.ModelProto, x: Any) -> Any:
    session = open_session(model.SerializeToString())
    return np.concatenate([session.run(None, {"x": row[None]})[0] for row in x])


def decibel(expected: Any, actual: Any) -> float:
    noise = float(np.sum((expected - actual) ** 2))
    return 10 * float(np.log10(float(np.sum(expected**2)) / noise))


@pytest.mark.parametrize("made", MIXING)
def test_a_model_for_one_image_that_mixes_images_runs_image_by_image(made: Any) -> None:
    model = made()
    graph = ql.load_model(model)
    assert (graph.batch.size, graph.batch.is_free) == (1, False)
    x = normal(9, *sizes_of(graph))
    expected = one_by_one(model, x)
    module = ql.quantize(graph, x, CONFIG)
    assert decibel(expected, np.asarray(module.forward(x))) > 25
    codes = np.asarray(module.quantize_input(x))
    together = np.asarray(module.dequantize_output(np.asarray(module.quantized_forward(codes))))
    assert np.array_equal(together, np.asarray(module.forward(x)))
    alone = [np.asarray(module.forward(row[None])) for row in x]
    assert np.array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("made", MIXING)
def test_every_study_of_such_a_model_counts_the_same_image_by_image(made: Any) -> None:
    model = made()
    graph = ql.load_model(model)
    x, z = normal(6, *sizes_of(graph)), normal(5, *sizes_of(graph), seed=4)
    bench = Workbench(graph, Dataset("made", (x,), (z,), None, (), "d"))
    assert np.allclose(bench.float_model.output(), one_by_one(model, z), atol=1e-6)
    module = bench.module(CONFIG)
    outputs = np.asarray(module.forward(z))
    error = float(np.mean((outputs - one_by_one(model, z)) ** 2))
    found = evaluate(bench, CONFIG)
    assert found.mse == pytest.approx(error, rel=1e-4)
    assert measure(bench, CONFIG)["sqnr_db"] == pytest.approx(found.sqnr_db)
    ledger = error_ledger(module, bench.float_model)
    assert ledger.n_samples * outputs[0].size == outputs.size
    assert ledger.mse == pytest.approx(error, rel=1e-4)
    with ThreadPoolExecutor(1) as executor:
        assert sensitivity(module, bench.float_model, None, executor=executor).mse == (
            pytest.approx(error, rel=1e-4)
        )
    budget = bit_width_budget(module, x)
    _, trace = module.forward(x, debug=True)
    for layer in budget.layers:
        assert layer.seen is not None
        accumulators = trace[layer.name]["output"]
        assert layer.seen.range == (accumulators.min(), accumulators.max())
        assert layer.weights.range[0] <= layer.seen.range[0]
        assert layer.seen.range[1] <= layer.weights.range[1]


def test_the_trace_of_several_calls_holds_them_one_after_another() -> None:
    graph = ql.load_model(folded_instance_norm())
    x = normal(4, 2, 5, 5)
    module = ql.quantize(graph, x, CONFIG)
    _, trace = module.forward(x, debug=True)
    _, last = module.forward(x[3:], debug=True)
    assert np.array_equal(trace["conv"]["output"][3:], last["conv"]["output"])
    assert trace["conv"]["output"].shape == (4, 3, 3, 3)


def test_memory_of_calibration_does_not_depend_on_how_many_calls_there_are() -> None:
    graph = ql.load_model(folded_instance_norm())
    x = normal(12, 2, 5, 5)
    in_memory = ql.quantize(graph, x, CONFIG)
    on_disk = ql.quantize(graph, x, CONFIG, piece_bytes=1)
    assert np.array_equal(np.asarray(in_memory.forward(x)), np.asarray(on_disk.forward(x)))


def convolution(inputs: Any, flat: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Reshape", ["c", "flat"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], "fc"),
    ]
    return build(nodes, inputs={"x": inputs}, outputs=["y"], opset=17, constants={
        "w": normal(2, 1, 2, 2), "v": normal(18, 4), "flat": np.array(flat)})  # fmt: skip


@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_batch_of_independent_images_is_freed(size: int) -> None:
    graph = ql.load_model(convolution([size, 1, 4, 4], [size, 18]))
    assert graph.batch.is_free
    assert graph.inputs[0].shape == ("batch", 1, 4, 4)
    assert graph.batch.output_axes == {"y": 0}


def test_a_fixed_batch_that_is_free_in_multiples_only_stays_fixed() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "pairs"], ["p"], "pairs"),
        helper.make_node("MatMul", ["p", "w"], ["y"], "fc"),
    ]
    model = build(nodes, inputs={"x": [2, 3, 4]}, outputs=["y"], opset=17,
                  constants={"pairs": np.array([-1, 2, 3, 4]), "w": normal(4, 2)})  # fmt: skip
    graph = ql.load_model(model)
    assert graph.batch.size == 2
    x = normal(6, 3, 4)
    y = np.asarray(ql.quantize(graph, x, CONFIG).forward(x))
    assert y.shape == (3, 2, 3, 2)
    with pytest.raises(ql.TensorError, match="Give a multiple"):
        ql.quantize(graph, normal(5, 3, 4), CONFIG)
    with pytest.raises(ql.OptionsError, match="2 samples at a time"):
        ql.quantize(graph, x, CONFIG).program()


def test_a_fixed_batch_that_rounds_is_freed_although_last_bits_move_codes() -> None:
    features, hidden = 64, 96
    nodes = []
    previous = "x"
    for i in range(4):
        nodes += [
            helper.make_node("QuantizeLinear", [previous, "s", "z"], [f"q{i}"], f"q{i}"),
            helper.make_node("DequantizeLinear", [f"q{i}", "s", "z"], [f"d{i}"], f"d{i}"),
            helper.make_node("MatMul", [f"d{i}", f"w{i}"], [f"h{i}"], f"fc{i}"),
        ]
        previous = f"h{i}"
    sizes = [features, hidden, hidden, hidden, 10]
    weights = {f"w{i}": normal(a, b, seed=i) / np.float32(np.sqrt(a))
               for i, (a, b) in enumerate(itertools.pairwise(sizes))}  # fmt: skip
    model = build(nodes, inputs={"x": [1, features]}, outputs=["h3"], opset=17,
                  constants={"s": np.float32(0.02), "z": np.uint8(128), **weights})  # fmt: skip
    assert ql.load_model(model).batch.is_free


def test_a_model_that_mixes_any_number_of_rows_gets_them_in_one_call() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], "fc"),
        helper.make_node("ReduceMax", ["h"], ["m"], "largest", axes=[0], keepdims=1),
        helper.make_node("Sub", ["h", "m"], ["y"], "below"),
    ]
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=17,
                  constants={"w": normal(4, 3)})  # fmt: skip
    graph = ql.load_model(model)
    assert graph.batch.mixes
    x = normal(600, 4)
    bench = Workbench(graph, Dataset("made", (x,), (x,), None, (), "d"))
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    assert np.allclose(bench.float_model.output(), expected)
    outputs = np.asarray(bench.module(CONFIG).forward(x))
    assert evaluate(bench, CONFIG).sqnr_db == pytest.approx(decibel(expected, outputs), abs=1e-3)


def recurrent(batch: Any) -> onnx.ModelProto:
    """A step of a GRU whose state has the samples on axis 1, and a gain without axes."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "front"], ["s"], "sequence"),
        helper.make_node("GRU", ["s", "W", "R", "", "", "h"], ["", "state"], "gru", hidden_size=4),
        helper.make_node("Squeeze", ["state", "front"], ["last"], "last"),
        helper.make_node("Mul", ["last", "gain"], ["g"], "gained"),
        helper.make_node("Gemm", ["g", "v"], ["y"], "fc"),
    ]
    return build(nodes, inputs={"x": [batch, 3], "h": [1, batch, 4], "gain": []},
                 outputs=["y", "state"], opset=17,
                 constants={"W": normal(1, 12, 3), "R": normal(1, 12, 4), "v": normal(4, 2),
                            "front": np.array([0])})  # fmt: skip


def test_samples_are_found_on_whichever_axis_they_are() -> None:
    graph = ql.load_model(recurrent("batch"))
    assert graph.batch.input_axes == {"x": 0, "h": 1, "gain": None}
    assert graph.batch.output_axes == {"y": 0, "state": 1}
    data = (normal(500, 3), normal(1, 500, 4, seed=2), np.array(0.7, np.float32))
    expected = open_session(recurrent("batch").SerializeToString()).run(
        None, dict(zip(("x", "h", "gain"), data, strict=True))
    )
    module = ql.quantize(graph, data, CONFIG)
    y, state = module.forward(*data)
    assert decibel(expected[0], y) > 25
    assert decibel(expected[1], state) > 35
    bench = Workbench(graph, Dataset("made", data, data, None, (), "d"))
    found = evaluate(bench, CONFIG)
    assert {o.name: o.sqnr_db for o in found.outputs} == {
        "y": pytest.approx(decibel(expected[0], y), abs=1e-3),
        "state": pytest.approx(decibel(expected[1], state), abs=1e-3),
    }


def test_the_axis_of_samples_can_be_given_and_a_state_without_samples_is_kept() -> None:
    model = recurrent("batch")
    graph = ql.load_model(model, batch_axes={"gain": None, "h": 1})
    assert graph.batch.axis_of("h") == 1
    with pytest.raises(ql.ModelLoadError, match="input 'u'"):
        ql.load_model(model, batch_axes={"u": 0})
    with pytest.raises(ql.ModelLoadError, match="0 to 1"):
        ql.load_model(model, batch_axes={"x": 2})
    nodes = [
        helper.make_node("Add", ["x", "offset"], ["s"], "shifted"),
        helper.make_node("Gemm", ["s", "w"], ["y"], "fc"),
    ]
    shifted = build(nodes, inputs={"x": ["n", 4], "offset": [4]}, outputs=["y"], opset=17,
                    constants={"w": normal(4, 2)})  # fmt: skip
    graph = ql.load_model(shifted)
    assert graph.batch.input_axes == {"x": 0, "offset": None}
    x, offset = normal(7, 4), normal(4, seed=5)
    y = np.asarray(ql.quantize(graph, (x, offset), CONFIG).forward(x, offset))
    assert decibel((x + offset) @ normal(4, 2), y) > 25
    with pytest.raises(ql.TensorError, match="every call gets it as it is"):
        ql.quantize(graph, (x, normal(7, 4)), CONFIG)


def test_columns_can_be_samples() -> None:
    nodes = [helper.make_node("MatMul", ["w", "x"], ["y"], "fc")]
    model = build(nodes, inputs={"x": [4, "N"]}, outputs=["y"], opset=17,
                  constants={"w": normal(3, 4)})  # fmt: skip
    graph = ql.load_model(model)
    assert graph.batch.axis_of("x") == graph.batch.axis_of("y") == 1
    assert graph.batch.is_free
    x = normal(4, 700)
    bench = Workbench(graph, Dataset("made", (x,), (x,), None, (), "d"))
    assert np.allclose(bench.float_model.output(), normal(3, 4) @ x, atol=1e-5)
    assert evaluate(bench, CONFIG).sqnr_db > 30


def test_outputs_that_tell_nothing_let_the_tensors_inside_speak() -> None:
    for mixed, size in ((False, None), (True, 1)):
        first = ["x"] if not mixed else ["folded"]
        nodes = [
            *(
                [helper.make_node("ReduceMean", ["x"], ["folded"], "mean", axes=[0], keepdims=1)]
                if mixed
                else []
            ),
            helper.make_node("Gemm", [*first, "w"], ["h"], "fc"),
            helper.make_node("Mul", ["h", "zero"], ["n"], "nothing"),
            helper.make_node("Add", ["n", "zero"], ["y"], "still"),
        ]
        model = build(nodes, inputs={"x": [1, 4]}, outputs=["y"], opset=17,
                      constants={"w": normal(4, 3), "zero": np.float32(0.0)})  # fmt: skip
        assert ql.load_model(model).batch.size == size


def test_a_label_output_of_a_fixed_model_joins_image_by_image() -> None:
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g"], ["n"], "norm", axis=0),
        helper.make_node("Gemm", ["n", "w"], ["s"], "fc"),
        helper.make_node("ArgMax", ["s"], ["y"], "label", axis=1, keepdims=0),
    ]
    model = build(nodes, inputs={"x": [1, 6]}, outputs=["y"], opset=17,
                  output_type=TensorProto.INT64,
                  constants={"g": np.ones((1, 6), np.float32), "w": normal(6, 3)})  # fmt: skip
    x = normal(20, 6)
    found = np.asarray(ql.quantize(ql.load_model(model), x, CONFIG).forward(x))
    assert found.shape == (20,)
    assert np.mean(found == one_by_one(model, x)) >= 0.9
