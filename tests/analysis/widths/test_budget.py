from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.ranges import ChannelRange
from quantlib.analysis.widths.rounding import accumulator_scale, rounding_power
from quantlib.analysis.workbench import Workbench
from quantlib.core.tensor import Tensor
from quantlib.data import Dataset
from quantlib.ops.base import MixingOp
from quantlib.ops.kernels import round_low_bits
from tests import models, reference
from tests.analysis.widths.test_bounds import GRAPHS, data_for

GOLDEN = reference.FOLDER.parent
COMPILED = [
    (name, key)
    for name, key in reference.case_ids()
    if "bitwidth_and_range_report" in reference.model(name).cases[key]
]
CIRCUITS = json.loads((GOLDEN / "circuits.json").read_text())["cases"]
ARRAYS = np.load(GOLDEN / "circuits.npz")


def constants_of(module: ql.QuantizedModule, layer: str) -> list[int]:
    """The codes of the constants a circuit holds for an operator; pooling's kernel is 0 and 1."""
    (found,) = [entry for entry in module.layers if entry.name == layer]
    weight = found.constants.get(1)
    if found.node.op_type == "AveragePool":
        return [0, 1]
    if found.node.op_type == "ReduceSum":
        return [int(found.input_grids[0].zero_point) * _count(found)]
    assert isinstance(weight, Tensor)
    ends = [int(weight.codes.min()), int(weight.codes.max())]
    shift = -int(np.asarray(weight.quantizer.zero_point))
    return [*ends, shift, *([1] if shift and found.node.op_type == "Conv" else [])]


def _count(layer: Any) -> int:
    """How many codes a sum of these circuits adds: 2 x 2, or 5."""
    return 5 if layer.node.inputs[0] == "x" else 4


def assert_the_circuit_agrees(
    module: ql.QuantizedModule, budget: Budget, report: dict[str, Any]
) -> None:
    """Widths are equal; the circuit's range is that of all our integers and its constants."""
    for name, entry in report.items():
        layer = budget[name]
        assert layer.seen is not None
        assert layer.seen_intermediate_width_bits == entry["bitwidth"]
        held = [layer.seen.range, *(p.seen.range for p in layer.parts if p.seen is not None)]
        ends = [*(end for pair in held for end in pair), *constants_of(module, name)]
        assert [min(ends), max(ends)] == entry["range"]
        assert layer.intermediate_width_bits >= entry["bitwidth"]


@pytest.mark.parametrize(("name", "key"), COMPILED)
def test_the_widths_are_those_of_the_reference_circuit(name: str, key: str) -> None:
    found = reference.model(name)
    case = found.cases[key]
    module = reference.quantized(name, case, reference.statistics(case["tensors"]))
    budget = bit_width_budget(module, found.calibration[: case["compile_samples"]])
    assert_the_circuit_agrees(module, budget, case["bitwidth_and_range_report"])
    widest = max(layer.seen_intermediate_width_bits or 0 for layer in budget.layers)
    assert widest == case["maximum_integer_bit_width"]


def circuit(case: dict[str, Any]) -> tuple[ql.QuantizedModule, Budget]:
    x = ARRAYS[f"{case['model']}.x"]
    graph = ARRAYS[f"{case['model']}.model"].tobytes()
    module = ql.PostTrainingAffineQuantization(case["n_bits"], graph).quantize_module(x)
    return module, bit_width_budget(module, x[: case["compile_samples"]])


@pytest.mark.parametrize("case", [pytest.param(case, id=case["key"]) for case in CIRCUITS])
def test_the_widths_are_those_of_a_circuit_with_zero_points(case: dict[str, Any]) -> None:
    """Weights on one side of 0, sums and products of two tensors, pooling."""
    module, budget = circuit(case)
    assert_the_circuit_agrees(module, budget, case["report"])
    widest = max(layer.seen_intermediate_width_bits or 0 for layer in budget.layers)
    assert widest == case["maximum_integer_bit_width"]


def test_many_operators_were_compiled() -> None:
    cases = [reference.model(name).cases[key] for name, key in COMPILED]
    operators = sum(len(case["bitwidth_and_range_report"]) for case in cases)
    assert operators >= 70
    assert sum(len(case["report"]) for case in CIRCUITS) >= 90
    assert any(part.name == "zero-point term" for part in _all_parts())


def _all_parts() -> list[Any]:
    (case,) = [case for case in CIRCUITS if case["key"] == "gemm-one-sided-4"]
    return [part for layer in circuit(case)[1].layers for part in layer.parts]


def module_of(
    config: ql.QuantizationConfig, *, shift: float = 0.0
) -> tuple[ql.QuantizedModule, Any]:
    graph = ql.load_model(models.mlp())
    x = models.normal(300, 6, seed=9) + np.float32(shift)
    return ql.quantize(graph, x, config), x


def test_symmetric_weights_need_no_zero_point_term() -> None:
    config = ql.QuantizationConfig.from_n_bits(5)
    affine, _ = module_of(config.replace(weights=ql.Scheme(5, symmetric=False, signed=False)))
    symmetric, _ = module_of(config.replace(weights=ql.Scheme(5, symmetric=True)))
    for with_term, without in zip(
        bit_width_budget(affine).layers, bit_width_budget(symmetric).layers, strict=True
    ):
        assert [p.name for p in with_term.parts] == ["product", "input sum", "zero-point term"]
        assert without.parts == ()
        assert without.intermediate_width_bits == without.weights.width_bits
        assert with_term.intermediate_width_bits >= with_term.weights.width_bits


