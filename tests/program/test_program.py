"""The integer program against the module that it writes down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.core.tensor import Tensor
from quantlib.errors import ConfigurationError, OptionsError, TensorError
from quantlib.ops.linear import Gemm
from quantlib.program import segments
from quantlib.program.program import IntegerProgram
from quantlib.program.staircase import tabulate
from quantlib.program.steps import Conv, Input, MatMul, Move, Pool, Table
from tests import reference
from tests.integer_programs import (
    IN_INTEGERS,
    KINDS,
    MIXES_SAMPLES,
    NAMES,
    codes_of,
    extreme_codes,
    module,
    operator_cases,
    operator_module,
    random_codes,
    several,
)
from tests.models import build, normal
from tests.paths import GOLDEN
from tests.sample_data import sample

EVERY = [(name, kind, n) for name in NAMES for kind in KINDS for n in range(2, 9)]
SAMPLED = [case for i, case in enumerate(EVERY) if i % 11 == 0]


def assert_equal_everywhere(made: ql.QuantizedModule, evaluation: tuple[Any, ...]) -> None:
    program = made.program()
    batches = [codes_of(made, evaluation), random_codes(made), extreme_codes(made)]
    for codes in batches:
        found, wanted = several(program.run(*codes)), several(made.quantized_forward(*codes))
        for mine, theirs in zip(found, wanted, strict=True):
            assert np.array_equal(mine, theirs)
        tensors = program.tensors(*codes)
        for step in program.steps:
            assert tensors[step.name].shape[1:] == step.shape
            assert tensors[step.name].min() >= step.low
            assert tensors[step.name].max() <= step.high
    real = several(program.dequantize(*found))
    for mine, theirs in zip(real, several(made.dequantize_output(*found)), strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize(("name", "kind", "n_bits"), SAMPLED)
def test_a_program_has_the_integers_of_its_module(name: str, kind: str, n_bits: int) -> None:
    assert_equal_everywhere(module(name, kind, n_bits), sample(name).data.evaluation)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "kind", "n_bits"), EVERY)
def test_every_program_has_the_integers_of_its_module(name: str, kind: str, n_bits: int) -> None:
    assert_equal_everywhere(module(name, kind, n_bits), sample(name).data.evaluation)


@pytest.mark.parametrize(("name", "key"), reference.case_ids()[::5])
def test_models_of_the_reference_have_its_integers(name: str, key: str) -> None:
    found = reference.model(name)
    case = found.cases[key]
    made = reference.quantized(name, case, reference.statistics(case["tensors"]))
    program = made.program()
    assert np.array_equal(program.run(found.arrays[f"{key}_qx"]), found.arrays[f"{key}_qy"])
    tensors = program.tensors(*codes_of(made, (found.evaluation,)))
    accumulators = {
        step.layer: tensors[step.name] for step in program.steps if isinstance(step, MatMul | Conv)
    }
    assert accumulators
    for operator, made_here in accumulators.items():
        assert np.array_equal(made_here[:8], found.arrays[f"{key}_acc_{operator}"])


@pytest.mark.parametrize(("name", "n_bits"), [("digits_cnn", 4), ("digits_resnet", 7)])
def test_products_are_the_accumulators_of_the_trace(name: str, n_bits: int) -> None:
    made, data = module(name, "plain", n_bits), sample(name).data.evaluation
    _, trace = made.forward(*data, debug=True)
    program = made.program()
    tensors = program.tensors(*codes_of(made, data))
    products = [s for s in program.steps if isinstance(s, MatMul | Conv | Pool)]
    assert len(products) >= 5
    for step in products:
        assert np.array_equal(tensors[step.name], trace[step.layer]["output"])


@pytest.mark.parametrize("key", sorted(set(operator_cases()) - MIXES_SAMPLES))
def test_small_graphs_have_the_integers_of_concrete_ml(key: str) -> None:
    made, data = operator_module(key)
    codes = codes_of(made, data)
    program = made.program()
    assert not program.islands
    found, wanted = several(program.run(*codes)), several(made.quantized_forward(*codes))
    for mine, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("key", sorted(MIXES_SAMPLES))
def test_a_product_along_the_batch_axis_is_refused(key: str) -> None:
    made, _ = operator_module(key)
    with pytest.raises(OptionsError, match="integer program"):
        made.program()


@pytest.mark.parametrize("name", ["qat_mlp", "qat_cnn", "qat_res"])
def test_a_brevitas_model_has_the_integers_of_concrete_ml(name: str) -> None:
    golden = np.load(GOLDEN / "brevitas" / f"{name}.npz")
    graph = ql.load_model(GOLDEN / "brevitas" / f"{name}.onnx")
    widths = {"model_inputs": 6, "op_inputs": 6, "op_weights": 3, "model_outputs": 6}
    made = ql.quantize(graph, golden["x"], ql.QuantizationConfig.from_n_bits(widths))
    assert np.array_equal(made.program().run(golden["qx"]), golden["qy"])


@pytest.mark.parametrize("n_bits", [3, 8])
def test_other_operators_have_the_integers_of_their_module(n_bits: int) -> None:
    """Those without recorded integers: transposed convolution, means, dilation, Scaler's kind."""
    graph = ql.load_model(
        build(
            [
                helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["a"], "up", strides=[2, 1],
                                 pads=[1, 0, 0, 1], output_padding=[1, 0], group=2),
                helper.make_node("Relu", ["a"], ["r"], "relu"),
                helper.make_node("Conv", ["r", "w2"], ["c"], "wide", dilations=[2, 1],
                                 pads=[2, 1, 2, 1]),
                helper.make_node("Abs", ["c"], ["d"], "abs"),
                helper.make_node("Sqrt", ["d"], ["s"], "sqrt"),
                helper.make_node("ReduceMean", ["s", "axes"], ["m"], "mean", keepdims=0),
                helper.make_node("Add", ["m", "shift"], ["t"], "shifted"),
                helper.make_node("GlobalAveragePool", ["c"], ["g"], "global"),
                helper.make_node("Flatten", ["g"], ["f"], "flat"),
                helper.make_node("Gemm", ["f", "w3"], ["y"], "last"),
            ],
            inputs={"x": ["batch", 4, 5, 6]},
            outputs=["y", "t"],
            constants={
                "w1": normal(4, 3, 3, 2), "b1": normal(6, seed=1), "w2": normal(5, 6, 3, 3, seed=2),
                "axes": np.array([2]), "shift": normal(5, 1, seed=3), "w3": normal(5, 3, seed=4),
            },
        ).SerializeToString()
    )  # fmt: skip
    data = normal(40, 4, 5, 6, seed=9)
    config = ql.QuantizationConfig.from_n_bits(n_bits, rounding_threshold_bits=12)
    made = ql.quantize(graph, data, config)
    program = made.program()
    assert not program.islands
    for codes in (codes_of(made, (data,)), random_codes(made), extreme_codes(made)):
        for mine, theirs in zip(program.run(*codes), made.quantized_forward(*codes), strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("nodes", ["divided", "inverted"])
def test_a_divisor_of_both_signs_has_the_integers_of_its_module(nodes: str) -> None:
    made = {
        "divided": [helper.make_node("Div", ["f", "g"], ["q"], "divided")],
        "inverted": [
            helper.make_node("Reciprocal", ["g"], ["r"], "inverted"),
            helper.make_node("Mul", ["f", "r"], ["q"], "times"),
        ],
    }[nodes]
    graph = ql.load_model(
        build(
            [
                helper.make_node("Gemm", ["x", "w1"], ["f"], "first"),
                helper.make_node("Gemm", ["x", "w2"], ["g"], "second"),
                *made,
                helper.make_node("Gemm", ["q", "w3"], ["y"], "last"),
            ],
            inputs={"x": ["batch", 4]},
            outputs=["y"],
            constants={"w1": normal(4, 4), "w2": normal(4, 4, seed=2), "w3": normal(4, 3, seed=4)},
        ).SerializeToString()
    )
    x = normal(200, 4, seed=9)
    # Away from 0, on both sides of it.
    x = x[np.abs(x @ normal(4, 4, seed=2)).min(axis=1) > 0.4]
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(6))
    assert_equal_everywhere(module, (x,))


