"""The nine "light" models of the onnx package: real graphs at 224 pixels, weights made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.backend.test
import pytest

import quantlib as ql
from quantlib.execution.float_run import float_tensors
from quantlib.ops.base import Treatment

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
MODELS = sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("*.onnx"))


SAMPLED = ("inception_v1", "shufflenet", "squeezenet")
"""Kinds that differ: joined branches, moved channels, few weights."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in SAMPLED else pytest.mark.exhaustive)
        for name in MODELS
    ],
)
def test_a_light_model_runs_at_eight_bits_on_more_samples_than_it_declares(name: str) -> None:
    graph = ql.load_model(FOLDER / f"light_{name}.onnx")
    assert graph.inputs[0].shape[0] == "batch"
    x = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32)
    module = ql.PostTrainingAffineQuantization(8, graph).quantize_module(x)
    result = np.asarray(module.forward(x))
    (expected,) = float_tensors(graph, (x,), tensors=graph.output_names[:1]).values()
    assert result.shape == expected.shape
    assert np.isfinite(result).all()
    assert np.abs(result - expected).max() <= 0.1 * np.abs(expected).max() + 1e-6
    integer = [node for node in ql.inspect_model(graph).nodes if node.fan_in]
    assert integer
    assert all(node.treatment is Treatment.INTEGER and node.macs for node in integer)


def test_there_are_nine() -> None:
    assert len(MODELS) == 9
