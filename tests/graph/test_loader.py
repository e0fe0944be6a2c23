from __future__ import annotations

import contextlib
import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import quantlib as ql
from quantlib.graph.runtime import open_session
from tests import models
from tests.models import build, normal

GOOD = models.mlp().SerializeToString()


def test_path_bytes_and_proto_give_the_same_graph(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(GOOD)
    graphs = [ql.load_model(path), ql.load_model(GOOD), ql.load_model(models.mlp())]
    assert {graph.digest for graph in graphs} == {graphs[0].digest}
    assert graphs[0].name == "net"
    assert [node.op_type for node in graphs[0].nodes] == ["Gemm", "Relu", "Gemm"]
    assert graphs[0].n_parameters == 8 * 6 + 8 + 3 * 8 + 3


def test_constants_are_read_only() -> None:
    graph = ql.load_model(GOOD)
    with pytest.raises(ValueError, match="read-only"):
        graph.constants["w1"][0, 0] = 1.0


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(GOOD[: len(GOOD) // 2], "cut short|breaks|not load|checked", id="cut"),
        pytest.param(b"<!DOCTYPE html><html>", "web page", id="html"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "git-lfs", id="lfs"),
        pytest.param(b"\x1f\x8b\x08" + bytes(40), "gzip", id="gzip"),
        pytest.param(b"PK\x03\x04" + bytes(40), "zip", id="zip"),
        pytest.param(b"\x93NUMPY\x01\x00", "NumPy", id="npy"),
        pytest.param(b"\x80\x04\x95", "pickle", id="pickle"),
        pytest.param(b'{"a": 1}', "JSON", id="json"),
        pytest.param(b"hello world, this is text", "not an ONNX model|no nodes", id="text"),
    ],
)
def test_what_is_no_model_is_named(data: bytes, cause: str) -> None:
    with pytest.raises(ql.ModelLoadError, match=cause) as caught:
        ql.load_model(data, name="file.onnx")
    assert str(caught.value).startswith("file.onnx: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ql.ModelLoadError, match="no such file"):
        ql.load_model(tmp_path / "nothing.onnx")


def test_operators_nobody_knows_are_named_once() -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], "f1"),
        helper.make_node("Frobnicate", ["a"], ["b"], "f2"),
        helper.make_node("Blur", ["b"], ["y"], "f3", domain="my.ops"),
    ]
    model = models.build(nodes, inputs={"x": ["n", 2]}, outputs=["y"], domains=[("my.ops", 1)])
    with pytest.raises(ql.UnsupportedOpError, match=r"Frobnicate \(2 nodes\), my\.ops\.Blur"):
        ql.load_model(model)


def test_external_data_is_read_from_beside_the_file_only(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(
        models.mlp(), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    loaded = ql.load_model(path)
    assert np.array_equal(loaded.constants["w1"], ql.load_model(GOOD).constants["w1"])
    with pytest.raises(ql.ModelLoadError, match="stored outside the file"):
        ql.load_model(path.read_bytes())
    (tmp_path / "w.bin").rename(tmp_path / "elsewhere.bin")
    with pytest.raises(ql.ModelLoadError, match=r"'w\.bin', which is no file beside"):
        ql.load_model(path)


def test_external_data_with_a_path_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(10_000))
    model = models.mlp()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../w.bin")
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ql.ModelLoadError, match="no file beside"):
        ql.load_model(folder / "m.onnx")


def test_local_functions_are_inlined() -> None:
    body = [
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Neg", ["r"], ["b"]),
    ]
    function = helper.make_function(
        "mine", "NegRelu", ["a"], ["b"], body, [helper.make_opsetid("", 21)]
    )
    node = helper.make_node("NegRelu", ["x"], ["y"], domain="mine")
    model = models.build([node], inputs={"x": ["n", 2]}, outputs=["y"], domains=[("mine", 1)])
    model.functions.append(function)
    assert [n.op_type for n in ql.load_model(model).nodes] == ["Relu", "Neg"]


def test_a_fixed_batch_is_freed() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "c"),
        helper.make_node("Reshape", ["c", "shape"], ["y"], "flat"),
    ]
    constants = {"w": models.normal(2, 1, 2, 2), "shape": np.array([1, 18])}
    model = models.build(nodes, inputs={"x": [1, 1, 4, 4]}, outputs=["y"], constants=constants)
    graph = ql.load_model(model)
    assert graph.inputs[0].shape == ("batch", 1, 4, 4)
    module = ql.PostTrainingAffineQuantization(8, graph).quantize_module(models.normal(5, 1, 4, 4))
    assert np.shape(module.forward(models.normal(3, 1, 4, 4))) == (3, 18)