def test_a_table_is_the_quantizer_of_the_segment_in_closed_form() -> None:
    """For Gemm and Relu: ``rint(max(scale * (acc + constant) + bias, 0) / step + zero)``."""
    made = module("digits_mlp", "plain", 3)
    program = made.program()
    layer, reader, *_ = (item for item in made.layers if item.node.op_type == "Gemm")
    (table,) = [t for t in program.tables if t.layer == layer.name]
    x = made.inputs[0]
    w, bias = layer.constants[1], layer.constants[2]
    assert x is not None
    assert isinstance(w, Tensor)
    assert isinstance(bias, Tensor)
    assert isinstance(layer.op, Gemm)
    codes = np.asarray(w.codes, dtype=np.float64)
    turned = codes.T if layer.op.transB else codes
    zx, zw = float(np.asarray(x.zero_point)), float(np.asarray(w.quantizer.zero_point))
    constant = turned.shape[0] * zx * zw - zx * turned.sum(axis=0)
    scale = x.scale * w.quantizer.scale
    integers = np.arange(table.source_low, table.source_high + 1)
    real = scale * (integers[:, None] + constant) + np.asarray(bias.values)
    grid = reader.input_grids[0]
    wanted = grid.quant(np.maximum(real, 0.0))
    rows = table.entries()[np.broadcast_to(table.rows, (turned.shape[1],))]
    assert np.array_equal(rows.T, wanted)


