"""Circuits of Concrete against integer programs; skipped where Concrete is not installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

import quantlib as ql
from quantlib.errors import OptionsError, TensorError
from quantlib.fhe.circuit import EncryptedCircuit, compile_program, is_available, load_concrete
from quantlib.fhe.widths import predict
from quantlib.program.program import IntegerProgram
from tests.integer_programs import IN_INTEGERS, codes_of, module, random_codes, several
from tests.sample_data import sample

needs_concrete = pytest.mark.skipif(
    not is_available(), reason="Concrete is not installed; it comes with the extra 'fhe'"
)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.mark.skipif(is_available(), reason="Concrete is installed")
def test_without_concrete_the_extra_is_named() -> None:
    with pytest.raises(OptionsError, match="extra 'fhe'"):
        load_concrete()


def assert_simulation_equals(
    circuit: EncryptedCircuit, program: IntegerProgram, codes: tuple[np.ndarray, ...]
) -> None:
    found, expected = several(circuit.simulate(*codes)), several(program.run(*codes))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def assert_as_predicted(circuit: EncryptedCircuit) -> None:
    told, expected = circuit.report(), predict(circuit.plan, circuit.rounding)
    assert told.n_bootstraps == expected.n_bootstraps
    assert told.bootstraps == expected.bootstraps
    for ours, theirs in zip(expected.layers, told.layers, strict=True):
        assert (ours.needed_bits, ours.held_bits) == (theirs.needed_bits, theirs.held_bits)
        assert ours.n_bootstraps == told.counted.get(ours.layer, 0)


@needs_concrete
@pytest.mark.parametrize("kind", ["plain", "round6"])
@pytest.mark.parametrize("name", ["iris_linear", "diabetes_mlp", "digits_mlp"])
def test_a_small_sample_compiles_to_its_integers_as_predicted(name: str, kind: str) -> None:
    made = module(name, kind, 3)
    circuit = compile_program(made.program())
    assert_simulation_equals(circuit, made.program(), random_codes(made, 10))
    assert_as_predicted(circuit)


@needs_concrete
@pytest.mark.exhaustive
@pytest.mark.parametrize("n_bits", [2, 3, 4])
@pytest.mark.parametrize("kind", ["plain", "round6"])
@pytest.mark.parametrize("name", IN_INTEGERS)
def test_every_sample_compiles_to_its_integers_as_predicted(
    name: str, kind: str, n_bits: int
) -> None:
    """On the ranges of calibration and of 50 evaluation samples, as Concrete ML compiles."""
    made = module(name, kind, n_bits)
    codes = tuple(c[:50] for c in codes_of(made, sample(name).bench.data.evaluation))
    calibration = codes_of(made, made.calibration)
    every = tuple(np.concatenate(pair) for pair in zip(calibration, codes, strict=True))
    circuit = compile_program(made.program(), every)
    assert_simulation_equals(circuit, made.program(), codes)
    assert_as_predicted(circuit)


Make = Callable[[], tuple[bytes, np.ndarray]]


def graph_of(
    nodes: list[NodeProto], shape: list[str | int], constants: dict[str, np.ndarray]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "refused",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(model.SerializeToString())


def dilated() -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(5)
    weights = {
        "w": rng.normal(size=(2, 1, 2, 2)).astype(np.float32),
        "v": rng.normal(size=(1, 2, 2, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], dilations=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["y"]),
    ]
    return graph_of(nodes, ["n", 1, 4, 4], weights), rng.normal(size=(60, 1, 4, 4))


def concatenated() -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(6)
    weights = {
        "w": rng.normal(size=(4, 3)).astype(np.float32),
        "u": (9 * rng.normal(size=(4, 3))).astype(np.float32),
        "v": rng.normal(size=(6, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["x", "u"], ["b"]),
        helper.make_node("Tanh", ["b"], ["t"]),
        helper.make_node("Concat", ["r", "t"], ["c"], axis=1),
        helper.make_node("MatMul", ["c", "v"], ["y"]),
    ]
    return graph_of(nodes, ["n", 4], weights), rng.normal(size=(60, 4))


@needs_concrete
@pytest.mark.parametrize("make", [dilated, concatenated])
def test_graphs_that_concrete_ml_refuses_compile_to_their_integers(make: Make) -> None:
    content, x = make()
    data = x.astype(np.float32)
    made = ql.quantize(ql.load_model(content), data, ql.QuantizationConfig.from_n_bits(3))
    circuit = compile_program(made.program())
    assert_simulation_equals(circuit, made.program(), random_codes(made, 50))
    assert_as_predicted(circuit)


@needs_concrete
def test_codes_beyond_those_compiled_for_are_refused() -> None:
    made = module("iris_linear", "plain", 3)
    codes = random_codes(made, 20)
    narrow = tuple(np.clip(c, 0, 2) for c in codes)
    circuit = compile_program(made.program(), narrow)
    assert_simulation_equals(circuit, made.program(), narrow)
    with pytest.raises(TensorError, match="compiled for codes from 0 to 2"):
        circuit.simulate(*codes)


@needs_concrete
@pytest.mark.exhaustive
@pytest.mark.parametrize("make", [concatenated, dilated])
def test_encrypted_integers_are_equal(make: Make, tmp_path: Path) -> None:
    content, x = make()
    data = x.astype(np.float32)
    made = ql.quantize(ql.load_model(content), data, ql.QuantizationConfig.from_n_bits(2))
    program = made.program()
    codes = codes_of(made, (data[:2],))
    circuit = compile_program(program, codes_of(made, (data,)), p_error=2.0**-40)
    circuit.keygen(tmp_path)
    for ours, theirs in zip(
        several(circuit.encrypt_run_decrypt(*codes)), several(program.run(*codes)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    circuit.save_server(tmp_path / "server.zip")
    circuit.save_client(tmp_path / "client.zip")
    assert (tmp_path / "server.zip").stat().st_size > 0