def test_headroom_counts_from_the_limit() -> None:
    module, x = module_of(ql.QuantizationConfig.from_n_bits(6).replace(limit_bits=12))
    budget = bit_width_budget(module, x)
    for layer in budget.layers:
        assert layer.fits == (layer.headroom_bits >= 0)
        assert layer.weights.width_bits - 1 < layer.weights.needed_bits
        assert layer.weights.needed_bits <= layer.weights.width_bits
        assert layer.seen_headroom_bits is not None
        assert layer.seen_headroom_bits >= layer.headroom_bits
    widest = budget.widest
    assert widest is not None
    tight = bit_width_budget(module, limit_bits=widest.weights.width_bits - 1)
    assert widest.name in [layer.name for layer in tight.over_limit]
    assert tight[widest.name].headroom_bits < 0
    loose = bit_width_budget(module, limit_bits=widest.weights.width_bits)
    assert loose.over_limit == ()


def test_the_widest_channel_alone_has_the_width_of_the_layer() -> None:
    module, _ = module_of(ql.QuantizationConfig.from_n_bits(6))
    for layer in bit_width_budget(module).layers:
        channel = layer.widest_channel
        assert channel is not None
        assert layer.weights.channel_widths[channel] == layer.weights.width_bits
        assert max(layer.weights.channel_widths) == layer.weights.width_bits


def test_what_was_seen_is_what_an_evaluation_sees() -> None:
    config = ql.QuantizationConfig.from_n_bits(4)
    module, x = module_of(config)
    data = Dataset("made", (x,), (x,), None, (), "d")
    found = evaluate(Workbench(module.graph, data), config)
    budget = bit_width_budget(module, x)
    for layer in found.layers:
        if layer.accumulator is not None:
            seen = budget[layer.name].seen
            assert seen is not None
            assert seen.range == layer.accumulator
            assert seen.width_bits == layer.width_bits
            assert seen.widest_channel == layer.widest_channel


def test_what_was_seen_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = module_of(ql.QuantizationConfig.from_n_bits(4))
    whole = bit_width_budget(module, x)
    monkeypatch.setattr("quantlib.execution.calls.BATCH", 7)
    for one, other in zip(whole.layers, bit_width_budget(module, x).layers, strict=True):
        assert one.seen is not None
        assert other.seen is not None
        assert np.array_equal(one.seen.low, other.seen.low)
        assert np.array_equal(one.seen.high, other.seen.high)


def test_rounding_errors_are_those_of_every_accumulator_in_turn() -> None:
    config = ql.QuantizationConfig.from_n_bits(6, rounding_threshold_bits=6)
    module, _ = module_of(config)
    budget = bit_width_budget(module)
    first, last = budget.layers
    assert last.rounding is None  # a graph output is not rounded
    assert first.rounding is not None
    lsbs = first.rounding.lsbs_to_remove
    integers = np.arange(-1000 * 2**lsbs, 1000 * 2**lsbs)
    errors = (round_low_bits(integers, lsbs) - integers).astype(np.float64)
    weight = module.layers[0].constants[1]
    assert isinstance(weight, Tensor)
    step = float(module.layers[0].input_grids[0].scale * weight.quantizer.scale)
    assert first.rounding.largest_error == pytest.approx(np.abs(errors).max() * step)
    assert first.rounding.rms_error == pytest.approx(np.sqrt(np.mean(errors**2)) * step)
    assert rounding_power(lsbs) == pytest.approx(np.mean(errors**2))
    low, high = first.weights.range
    ends = round_low_bits(np.array([low, high]), lsbs) // 2**lsbs
    assert first.rounding.width_bits == ChannelRange.of(int(ends[0]), int(ends[1])).width_bits
    assert first.rounding.width_bits < first.weights.width_bits


@pytest.mark.parametrize("case", ["conv", "average-pool-padded", "reduce-mean", "mul-inside"])
def test_a_step_of_the_accumulator_has_a_real_size(case: str) -> None:
    x = data_for(case, 20, 1)
    module = ql.quantize(GRAPHS[case], x, ql.QuantizationConfig.from_n_bits(5))
    facts = layer_facts(module)[-1]
    scales = accumulator_scale(facts)
    taken: list[float] = []

    def note(layer: Any, run: Any) -> None:
        if layer.name == facts.layer.name:
            assert isinstance(layer.op, MixingOp)
            real = [
                layer.op.dequantize(run.accumulator + i, *run.operands, output=layer.output_grid())
                for i in (0, 1)
            ]
            taken.extend(np.unique(np.abs(real[1] - real[0])))

    module.run(x, observe=note)
    assert np.max(taken) == pytest.approx(scales.max())
    assert np.min(taken) == pytest.approx(scales.min())


def test_an_unknown_layer_is_a_key_error() -> None:
    module, _ = module_of(ql.QuantizationConfig.from_n_bits(4))
    with pytest.raises(KeyError, match="nowhere"):
        bit_width_budget(module)["nowhere"]
    with pytest.raises(ql.TensorError, match="shape"):
        bit_width_budget(module, np.zeros((3, 7), dtype=np.float32))
