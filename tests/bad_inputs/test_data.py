"""Every kind of bad or unusual data gets its verdict, and leaves nothing behind."""

from __future__ import annotations

import time

import numpy as np
import pytest

import quantlib as ql
from quantlib.data import load_data
from tests import models
from tests.bad_inputs.cases import Case, assert_is_one_clear_message, with_data
from tests.bad_inputs.data_cases import DATA, X, header, npz, table

GRAPH = ql.load_model(models.mlp(features=3), name="given.onnx")
REFUSED = [case for case in DATA if not case.runs]
RUNNING = [case for case in DATA if case.runs]


@pytest.fixture(scope="module")
def good_before() -> float:
    return with_data(npz(x=X), "good.npz", GRAPH)[1].mse


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_bad_data_are_one_clear_message_and_change_nothing(case: Case, good_before: float) -> None:
    with pytest.raises(ql.QuantlibError) as caught:
        with_data(case.make(), case.file, GRAPH)
    assert_is_one_clear_message(caught.value, case)
    assert with_data(npz(x=X), "good.npz", GRAPH)[1].mse == good_before


@pytest.mark.parametrize("case", RUNNING, ids=str)
def test_unusual_data_are_read_rightly_and_what_was_decided_is_said(case: Case) -> None:
    data, found = with_data(case.make(), case.file, GRAPH)
    assert found.n_answers
    assert data.calibration[0].shape[1:] == (3,)
    said = " ".join(data.notes)
    for note in case.notes:
        assert note in said


@pytest.mark.parametrize(
    "case", [c for c in RUNNING if "index" in c.name or "row numbers" in c.name], ids=str
)
def test_row_numbers_are_no_feature(case: Case) -> None:
    data = load_data(case.make(), GRAPH, name=case.file)
    assert np.allclose(data.calibration[0], X[:6], rtol=1e-5)
    assert np.allclose(data.evaluation[0], X[6:], rtol=1e-5)
    labelled = "label" in case.name
    assert (data.labels is not None) == labelled
    if data.labels is not None:
        assert data.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_column_of_another_name_that_counts_is_a_feature() -> None:
    content = table(np.column_stack([np.arange(12), X[:, 1:], np.arange(12) % 3]), head="t,b,c,y")
    data = load_data(content, GRAPH, name="d.csv")
    assert data.calibration[0][:, 0].tolist() == list(range(6))
    assert data.labels is not None


def test_many_rows_are_read_in_seconds_and_in_little_memory() -> None:
    rows = 100_000
    content = table(np.ones((rows, 3)) * 1.25)
    started = time.perf_counter()
    data = load_data(content, GRAPH, name="d.csv")
    assert time.perf_counter() - started < 5
    assert len(data.calibration[0]) + len(data.evaluation[0]) == rows


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("d.csv", table(), "rows"),
        ("d.csv", table(), "columns"),
        ("d.npy", header("(500000, 3)", body=bytes(6_000_000)), "data_mb"),
    ],
)
def test_a_limit_holds_and_is_raised_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, field: str
) -> None:
    variable = f"QUANTLIB_MAX_{field.upper()}"
    monkeypatch.setenv(variable, "2")
    with pytest.raises(ql.DataLoadError, match=variable):
        load_data(content, GRAPH, name=name)
    monkeypatch.setenv(variable, "1000000")
    assert load_data(content, GRAPH, name=name).calibration
