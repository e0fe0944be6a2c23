from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantlib as ql
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.records import Origin, json_lines, results_table
from quantlib.analysis.sweep.result import SweepResult
from quantlib.analysis.sweep.store import ResultsFile, read_results, write_parquet
from tests import sweeps

HERE = Origin("a" * 64, "b" * 64)
BASE = ql.QuantizationConfig.from_n_bits(4).with_override(
    "g1", ql.LayerOverride(weights=ql.Scheme(3, estimator=ql.Estimator("percentile", 99.9)))
)
CONFIGS = SweepGrid(weight_bits=(2, 3), activation_bits=(4, 6, 7)).expand(BASE).configs
FORMS = pytest.mark.parametrize("ending", ["jsonl", "csv"])
FIGURE = st.floats(allow_nan=False)
COUNT = st.integers(0, 2**62)


def results(n: int) -> st.SearchStrategy[list[SweepResult]]:
    """Results of the first `n` configurations with any figures."""
    optional = st.none() | FIGURE
    width = st.none() | st.integers(1, 64)
    figures = st.tuples(
        FIGURE, FIGURE, FIGURE, FIGURE, optional, optional, width, width, width, optional,
        COUNT, COUNT, COUNT, FIGURE,
    )  # fmt: skip
    return st.tuples(*[figures] * n).map(
        lambda rows: [sweeps.result(c, *row) for c, row in zip(CONFIGS, rows, strict=False)]
    )


PLAIN = [
    sweeps.result(c, 30.0 + i, 1e-300, 0.5, 3.0, 0.1, None, 20, 18, 9, 17.5, 100, 7, 8, 0.25)
    for i, c in enumerate(CONFIGS)
]
EXACT = sweeps.result(
    CONFIGS[0], math.inf, 0.0, 1.0, 0.0, None, -math.inf, None, None, None, None, 0, 0, 0, 0.1
)


def saved(path: Path, found: list[SweepResult], origin: Origin = HERE) -> bytes:
    with ResultsFile(path, origin) as file:
        for result in found:
            file.add(result)
    return path.read_bytes()


def held(path: Path, origin: Origin = HERE) -> list[SweepResult]:
    with ResultsFile(path, origin) as file:
        return file.results


