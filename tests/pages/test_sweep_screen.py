"""The Sweep screen: its grid, its tabs, what is selected, files that continue a sweep."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from quantlib.analysis.sweep.grid import MAX_COMBINATIONS
from quantlib.core.config_code import read_config_code

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.pages.conftest import OpenScreen

TABS = ["Heat map", "Curves", "Pareto", "All axes"]


def choose(at: AppTest, key: str, value: Any) -> None:
    widget: Any = at.get_by_key(key)
    widget.set_value(value)


def chips(at: AppTest, **chosen: list[Any]) -> AppTest:
    for name, values in chosen.items():
        choose(at, f"sweep.{name}", values)
    return at.run()


def swept(at: AppTest, **chosen: list[Any]) -> AppTest:
    """Sweep a small grid to its end."""
    chips(at, **{"weight_bits": [3, 6], "activation_bits": [3, 6], **chosen})
    at.button(key="sweep.start").click().run()
    deadline = time.monotonic() + 60
    while at.session_state["state.job"].running:
        assert time.monotonic() < deadline, "the sweep does not end"
        at.run()
    at.run()
    assert not at.exception
    assert not at.error
    return at


def tab(at: AppTest, name: str) -> AppTest:
    at.session_state["sweep.view"] = name
    return at.run()


def table(at: AppTest) -> Any:
    return tab(at, "Table").dataframe[0].value


def figure(at: AppTest) -> Any:
    [chart] = at.get("plotly_chart")
    return json.loads(chart.proto.spec)


@pytest.fixture
def iris(open_screen: OpenScreen) -> AppTest:
    return open_screen("pages/sweep.py", model="iris_linear")


def words(at: AppTest) -> str:
    return "\n".join(element.value for element in [*at.markdown, *at.caption])


def test_the_grid_says_how_many_how_long_and_what_contradicts(iris: AppTest) -> None:
    chips(iris, weight_bits=[3, 4], activation_bits=[4], weights_signed=["yes", "no"])
    assert "4 configurations" in words(iris)
    assert "about" in words(iris)
    chips(iris, weights_symmetric=["yes"])
    assert "2 configurations" in words(iris)
    assert "2 left out" in words(iris)
    chips(iris, weights_signed=["no"])
    [error] = iris.error
    assert "symmetric needs signed" in error.value
    assert iris.button(key="sweep.start").disabled


def test_a_grid_that_is_too_large_is_one_error(iris: AppTest) -> None:
    every = {}
    for name in ("weights_estimator", "activations_estimator", "rounding", "calibrate_on"):
        row: Any = iris.get_by_key(f"sweep.{name}")
        every[name] = list(row.options)
    chips(iris, **every)
    [error] = iris.error
    assert f"at most {MAX_COMBINATIONS}" in error.value.replace("\\", "")
    assert iris.button(key="sweep.start").disabled


def test_new_dimensions_reach_the_configurations(iris: AppTest) -> None:
    swept(
        iris,
        weight_bits=[3],
        activation_bits=[4],
        weights_estimator=["min-max", "mse"],
        weights_per_channel=["yes"],
        output_bits=["auto", "6"],
        rounding=["off", "6"],
        calibrate_on=["float"],
    )
    found = table(iris)
    assert len(found) == 8
    assert set(found["range of weights"]) == {"min-max", "mse"}
    assert set(found["output bits"]) == {5, 6}
    assert set(found["rounding (bits)"]) == {"off", "6"}
    assert set(found["weights per channel"]) == {"yes"}
    assert set(found["calibrated on"]) == {"float"}


@pytest.mark.parametrize("name", TABS)
def test_a_tab_draws_one_figure_and_only_its_own(iris: AppTest, name: str) -> None:
    swept(iris, weights_signed=["auto", "no"])
    kinds = {"Heat map": "heatmap", "All axes": "parcoords"}
    drawn = figure(tab(iris, name))
    assert not iris.exception
    assert drawn["data"][0]["type"] == kinds.get(name, "scatter")
    assert not iris.dataframe


def test_a_tab_that_does_not_exist_falls_back(open_screen: OpenScreen) -> None:
    at = open_screen("pages/sweep.py", model="iris_linear")
    at.query_params["sweep.view"] = "<b>"
    swept(at)
    assert figure(at)["data"][0]["type"] == "heatmap"


def test_curves_follow_their_controls(iris: AppTest) -> None:
    swept(iris, weights_signed=["auto", "no"])
    tab(iris, "Curves")
    by_sign = figure(iris)["data"]
    assert [curve["name"] for curve in by_sign] == ["auto", "no"]
    assert by_sign[0]["x"] == [3, 6]
    choose(iris, "sweep.curve_by", "activation bits")
    iris.run()
    assert [curve["name"] for curve in figure(iris)["data"]] == ["3", "6"]


def test_a_measure_chosen_twice_asks_for_another(iris: AppTest) -> None:
    tab(swept(iris), "Pareto")
    choose(iris, "sweep.pareto_y", "widest seen (bits)")
    iris.run()
    assert "chosen twice" in iris.info[0].value
    assert not iris.get("plotly_chart")


def test_filters_keep_what_passes_and_rows_still_mean_their_configuration(iris: AppTest) -> None:
    swept(iris)
    tab(iris, "Table")
    choose(iris, "sweep.filter weight bits", [6])
    iris.run()
    shown = iris.dataframe[0].value
    assert set(shown["weight bits"]) == {6}
    assert "2 of 4 configurations" in words(iris)
    iris.session_state["sweep.table"] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    iris.run()
    assert f"activations {shown['activation bits'].iloc[1]} bits" in words(iris)
    iris.button(key="sweep.adopt").click().run()
    assert iris.session_state["config.weight_bits"] == 6


def test_the_limit_filters_and_marks_without_a_new_sweep(open_screen: OpenScreen) -> None:
    at = swept(open_screen("pages/sweep.py", model="iris_linear"))
    before = table(at)["headroom (bits)"]
    at.slider(key="config.limit").set_value(8).run()
    assert table(at)["headroom (bits)"].tolist() == pytest.approx((before - 8).tolist())
    at.toggle(key="sweep.only_fits").set_value(True).run()
    shown = at.dataframe[0].value
    assert 0 < len(shown) < 4
    assert (shown["widest (bits)"] <= 8).all()


def test_a_selection_says_what_it_changes(iris: AppTest) -> None:
    swept(iris)
    tab(iris, "Table")
    iris.session_state["sweep.table"] = {"selection": {"rows": [3], "columns": [], "cells": []}}
    iris.run()
    row = iris.dataframe[0].value.iloc[3]
    assert f"weight bits 4 → {row['weight bits']}" in words(iris).replace("\\", "")
    iris.button(key="sweep.pin").click().run()
    kept = read_config_code(iris.session_state["config.b"])
    assert kept.weights.n_bits == row["weight bits"]
    tab(iris, "Pareto")
    assert "**Selected:**" in words(iris)
    assert "selected" in [trace.get("name") for trace in figure(iris)["data"]]


def results_file(at: AppTest) -> bytes:
    from pages.ui import engine
    from quantlib.analysis.sweep.records import Origin, json_lines

    job = at.session_state["state.job"]
    assert isinstance(job.source, engine.Source)
    assert job.source.data
    return json_lines(job.results, Origin(job.source.model, job.source.data)).encode()


def upload(at: AppTest, content: bytes, name: str = "found.jsonl") -> AppTest:
    return at.file_uploader(key="sweep.file").upload(name, content).run()


def test_an_uploaded_file_is_continued(open_screen: OpenScreen) -> None:
    content = results_file(swept(open_screen("pages/sweep.py", model="iris_linear")))
    fresh = upload(open_screen("pages/sweep.py", model="iris_linear"), content)
    assert not fresh.exception
    assert "4 results are here" in fresh.success[0].value.replace("\\", "")
    assert len(table(fresh)) == 4
    swept(fresh, weight_bits=[3, 5])
    job = fresh.session_state["state.job"]
    assert (job.total, job.n_known, job.done) == (4, 2, 4)
    assert set(table(fresh)["weight bits"]) == {3, 5}


def test_a_cut_file_counts_and_a_wrong_one_is_one_error(open_screen: OpenScreen) -> None:
    content = results_file(swept(open_screen("pages/sweep.py", model="iris_linear")))
    at = upload(open_screen("pages/sweep.py", model="iris_linear"), content[:-30])
    assert "3 results are here" in at.success[0].value.replace("\\", "")
    upload(at, b"my only copy\n")
    [error] = at.error
    assert "not the header of a sweep" in error.value
    assert len(table(at)) == 3
    other = upload(open_screen("pages/sweep.py", model="wine_sklearn"), content)
    [error] = other.error
    assert "another model or data" in error.value
    assert not other.exception


def test_a_configuration_that_the_sidebar_lacks_cannot_be_adopted(open_screen: OpenScreen) -> None:
    lines = results_file(swept(open_screen("pages/sweep.py", model="iris_linear"))).splitlines()
    wide = json.loads(lines[1])
    wide["config"]["weights"]["n_bits"] = 14
    content = b"\n".join([lines[0], json.dumps(wide).encode(), b""])
    at = upload(open_screen("pages/sweep.py", model="iris_linear"), content)
    tab(at, "Table")
    at.session_state["sweep.table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    at.run()
    assert not at.exception
    assert at.button(key="sweep.adopt").disabled
    assert "cannot be adopted" in words(at)
    assert not at.button(key="sweep.pin").disabled


def test_what_is_known_is_not_computed_again(iris: AppTest) -> None:
    swept(iris)
    swept(iris, weight_bits=[3, 6, 7])
    job = iris.session_state["state.job"]
    assert (job.total, job.n_known, job.done) == (6, 4, 6)


class Running:
    """A job of another model that goes on for ever."""

    source = "another"
    running = True
    done, total, left_s, error, cancelled = 3, 9, 12.0, "", False
    results: tuple[()] = ()

    def cancel(self) -> None:
        self.cancelled = True


def test_a_sweep_of_another_model_says_how_far_it_is_and_can_be_cancelled(iris: AppTest) -> None:
    job = Running()
    iris.session_state["state.job"] = job
    iris.run()
    assert not iris.exception
    assert iris.button(key="sweep.start").disabled
    assert any("is running. Cancel it" in info.value for info in iris.info)
    assert "Press Start" not in " ".join(info.value for info in iris.info)
    iris.button(key="sweep.cancel").click().run()
    assert job.cancelled
