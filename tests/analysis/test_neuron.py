"""One accumulator and the table behind it against the module that runs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.core.array import QuantizedArray
from quantlib.data import synthetic_data
from quantlib.errors import OptionsError
from quantlib.questions import learn
from tests.models import build, normal
from tests.paths import SAMPLES

if TYPE_CHECKING:
    import onnx

    from quantlib.analysis.neuron import Choice

MODELS = ("digits_cnn", "digits_mlp", "wine_sklearn", "diabetes_mlp", "iris_linear")
CONFIGS = {
    "plain": ql.QuantizationConfig.from_n_bits(4),
    "affine": ql.QuantizationConfig.from_n_bits(3).replace(
        weights=ql.Scheme(3, signed=False, symmetric=False)
    ),
    "rounded": ql.QuantizationConfig.from_n_bits(5).replace(rounding_threshold_bits=5),
    "channels": ql.QuantizationConfig.from_n_bits(4).replace(
        weights=ql.Scheme(4, per_channel=True)
    ),
}


@functools.cache
def bench(model: str) -> ql.Workbench:
    graph = ql.load_model(SAMPLES / f"{model}.onnx")
    return ql.Workbench(graph, ql.load_data(SAMPLES / f"{model}.npz", graph))


def layers(model: str, config: ql.QuantizationConfig) -> tuple[Choice, ...]:
    found = learn.layers(bench(model), config)
    assert found
    return found


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("model", MODELS)
def test_the_products_of_a_neuron_add_up_to_the_accumulator_of_the_trace(
    model: str, config: ql.QuantizationConfig
) -> None:
    module = bench(model).module(config)
    for sample in (0, 7):
        x = tuple(array[sample : sample + 1] for array in bench(model).data.evaluation)
        _, trace = module.forward(*x, debug=True)
        for layer in layers(model, config):
            channel = layer.channels - 1
            found = learn.neuron(bench(model), config, layer.name, channel=channel, sample=sample)
            whole = trace[layer.name]["output"]
            axis = -1 if layer.op_type in ("Gemm", "MatMul") else 1
            place = [0, *(size // 2 for size in whole.shape[1:])]
            place[axis] = channel
            products = int(np.sum(found.q_x * (found.q_w - found.z_w)))
            assert products + found.padding == found.accumulator == whole[tuple(place)]
            assert found.running[-1] == found.accumulator
            codes = trace[layer.name][0].qvalues.ravel().tolist()
            assert set(found.q_x.tolist()) <= set(codes)
            weights = trace[layer.name][1].qvalues
            assert set(found.q_w.tolist()) <= set(weights.ravel().tolist())


def test_the_inner_products_of_a_gemm_are_its_row_and_column() -> None:
    config = CONFIGS["affine"]
    made = bench("digits_mlp")
    _, trace = made.module(config).forward(made.data.evaluation[0][3:4], debug=True)
    (layer, *_) = layers("digits_mlp", config)
    found = learn.neuron(made, config, layer.name, channel=5, sample=3)
    x, w = trace[layer.name][0], trace[layer.name][1]
    assert isinstance(w, QuantizedArray)
    assert found.q_x.tolist() == x.qvalues[0].tolist()
    columns = w.qvalues if w.qvalues.shape[0] == len(found.q_x) else w.qvalues.T
    assert found.q_w.tolist() == columns[:, 5].tolist()
    assert found.z_w == w.quantizer.zero_point != 0


@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp", "wine_sklearn"])
def test_a_table_gives_what_the_next_layer_reads(model: str) -> None:
    config = CONFIGS["plain"]
    assert any(layer.has_table for layer in layers(model, config))
    for layer in layers(model, config):
        if not layer.has_table:
            continue
        table = learn.segment(bench(model), config, layer.name, channel=1, removed=0)
        assert table.step == 1
        by_integer = dict(zip(table.integers.tolist(), table.codes.tolist(), strict=True))
        for sample in range(12):
            found = learn.neuron(bench(model), config, layer.name, channel=1, sample=sample)
            assert found.code == by_integer[found.accumulator]
            assert found.reader == table.reader
            assert found.functions == table.functions
        np.testing.assert_array_equal(table.grid.quant(table.reals), table.codes)


def test_rounding_bits_away_is_rounding_what_enters() -> None:
    config = CONFIGS["plain"]
    name = layers("digits_cnn", config)[0].name
    full, cut = (
        learn.segment(bench("digits_cnn"), config, name, channel=0, removed=bits) for bits in (0, 3)
    )
    by_integer = dict(zip(full.integers.tolist(), full.codes.tolist(), strict=True))
    for integer, code in zip(cut.integers.tolist(), cut.codes.tolist(), strict=True):
        rounded = (integer + 4) // 8 * 8
        assert code == by_integer[rounded]
    assert cut.steps < full.steps


def test_what_is_not_there_is_refused() -> None:
    config = CONFIGS["plain"]
    made = bench("iris_linear")
    (layer,) = layers("iris_linear", config)
    with pytest.raises(OptionsError, match="no layer"):
        learn.neuron(made, config, "other", channel=0, sample=0)
    with pytest.raises(OptionsError, match="channels"):
        learn.neuron(made, config, layer.name, channel=3, sample=0)
    with pytest.raises(OptionsError, match="sample"):
        learn.neuron(made, config, layer.name, channel=0, sample=10**6)
    with pytest.raises(OptionsError, match="no table"):
        learn.segment(made, config, layer.name, channel=0, removed=0)


def test_widths_after_training_are_those_of_the_evaluation() -> None:
    made = bench("iris_linear")
    for n_bits in (2, 6):
        found = learn.after_training(made, n_bits)
        evaluated = ql.evaluate(made, ql.QuantizationConfig.from_n_bits(n_bits))
        assert evaluated.score is not None
        assert (found.name, found.n_bits) == (evaluated.score.name, n_bits)
        assert found.figure == evaluated.score.quantized_value
        assert 0 <= found.zero_share <= 1
    assert learn.after_training(made, 2).zero_share > learn.after_training(made, 6).zero_share


def own_bench(
    nodes: list[onnx.NodeProto], inputs: dict[str, list[int | str]], **constants: Any
) -> ql.Workbench:
    model = build(nodes, inputs=inputs, outputs=["y"], constants=constants, opset=17)
    graph = ql.load_model(model.SerializeToString())
    return ql.Workbench(graph, synthetic_data(graph))


def test_a_model_of_several_samples_a_call_has_no_single_neuron() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], "mm"),
        helper.make_node("ReduceMean", ["p"], ["m"], "mean", axes=[0], keepdims=1),
        helper.make_node("Add", ["p", "m"], ["y"], "shifted"),
    ]
    bench = own_bench(nodes, {"x": [2, 4]}, w=normal(4, 3))
    assert learn.layers(bench, CONFIGS["plain"]) == ()


def test_samples_along_another_axis_have_no_single_neuron() -> None:
    nodes = [helper.make_node("MatMul", ["w", "x"], ["y"], "mm")]
    bench = own_bench(nodes, {"x": [4, "n"]}, w=normal(3, 4))
    assert learn.layers(bench, CONFIGS["plain"]) == ()


def test_an_input_that_all_samples_share_stays_beside_them() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], "mm"),
        helper.make_node("Mul", ["p", "s"], ["y"], "scaled"),
    ]
    weights = normal(4, 3)
    bench = own_bench(nodes, {"x": ["n", 4], "s": []}, w=weights)
    [layer] = learn.layers(bench, CONFIGS["plain"])
    assert (layer.name, layer.channels) == ("mm", 3)
    found = learn.neuron(bench, CONFIGS["plain"], "mm", channel=1, sample=3)
    x = bench.data.evaluation[0][3]
    assert found.float_value == pytest.approx(float(x @ weights[:, 1]), rel=1e-5)
