"""float64 data, against the integers that Concrete ML 1.9 makes of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import quantlib as ql
from quantlib.data import load_data
from quantlib.export.formats import Subject
from quantlib.export.offers import FORMATS
from tests import processors, reference

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "float64_inputs.json").read_text())["cases"]
ARRAYS = np.load(GOLDEN / "float64_inputs.npz")
PARAMETERS = [pytest.param(case, id=case["key"]) for case in CASES]


def quantized(case: dict[str, Any], data: Any, *, given: bool) -> ql.QuantizedModule:
    quantizer = ql.PostTrainingAffineQuantization(
        case["n_bits"], reference.model(case["model"]).graph
    )
    statistics = reference.statistics(case["statistics"]) if given else None
    return quantizer.quantize_module(data, statistics=statistics)


@pytest.mark.parametrize("case", PARAMETERS)
def test_given_the_statistics_every_integer_of_float64_data_is_concrete_mls(
    case: dict[str, Any],
) -> None:
    calibration, evaluation = (ARRAYS[f"{case['model']}_{part}"] for part in "ce")
    assert calibration.dtype == np.float64
    module = quantized(case, calibration, given=True)
    (entering,) = module.inputs
    assert entering is not None
    assert (entering.scale, entering.zero_point) == (
        case["input"]["scale"],
        case["input"]["zero_point"],
    )
    codes = module.quantize_input(evaluation)
    assert np.array_equal(codes, ARRAYS[f"{case['key']}_x"])
    outputs = module.quantized_forward(codes)  # type: ignore[arg-type]
    assert np.array_equal(outputs, ARRAYS[f"{case['key']}_y"])
    (leaving,) = module.output_quantizers
    assert leaving is not None
    assert leaving.scale == case["output_scale"]


@pytest.mark.parametrize("case", PARAMETERS)
def test_end_to_end_float64_data_keep_their_precision(case: dict[str, Any]) -> None:
    calibration, evaluation = (ARRAYS[f"{case['model']}_{part}"] for part in "ce")
    recorded = reference.statistics(case["statistics"])
    module = quantized(case, calibration, given=False)
    for layer in module.layers:
        (grid,) = layer.outputs
        assert grid is not None
        assert grid.quant_stats is not None
        expected = recorded[layer.node.outputs[0]]
        assert grid.quant_stats.rmin.dtype == expected.rmin.dtype == np.float64
    given = quantized(case, calibration, given=True)
    assert not processors.assert_equal_up_to_ties(
        module, given, recorded, evaluation, ARRAYS[f"{case['key']}_y"]
    )


def test_the_same_data_in_float32_are_other_data() -> None:
    """So that the tests above can fail: rounded first, ranges and codes differ."""
    different = 0
    for case in CASES:
        calibration = ARRAYS[f"{case['model']}_c"].astype(np.float32)
        module = quantized(case, calibration, given=False)
        (grid,) = module.inputs
        assert grid is not None
        different += grid.scale != case["input"]["scale"]
    assert different == len(CASES)


def test_the_float_model_runs_in_its_own_precision() -> None:
    graph = reference.model("digits_cnn").graph
    data = ARRAYS["digits_cnn_c"]
    config = ql.QuantizationConfig.from_n_bits(4).replace(calibrate_on="float")
    in_double, in_single = (
        ql.quantize(graph, data.astype(kind), config) for kind in (np.float64, np.float32)
    )
    for a, b in zip(in_double.layers, in_single.layers, strict=True):
        assert a.outputs[0] is not None
        assert b.outputs[0] is not None
        assert a.outputs[0].quant_stats == b.outputs[0].quant_stats


def float64_bench(name: str) -> ql.Workbench:
    stream = io.BytesIO()
    np.savez(stream, calibration=ARRAYS[f"{name}_c"], evaluation=ARRAYS[f"{name}_e"])
    graph = reference.model(name).graph
    return ql.Workbench(graph, load_data(stream.getvalue(), graph, name=name))


def test_float64_data_are_evaluated_against_a_float_model_that_takes_float32() -> None:
    bench = float64_bench("digits_mlp")
    assert bench.data.calibration[0].dtype == np.float64
    found = ql.evaluate(bench, ql.QuantizationConfig.from_n_bits(8))
    assert found.sqnr_db > 20
    (name,) = bench.graph.output_names
    session = ort.InferenceSession(bench.graph.source, providers=["CPUExecutionProvider"])
    single = bench.data.evaluation[0].astype(np.float32)
    (expected,) = session.run([name], {bench.graph.inputs[0].name: single})
    assert np.allclose(bench.float_model.output(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["qdq", "qonnx"])
def test_an_export_is_proved_on_float64_data(name: str) -> None:
    bench = float64_bench("digits_mlp")
    module = bench.module(ql.QuantizationConfig.from_n_bits(8))
    form = FORMATS[name]
    assert not form.refusals(module)
    proof = form.prove(form.export(Subject(module, "m", bench)), module, bench.data.evaluation)
    assert proof.holds
