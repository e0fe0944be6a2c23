"""The node test cases of the onnx package, for every operator that is registered here.

Each case becomes a model whose first input is data and whose other inputs are constants.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import quantlib as ql

NEWEST = (25, 13)
"""Operator set and IR version that ONNX Runtime reads."""

OFF_BY_MORE = {
    "MaxPool",  # padded with the zero point, as in Concrete ML; ONNX pads with minus infinity
    "Round",  # jumps where the input's rounding crosses a half
}


@cache
def cases() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    return {case.name: case for case in found if _is_ours(case)}


def _is_ours(case: Any) -> bool:
    nodes = case.model.graph.node
    if len(nodes) != 1 or nodes[0].op_type not in ql.ONNX_OPS_TO_QUANTIZED_IMPL:
        return False
    inputs, outputs = case.data_sets[0]
    first = inputs[0]
    numbers = all(isinstance(value, np.ndarray) for value in [*inputs, *outputs])
    return (
        numbers
        and first.dtype in (np.float32, np.float64, np.float16)
        and first.ndim > 0
        and first.size > 0
        and bool(np.isfinite(first).all())
        and all(value.size for value in outputs)
        and "float16" not in case.name  # ONNX Runtime has no half-precision kernel for many
        and "uint" not in case.name
        and "training_mode" not in case.name
    )


def with_constants(case: Any) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = min(max(model.ir_version, 4), NEWEST[1])
    for entry in model.opset_import:
        entry.version = min(entry.version, NEWEST[0])
    names = [value.name for value in model.graph.input]
    for name, value in list(zip(names, case.data_sets[0][0], strict=True))[1:]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    del model.graph.input[1:]
    return model


@pytest.mark.parametrize("name", sorted(cases()))
def test_a_node_case_of_onnx_runs_at_eight_bits(name: str) -> None:
    case = cases()[name]
    inputs, expected = case.data_sets[0]
    graph = ql.load_model(with_constants(case))
    module = ql.PostTrainingAffineQuantization(8, graph).quantize_module(inputs[0])
    results = module.forward(inputs[0])
    results = results if isinstance(results, tuple) else (results,)
    for result, wanted in zip(results, expected, strict=True):
        assert np.shape(result) == wanted.shape
        if wanted.dtype.kind != "f" or case.model.graph.node[0].op_type in OFF_BY_MORE:
            continue
        reach = 0.05 * float(np.ptp(wanted)) + 0.01 * float(np.abs(wanted).max()) + 1e-3
        assert float(np.abs(np.asarray(result, dtype=np.float64) - wanted).max()) <= reach


def test_there_are_enough_cases_to_mean_something() -> None:
    assert len(cases()) > 150
