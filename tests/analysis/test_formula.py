"""The formula of a node's card, computed with whole numbers one product at a time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import quantlib as ql
from quantlib.core.tensor import Tensor
from quantlib.execution.layer import LayerRun, QuantizedLayer
from quantlib.questions import graph as questions
from tests.paths import SAMPLES


@pytest.mark.parametrize("name", ["digits_mlp", "iris_linear", "wine_sklearn"])
@pytest.mark.parametrize("n_bits", [3, 8])
def test_the_numbers_of_the_formula_give_the_layers_output(name: str, n_bits: int) -> None:
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    bench = ql.Workbench(graph, ql.load_data(SAMPLES / f"{name}.npz", graph))
    config = ql.QuantizationConfig.from_n_bits(n_bits)
    checked = 0

    def check(layer: QuantizedLayer, run: LayerRun) -> None:
        nonlocal checked
        if layer.node.op_type != "Gemm":
            return
        card = questions.card(bench, config, layer.name)
        formula = card.formula
        assert formula is not None
        x, w = run.operands[0], run.operands[1]
        assert isinstance(x, Tensor) and isinstance(w, Tensor)
        codes = w.codes.T if layer.node.attributes.get("transB") else w.codes
        left = [int(v) - formula.zero_x for v in x.codes[0]]
        right = [int(v) - formula.zero_w for v in codes[:, 0]]
        assert formula.fan_in == len(left) == len(right)
        total = sum(a * b for a, b in zip(left, right, strict=True))
        steps = Fraction(formula.factor) * Fraction(formula.scale_x) * Fraction(formula.scale_w)
        bias = 0.0
        added = run.operands[2] if len(run.operands) > 2 else None
        if added is not None:
            values = np.ravel(added.values if isinstance(added, Tensor) else added)
            bias = float(values[0])
            assert formula.bias == (float(values.min()), float(values.max()))
        expected = float(steps * total) + bias
        assert run.accumulator is not None
        found = layer.op.dequantize(run.accumulator, *run.operands, output=layer.output_grid())  # type: ignore[attr-defined]
        assert np.asarray(found)[0, 0] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        checked += 1

    bench.module(config).run(*(a[:2] for a in bench.data.evaluation), observe=check)
    assert checked


def test_the_formula_is_written_with_its_numbers() -> None:
    graph = ql.load_model(SAMPLES / "digits_cnn.onnx")
    bench = ql.Workbench(graph, ql.load_data(SAMPLES / "digits_cnn.npz", graph))
    card = questions.card(bench, ql.QuantizationConfig.from_n_bits(4), "/c2/Conv")
    assert card.formula is not None
    text = card.formula.latex()
    assert f"{card.formula.scale_x:.4g}" in text
    assert f"{card.formula.scale_w:.4g}" in text
    assert rf"\sum\limits_{{{card.formula.fan_in}}}" in text


def test_an_operator_that_sums_no_products_has_no_formula() -> None:
    graph = ql.load_model(SAMPLES / "digits_cnn.onnx")
    bench = ql.Workbench(graph, ql.load_data(SAMPLES / "digits_cnn.npz", graph))
    config = ql.QuantizationConfig.from_n_bits(4)
    pools = [node.name for node in graph.nodes if node.op_type in ("AveragePool", "Relu")]
    assert [questions.card(bench, config, name).formula for name in pools] == [None] * len(pools)
