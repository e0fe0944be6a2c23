"""The onnx package's node cases, exported and proved."""

from __future__ import annotations

import pytest

import quantlib as ql
from quantlib.export.formats import Subject
from quantlib.export.interchange import AIMET, QDQ, QONNX
from tests.export.cases import sampled
from tests.ops.test_onnx_node_cases import cases, with_constants


@pytest.mark.parametrize("name", sampled(sorted(cases()), every=4))
def test_a_node_case_of_onnx_is_exported_and_proved(name: str) -> None:
    case = cases()[name]
    inputs, _ = case.data_sets[0]
    graph = ql.load_model(with_constants(case))
    module = ql.PostTrainingAffineQuantization(8, graph).quantize_module(inputs[0])
    for form in (QDQ, QONNX, AIMET):
        assert form.refusals(module) == ()
        proof = form.prove(form.export(Subject(module, "m")), module, (inputs[0],))
        assert proof.holds, (form.name, proof.lines)