@FORMS
@given(found=results(3))
def test_results_come_back_as_they_were_written(
    ending: str, found: list[SweepResult], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store") / f"found.{ending}"
    saved(path, found)
    assert held(path) == found


@FORMS
def test_exact_results_and_missing_figures_come_back(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"found.{ending}"
    saved(path, [EXACT])
    assert held(path) == [EXACT]


@FORMS
def test_a_file_grows_line_by_line(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"found.{ending}"
    with ResultsFile(path, HERE) as file:
        for n, result in enumerate(PLAIN, start=1):
            file.add(result)
            content = path.read_bytes()
            assert content.endswith(b"\n")
            assert content.count(b"\n") == 1 + n


def test_the_text_of_a_download_is_what_the_file_holds(tmp_path: Path) -> None:
    assert saved(tmp_path / "a.jsonl", PLAIN) == json_lines(PLAIN, HERE).encode()


def test_every_line_is_json_that_anybody_reads(tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    lines = saved(tmp_path / "a.jsonl", [EXACT]).decode().splitlines()
    head, row = (json.loads(line, parse_constant=refuse) for line in lines)
    assert (head["model"], head["data"]) == (HERE.model, HERE.data)
    assert ql.QuantizationConfig.from_json(json.dumps(row["config"])) == CONFIGS[0]
    assert row["sqnr_db"] == "inf"


def test_csv_has_the_columns_of_a_table(tmp_path: Path) -> None:
    saved(tmp_path / "a.csv", PLAIN)
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["weight_bits"]) for row in rows] == [2, 2, 2, 3, 3, 3]
    assert {row["model"] for row in rows} == {HERE.model}
    assert float(rows[0]["headroom_bits"]) == -1.5


@FORMS
def test_a_last_line_that_was_cut_short_is_dropped_and_written_over(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"found.{ending}"
    whole = saved(path, PLAIN)
    for cut in range(1, len(whole) - whole[:-1].rfind(b"\n") - 1, 37):
        path.write_bytes(whole[:-cut])
        with ResultsFile(path, HERE) as file:
            assert file.was_cut
            assert file.results == PLAIN[:-1]
            file.add(PLAIN[-1])
        assert path.read_bytes() == whole
    path.write_bytes(whole + whole[-200:-1])
    assert held(path) == PLAIN
    assert path.read_bytes() == whole


@FORMS
def test_the_same_numbers_are_kept_once(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"found.{ending}"
    once = saved(path, PLAIN)
    other_limit = [r.under(r.config.replace(limit_bits=9)) for r in PLAIN]
    assert saved(path, other_limit) == once


@FORMS
@pytest.mark.parametrize(
    "origin", [Origin("c" * 64, HERE.data), Origin(HERE.model, "c" * 64)], ids=["model", "data"]
)
def test_results_of_something_else_are_refused_and_left_alone(
    ending: str, origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / f"found.{ending}"
    before = saved(path, PLAIN)
    with pytest.raises(ql.OptionsError, match="another model or data"):
        ResultsFile(path, origin)
    assert path.read_bytes() == before


def changed(**members: Any) -> bytes:
    lines = json_lines(PLAIN, HERE).splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **members})
    return "\n".join([*lines, ""]).encode()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        pytest.param(changed(sqnr_db=None), "line 3", id="missing-figure"),
        pytest.param(changed(sqnr_db="loud"), "line 3", id="no-number"),
        pytest.param(changed(weight_bytes=1e999), "line 3", id="infinite-count"),
        pytest.param(changed(mse=[1]), "line 3", id="list"),
        pytest.param(changed(config={}), "line 3", id="no-configuration"),
        pytest.param(changed(config={"weights": {"n_bits": 99}}), "line 3", id="width"),
        pytest.param(json_lines([], HERE).encode() + b"{}\n", "line 2", id="empty-object"),
        pytest.param(json_lines([], HERE).encode() + b"7\n", "line 2", id="number"),
        pytest.param(json_lines([], HERE).encode() + b"[" * 9999 + b"\n", "line 2", id="deep"),
        pytest.param(json_lines([], HERE).encode() + b"\n", "line 2", id="blank"),
        pytest.param(b"{}\n", "line 1: not the header", id="no-header"),
        pytest.param(b"[1]\n", "line 1: not the header", id="list-header"),
        pytest.param(b"[" * 9999 + b"\n", "line 1: not the header", id="deep-header"),
        pytest.param(b"\xff\xfe\x00\n\n", "line 1: not the header", id="binary"),
        pytest.param(
            json_lines([], HERE).replace('"version": 1', '"version": 9').encode(),
            "line 1: version 9",
            id="version",
        ),
        pytest.param(b"my only copy", "no line is complete", id="no-line"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(content: bytes, place: str) -> None:
    with pytest.raises(ql.DataLoadError, match=f"found.jsonl.*{place}"):
        read_results(content, HERE, name="found.jsonl")


@FORMS
@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_results_are_refused_in_words(ending: str, content: bytes) -> None:
    if not content:
        assert read_results(content, HERE, name="x", is_csv=ending == "csv") == ((), 0)
        return
    with pytest.raises(ql.DataLoadError, match=r"^x"):
        read_results(content, HERE, name="x", is_csv=ending == "csv")


def test_an_empty_file_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    path.touch()
    assert saved(path, PLAIN) == json_lines(PLAIN, HERE).encode()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ql.OptionsError, match=r"must end in \.jsonl or \.csv"):
        ResultsFile(tmp_path / "found.txt", HERE)


def test_the_table_keeps_kinds_where_figures_are_missing() -> None:
    table = results_table([*PLAIN, EXACT])
    assert len(table) == 7
    assert str(table["widest_seen_bits"].dtype) == "Int64"
    assert table["widest_seen_bits"].tolist()[:-1] == [9] * 6
    assert pd.isna(table["widest_seen_bits"].iloc[-1])
    assert str(table["weights_signed"].dtype) == "boolean"
    assert table["headroom_bits"].tolist()[0] == -1.5
    assert results_table([]).empty


def test_a_parquet_copy_holds_the_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_parquet(tmp_path / "a.parquet", PLAIN)
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert table["sqnr_db"].tolist() == [result["sqnr_db"] for result in PLAIN]
    assert [ql.QuantizationConfig.from_json(text) for text in table["config"]] == list(CONFIGS)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ql.OptionsError, match="install it"):
        write_parquet(tmp_path / "a.parquet", PLAIN)
    assert not (tmp_path / "a.parquet").exists()
