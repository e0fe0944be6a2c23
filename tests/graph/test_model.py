"""What tells one graph from another."""

from __future__ import annotations

import pytest
from onnx import helper

import quantlib as ql
from tests.models import build


def joined_along(axis: int) -> ql.Graph:
    """Return a graph whose list operators run as one node, with attributes inside."""
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["s"], "list"),
        helper.make_node("ConcatFromSequence", ["s"], ["c"], "joined", axis=axis, new_axis=0),
        helper.make_node("ReduceSum", ["c"], ["r"], "sum", keepdims=0),
        helper.make_node("Mul", ["x", "r"], ["y"], "scaled"),
    ]
    model = build(nodes, inputs={"x": ["batch", 3, 3]}, outputs=["y"])
    return ql.load_model(model.SerializeToString())


@pytest.mark.parametrize("axis", [1, 2])
def test_graphs_that_differ_inside_a_node_have_identities_of_their_own(axis: int) -> None:
    assert joined_along(axis).identity == joined_along(axis).identity
    assert joined_along(axis).identity != joined_along(3 - axis).identity
