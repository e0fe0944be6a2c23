"""Figures of sensitivity and search, from values made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

import quantlib as ql
from pages.ui.charts import searches
from quantlib.analysis.attribution.sensitivity import Direction, Effect, Part, Sensitivity
from quantlib.analysis.search.descent import Ending
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.search import Candidate, SearchResult

PLACES = {"a": 1, "pool": 4, "b": 7}
ALONE = {"a": 1.0, "pool": 0.5, "b": 3.0}
FLOAT = {"a": 3.0, "pool": 4.4, "b": 1.0}
WHOLE = 4.0


def effect(layer: str, direction: Direction, mse: float) -> Effect:
    return Effect(
        layer=layer, op_type="Gemm", direction=direction, part=Part.BOTH, mse=mse,
        sqnr_db=-10 * math.log10(mse), agreement=None, score=None,
    )  # fmt: skip


def sensitivity() -> Sensitivity:
    effects = [effect(layer, Direction.QUANTIZED_ALONE, mse) for layer, mse in ALONE.items()]
    effects += [effect(layer, Direction.FLOAT_ALONE, mse) for layer, mse in FLOAT.items()]
    return Sensitivity(
        sqnr_db=0.0, mse=WHOLE, agreement=None, score=None, score_name="",
        effects=tuple(effects),
    )  # fmt: skip


def test_a_tornado_is_ranked_by_damage_and_shares_the_whole_error() -> None:
    damage, gain = searches.tornado(sensitivity(), Part.BOTH, PLACES).data
    assert list(damage.y) == list(gain.y) == ["7 b", "1 a", "4 pool"]
    assert list(damage.x) == [0.75, 0.25, 0.125]
    assert list(gain.x) == pytest.approx([0.75, 0.25, -0.1])
    assert damage.xaxis != gain.xaxis, "a negative gain does not lie over the damage"
    layout = searches.tornado(sensitivity(), Part.BOTH, PLACES).layout
    assert layout.xaxis.autorange == "reversed"


def test_a_tornado_of_a_large_model_shows_the_layers_that_matter_most() -> None:
    damage, gain = searches.tornado(sensitivity(), Part.BOTH, PLACES, most=2).data
    assert list(damage.y) == list(gain.y) == ["7 b", "1 a"]


def test_a_tornado_names_its_axis() -> None:
    layout = searches.tornado(sensitivity(), Part.BOTH, PLACES).layout
    assert "mean squared error" in layout.xaxis.title.text
    assert layout.xaxis.tickformat.endswith("%")


def result(*, uniform: bool) -> SearchResult:
    def candidate(widths: dict[str, tuple[int, int]]) -> Candidate:
        config = ql.QuantizationConfig.from_n_bits(4)
        return Candidate(config, widths, 1.0, 20.0, 21.0, None, None, 12)

    found = candidate({"a": (3, 5), "pool": (0, 6), "b": (8, 4)})
    same = candidate({"a": (5, 5), "pool": (0, 5), "b": (5, 5)})
    uniform_one = same if uniform else None
    return SearchResult(Objective.SIZE, 20.0, found, uniform_one, 3, 64, Ending.NOTHING_PROMISED)


@pytest.mark.parametrize("uniform", [True, False])
def test_an_assignment_is_drawn_by_layer_over_the_uniform_one(uniform: bool) -> None:
    figure = searches.assignment(result(uniform=uniform), PLACES)
    lines: dict[str, Any] = {line.name: line for line in figure.data}
    assert len(lines) == (4 if uniform else 2)
    found = lines["weights, found"]
    assert list(found.x) == ["1 a", "4 pool", "7 b"]
    assert [y for y in found.y if not math.isnan(y)] == [3, 8], "a layer without weights is a gap"
    assert list(lines["activations, found"].y) == [5, 6, 4]
    if uniform:
        assert list(lines["activations, best uniform"].y) == [5, 5, 5]
    assert figure.layout.yaxis.title.text == "bits"
    assert figure.layout.xaxis.title.text == "layer, in execution order"
