"""Ranges of the float model, against ONNX Runtime asked for every tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import quantlib as ql
from quantlib.core.estimator import Estimator
from quantlib.execution.measured import float_ranges
from tests.paths import SAMPLES
from tests.sample_data import NAMES


def every_tensor(name: str, data: Any) -> dict[str, Any]:
    """What ONNX Runtime gives for all outputs of all nodes at once."""
    model = onnx.load(SAMPLES / f"{name}.onnx")
    known = {output.name for output in model.graph.output}
    wanted = [o for node in model.graph.node for o in node.output if o]
    model.graph.output.extend(onnx.ValueInfoProto(name=o) for o in wanted if o not in known)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: data}
    return dict(zip(wanted, session.run(wanted, feeds), strict=True))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits_qat"])
def test_every_layer_has_the_range_of_the_float_model(name: str) -> None:
    data = np.load(SAMPLES / f"{name}.npz")["calibration"]
    expected = every_tensor(name, data)
    config = ql.QuantizationConfig.from_n_bits(5).replace(calibrate_on="float")
    module = ql.quantize(ql.load_model(SAMPLES / f"{name}.onnx"), data, config)
    compared = 0
    for layer in module.layers:
        for tensor, grid in zip(layer.node.outputs, layer.outputs, strict=True):
            if grid is not None and grid.quant_stats is not None:
                size = np.abs(expected[tensor]).max()
                assert abs(grid.quant_stats.rmin - expected[tensor].min()) <= 1e-5 * size, tensor
                assert abs(grid.quant_stats.rmax - expected[tensor].max()) <= 1e-5 * size, tensor
                compared += 1
    assert compared == sum(grid is not None for layer in module.layers for grid in layer.outputs)


def test_a_model_whose_shapes_nobody_infers_has_all_its_ranges() -> None:
    graph = ql.load_model(SAMPLES / "wine_sklearn.onnx")
    data = np.load(SAMPLES / "wine_sklearn.npz")["calibration"]
    unknown = [o for node in graph.nodes for o in node.outputs if o not in graph.shapes]
    assert len(unknown) >= 5
    found = float_ranges(graph, (np.asarray(data, dtype=graph.inputs[0].dtype),), estimates=True)
    produced = {o for node in graph.nodes for o in node.outputs}
    every = every_tensor("wine_sklearn", data)
    in_float = {o for o in produced if every[o].dtype.kind == "f"}
    assert in_float & set(unknown)
    assert in_float <= set(found.ranges)
    assert in_float <= set(found.statistics)


def test_the_choice_of_what_ranges_are_measured_on_changes_the_ranges() -> None:
    graph = ql.load_model(SAMPLES / "wine_sklearn.onnx")
    data = np.load(SAMPLES / "wine_sklearn.npz")["calibration"]
    config = ql.QuantizationConfig.from_n_bits(3)
    modules = [
        ql.quantize(graph, data, config.replace(calibrate_on=on)) for on in ("quantized", "float")
    ]
    ranges = [[(g.rmin, g.rmax) for layer in m.layers for g in layer.outputs if g] for m in modules]
    assert ranges[0] != ranges[1]
    percentile = config.replace(
        calibrate_on="float",
        activations=config.activations.replace(estimator=Estimator("percentile", 95.0)),
    )
    narrow = ql.quantize(graph, data, percentile)
    assert any(layer.input_ranges for layer in narrow.layers)