def test_ten_thousand_nodes_in_a_row_load_and_run() -> None:
    names = ["x", *(f"t{i}" for i in range(9_999)), "y"]
    kinds = ["Relu", "Abs", "Neg", "Neg"]
    nodes = [
        helper.make_node(kinds[i % 4], [a], [b])
        for i, (a, b) in enumerate(itertools.pairwise(names))
    ]
    graph = ql.load_model(models.build(nodes, inputs={"x": ["n", 2]}, outputs=["y"]))
    assert len(graph.nodes) == 10_000
    module = ql.PostTrainingAffineQuantization(8, graph).quantize_module(models.normal(4, 2))
    assert np.shape(module.forward(models.normal(4, 2))) == (4, 2)


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda m: m.graph.node[0].input.__setitem__(1, "absent"), id="missing-weight"),
        pytest.param(lambda m: m.graph.output[0].__setattr__("name", "absent"), id="no-output"),
        pytest.param(lambda m: m.graph.node[2].output.__setitem__(0, "h"), id="name-twice"),
        pytest.param(lambda m: m.graph.initializer[0].dims.__setitem__(1, 5), id="wrong-shape"),
        pytest.param(lambda m: m.graph.node[0].input.__setitem__(0, "y"), id="cycle"),
        pytest.param(lambda m: m.ClearField("opset_import"), id="no-opset"),
        pytest.param(lambda m: m.opset_import[0].__setattr__("version", 999), id="opset-999"),
        pytest.param(lambda m: m.graph.ClearField("node"), id="no-nodes"),
    ],
)
def test_a_broken_model_is_refused_in_one_message(break_it: Any) -> None:
    model = models.mlp()
    break_it(model)
    with pytest.raises(ql.ModelLoadError):
        ql.load_model(model)
    assert ql.load_model(GOOD).digest


def test_only_the_projects_errors_come_out_of_mutated_files() -> None:
    """Truncations only: mutated bytes can end ONNX Runtime's process."""
    rng = random.Random(3)
    for _ in range(60):
        data = GOOD[: rng.randrange(1, len(GOOD))]
        with contextlib.suppress(ql.QuantlibError):
            ql.load_model(data)


def test_equal_and_empty_node_names_stay_apart() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "same"),
        helper.make_node("Tanh", ["a"], ["b"], "same"),
        helper.make_node("Abs", ["b"], ["y"]),
    ]
    graph = ql.load_model(models.build(nodes, inputs={"x": ["n", 2]}, outputs=["y"]))
    assert [node.name for node in graph.nodes] == ["same", "same_2", "Abs_2"]


def test_matmul_and_bias_become_one_gemm() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "mm"),
        helper.make_node("Add", ["b", "m"], ["y"], "bias"),
    ]
    constants = {"w": models.normal(4, 3), "b": models.normal(3)}
    graph = ql.load_model(
        models.build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants=constants)
    )
    assert [(n.name, n.op_type, n.inputs) for n in graph.nodes] == [
        ("Gemm_Node", "Gemm", ("x", "w", "b"))
    ]


def test_a_product_that_is_read_twice_stays() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "mm"),
        helper.make_node("Add", ["m", "b"], ["s"], "bias"),
        helper.make_node("Mul", ["s", "m"], ["y"], "both"),
    ]
    constants = {"w": models.normal(4, 3), "b": models.normal(3)}
    graph = ql.load_model(
        models.build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants=constants)
    )
    assert [n.op_type for n in graph.nodes] == ["MatMul", "Add", "Mul"]


def test_constants_are_folded_and_unused_nodes_dropped() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["two", "two"], ["four"]),
        helper.make_node("Mul", ["x", "four"], ["y"], "scale"),
        helper.make_node("Relu", ["x"], ["unused"]),
    ]
    graph = ql.load_model(models.build(nodes, inputs={"x": ["n", 2]}, outputs=["y"]))
    assert [node.name for node in graph.nodes] == ["scale"]
    assert np.asarray(graph.constants["four"]) == 4.0


