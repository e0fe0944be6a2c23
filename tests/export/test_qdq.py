"""QDQ files, run on ONNX Runtime and compared with the module grid by grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantlib as ql
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.tensor import Tensor
from quantlib.export.formats import Proof, Subject
from quantlib.export.interchange import QDQ, remarks
from quantlib.export.qdq import QdqModel, qdq_model, refusals, storage
from quantlib.graph.runtime import open_session
from tests.export.cases import CONFIGS, PAIRS, UNEVEN, operator_module, sample_module, sampled
from tests.models import build, mlp, normal
from tests.sample_data import NAMES, sample


def proof_of(module: ql.QuantizedModule, inputs: Any, content: bytes | None = None) -> Proof:
    files = QDQ.export(Subject(module, "m"))
    if content is not None:
        files = dict.fromkeys(files, content)
    return QDQ.prove(files, module, inputs)


def constants(found: QdqModel) -> dict[str, Any]:
    return {t.name: numpy_helper.to_array(t) for t in found.model.graph.initializer}


@pytest.mark.parametrize(("case", "config"), sampled(PAIRS, every=2))
def test_every_operator_runs_on_its_grids_or_is_refused_by_name(case: str, config: str) -> None:
    module, data = operator_module(case, config)
    if case in UNEVEN and "rounded" in config:
        (found,) = refusals(module)
        assert (found.layer, "between positions" in found.reason) == ("op", True)
        with pytest.raises(ql.OptionsError, match="layer 'op'"):
            qdq_model(module)
        return
    assert refusals(module) == ()
    proof = proof_of(module, data)
    assert proof.holds, proof.lines
    assert proof.equal + proof.ties == proof.samples == len(data[0])


EQUAL = {"cancer_linear", "diabetes_mlp", "digits_mlp", "wine_sklearn"}
TIES = {"digits_detector"}
"""Averages of four codes of few bits are ties in this sample; all of them are counted."""


@pytest.mark.parametrize("n_bits", [8, 4, 3, 2])
@pytest.mark.parametrize("name", NAMES)
def test_samples_run_on_onnx_runtime_with_equal_integers_but_for_ties(
    name: str, n_bits: int
) -> None:
    module = sample_module(name, ql.QuantizationConfig.from_n_bits(n_bits))
    proof = proof_of(module, sample(name).data.evaluation)
    assert proof.holds, proof.lines
    if name in EQUAL or (n_bits in (2, 3) and name not in TIES):
        assert proof.equal == proof.samples


@pytest.mark.parametrize("zero", [2, 3], ids=["even zero point", "odd zero point"])
def test_ties_differ_exactly_where_rounding_before_the_zero_point_says_so(zero: int) -> None:
    # inputs on halves of a step of 1/4: every other one lies between two codes
    steps = np.arange(-2 * zero, 2 * (15 - zero) + 1) / 2
    x = (steps / 4).astype(np.float32)[:, None]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "op")
    model = build([node], inputs={"x": ["n", 1]}, outputs=["y"], constants={"w": np.eye(1, 2)})
    graph = ql.load_model(_float32(model))
    config = ql.QuantizationConfig.from_n_bits(4).replace(
        activations=ql.Scheme(4, signed=False), input_bits=4
    )
    module = ql.quantize(graph, x, config)
    grid = module.inputs[0]
    assert grid is not None
    assert (grid.scale, grid.zero_point) == (0.25, zero)
    mine = np.clip(np.rint(steps + zero), 0, 15)
    theirs = np.clip(np.rint(steps) + zero, 0, 15)
    differing = int((mine != theirs).sum())
    assert (differing > 0) == (zero == 3)
    proof = proof_of(module, (x,))
    assert proof.holds
    assert (proof.ties, proof.equal) == (differing, len(x) - differing)


def _float32(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def test_a_file_with_another_scale_is_found_out() -> None:
    module = sample_module("digits_mlp", CONFIGS["4 bits"])
    model = qdq_model(module).model
    scale = next(t for t in model.graph.initializer if t.name.endswith("_scale"))
    array = numpy_helper.to_array(scale) * np.float32(1.1)
    scale.CopyFrom(numpy_helper.from_array(array, scale.name))
    evaluation = sample("digits_mlp").data.evaluation
    proof = proof_of(module, evaluation, model.SerializeToString())
    assert not proof.holds
    assert proof.different > 0.9 * proof.samples


def test_a_file_with_another_bias_is_found_out() -> None:
    module = sample_module("iris_linear", CONFIGS["8 bits"])
    model = qdq_model(module).model
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    bias = next(t for t in model.graph.initializer if t.name == gemm.input[2])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    proof = proof_of(module, sample("iris_linear").data.evaluation, model.SerializeToString())
    assert not proof.holds
    assert "outputs" in proof.lines[0]


def grid(low: int, high: int, zero: int, n_bits: int = 4) -> UniformQuantizer:
    params = UniformQuantizationParameters(np.float64(0.5), zero, max(0, -low))
    options = QuantizationOptions(n_bits, is_signed=low < 0)
    return UniformQuantizer(options, None, params, code_range=(low, high))


@pytest.mark.parametrize(
    ("found", "clips", "name", "fits"),
    [
        (grid(0, 15, 3), True, "uint4", True),
        (grid(-8, 7, 0), True, "int4", True),
        (grid(0, 7, 3), True, "uint8", False),
        (grid(0, 7, 3), False, "uint4", True),
        (grid(-4, 3, 0), True, "int8", False),
        (grid(0, 255, 0), True, "uint8", True),
        (grid(0, 15, -2), True, "int8", False),
        (grid(0, 15, 400), True, "uint16", False),
        (grid(0, 15, -400), True, "int16", False),
        (grid(0, 1023, 5), True, "uint16", False),
        (grid(-32768, 32767, 0), True, "int16", True),
    ],
)
def test_the_narrowest_type_that_holds_codes_and_zero_point_is_taken(
    found: UniformQuantizer, clips: bool, name: str, fits: bool
) -> None:
    held = storage(found, clips=clips)
    assert held is not None
    assert (held.name, held.fits) == (name, fits)


def test_beyond_16_bits_there_is_no_type() -> None:
    assert storage(grid(0, 15, 70000)) is None
    assert storage(grid(0, 2**17, 0)) is None


def shifted(reach: float) -> tuple[ql.QuantizedModule, Any]:
    """Quantize a product of inputs that all lie far above zero."""
    x = reach + np.random.default_rng(1).uniform(0, 1, size=(60, 6)).astype(np.float32)
    graph = ql.load_model(mlp())
    return ql.quantize(graph, x, CONFIGS["8 bits"]), x


@pytest.mark.parametrize(("reach", "kind"), [(0.5, TensorProto.INT16), (20.0, TensorProto.INT16)])
def test_a_zero_point_outside_its_type_takes_a_wider_one_and_is_said(
    reach: float, kind: int
) -> None:
    module, x = shifted(reach)
    first = module.inputs[0]
    assert first is not None
    assert int(np.asarray(first.zero_point)) < -255 * reach / 2
    found = qdq_model(module)
    tensor = next(t for t in found.model.graph.initializer if t.name == "x_dequantized_zero_point")
    assert (tensor.data_type, int(numpy_helper.to_array(tensor))) == (kind, first.zero_point)
    assert any("lies outside its codes 0…255" in note for note in found.notes)
    assert remarks("qdq", module).notes == found.notes
    assert proof_of(module, (x,)).holds


def test_a_zero_point_beyond_16_bits_is_rounded_in_float() -> None:
    module, x = shifted(1000.0)
    found = qdq_model(module)
    assert any("rounded in float" in note for note in found.notes)
    assert not any(n.op_type == "QuantizeLinear" and n.input[0] == "x"
                   for n in found.model.graph.node)  # fmt: skip
    session = open_session(found.model.SerializeToString())
    actual = session.run(None, {"x": x})[0]
    expected = np.asarray(module.forward(x))
    # float32 keeps 24 bits of a value that is 1000 times the range
    assert np.mean(np.abs(actual - expected) < 0.02 * np.ptp(expected)) > 0.99


def test_constants_that_are_one_negative_number_keep_their_value() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "op")
    weights = np.full((6, 3), -0.75, np.float32)
    model = build([node], inputs={"x": ["n", 6]}, outputs=["y"], constants={"w": weights})
    x = normal(50, 6)
    module = ql.quantize(ql.load_model(model), x, CONFIGS["4 bits"])
    stored = constants(qdq_model(module))
    codes, scale = stored["w_quantized"], stored["w_dequantized_scale"]
    assert scale > 0
    assert np.array_equal(codes.astype(np.float32) * scale, weights)
    assert proof_of(module, (x,)).holds


@pytest.mark.parametrize("n_bits", [2, 3, 4, 8])
@pytest.mark.parametrize("per_channel", [False, True], ids=["per tensor", "per channel"])
def test_weights_are_stored_as_the_module_s_integers_and_biases_as_they_are(
    n_bits: int, per_channel: bool
) -> None:
    scheme = ql.Scheme(n_bits, per_channel=per_channel)
    config = ql.QuantizationConfig.from_n_bits(8).replace(weights=scheme)
    module = sample_module("digits_cnn", config)
    found = qdq_model(module)
    stored = constants(found)
    kinds = {t.name: t.data_type for t in found.model.graph.initializer}
    dequantizers = {
        n.input[0]: n for n in found.model.graph.node if n.op_type == "DequantizeLinear"
    }
    products = [x for x in module.layers if isinstance(x.constants.get(1), Tensor)]
    assert len(products) == 3
    for layer in products:
        weight: Any = layer.constants[1]
        name = f"{layer.node.inputs[1]}_quantized"
        assert np.array_equal(stored[name].astype(np.int64), weight.codes)
        assert kinds[name] in (
            (TensorProto.INT4, TensorProto.UINT4) if n_bits <= 4 else (TensorProto.INT8,)
        )
        scale = stored[dequantizers[name].input[1]]
        assert np.array_equal(scale.ravel(), np.ravel(weight.quantizer.scale).astype(np.float32))
        axis = [a.i for a in dequantizers[name].attribute if a.name == "axis"]
        # of a convolution's weights channels are the first axis, as of a transposed matrix
        assert axis == ([0] if per_channel else [])
        for bias in (module.graph.constants[n] for n in layer.node.inputs[2:]):
            assert any(np.array_equal(np.ravel(v), np.ravel(bias)) for v in stored.values())


@pytest.mark.parametrize("n_bits", [3, 4, 8])
def test_stored_integers_take_their_bits_and_no_more(n_bits: int) -> None:
    module = sample_module("digits_mlp", ql.QuantizationConfig.from_n_bits(n_bits))
    model = qdq_model(module).model
    stored = [t for t in model.graph.initializer if t.name.endswith("_quantized")]
    assert len(stored) == 3
    for tensor in stored:
        n_bytes = int(np.prod(tensor.dims)) * (4 if n_bits <= 4 else 8) // 8
        assert len(tensor.raw_data) == n_bytes
    assert len(model.SerializeToString()) < len(sample("digits_mlp").graph.source)


def test_two_bits_are_stored_in_two_bits_where_asked_for() -> None:
    module = sample_module("digits_mlp", CONFIGS["2 bits"])
    found = qdq_model(module, two_bits=True)
    kinds = {t.data_type for t in found.model.graph.initializer}
    assert kinds & {TensorProto.INT2, TensorProto.UINT2}
    assert [e.version for e in found.model.opset_import if not e.domain] == [25]
    x = sample("digits_mlp").data.evaluation[0]
    session = open_session(found.model.SerializeToString())
    actual = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert np.allclose(actual, np.asarray(module.forward(x)), atol=1e-4)


@pytest.mark.parametrize("n_bits", [4, 8])
def test_files_have_the_operator_set_of_their_types_and_are_checked(n_bits: int) -> None:
    model = qdq_model(
        sample_module("digits_resnet", ql.QuantizationConfig.from_n_bits(n_bits))
    ).model
    assert [entry.version for entry in model.opset_import if not entry.domain] == [21]
    onnx.checker.check_model(model, full_check=True)
    assert {v.name for v in model.graph.input} == {"input"}
    assert [v.name for v in model.graph.output] == list(sample("digits_resnet").graph.output_names)


def test_a_grid_that_does_not_round_to_the_nearest_code_is_refused_with_its_layer() -> None:
    quant = helper.make_node(
        "Quant", ["x", "s", "z", "b"], ["q"], "floor", domain="qonnx.custom_op.general",
        signed=1, narrow=0, rounding_mode="FLOOR",
    )  # fmt: skip
    nodes = [quant, helper.make_node("MatMul", ["q", "w"], ["y"], "op")]
    numbers = {"s": np.float32(0.25), "z": np.float32(0), "b": np.float32(4), "w": normal(6, 3)}
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants=numbers,
                  domains=[("qonnx.custom_op.general", 1)])  # fmt: skip
    module = ql.quantize(ql.load_model(model), normal(20, 6), CONFIGS["4 bits"])
    found = refusals(module)
    assert found
    assert all("FLOOR" in r.reason and "QONNX" in r.remedy for r in found)
    with pytest.raises(ql.OptionsError, match="FLOOR"):
        qdq_model(module)


@pytest.mark.parametrize(
    ("kind", "output"), [(np.float16, np.float32), (np.float64, np.float64)],
    ids=["float16", "float64"],
)  # fmt: skip
def test_a_model_in_another_precision_has_outputs_that_hold_its_integers(
    kind: Any, output: Any
) -> None:
    model = mlp()
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(kind)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    elem = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = elem
    x = normal(30, 6).astype(kind)
    module = ql.quantize(ql.load_model(model), x, CONFIGS["8 bits"])
    found = qdq_model(module).model
    (given,), (made,) = found.graph.input, found.graph.output
    assert given.type.tensor_type.elem_type == elem
    assert made.type.tensor_type.elem_type == helper.np_dtype_to_tensor_dtype(np.dtype(output))
    proof = proof_of(module, (x,))
    assert proof.holds, proof.lines


def test_a_model_output_that_is_read_inside_too_has_both() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "g", transB=1),
        helper.make_node("Relu", ["h"], ["r"], "act"),
        helper.make_node("MatMul", ["r", "v"], ["y"], "m"),
    ]
    numbers = {"w": normal(5, 6), "b": normal(5, seed=2), "v": normal(5, 3, seed=3)}
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y", "r", "h"], constants=numbers)
    x = normal(80, 6)
    module = ql.quantize(ql.load_model(model), x, CONFIGS["4 bits"])
    proof = proof_of(module, (x,))
    assert proof.holds, proof.lines
    assert proof.different == 0


def proof_of_graph(
    nodes: list[Any], shape: list[Any], numbers: dict[str, Any], n_bits: int, **options: Any
) -> Proof:
    """Quantize and export a graph from x to y on random data."""
    model = build(nodes, inputs={"x": shape}, outputs=["y"], constants=numbers, **options)
    x = normal(*(60 if isinstance(size, str) else size for size in shape))
    module = ql.quantize(ql.load_model(model), x, ql.QuantizationConfig.from_n_bits(n_bits))
    return proof_of(module, (x,))


@pytest.mark.parametrize("n_bits", [3, 5, 8])
def test_a_bias_beside_a_matrix_product_keeps_its_value_when_graphs_are_optimized(
    n_bits: int,
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "m1"),
        helper.make_node("Add", ["b", "m"], ["a"], "bias"),
        helper.make_node("Relu", ["a"], ["r"], "act"),
        helper.make_node("MatMul", ["r", "v"], ["y"], "m2"),
    ]
    numbers = {"w": normal(6, 5), "b": normal(5, seed=2), "v": normal(5, 3, seed=3)}
    # with three axes MatMul and Add stay two nodes here; ONNX Runtime makes one of them
    for shape in (["n", 6], ["n", 4, 6]):
        proof = proof_of_graph(nodes, shape, numbers, n_bits)
        assert proof.holds, proof.lines
        assert proof.equal == proof.samples


@pytest.mark.parametrize("n_bits", [4, 5, 8])
def test_signed_tensors_that_are_moved_load_when_graphs_are_optimized(n_bits: int) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "t", perm=[0, 2, 1]),
        helper.make_node("Reshape", ["t", "s"], ["f"], "f"),
        helper.make_node("MatMul", ["f", "w"], ["y"], "m"),
    ]
    numbers = {"s": np.array([0, -1]), "w": normal(12, 3)}
    proof = proof_of_graph(nodes, ["n", 3, 4], numbers, n_bits)
    assert proof.holds, proof.lines


def test_a_node_that_a_graph_stands_for_is_written_as_that_graph() -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x", "two"], ["s"], "split", axis=1),
        helper.make_node("SequenceAt", ["s", "i"], ["a"], "at"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "m"),
    ]
    numbers = {"two": np.array([2, 4]), "i": np.array(1), "w": normal(4, 3)}
    proof = proof_of_graph(nodes, ["n", 6], numbers, 8)
    assert proof.holds, proof.lines


def test_islands_run_in_the_model_s_own_precision() -> None:
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "b"], ["l"], "norm"),
        helper.make_node("MatMul", ["l", "w"], ["y"], "m"),
    ]
    numbers = {
        "g": np.ones(16, np.float16),
        "b": np.zeros(16, np.float16),
        "w": normal(16, 4).astype(np.float16),
    }
    model = build(nodes, inputs={"x": ["n", 16]}, outputs=["y"], constants=numbers)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    x = normal(200, 16).astype(np.float16)
    module = ql.quantize(ql.load_model(model), x, CONFIGS["8 bits"])
    proof = proof_of(module, (x,))
    assert proof.holds, proof.lines
