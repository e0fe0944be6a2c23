"""Which float islands are known to sum products."""

from __future__ import annotations

import numpy as np
from onnx import helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.data import synthetic_data
from tests.models import build, normal


def test_a_product_among_lists_is_not_looked_into_and_no_limit_is_confirmed() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "w"], ["s"], "list"),
        helper.make_node("SequenceAt", ["s", "one"], ["v"], "second"),
        helper.make_node("MatMul", ["x", "v"], ["p"], "product"),
        helper.make_node("SequenceInsert", ["s", "p"], ["t"], "grown"),
        helper.make_node("SequenceAt", ["t", "two"], ["y"], "third"),
    ]
    constants = {"w": normal(4, 4), "one": np.array(1), "two": np.array(2)}
    model = build(nodes, inputs={"x": ["batch", 4]}, outputs=["y"], constants=constants)
    graph = ql.load_model(model.SerializeToString())
    unseen = ql.inspect_model(graph).unseen
    assert len(unseen) == 1
    found = evaluate(
        ql.Workbench(graph, synthetic_data(graph)), ql.QuantizationConfig.from_n_bits(4)
    )
    assert found.fits is None