def test_a_batch_that_cannot_be_freed_takes_its_multiples_only() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"], "r"),
        helper.make_node("MatMul", ["r", "w"], ["y"], "mm"),
    ]
    model = build(nodes, inputs={"x": [2, 8]}, outputs=["y"],
                  constants={"shape": np.array([4, 4]), "w": normal(4, 3)})  # fmt: skip
    graph = ql.load_model(model)
    config = ql.QuantizationConfig.from_n_bits(6)
    assert np.shape(ql.quantize(graph, normal(2, 8), config).forward(normal(2, 8))) == (4, 3)
    with pytest.raises(ql.TensorError, match=r"fixed to batches of 2.*free batch axis"):
        ql.quantize(graph, normal(3, 8), config)


def test_an_embedding_of_integer_inputs_feeds_integer_operators() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], "emb"),
        helper.make_node("ReduceMean", ["e"], ["m"], "mean", axes=[1], keepdims=0),
        helper.make_node("Gemm", ["m", "w"], ["y"], "fc"),
    ]
    model = build(nodes, inputs={"ids": ["n", 5]}, outputs=["y"], opset=14,
                  constants={"table": normal(11, 8), "w": normal(8, 3)})  # fmt: skip
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    graph = ql.load_model(model)
    ids = np.random.default_rng(0).integers(0, 11, size=(60, 5))
    module = ql.quantize(graph, ids, ql.QuantizationConfig.from_n_bits(8))
    assert [str(layer.treatment) for layer in module.layers] == ["float island"] + 2 * ["integer"]
    exact = open_session(graph.source).run(None, {"ids": ids})[0]
    assert np.abs(module.forward(ids) - exact).max() < 0.05 * np.std(exact)


@pytest.mark.parametrize(
    ("pads", "value", "fused"),
    [
        pytest.param([0, 0, 1, 2, 0, 0, 0, 1], None, True, id="asymmetric"),
        pytest.param([0, 0, 1, 1, 0, 0, 1, 1], 0.0, True, id="zeros"),
        pytest.param([0, 0, 1, 1, 0, 0, 1, 1], 1.0, False, id="ones"),
        pytest.param([0, 1, 0, 0, 0, 0, 0, 0], None, False, id="channels"),
        pytest.param([0, 0, -1, 0, 0, 0, 0, 0], None, False, id="crop"),
    ],
)
def test_a_convolution_takes_over_the_zeros_that_a_pad_before_it_adds(
    pads: list[int], value: float | None, fused: bool
) -> None:
    constants = {"p": np.array(pads), "w": normal(4, 3 if pads[1] else 2, 3, 3)}
    if value is not None:
        constants["v"] = np.float32(value)
    nodes = [
        helper.make_node("Pad", ["x", "p", *(["v"] if value is not None else [])], ["q"], "pad"),
        helper.make_node("Conv", ["q", "w"], ["y"], "conv", pads=[1, 0, 1, 0]),
    ]
    model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], constants=constants)
    graph = ql.load_model(model)
    assert len(graph.nodes) == (1 if fused else 2)
    x = normal(20, 2, 6, 6)
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(12))
    exact = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    assert np.abs(module.forward(x) - exact).max() < 0.02 * np.abs(exact).max()


@pytest.mark.parametrize("opset", range(7, 26))
def test_operator_sets_from_7_on_load_and_run(opset: int) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "c"),
        helper.make_node("Relu", ["c"], ["r"], "r"),
        helper.make_node("MaxPool", ["r"], ["p"], "p", kernel_shape=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "f"),
        helper.make_node("Gemm", ["f", "v", "b"], ["y"], "g"),
    ]
    constants = {"w": normal(2, 1, 3, 3), "v": normal(18, 3), "b": normal(3)}
    model = build(
        nodes, inputs={"x": ["n", 1, 6, 6]}, outputs=["y"], constants=constants, opset=opset
    )
    model.ir_version = 3 if opset < 9 else 8
    if opset < 9:  # before IR version 4 every initializer is an input too
        for name, value in constants.items():
            model.graph.input.append(helper.make_tensor_value_info(name, 1, value.shape))
    x = normal(30, 1, 6, 6)
    module = ql.quantize(ql.load_model(model), x, ql.QuantizationConfig.from_n_bits(10))
    exact = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    assert [str(layer.treatment) for layer in module.layers].count("integer") == 3
    assert np.abs(module.forward(x) - exact).max() < 0.02 * np.abs(exact).max()
