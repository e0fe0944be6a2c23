"""Numbers at the edges, through the one door: defined results, and never NaN in silence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from tests.bad_inputs.cases import loaded, with_data
from tests.bad_inputs.data_cases import X, npy
from tests.bad_inputs.model_cases import chain, raw
from tests.models import normal

DATA: dict[str, Any] = {
    "all zero": np.zeros((12, 3)),
    "constant": np.full((12, 3), 2.5),
    "all negative": -np.abs(X) - 1,
    "denormal": X * 1e-42,
    "huge": X * 1e30,
    "one outlier": np.where(np.arange(36).reshape(12, 3) == 5, 1e6, X),
    "one sample": X[:1],
    "minus zero": np.full((12, 3), -0.0),
    "halves": np.arange(36).reshape(12, 3) + 0.5,
    "dead feature": X * [1, 0, 1],
}
WEIGHTS: dict[str, Any] = {
    "all zero": np.zeros((3, 4)),
    "constant": np.full((3, 4), 0.75),
    "all negative": -np.abs(normal(3, 4)) - 1,
    "denormal": normal(3, 4) * 1e-42,
    "huge": normal(3, 4) * 1e30,
    "one outlier": np.where(np.arange(12).reshape(3, 4) == 5, 1e6, normal(3, 4)),
    "one value": np.array([[0.5]] * 3),
    "minus zero": np.full((3, 4), -0.0),
    "dead channel": normal(3, 4) * [1, 0, 1, 1],
}


def product(weight: Any) -> bytes:
    return raw(chain(helper.make_node("MatMul", ["x", "w"], ["h"], "mm"),
                     helper.make_node("Relu", ["h"], ["y"], "act"),
                     inputs={"x": ["n", 3]}, w=np.asarray(weight, np.float32)))  # fmt: skip


def assert_no_nan(found: ql.Evaluation) -> None:
    """Demand that every figure is a number, or None where there is nothing to say."""
    for figure in (found.mse, found.max_error, found.sqnr_db, found.cosine, found.error_std):
        assert not math.isnan(figure)
    assert np.isfinite(found.error_edges).all()
    assert all(np.isfinite(part).all() for part in found.scatter)
    assert all(layer.width_bits is None or layer.width_bits >= 1 for layer in found.layers)


@pytest.mark.parametrize("kind", DATA)
def test_data_at_the_edges_have_figures(kind: str) -> None:
    graph = ql.load_model(product(normal(3, 4)), name="given.onnx")
    assert_no_nan(with_data(npy(DATA[kind].astype(np.float32)), "d.npy", graph)[1])


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_at_the_edges_have_figures(kind: str) -> None:
    bench = loaded(product(WEIGHTS[kind]), "given.onnx")
    found = evaluate(bench, ql.QuantizationConfig.from_n_bits(5))
    assert_no_nan(found)
    if not np.asarray(WEIGHTS[kind]).any():
        assert found.max_error == 0


@pytest.mark.parametrize("n_bits", range(2, 17))
def test_each_width_has_figures(n_bits: int) -> None:
    bench = loaded(product(normal(3, 4)), "given.onnx")
    assert_no_nan(evaluate(bench, ql.QuantizationConfig.from_n_bits(n_bits)))


@pytest.mark.parametrize(("n_bits", "words"), [(0, "0"), (33, "33"), (1, "use 2 bits or more")])
def test_widths_that_have_no_grid_are_refused(n_bits: int, words: str) -> None:
    bench = loaded(product(normal(3, 4)), "given.onnx")
    with pytest.raises(ql.OptionsError, match=words):
        evaluate(bench, ql.QuantizationConfig.from_n_bits(n_bits))
