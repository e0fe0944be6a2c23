"""Tables of the Layers screen: units and names as on every other screen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import quantlib as ql
from pages.ui import tables
from pages.ui.layers.tables import search_table, sensitivity_table
from quantlib.analysis.attribution.sensitivity import sensitivity
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.search import SearchResult, search
from tests.sample_data import sample

CONFIG = ql.QuantizationConfig.from_n_bits(4)


def found(name: str, objective: Objective = Objective.SIZE) -> SearchResult:
    steps = search(
        sample(name).bench, CONFIG, objective=objective, weight_bits=(3, 4), activation_bits=(4,)
    )
    return next(step for step in steps if isinstance(step, SearchResult))


@pytest.mark.parametrize("objective", [Objective.SIZE, Objective.BIT_OPERATIONS])
def test_bits_and_products_are_shown_whole(objective: Objective) -> None:
    result = found("iris_linear", objective)
    table = search_table(result, "accuracy")
    (cost,) = [name for name in table.columns if str(name).startswith(("memory", "bit op"))]
    assert pd.api.types.is_integer_dtype(table[cost])
    assert cost not in tables.formats(table)
    graph = sample("iris_linear").graph
    sizes = {name: values.size for name, values in graph.constants.items()}
    weights, bias = max(sizes.values()), min(sizes.values())
    w, a = result.best.widths["/f/Gemm"]
    expected = weights * w + 32 * bias if objective is Objective.SIZE else weights * w * a
    assert table[cost][0] == expected


def test_an_accuracy_is_told_in_per_cent_under_its_name() -> None:
    made = sample("iris_linear")
    table = search_table(found("iris_linear"), "accuracy")
    config = found("iris_linear").best.config
    answers = np.asarray(made.bench.module(config).forward(*made.data.evaluation)).argmax(1)
    assert made.data.labels is not None
    right = 100 * np.mean(answers == made.data.labels.ravel())
    same = 100 * np.mean(answers == made.reference.output().argmax(1))
    assert table["accuracy (%)"][0] == pytest.approx(right)
    assert table["same class as float (%)"][0] == pytest.approx(same)
    assert not {"score", "agreement"} & set(table.columns)


def test_a_score_that_is_no_share_keeps_its_name_and_unit() -> None:
    table = search_table(found("diabetes_mlp"), "R²")
    assert 0 < table["R²"][0] < 1
    assert "score" not in table
    assert "score" not in search_table(found("diabetes_mlp"), None)


def test_sensitivities_are_named_alike() -> None:
    bench = sample("iris_linear").bench
    with ThreadPoolExecutor(1) as executor:
        effects = sensitivity(
            bench.module(CONFIG), bench.float_model, bench.data.labels, executor=executor
        )
    table = sensitivity_table(effects)
    assert list(table["accuracy (%)"]) == [100 * e.score for e in effects.effects if e.score]
    assert "agreement" not in table