def tables_equal(name: str, kind: str, n_bits: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Build with bisected and with evaluated tables; return how many were compared."""
    made = module(name, kind, n_bits)
    bisected = made.program()
    monkeypatch.setattr(segments, "bisect", tabulate)
    evaluated = replace(made).program()  # made anew
    for mine, theirs in zip(bisected.tables, evaluated.tables, strict=True):
        assert np.array_equal(mine.rows, theirs.rows)
        for a, b in zip(mine.staircases, theirs.staircases, strict=True):
            assert a.equals(b)
    return len(bisected.tables)


@pytest.mark.parametrize(
    ("name", "n_bits"), [("digits_cnn", 7), ("digits_resnet", 5), ("diabetes_mlp", 6)]
)
def test_bisected_tables_are_the_segment_at_each_integer(
    name: str, n_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tables_equal(name, "plain", n_bits, monkeypatch) >= 2


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "kind", "n_bits"), [c for c in EVERY if c[0] in IN_INTEGERS])
def test_every_table_is_the_segment_at_each_integer(
    name: str, kind: str, n_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables_equal(name, kind, n_bits, monkeypatch)


@pytest.mark.parametrize(
    ("name", "kind", "n_bits"),
    [("digits_resnet", "round6", 5), ("digits_cnn", "channels", 8), ("iris_linear", "plain", 2)],
)
def test_a_program_is_the_same_after_a_file(name: str, kind: str, n_bits: int) -> None:
    made = module(name, kind, n_bits)
    program = made.program()
    content = program.to_npz()
    again = IntegerProgram.from_npz(content)
    codes = random_codes(made)
    integers = several(program.run(*codes))
    for mine, theirs in zip(integers, several(again.run(*codes)), strict=True):
        assert np.array_equal(mine, theirs)
    assert np.array_equal(program.dequantize(*integers), again.dequantize(*integers))
    assert again.to_npz() == content
    assert [type(s) for s in again.steps] == [type(s) for s in program.steps]


def test_what_is_no_program_is_said() -> None:
    with pytest.raises(ConfigurationError, match="no integer program"):
        IntegerProgram.from_npz(b"PK nothing")


def test_a_float_island_runs_and_is_named_and_not_written() -> None:
    made = module("wine_sklearn", "plain", 5)
    program = made.program()
    assert [(i.op_type, i.reader) for i in program.islands] == [("Softmax", "probabilities")]
    with pytest.raises(OptionsError, match=r"Softmax.*stays in float"):
        program.to_npz()


def test_a_table_that_is_too_large_and_not_monotone_stays_in_float() -> None:
    graph = ql.load_model(
        build(
            [
                helper.make_node("Gemm", ["x", "w"], ["h"], "wide"),
                helper.make_node("Abs", ["h"], ["a"], "fold"),
                helper.make_node("Gemm", ["a", "v"], ["y"], "last"),
            ],
            inputs={"x": ["n", 32]},
            outputs=["y"],
            constants={"w": normal(32, 4), "v": normal(4, 2, seed=1)},
        ).SerializeToString()
    )
    data = normal(50, 32, seed=2)
    made = ql.quantize(graph, data, ql.QuantizationConfig.from_n_bits(8))
    (island,) = made.program().islands
    assert (island.layer, island.op_type, island.reader) == ("fold", "Abs", "last")
    assert "65536" in island.reason
    assert "rounding" in island.remedy
    codes = codes_of(made, (data,))
    assert np.array_equal(made.program().run(*codes), made.quantized_forward(*codes))
    config = ql.QuantizationConfig.from_n_bits(8, rounding_threshold_bits=10)
    assert not ql.quantize(graph, data, config).program().islands


def test_constants_that_differ_by_position_are_tables_up_to_a_size() -> None:
    def made(size: int, n_bits: int) -> ql.QuantizedModule:
        model = build(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
                helper.make_node("Add", ["c", "map"], ["s"], "map_added"),
                helper.make_node("Abs", ["s"], ["a"], "fold"),
                helper.make_node("GlobalAveragePool", ["a"], ["y"], "mean"),
            ],
            inputs={"x": ["n", 1, size, size]},
            outputs=["y"],
            constants={"w": normal(2, 1, 1, 1), "map": normal(2, size, size, seed=1)},
        )
        data = normal(4, 1, size, size, seed=5)
        return ql.quantize(
            ql.load_model(model.SerializeToString()),
            data,
            ql.QuantizationConfig.from_n_bits(n_bits),
        )

    small = made(6, 4)
    (table, *_) = small.program().tables
    assert len(table.axes) == 3
    codes = random_codes(small)
    assert np.array_equal(small.program().run(*codes), small.quantized_forward(*codes))
    (island,) = made(300, 7).program().islands
    assert island.layer == "fold"
    assert "different tables" in island.reason


def test_codes_that_are_none_are_refused() -> None:
    graph = ql.load_model(
        build(
            [helper.make_node("Gemm", ["x", "w"], ["h"], "g"),
             helper.make_node("Relu", ["h"], ["y"], "r")],
            inputs={"x": ["n", 3]}, outputs=["y"], constants={"w": normal(3, 2)},
        ).SerializeToString()
    )  # fmt: skip
    made = ql.quantize(graph, normal(9, 3), ql.QuantizationConfig.from_n_bits(4))
    program = made.program()
    with pytest.raises(TensorError, match="give integers"):
        program.run(normal(9, 3))
    with pytest.raises(TensorError, match="grid from"):
        program.run(np.full((2, 3), 10**6))
    with pytest.raises(TensorError, match="1 inputs"):
        program.run()


def of_one_call(shape: list[int], reshaped: list[int]) -> ql.Graph:
    """Return a model that is fixed to its number of samples by a Reshape inside."""
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Reshape", ["r", "s"], ["t"], "fixed"),
        helper.make_node("MatMul", ["t", "v"], ["u"], "last"),
        helper.make_node("Reshape", ["u", "e"], ["y"], "end"),
    ]
    constants = {
        "w": normal(6, 8), "s": np.array(reshaped), "v": normal(4, 3, seed=1),
        "e": np.array([shape[0], 6]),
    }  # fmt: skip
    model = build(nodes, inputs={"x": shape}, outputs=["y"], constants=constants)
    return ql.load_model(model.SerializeToString())


def test_a_model_of_one_sample_a_call_takes_many_in_its_program() -> None:
    graph = of_one_call([1, 6], [1, 2, 4])
    made = ql.quantize(graph, normal(30, 6, seed=4), ql.QuantizationConfig.from_n_bits(5))
    codes = random_codes(made)
    assert np.array_equal(made.program().run(*codes), made.quantized_forward(*codes))


def test_calls_of_several_samples_are_refused() -> None:
    graph = of_one_call([3, 6], [1, 6, 4])
    assert graph.batch.size == 3
    made = ql.quantize(graph, normal(30, 6, seed=4), ql.QuantizationConfig.from_n_bits(5))
    with pytest.raises(OptionsError, match="3 samples at a time"):
        made.program()


def test_last_use_names_the_last_reader_of_each_tensor() -> None:
    program = module("digits_resnet", "plain", 4).program()
    last = program.last_use()
    for i, step in enumerate(program.steps):
        for name in step.sources:
            assert last[name] >= i
    for name, number in last.items():
        if number < len(program.steps):
            assert name in program.steps[number].sources
    assert isinstance(program.steps[0], Input)
    assert any(isinstance(s, Move) for s in program.steps)
    assert all(isinstance(s, Table) for s in program.tables)
