"""Every view of Calibration, Bit widths and Layers, by link, for every sample; and what they do."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import quantlib as ql
from quantlib.analysis.attribution.sensitivity import Direction, Part
from quantlib.analysis.widths.criterion import Criterion
from quantlib.core.config_json import read_overrides
from quantlib.core.estimator import ESTIMATORS
from quantlib.questions.layers import sensitivity
from tests.paths import ROOT
from tests.sample_data import NAMES, sample

if TYPE_CHECKING:
    from tests.pages.conftest import GoTo, OpenScreen

FIXED = {"calibration": (1, 1), "bitwidths": (1, 1), "layers": (0, 0)}
"""Charts and tables that a screen has in all its views."""
VIEWS = [
    # screen, the link's own members, charts and tables that the view adds
    pytest.param("calibration", {"view": "ranges"}, 1, 1, id="ranges"),
    pytest.param("calibration", {"view": "ranges", "kind": "weights"}, 1, 1, id="weights"),
    pytest.param("calibration", {"view": "channels", "kind": "weights"}, 1, 1, id="channels"),
    pytest.param("calibration", {"view": "enough samples?"}, 2, 0, id="samples"),
    pytest.param("calibration", {"order": "worst first", "log": "true"}, 1, 1, id="logarithmic"),
    pytest.param("bitwidths", {"view": "width"}, None, 1, id="width"),
    pytest.param("bitwidths", {"view": "what fits"}, 1, 0, id="what-fits"),
    pytest.param("bitwidths", {"view": "table"}, None, None, id="table"),
    pytest.param("bitwidths", {"view": "cost"}, 2, 1, id="cost"),
    pytest.param("layers", {"view": "sensitivity"}, 1, 1, id="sensitivity"),
    pytest.param("layers", {"part": "weights"}, 1, 1, id="sensitivity-of-weights"),
    pytest.param("layers", {"view": "bits by layer"}, 0, 1, id="bits-by-layer"),
    pytest.param("layers", {"view": "search"}, 0, 0, id="search"),
]

WITHOUT_TABLE = {"iris_linear", "wine_sklearn", "cancer_linear"}
LESS = {
    # its grids came with it, so there is nothing to choose
    ("digits_qat", "what-fits"): (1, 0),
    # running each layer of it alone takes long and waits for a button
    ("digits_transformer", "sensitivity"): (1, 1),
    ("digits_transformer", "sensitivity-of-weights"): (1, 1),
}
"""Charts and tables that a view lacks for a sample."""


def open_view(stem: str, own: dict[str, str], **config: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / f"pages/{stem}.py"), default_timeout=60)
    for member, value in config.items():
        at.query_params[f"config.{member}"] = value
    for member, value in own.items():
        at.query_params[f"{stem}.{member}"] = value
    return at.run()


def charts(at: AppTest) -> list[Any]:
    return [json.loads(chart.proto.spec)["data"] for chart in at.get("plotly_chart")]


def overrides(at: AppTest) -> dict[str, Any]:
    return dict(read_overrides(at.session_state["config.overrides"]))


def assert_fine(at: AppTest) -> None:
    assert not at.exception
    assert not at.error


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize(("stem", "own", "n_charts", "n_tables"), VIEWS)
def test_a_view_opens_by_its_link_for_each_sample(
    model: str, stem: str, own: dict[str, str], n_charts: int | None,
    n_tables: int | None, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    at = open_view(stem, own, model=model)
    assert_fine(at)
    drawn, tables = FIXED[stem]
    view = request.node.callspec.id.removesuffix(f"-{model}")
    no_charts, no_tables = LESS.get((model, view), (0, 0))
    drawn, tables = drawn - no_charts, tables - no_tables
    assert bool(no_tables) == any(button.key == "layers.run" for button in at.button)
    if own == {"view": "table"}:  # a staircase, memory and steps lost, or why there is no table
        n_charts, n_tables = (0, 0) if model in WITHOUT_TABLE else (2, 1)
        assert len(at.info) == (n_charts == 0)
    if n_charts is None:  # the strip of channels, for layers that have several
        assert len(charts(at)) in (drawn, drawn + 1)
    else:
        assert len(charts(at)) == drawn + n_charts
    assert len(at.dataframe) == tables + (n_tables or 0)
    for member, value in own.items():
        assert str(at.session_state[f"{stem}.{member}"]).lower() == value.lower()


@pytest.mark.parametrize("stem", list(FIXED))
def test_each_view_shows_a_model_that_brings_its_own_grids(
    open_screen: OpenScreen, go_to: GoTo, stem: str
) -> None:
    content = (ROOT / "tests/golden/brevitas/qat_cnn.onnx").read_bytes()
    at = open_screen().file_uploader(key="home.model").upload("qat_cnn.onnx", content).run()
    go_to(at, stem)
    shown = 0
    for view in at.segmented_control(key=f"{stem}.view").options:
        at.segmented_control(key=f"{stem}.view").set_value(view).run()
        assert_fine(at)
        assert at.session_state["config.model"].startswith("qat_cnn.onnx")
        shown += len(at.get("plotly_chart")) + len(at.dataframe)
    assert shown > FIXED[stem][0] + FIXED[stem][1]


def test_a_grid_that_came_with_the_model_is_not_to_choose(
    open_screen: OpenScreen, go_to: GoTo
) -> None:
    content = (ROOT / "tests/golden/brevitas/qat_cnn.onnx").read_bytes()
    at = open_screen().file_uploader(key="home.model").upload("qat_cnn.onnx", content).run()
    go_to(at, "layers")
    at.segmented_control(key="layers.view").set_value("bits by layer").run()
    assert at.dataframe[0].value["weight bits"].isna().all()
    edit(at, 0, weight_bits=3)
    [error] = at.error
    assert "came with the model" in error.value.replace("\\", "")
    assert overrides(at) == {}


def test_widths_that_came_with_the_model_have_no_map_of_what_fits(
    open_screen: OpenScreen, go_to: GoTo
) -> None:
    content = (ROOT / "tests/golden/brevitas/qat_cnn.onnx").read_bytes()
    at = open_screen().file_uploader(key="home.model").upload("qat_cnn.onnx", content).run()
    go_to(at, "bitwidths")
    at.segmented_control(key="bitwidths.view").set_value("what fits").run()
    assert_fine(at)
    assert "came with the model" in at.info[0].value
    assert len(charts(at)) == 1


def test_the_table_of_a_layer_is_drawn_by_channel_and_by_reader() -> None:
    at = open_view("bitwidths", {"view": "table", "layer": "1 /stem/Conv"}, model="digits_resnet")
    assert_fine(at)
    channel = at.selectbox(key="bitwidths.table.channel")
    assert channel.options == [f"channel {i}" for i in range(12)]
    first = charts(at)[1][0]
    channel.set_value("channel 5").run()
    assert charts(at)[1][0]["x"] != first["x"]
    reader = at.selectbox(key="bitwidths.table.reader")
    assert reader.options == ["/block1/c1/Conv", "/block1/Add"]
    reader.set_value("/block1/Add").run()
    assert_fine(at)
    assert len(at.selectbox(key="bitwidths.table.channel").options) == 9, "three are alike"
    lost = at.dataframe[0].value
    assert list(lost["rounded to (bits)"]) == list(range(10, 1, -1))
    assert list(lost["steps lost"]) == sorted(lost["steps lost"])


@pytest.mark.parametrize(
    ("model", "layer", "why"),
    [("iris_linear", "1 /f/Gemm", "the model's output"),
     ("wine_sklearn", "5 Gemm_Node_2", "stays in float")],
)  # fmt: skip
def test_a_layer_without_a_table_says_why(model: str, layer: str, why: str) -> None:
    at = open_view("bitwidths", {"view": "table", "layer": layer}, model=model)
    assert_fine(at)
    [info] = at.info
    assert why in info.value.replace("\\", "")
    assert "\n" not in info.value
    assert len(charts(at)) == 1


def test_all_screens_number_a_layer_by_its_place_in_the_model() -> None:
    bars = charts(open_view("bitwidths", {"view": "cost"}))
    tornado = charts(open_view("layers", {}))
    layers = open_view("calibration", {}).selectbox(key="calibration.layer").options
    assert bars[0][0]["y"] == layers
    assert set(bars[2][0]["y"]) < set(layers)
    assert set(layers) < set(tornado[0][0]["y"])


def test_a_selected_range_is_adopted_for_all_tensors_of_its_kind() -> None:
    at = open_view("calibration", {})
    row = list(ESTIMATORS).index("mse")
    at.session_state["calibration.ranges.activations"] = {
        "selection": {"rows": [row], "columns": [], "cells": []}
    }
    at.run()
    button = at.button(key="calibration.adopt")
    assert button.label == "Use Mean squared error for all activations"
    button.click().run()
    assert_fine(at)
    assert at.session_state["config.activations_range"] == "mse"
    assert at.session_state["config.weights_range"] == "min-max"


def test_an_own_range_is_judged_in_the_last_row_of_the_table() -> None:
    at = open_view("calibration", {"kind": "weights"})
    [slider] = [s for s in at.slider if str(s.key).startswith("calibration.own")]
    before = at.dataframe[0].value
    low, high = slider.value
    slider.set_value((low / 2, high / 2)).run()
    assert_fine(at)
    after = at.dataframe[0].value
    assert list(after["estimator"]) == [*before["estimator"], "own range"]
    assert after["clipped (%)"].iloc[-1] > 0


def select_remedy(at: AppTest, layer: str, row: int) -> AppTest:
    done = len(at.session_state["state.history"])
    at.session_state[f"bitwidths.remedies.{layer}.{done}"] = {
        "selection": {"rows": [row], "columns": [], "cells": []}
    }
    return at.run()


def test_an_applied_remedy_is_an_override_that_the_sidebar_names_and_clears() -> None:
    at = open_view("bitwidths", {"layer": "5 /c2/Conv"}, limit="8")
    found = at.dataframe[1].value
    row = list(found["change"]).index("1 bit less for the layer's weights")
    select_remedy(at, "/c2/Conv", row).button(key="bitwidths.apply").click().run()
    assert_fine(at)
    assert overrides(at)["/c2/Conv"].weights.n_bits == 3
    assert any("1 layer differs" in caption.value for caption in at.sidebar.caption)
    assert at.dataframe[-1].value["seen (bits)"][2] == found["width (bits)"][row]
    assert "bitwidths.apply" not in {button.key for button in at.button}, "nothing is selected now"
    at.button(key="config.clear_overrides").click().run()
    assert_fine(at)
    assert overrides(at) == {}


def test_remedies_are_offered_only_where_a_layer_is_beyond_the_limit() -> None:
    at = open_view("bitwidths", {}, model="iris_linear", limit="6")
    assert_fine(at)
    narrow = len(at.dataframe)
    table = at.dataframe[1].value
    assert table["SQNR (dB)"].notna().all()
    assert list(table["fits"]) == [bits <= 6 for bits in table["width (bits)"]]
    wide = open_view("bitwidths", {}, model="iris_linear", limit="16")
    assert len(wide.dataframe) == narrow - 1


def test_everything_is_made_to_fit_in_one_step() -> None:
    at = open_view("bitwidths", {}, model="iris_linear", limit="6")
    at.button(key="bitwidths.fit").click().run()
    for _ in range(100):
        if "bitwidths.fit.apply" in {button.key for button in at.button}:
            break
        time.sleep(0.2)
        at.run()
    assert_fine(at)
    at.button(key="bitwidths.fit.apply").click().run()
    assert_fine(at)
    assert at.session_state["config.limit"] == 6
    assert max(at.dataframe[-1].value["seen (bits)"]) <= 6
    assert len(at.session_state["state.history"]) == 1, "Layers can undo it"


@pytest.mark.parametrize("criterion", [str(criterion) for criterion in Criterion])
def test_what_counts_against_the_limit_is_chosen_once_for_all_screens(criterion: str) -> None:
    at = open_view("bitwidths", {}, model="iris_linear", criterion=criterion)
    assert_fine(at)
    assert f"fits 16 bits, {criterion}" in at.dataframe[-1].value.columns


def test_the_map_of_what_fits_shows_the_measured_sqnr_on_request() -> None:
    at = open_view("bitwidths", {"view": "what fits", "measure": "true"}, model="iris_linear")
    assert_fine(at)
    heat = charts(at)[1][0]
    assert heat["colorbar"]["title"]["text"] == "SQNR (dB)"
    z = np.frombuffer(base64.b64decode(heat["z"]["bdata"]), heat["z"]["dtype"]).reshape(7, 7)
    here = z[heat["y"].index(4), heat["x"].index(4)]
    assert at.metric[0].value == f"{here:.1f} dB"


def edit(at: AppTest, row: int, **cells: Any) -> AppTest:
    """Edit cells of the table of layers as the browser reports it."""
    version = at.session_state["layers.version"]
    at.session_state[f"layers.table.{version}"] = {
        "edited_rows": {row: {name.replace("_", " "): value for name, value in cells.items()}},
        "added_rows": [], "deleted_rows": [],
    }  # fmt: skip
    return at.run()


@pytest.mark.parametrize("stem", ["calibration", "bitwidths", "layers"])
def test_overrides_of_another_model_are_one_error_that_the_sidebar_clears(stem: str) -> None:
    at = open_view(stem, {}, overrides='{"nowhere":{"weights":{"n_bits":3}}}')
    assert not at.exception
    [error] = at.error
    assert "nowhere" in error.value
    assert "Clear overrides" in {button.label for button in at.sidebar.button}
    at.button(key="config.clear_overrides").click().run()
    assert_fine(at)
    assert len(at.metric) >= 4


def searched(at: AppTest, *, seconds: float = 60) -> AppTest:
    deadline = time.monotonic() + seconds
    while at.session_state["state.search"].running:
        assert time.monotonic() < deadline, "the search does not end"
        time.sleep(0.05)
    return at.run()


def started(**config: str) -> AppTest:
    at = open_view("layers", {"view": "search"}, **{"model": "iris_linear", **config})
    assert "integer program" in at.info[0].value
    at.button(key="layers.search").click().run()
    assert not at.exception
    return at


def test_a_search_is_shown_beside_uniform_widths_and_adopted() -> None:
    at = searched(started())
    assert_fine(at)
    table = at.dataframe[0].value
    assert list(table["configuration"]) == ["found", "best uniform"]
    best = at.session_state["state.search"].results[-1].best
    at.button(key="layers.adopt").click().run()
    assert_fine(at)
    assert overrides(at) == dict(best.config.overrides)
    assert at.metric[0].value == f"{best.sqnr_db:.1f} dB"
    assert len(at.session_state["state.history"]) == 1


def test_a_search_survives_other_screens(open_screen: OpenScreen, go_to: GoTo) -> None:
    at = go_to(open_screen(model="iris_linear"), "layers")
    at.segmented_control(key="layers.view").set_value("search").run()
    at.button(key="layers.search").click().run()
    go_to(at, "compare")
    go_to(at, "layers")
    at.segmented_control(key="layers.view").set_value("search").run()
    searched(at)
    assert_fine(at)
    assert len(at.dataframe) == 1


def test_a_search_of_another_model_is_said_and_not_shown() -> None:
    at = searched(started())
    at.selectbox(key="config.model").set_value("wine_sklearn").run()
    assert_fine(at)
    assert "another model" in at.info[0].value
    assert not at.dataframe
    at.selectbox(key="config.model").set_value("iris_linear").run()
    assert len(at.dataframe) == 1


def test_a_search_for_another_limit_says_so() -> None:
    at = searched(started())
    assert not at.info
    at.slider(key="config.limit").set_value(9).run()
    assert_fine(at)
    assert "another limit" in at.info[0].value


def test_a_cancelled_search_says_so() -> None:
    at = started(model="digits_resnet")
    at.button(key="layers.cancel").click().run()
    searched(at)
    assert_fine(at)
    assert "cancelled" in at.warning[0].value
    assert not at.dataframe


def test_a_floor_that_nothing_meets_is_one_error_with_a_remedy() -> None:
    at = open_view("layers", {"view": "search", "own_floor": "true", "floor": "60"},
                   model="iris_linear")  # fmt: skip
    at.button(key="layers.search").click().run()
    searched(at)
    assert not at.exception
    [error] = at.error
    assert "lower the floor" in error.value


def test_a_search_needs_a_width_of_each_kind() -> None:
    at = open_view("layers", {"view": "search"})
    chips: Any = at.get_by_key("layers.weight_bits")
    chips.set_value([])
    at.run()
    assert_fine(at)
    assert at.button(key="layers.search").disabled


def test_edits_in_the_table_of_layers_are_applied_one_by_one_and_undone() -> None:
    at = open_view("layers", {"view": "bits by layer"})
    figures = at.metric[0].value
    edit(at, 0, weight_bits=8)
    assert_fine(at)
    assert overrides(at)["/c1/Conv"].weights.n_bits == 8
    assert at.session_state["config.output_bits"] == "auto"
    changed = at.metric[0].value
    assert changed != figures
    edit(at, 2, activation_bits=6, activations_range="mse")
    assert set(overrides(at)) == {"/c1/Conv", "/c2/Conv"}
    at.button(key="layers.undo").click().run()
    assert set(overrides(at)) == {"/c1/Conv"}
    assert at.metric[0].value == changed
    at.button(key="layers.undo").click().run()
    assert_fine(at)
    assert (overrides(at), at.metric[0].value) == ({}, figures)
    assert at.button(key="layers.undo").disabled


def test_an_edit_that_contradicts_is_one_error_and_nothing_is_lost() -> None:
    at = edit(open_view("layers", {"view": "bits by layer"}), 0, weight_bits=6)
    edit(at, 0, weights_signed="no", weights_symmetric="yes")
    assert not at.exception
    [error] = at.error
    assert "c1" in error.value
    assert "set signed to auto or yes" in error.value
    assert overrides(at)["/c1/Conv"].weights.n_bits == 6
    edit(at, 0, weights_symmetric="yes")
    assert_fine(at)
    assert overrides(at)["/c1/Conv"].weights.symmetric


def test_all_layers_follow_the_sidebar_again_and_that_can_be_undone() -> None:
    at = edit(open_view("layers", {"view": "bits by layer"}), 0, weight_bits=8)
    at.button(key="layers.clear").click().run()
    assert overrides(at) == {}
    at.button(key="layers.undo").click().run()
    assert_fine(at)
    assert set(overrides(at)) == {"/c1/Conv"}


def test_a_large_model_s_layers_run_when_asked_and_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pages.ui.layers.asking.AT_ONCE_S", 0)
    at = open_view("layers", {})
    assert not at.exception
    assert charts(at) == []
    at.button(key="layers.run").click().run()
    assert len(charts(at)) == 1
    at.segmented_control(key="layers.part").set_value("weights").run()
    assert len(charts(at)) == 1


def test_layers_of_a_model_with_its_own_grids_say_so_before_the_figures() -> None:
    at = open_view("layers", {}, model="digits_qat")
    assert_fine(at)
    assert any("Quantized already" in info.value for info in at.info)
    assert any("No layer loses anything" in said.value for said in at.success)


def test_a_layer_is_found_by_name_with_its_effects() -> None:
    """Against the module run with everything else exact, by the library's own measure."""
    bench, config = sample("digits_cnn").bench, ql.QuantizationConfig.from_n_bits(4)
    found = sensitivity(bench, config)
    alone = [e for e in found.effects if e.direction is Direction.QUANTIZED_ALONE]
    whole = {e.layer: e.sqnr_db for e in alone if e.part is Part.BOTH}
    place = 1 + sum(value < whole["/c2/Conv"] for value in whole.values())
    at = open_view("layers", {"find": "5 /c2/Conv"})
    assert_fine(at)
    said = next(text.value for text in at.markdown if "quantized alone" in text.value)
    assert f"number {place} of {len(whole)}" in said
    assert f"{whole['/c2/Conv']:.1f} dB" in said


def test_after_a_remedy_the_next_layer_over_the_limit_is_shown() -> None:
    at = open_view("bitwidths", {"layer": "10 /f/Gemm"}, limit="8")
    table = at.dataframe[1].value
    row = next(
        i for i, (fits, change) in enumerate(zip(table["fits"], table["change"], strict=True))
        if fits and "layer" in change
    )  # fmt: skip
    select_remedy(at, "/f/Gemm", row).button(key="bitwidths.apply").click().run()
    assert_fine(at)
    budget = at.dataframe[-1].value.set_index("layer")["seen (bits)"]
    assert budget["/f/Gemm"] <= 8
    assert budget.max() > 8
    shown = str(at.selectbox(key="bitwidths.layer").value).split(" ", 1)[1]
    assert budget[shown] == budget.max()


def test_what_concrete_ml_carries_is_offered_before_overrides() -> None:
    at = open_view("bitwidths", {"layer": "5 /c2/Conv"}, limit="8")
    table = at.dataframe[1].value
    order = [
        (not fits, "Concrete ML" not in carried)
        for fits, carried in zip(table["fits"], table["carried by"], strict=True)
    ]
    assert order == sorted(order)
    assert (False, False) in order and len(set(order)) > 1
