"""Calibration by the float model's ranges alone: the layers of a walk over the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.execution.calibrate import Calibration
from quantlib.execution.measured import float_ranges
from quantlib.execution.pieces import Shelf
from tests.sample_data import NAMES, sample


def walked(graph: ql.Graph, data: tuple[Any, ...], config: ql.QuantizationConfig) -> Any:
    """Return layers and input grids when all data run through all layers."""
    ranges = float_ranges(graph, data, estimates=config.uses_estimators)
    with Shelf() as shelf:
        walk = Calibration(graph, config, shelf, ranges, None)
        walk.without_data = False
        return walk.walk(data, len(data[0]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_bits", [3, 8])
def test_no_integer_run_is_needed_for_the_grids_of_float_calibration(
    name: str, n_bits: int
) -> None:
    found = sample(name)
    graph, data = found.graph, found.data
    config = ql.QuantizationConfig.from_n_bits(n_bits).replace(calibrate_on="float")
    module = ql.quantize(graph, data.calibration, config)
    layers, inputs = walked(graph, data.calibration, config)
    assert module.inputs == inputs
    for layer, other in zip(module.layers, layers, strict=True):
        assert layer.outputs == other.outputs, layer.name
        assert layer.input_grids == other.input_grids, layer.name
        assert layer.input_options == other.input_options, layer.name
        assert layer.treatment == other.treatment, layer.name
    slow = ql.QuantizedModule(graph, config, layers, inputs, data.calibration)
    codes = module.quantize_input(*data.evaluation)
    given = codes if isinstance(codes, tuple) else (codes,)
    one, two = module.quantized_forward(*given), slow.quantized_forward(*given)
    pairs = zip(one, two, strict=True) if isinstance(one, tuple) else [(one, two)]
    for fast, expected in pairs:
        np.testing.assert_array_equal(fast, expected)


def test_a_bench_runs_the_float_model_once_for_all_float_calibrations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from quantlib.analysis import workbench

    count = 0

    def counted(*arguments: Any, **options: Any) -> object:
        nonlocal count
        count += 1
        return float_ranges(*arguments, **options)

    monkeypatch.setattr(workbench, "float_ranges", counted)
    found = sample("digits_cnn")
    bench = ql.Workbench(found.graph, found.data)
    for n_bits in (3, 5, 8):
        config = ql.QuantizationConfig.from_n_bits(n_bits).replace(calibrate_on="float")
        alone = ql.quantize(found.graph, found.data.calibration, config)
        here = bench.module(config)
        for layer, other in zip(here.layers, alone.layers, strict=True):
            assert layer.outputs == other.outputs
    assert count == 1


def test_a_trace_shows_the_reals_that_a_float_operator_reads() -> None:
    found = sample("digits_cnn")
    config = ql.QuantizationConfig.from_n_bits(5)
    module = ql.quantize(found.graph, found.data.calibration, config)
    x = found.data.evaluation[0][:7]
    _, trace = module.forward(x, debug=True)
    relus = [layer for layer in module.layers if layer.node.op_type == "Relu"]
    assert relus
    for layer in relus:
        producer = next(p for p in module.layers if layer.node.inputs[0] in p.node.outputs)
        (real,) = (trace[layer.name][0],)
        assert isinstance(real, np.ndarray) and real.dtype == np.float64, producer.name
