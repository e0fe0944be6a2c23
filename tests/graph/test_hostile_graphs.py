"""Graphs and data that once ended in a traceback."""

from __future__ import annotations

import contextlib
import io
import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.float_model import FloatModel
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset, load_data
from tests import models

X = models.normal(30, 4)


def test_outputs_that_are_constants_come_back() -> None:
    model = models.build(
        [helper.make_node("Relu", ["x"], ["y"])],
        inputs={"x": ["n", 4]},
        outputs=["y", "k"],
        constants={"k": np.arange(3, dtype=np.float32)},
    )
    module = ql.PostTrainingAffineQuantization(6, model).quantize_module(X)
    _, constant = module.forward(X)
    assert constant.tolist() == [0.0, 1.0, 2.0]


def test_an_output_that_is_left_out_shifts_nothing() -> None:
    rng = np.random.default_rng(0)
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], "lstm", hidden_size=3)
    model = models.build(
        [node],
        inputs={"x": ["steps", "n", 4]},
        outputs=["h"],
        constants={
            "w": rng.normal(size=(1, 12, 4)).astype(np.float32),
            "r": rng.normal(size=(1, 12, 3)).astype(np.float32),
        },
    )
    data = rng.normal(size=(5, 6, 4)).astype(np.float32)
    module = ql.PostTrainingAffineQuantization(8, model).quantize_module(data)
    assert np.shape(module.forward(data)) == (1, 6, 3)


def test_reals_made_from_shapes_meet_integer_operators() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], "g"),
        helper.make_node("Shape", ["h"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["z"]),
        helper.make_node("Concat", ["h", "z"], ["y"], "join", axis=1),
    ]
    model = models.build(
        nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants={"w": models.normal(4, 2)}
    )
    module = ql.PostTrainingAffineQuantization(8, model).quantize_module(X)
    result = module.forward(X)
    assert np.shape(result) == (30, 4)
    assert not np.asarray(result)[:, 2:].any()


def test_half_precision_weights_stay_finite() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT16),
        helper.make_node("Gemm", ["c", "w", "b"], ["y"], "g"),
    ]
    model = models.build(
        nodes,
        inputs={"x": ["n", 4]},
        outputs=["y"],
        constants={
            "w": models.normal(4, 2).astype(np.float16),
            "b": models.normal(2).astype(np.float16),
        },
        output_type=TensorProto.FLOAT16,
    )
    for n_bits in (8, 12):
        module = ql.PostTrainingAffineQuantization(n_bits, model).quantize_module(X)
        exact = X @ models.normal(4, 2) + models.normal(2)
        assert np.abs(np.asarray(module.forward(X)) - exact).max() < 0.2


def test_products_beyond_64_bits_are_refused() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "ga"),
        helper.make_node("Gemm", ["x", "v"], ["b"], "gb"),
        helper.make_node("Mul", ["a", "b"], ["m"], "mul"),
        helper.make_node("Relu", ["m"], ["y"], "r"),
    ]
    constants = {"w": models.normal(4, 2), "v": models.normal(4, 2, seed=1)}
    model = models.build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants=constants)
    with pytest.raises(ql.OptionsError, match="64 bits"):
        ql.PostTrainingAffineQuantization(32, model).quantize_module(X)


def test_codes_of_a_wrong_shape_or_off_the_grid_are_refused() -> None:
    module = ql.PostTrainingAffineQuantization(4, models.mlp(4)).quantize_module(X)
    codes = np.asarray(module.quantize_input(X))
    with pytest.raises(ql.TensorError, match="N x 4"):
        module.quantized_forward(codes[:, :3])
    with pytest.raises(ql.TensorError, match="the input's grid"):
        module.quantized_forward(codes + 2**40)


def test_an_onnx_domain_may_be_spelled_out() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")
    model = models.build([node], inputs={"x": ["n", 4]}, outputs=["y"])
    assert [n.domain for n in ql.load_model(model).nodes] == [""]


def test_deeply_nested_configurations_are_refused() -> None:
    with pytest.raises(ql.ConfigurationError, match="not JSON"):
        ql.QuantizationConfig.from_json("[" * 200_000)


def test_truth_values_as_output_are_compared_as_numbers() -> None:
    nodes = [helper.make_node("Greater", ["x", "zero"], ["y"])]
    model = models.build(
        nodes,
        inputs={"x": ["n", 4]},
        outputs=["y"],
        constants={"zero": np.float32(0)},
        output_type=TensorProto.BOOL,
    )
    graph = ql.load_model(model)
    data = Dataset("made", (X,), (X,), None, (), "d")
    found = evaluate(Workbench(graph, data), ql.QuantizationConfig.from_n_bits(8))
    assert found.max_error in (0.0, 1.0)


def test_only_the_projects_errors_come_out_of_mutated_data() -> None:
    graph = ql.load_model(models.mlp(4))
    stream = io.BytesIO()
    np.savez_compressed(stream, calibration=X, evaluation=X)
    plain = io.BytesIO()
    np.save(plain, X)
    rng = random.Random(5)
    for good in (stream.getvalue(), plain.getvalue()):
        for _ in range(300):
            data = bytearray(good)
            for _ in range(rng.randrange(1, 5)):
                data[rng.randrange(min(len(data), 600))] = rng.randrange(256)
            with contextlib.suppress(ql.DataLoadError):
                load_data(bytes(data), graph, name="mutated")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (",a,b,c,d\n0,1,2,3,4\n1,5,6,7,8\n", "counts the rows"),
        ("0,1,2,3\n1,2,3,4\n5,6,7,8\n", "header"),
    ],
)
def test_an_index_column_or_a_numbered_header_is_no_data(text: str, note: str) -> None:
    graph = ql.load_model(models.mlp(4))
    data = load_data(text.encode(), graph, name="d.csv")
    assert data.calibration[0].tolist() == [[1, 2, 3, 4]]
    assert data.evaluation[0].tolist() == [[5, 6, 7, 8]]
    assert any(note in said for said in data.notes)


def test_the_branches_of_an_if_read_tensors_from_outside() -> None:
    def branch(name: str, op_type: str) -> onnx.GraphProto:
        node = helper.make_node(op_type, ["h", "w2"], [name])
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
        )

    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], "g"),
        helper.make_node("ReduceSum", ["x"], ["s"], "sum", keepdims=0),
        helper.make_node("Less", ["s", "zero"], ["negative"], "less"),
        helper.make_node(
            "If", ["negative"], ["z"], "choose",
            then_branch=branch("a", "Sub"), else_branch=branch("b", "Add"),
        ),
        helper.make_node("Relu", ["z"], ["y"], "r"),
    ]  # fmt: skip
    constants = {"w": models.normal(4, 3), "w2": models.normal(3), "zero": np.float32(0)}
    model = models.build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants=constants)
    graph = ql.load_model(model)
    module = ql.PostTrainingAffineQuantization(10, graph).quantize_module(X)
    (expected,) = FloatModel(graph, (X,)).output()[None]
    assert np.abs(np.asarray(module.forward(X)) - expected).max() < 0.05
    (choose,) = [node for node in graph.nodes if node.op_type == "If"]
    assert set(choose.inputs) == {"negative", "h", "w2"}
