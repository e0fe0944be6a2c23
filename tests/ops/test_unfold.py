"""Unfold: spelled out in ONNX for the float run, kept whole for the integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import quantlib as ql
from quantlib.execution.float_run import float_tensors
from quantlib.ops.base import Treatment
from quantlib.ops.unfold import Unfold
from tests import models


def model(sizes: tuple[int, ...], *, opset: int = 14, batch: Any = "n", **attributes: Any) -> Any:
    node = helper.make_node("Unfold", ["x"], ["y"], "columns", **attributes)
    return models.build([node], inputs={"x": [batch, *sizes]}, outputs=["y"], opset=opset)


def by_definition(x: Any, *, kernel: Any, strides: Any, dilations: Any, pads: Any) -> Any:
    """Read each window value by value; what lies outside is 0."""
    spatial = len(kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    windows = [
        (n + pads[i] + pads[spatial + i] - reach[i]) // strides[i] + 1
        for i, n in enumerate(x.shape[2:])
    ]
    columns = []
    for start in np.ndindex(*windows):
        column = []
        for c in range(x.shape[1]):
            for tap in np.ndindex(*kernel):
                at = [
                    start[i] * strides[i] + tap[i] * dilations[i] - pads[i] for i in range(spatial)
                ]
                inside = all(0 <= p < n for p, n in zip(at, x.shape[2:], strict=True))
                column.append(x[(slice(None), c, *at)] if inside else np.zeros(len(x), x.dtype))
        columns.append(np.stack(column, axis=1))
    return np.stack(columns, axis=2)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    spatial = draw(st.integers(1, 3))

    def each(least: int, most: int, count: int = spatial) -> tuple[int, ...]:
        return tuple(draw(st.integers(least, most)) for _ in range(count))

    return {
        "sizes": (draw(st.integers(1, 3)), *each(5, 6)),
        "kernel": each(1, 3),
        "strides": each(1, 3),
        "dilations": each(1, 2),
        "pads": each(0, 2, 2 * spatial),
    }


@settings(max_examples=40)
@given(geometries())
def test_both_forms_equal_the_definition(case: dict[str, Any]) -> None:
    sizes, kernel = case.pop("sizes"), case["kernel"]
    attributes: dict[str, Any] = {k: list(v) for k, v in case.items() if k != "kernel"}
    graph = ql.load_model(model(sizes, kernel_shape=list(kernel), **attributes))
    assert [node.op_type for node in graph.nodes] == ["Unfold"]
    x = models.normal(2, *sizes)
    wanted = by_definition(x, **case)
    assert np.array_equal(float_tensors(graph, [x], tensors=["y"])["y"], wanted)
    op = Unfold.from_node(graph.nodes[0], graph.opsets)
    assert np.array_equal(op.float_results(x)[0], wanted)


def test_a_fine_grid_approaches_the_float_result() -> None:
    graph = ql.load_model(model((3, 6, 5), kernel_shape=[2, 3], pads=[1, 0, 1, 2]))
    x = models.normal(8, 3, 6, 5)
    module = ql.PostTrainingAffineQuantization(14, graph).quantize_module(x)
    wanted = float_tensors(graph, [x], tensors=["y"])["y"]
    assert module.layers[0].treatment is Treatment.INTEGER
    assert np.abs(np.asarray(module.forward(x)) - wanted).max() < 1e-3


def test_padding_is_the_code_of_zero() -> None:
    graph = ql.load_model(model((1, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    x = np.abs(models.normal(5, 1, 3, 3)) - 0.2
    module = ql.PostTrainingAffineQuantization(3, graph).quantize_module(x)
    corner = np.asarray(module.forward(x))[:, 0, 0]  # the first place of the first window
    assert np.array_equal(corner, np.zeros(5))
    assert int(np.asarray(module.layers[0].input_grids[0].zero_point)) != 0


def test_a_fixed_batch_is_freed_as_in_other_models() -> None:
    graph = ql.load_model(model((2, 4, 4), batch=1, kernel_shape=[2, 2]))
    assert float_tensors(graph, [models.normal(7, 2, 4, 4)], tensors=["y"])["y"].shape == (7, 8, 9)


def test_unfold_of_a_constant_is_folded() -> None:
    nodes = [
        helper.make_node("Unfold", ["w"], ["u"], kernel_shape=[2, 2]),
        helper.make_node("Add", ["x", "u"], ["y"]),
    ]
    graph = ql.load_model(
        models.build(
            nodes, inputs={"x": ["n", 4, 4]}, outputs=["y"],
            constants={"w": models.normal(1, 1, 3, 3)},
        )
    )  # fmt: skip
    assert [node.op_type for node in graph.nodes] == ["Add"]


@pytest.mark.parametrize(
    ("attributes", "opset", "reason"),
    [
        ({}, 14, "wants kernel_shape"),
        ({"kernel_shape": [2, 2], "pads": [0, 0]}, 14, "wants kernel_shape"),
        ({"kernel_shape": [2, 2], "strides": [0, 1]}, 14, "positive sizes"),
        ({"kernel_shape": [2, 2], "pads": [0, 0, -1, 0]}, 14, "positive sizes"),
        ({"kernel_shape": [2, 2]}, 10, "wants operator set 11"),
    ],
)
def test_a_wrong_node_is_named_with_the_reason(
    attributes: dict[str, Any], opset: int, reason: str
) -> None:
    with pytest.raises(ql.UnsupportedOpError, match=reason) as caught:
        ql.load_model(model((2, 4, 4), opset=opset, **attributes))
    assert caught.value.node_name == "columns"


def test_an_unfold_without_an_input_is_refused() -> None:
    made = models.build(
        [helper.make_node("Unfold", [], ["y"], "columns", kernel_shape=[2, 2])],
        inputs={"x": ["n", 2, 4, 4]}, outputs=["y"],
    )  # fmt: skip
    with pytest.raises(ql.UnsupportedOpError, match="one input and one output"):
        ql.load_model(made)


def test_an_unfold_of_another_domain_stays_unknown() -> None:
    node = helper.make_node("Unfold", ["x"], ["y"], domain="mine", kernel_shape=[2, 2])
    made = models.build([node], inputs={"x": ["n", 2, 4, 4]}, outputs=["y"], domains=[("mine", 1)])
    with pytest.raises(ql.UnsupportedOpError, match=r"mine\.Unfold"):
        ql.load_model(made)
