"""Screens through app.py and alone: working, empty and error states, links, state, sweeps."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from streamlit.testing.v1 import AppTest

from quantlib.core.config import QuantizationConfig
from quantlib.core.config_code import config_code
from tests.screens import TITLES

if TYPE_CHECKING:
    from tests.pages.conftest import GoTo, OpenScreen

CHARTS = {
    "home": 0, "learn": 1, "calibration": 2, "bitwidths": 2, "layers": 1, "sweep": 0, "graph": 1,
    "compare": 3, "encrypt": 0, "export": 0,
}  # fmt: skip
SCREENS = [pytest.param(stem, id=stem) for stem in TITLES]
WITH_CHARTS = [pytest.param(stem, id=stem) for stem in ("calibration", "bitwidths", "compare")]
HEADLINE = ["Output SQNR", "Accuracy", "Widest accumulator", "Weights"]
DEFAULTS = {
    "model": "digits_cnn", "weight_bits": 4, "activation_bits": 4, "input_bits": "auto",
    "output_bits": "auto", "weights_signed": "auto", "weights_symmetric": "auto",
    "activations_signed": "auto", "activations_symmetric": "auto", "rounding": "off", "limit": 16,
    "conventions": "concrete-ml", "quantize_rest": "auto",
    "weights_range": "min-max", "weights_per_channel": False, "weights_narrow": False,
    "weights_power_of_two": False, "activations_range": "min-max", "activations_narrow": False,
    "activations_power_of_two": False, "calibrate_on": "quantized", "overrides": "",
}  # fmt: skip


TYPED = {"weights_range", "activations_range", "overrides"}


def headline(at: AppTest) -> list[str]:
    return [str(metric.value) for metric in at.metric[:4]]


def charts(at: AppTest) -> list[Any]:
    return [json.loads(chart.proto.spec)["data"] for chart in at.get("plotly_chart")]


def controls(at: AppTest) -> dict[str, Any]:
    return {member: at.session_state[f"config.{member}"] for member in DEFAULTS}


def choose(at: AppTest, key: str, value: Any) -> None:
    widget: Any = at.get_by_key(key)
    widget.set_value(value)


def set_controls(at: AppTest, **settings: Any) -> AppTest:
    for member, value in settings.items():
        choose(at, f"config.{member}", value)
    return at.run()


def assert_works(at: AppTest, stem: str) -> None:
    assert not at.exception
    assert not at.error
    assert [header.value for header in at.header] == [TITLES[stem]]
    titles = [metric.label for metric in at.metric]
    assert titles[:4] == ([] if stem == "learn" else HEADLINE)
    assert len(at.get("plotly_chart")) == CHARTS[stem]


@pytest.mark.parametrize("stem", SCREENS)
def test_a_screen_opens_alone_by_its_file(open_screen: OpenScreen, stem: str) -> None:
    assert_works(open_screen(f"pages/{stem}.py"), stem)


@pytest.mark.parametrize("stem", SCREENS)
def test_a_screen_opens_through_the_menu(open_screen: OpenScreen, go_to: GoTo, stem: str) -> None:
    assert_works(go_to(open_screen(), stem), stem)


def test_the_app_opens_home_at_first(open_screen: OpenScreen) -> None:
    at = open_screen()
    assert_works(at, "home")
    assert controls(at) == DEFAULTS


@pytest.mark.parametrize("stem", SCREENS)
def test_a_screen_works_in_the_dark(open_screen: OpenScreen, stem: str) -> None:
    at = open_screen(f"pages/{stem}.py")
    at.context["theme"] = "dark"
    assert_works(at.run(), stem)


@pytest.mark.parametrize(
    "model", ["digits_mlp", "diabetes_mlp", "iris_linear", "wine_sklearn", "cancer_linear"]
)
def test_every_screen_shows_every_sample(open_screen: OpenScreen, go_to: GoTo, model: str) -> None:
    at = open_screen(model=model)
    for stem in TITLES:
        go_to(at, stem)
        assert not at.exception, stem
        assert not at.error, stem
        assert at.session_state["config.model"] == model
        assert len(headline(at)) == (0 if stem == "learn" else 4)


@pytest.mark.parametrize("stem", WITH_CHARTS)
def test_moving_the_weight_bits_changes_headline_and_charts(
    open_screen: OpenScreen, stem: str
) -> None:
    at = open_screen(f"pages/{stem}.py")
    figures, drawn = headline(at), charts(at)
    set_controls(at, weight_bits=8)
    assert_works(at, stem)
    assert headline(at)[0] != figures[0]
    assert headline(at)[3] != figures[3]
    assert charts(at) != drawn
    set_controls(at, weight_bits=4)
    assert headline(at) == figures
    assert charts(at) == drawn


def test_the_lesson_follows_its_controls(open_screen: OpenScreen) -> None:
    at = open_screen("pages/learn.py")
    drawn, formula = charts(at), at.latex[0].value
    at.slider(key="learn.line.n_bits").set_value(5).run()
    assert not at.exception
    assert charts(at) != drawn
    assert at.latex[0].value != formula


def test_codes_that_are_no_integers_are_one_error(open_screen: OpenScreen) -> None:
    at = open_screen("pages/learn.py")
    at.segmented_control(key="learn.lesson").set_value("3").run()
    at.text_input(key="learn.examples.codes").set_value("1, two").run()
    assert not at.exception
    assert len(at.error) == 1
    assert "integers" in at.error[0].value
    at.text_input(key="learn.examples.codes").set_value("1, 2").run()
    assert not at.error
    at.text_input(key="learn.examples.values").set_value("0.5, many").run()
    assert len(at.error) == 1
    assert "numbers" in at.error[0].value
    at.text_input(key="learn.examples.values").set_value("0.5, -2").run()
    assert not at.error


def test_the_configuration_survives_moving_between_screens(
    open_screen: OpenScreen, go_to: GoTo
) -> None:
    settings = {
        "model": "digits_mlp", "weight_bits": 7, "activation_bits": 6, "weights_symmetric": "yes",
        "input_bits": "8", "output_bits": "9", "rounding": "7", "limit": 12,
    }  # fmt: skip
    at = set_controls(open_screen(), **settings)
    figures = headline(at)
    for stem in TITLES:
        go_to(at, stem)
        assert controls(at) == DEFAULTS | settings, stem
        if stem != "learn":
            assert headline(at) == figures, stem


def test_the_pinned_configuration_is_compared_on_every_screen(
    open_screen: OpenScreen, go_to: GoTo
) -> None:
    at = open_screen()
    at.button(key="config.pin").click().run()
    set_controls(at, weight_bits=8)
    for stem in TITLES:
        go_to(at, stem)
        assert not at.exception, stem
        assert at.button(key="config.unpin")
        if stem != "learn":
            assert "dB to B" in str(at.metric[0].delta), stem
    at.button(key="config.unpin").click().run()
    assert not at.metric[0].delta


@pytest.mark.parametrize("stem", SCREENS)
def test_a_link_restores_the_configuration(open_screen: OpenScreen, stem: str) -> None:
    link = {"model": "digits_mlp", "weight_bits": "7", "weights_symmetric": "yes", "limit": "10"}
    at = open_screen(f"pages/{stem}.py", **link)
    assert_works(at, stem)
    assert controls(at) == DEFAULTS | link | {"weight_bits": 7, "limit": 10}


def test_a_link_that_pins_b_is_taken_without_a_word(open_screen: OpenScreen) -> None:
    code = config_code(QuantizationConfig.from_n_bits(6))
    at = open_screen(model="iris_linear", b=code)
    assert not at.exception
    assert not at.warning
    assert any(caption.value.startswith("B: ") for caption in at.caption)


def test_a_link_and_the_controls_give_the_same_figures(open_screen: OpenScreen) -> None:
    linked = open_screen(model="digits_mlp", weight_bits="7")
    moved = set_controls(open_screen(), model="digits_mlp", weight_bits=7)
    assert headline(linked) == headline(moved)


NONSENSE = ["", "x", "-1", "99", "1e9", "NaN", "inf", "1e400", "<b>", "%00", "💥", "1" * 5000]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: ascii(value[:8]))
def test_nonsense_in_a_link_falls_back_to_the_defaults(open_screen: OpenScreen, value: str) -> None:
    at = open_screen(**dict.fromkeys(DEFAULTS.keys() - TYPED, value))
    assert_works(at, "home")
    # An empty value means "no chip chosen" to Streamlit; state.config() reads that as the default.
    found = {key: DEFAULTS[key] if v is None else v for key, v in controls(at).items()}
    assert found == DEFAULTS
    assert headline(at) == headline(open_screen())


@pytest.mark.parametrize("member", sorted(TYPED))
@pytest.mark.parametrize("value", NONSENSE[1:], ids=lambda value: ascii(value[:8]))
def test_nonsense_in_what_can_be_typed_is_one_error_that_says_what_is_wanted(
    open_screen: OpenScreen, member: str, value: str
) -> None:
    at = open_screen("pages/bitwidths.py", **{member: value})
    assert not at.exception
    assert len(at.error) == 1
    assert ("overrides" if member == "overrides" else "estimator") in at.error[0].value
    choose(at, f"config.{member}", DEFAULTS[member])
    assert_works(at.run(), "bitwidths")


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: ascii(value[:8]))
def test_nonsense_for_a_screen_s_own_controls_falls_back(
    open_screen: OpenScreen, value: str
) -> None:
    own = {
        "calibration": ("kind", "log", "layer", "order", "view"),
        "bitwidths": ("layer",),
        "sweep": ("weight_bits", "weights_signed", "measure"),
        "learn": (
            "lesson",
            "language",
            "projector",
            "level",
            "seed",
            "progress",
            "line.view",
            "line.range",
            "line.n_bits",
            "line.value",
            "line.reach",
        ),
    }
    for stem, names in own.items():
        at = open_screen(f"pages/{stem}.py")
        for name in names:
            at.query_params[f"{stem}.{name}"] = value
        assert_works(at.run(), stem)


@pytest.mark.parametrize("stem", SCREENS)
def test_a_link_to_a_model_that_is_not_here_asks_for_its_upload(
    open_screen: OpenScreen, stem: str
) -> None:
    at = open_screen(f"pages/{stem}.py", model="mine.onnx #deadbeef", weight_bits="7")
    assert not at.exception
    assert not at.error
    [info] = at.info
    assert "mine\\.onnx \\#deadbeef" in info.value
    assert "pload" in info.value
    assert at.session_state["config.weight_bits"] == 7
    set_controls(at, model="iris_linear")
    assert not at.info or stem in ("sweep", "encrypt")
    assert not at.exception
    assert at.session_state["config.weight_bits"] == 7


@pytest.mark.parametrize("stem", SCREENS)
def test_contradicting_controls_are_one_error_with_a_remedy(
    open_screen: OpenScreen, stem: str
) -> None:
    at = open_screen(f"pages/{stem}.py")
    figures = headline(at)
    set_controls(at, activation_bits=8, output_bits="4")
    assert not at.exception
    [error] = at.error
    assert "raise the output bits" in error.value
    set_controls(at, activation_bits=4, output_bits="auto")
    assert_works(at, stem)
    assert headline(at) == figures


@pytest.mark.parametrize("part", ["weights", "activations"])
def test_symmetric_switches_signed_on_and_unsigned_leaves_symmetry_open(
    open_screen: OpenScreen, part: str
) -> None:
    signed, symmetric = f"{part}_signed", f"{part}_symmetric"
    at = set_controls(open_screen(), **{signed: "no"})
    set_controls(at, **{symmetric: "yes"})
    assert_works(at, "home")
    assert (controls(at)[signed], controls(at)[symmetric]) == ("yes", "yes")
    set_controls(at, **{signed: "no"})
    assert_works(at, "home")
    assert (controls(at)[signed], controls(at)[symmetric]) == ("no", "auto")


def test_a_link_to_symmetric_codes_without_a_sign_is_shown_and_said(
    open_screen: OpenScreen,
) -> None:
    at = open_screen(weights_signed="no", weights_symmetric="yes")
    assert_works(at, "home")
    assert controls(at)["weights_signed"] == "yes"
    [warning] = at.warning
    assert "weights\\_signed\\=no" in warning.value or "weights\\_signed=no" in warning.value


def test_outputs_narrower_than_activations_are_one_error_with_a_remedy(
    open_screen: OpenScreen,
) -> None:
    at = set_controls(open_screen(), activation_bits=8, output_bits="4")
    assert not at.exception
    [error] = at.error
    assert "raise the output bits" in error.value
    set_controls(at, output_bits="auto")
    assert_works(at, "home")


def test_pinning_contradicting_controls_does_no_harm(open_screen: OpenScreen) -> None:
    at = set_controls(open_screen(), activation_bits=8, output_bits="4")
    at.button(key="config.pin").click().run()
    assert not at.exception
    assert len(at.error) == 1
    set_controls(at, activation_bits=4, output_bits="auto")
    assert_works(at, "home")


def test_the_accumulator_limit_marks_and_changes_no_number(open_screen: OpenScreen) -> None:
    at = open_screen("pages/bitwidths.py")
    figures = headline(at)
    assert at.metric[2].delta == "fits 16 bits"
    set_controls(at, limit=7)
    assert_works(at, "bitwidths")
    assert headline(at) == figures
    assert at.metric[2].delta == "over 7 bits"


def ended(at: AppTest, *, seconds: float = 60) -> AppTest:
    """Run the page until its job is over."""
    deadline = time.monotonic() + seconds
    while at.session_state["state.job"].running:
        assert time.monotonic() < deadline, "the sweep does not end"
        at.run()
    return at.run()


def view(at: AppTest, tab: str) -> AppTest:
    at.session_state["sweep.view"] = tab
    return at.run()


def sweep_table(at: AppTest) -> Any:
    return view(at, "Table").dataframe[0].value


def small_sweep(at: AppTest) -> AppTest:
    choose(at, "sweep.weight_bits", [3, 6])
    choose(at, "sweep.activation_bits", [3, 6])
    at.run()
    at.button(key="sweep.start").click().run()
    assert not at.exception
    return ended(at)


def test_a_sweep_before_its_start_says_what_to_do(open_screen: OpenScreen) -> None:
    at = open_screen("pages/sweep.py")
    [info] = at.info
    assert "Start" in info.value
    assert not at.dataframe
    assert not at.button(key="sweep.start").disabled


def test_an_empty_grid_is_one_error_and_cannot_start(open_screen: OpenScreen) -> None:
    at = open_screen("pages/sweep.py")
    choose(at, "sweep.weight_bits", [])
    at.run()
    assert not at.exception
    [error] = at.error
    assert "choose at least one width" in error.value
    assert at.button(key="sweep.start").disabled


def test_a_sweep_runs_to_its_end_and_shows_figures_and_table(open_screen: OpenScreen) -> None:
    at = small_sweep(open_screen("pages/sweep.py", model="iris_linear"))
    assert not at.exception
    assert not at.error
    assert len(at.get("plotly_chart")) == 1
    heat = charts(at)[0][0]
    assert heat["type"] == "heatmap"
    assert (heat["x"], heat["y"]) == ([3, 6], [3, 6])
    table = sweep_table(at)
    pairs = sorted(zip(table["weight bits"], table["activation bits"], strict=True))
    assert pairs == [(3, 3), (3, 6), (6, 3), (6, 6)]
    assert table["SQNR (dB)"].notna().all()
    view(at, "Heat map")
    for name in ("score", "agreement", "SQNR (dB)"):
        choose(at, "sweep.measure", name)
        at.run()
        assert not at.exception
        assert len(at.get("plotly_chart")) == 1


def test_a_sweep_agrees_with_the_headline(open_screen: OpenScreen) -> None:
    at = small_sweep(open_screen("pages/sweep.py", model="iris_linear"))
    table = sweep_table(at)
    row = table[(table["weight bits"] == 6) & (table["activation bits"] == 3)].iloc[0]
    set_controls(at, weight_bits=6, activation_bits=3)
    assert headline(at)[0] == f"{row['SQNR (dB)']:.1f} dB"
    assert headline(at)[2] == f"{row['widest (bits)']} bits"


def test_a_selected_row_of_a_sweep_can_be_adopted(open_screen: OpenScreen) -> None:
    at = small_sweep(open_screen("pages/sweep.py", model="iris_linear"))
    table = sweep_table(at)
    at.session_state["sweep.table"] = {"selection": {"rows": [2], "columns": [], "cells": []}}
    at.run()
    assert not at.exception
    assert any("Selected" in text.value for text in at.markdown)
    at.button(key="sweep.adopt").click().run()
    assert not at.exception
    assert at.session_state["config.weight_bits"] == table["weight bits"][2]
    assert at.session_state["config.activation_bits"] == table["activation bits"][2]
    assert headline(at)[0] == f"{table['SQNR (dB)'][2]:.1f} dB"


def test_a_sweep_survives_other_screens_and_says_whose_it_is(
    open_screen: OpenScreen, go_to: GoTo
) -> None:
    at = small_sweep(go_to(open_screen(model="iris_linear"), "sweep"))
    go_to(at, "compare")
    go_to(at, "sweep")
    assert len(sweep_table(at)) == 4
    set_controls(at, model="wine_sklearn")
    assert not at.exception
    assert not at.dataframe
    assert "another model" in at.info[0].value


def test_a_sweep_can_be_cancelled_and_keeps_what_it_found(open_screen: OpenScreen) -> None:
    at = open_screen("pages/sweep.py")
    at.button(key="sweep.start").click().run()
    at.button(key="sweep.cancel").click().run()
    ended(at)
    assert not at.exception
    assert not at.error
    assert at.session_state["state.job"].done < 49
    assert "Cancelled" in at.warning[0].value


def load_configuration(at: AppTest, content: str | bytes) -> AppTest:
    data = content.encode() if isinstance(content, str) else content
    return at.file_uploader(key="export.file").upload("chosen.json", data).run()


def test_an_exported_configuration_restores_every_control(open_screen: OpenScreen) -> None:
    settings = {
        "weight_bits": 7, "activation_bits": 6, "weights_signed": "yes", "weights_symmetric": "no",
        "activations_signed": "yes", "activations_symmetric": "yes", "input_bits": "8",
        "output_bits": "9", "rounding": "7", "limit": 12, "weights_range": "percentile:99.9",
        "weights_per_channel": True, "weights_narrow": True, "activations_power_of_two": True,
        "activations_range": "mse", "calibrate_on": "float", "conventions": "onnx",
        "quantize_rest": "no",
        "overrides": '{"/c2/Conv":{"weights":{"n_bits":3}}}',
    }  # fmt: skip
    at = set_controls(open_screen("pages/export.py"), **settings)
    figures, exported = headline(at), at.code[0].value
    assert json.loads(exported)["weights"] == {
        "n_bits": 7, "signed": True, "symmetric": False, "narrow": True, "power_of_two": False,
        "per_channel": True, "estimator": {"name": "percentile", "parameter": 99.9},
    }  # fmt: skip
    fresh = load_configuration(open_screen("pages/export.py"), exported)
    assert not fresh.exception
    assert "is loaded" in fresh.success[0].value
    assert controls(fresh) == DEFAULTS | settings
    assert headline(fresh) == figures
    assert fresh.code[0].value == exported


def exported_document(at: AppTest) -> dict[str, Any]:
    document = json.loads(at.code[0].value)
    assert isinstance(document, dict)
    return document


WRONG = [
    pytest.param({"weights": {"n_bits": 99}}, "$.weights", id="width out of range"),
    pytest.param({"weights": {"n_bits": 14}}, "$.weights.n_bits", id="width the screens lack"),
    pytest.param({"weights": {"n_bits": "four"}}, "$.weights.n_bits", id="width is a word"),
    pytest.param({"weights": {"n_bits": True}}, "$.weights.n_bits", id="width is true"),
    pytest.param({"weights": 4}, "$.weights", id="scheme is a number"),
    pytest.param({"colour": "red"}, "$.colour", id="unknown member"),
    pytest.param({"weights": {"n_bits": 4, "x": 1}}, "$.weights.x", id="unknown inner member"),
    pytest.param({"limit_bits": 33}, "$", id="limit out of range"),
    pytest.param({"output_bits": 2}, "output", id="contradiction"),
    pytest.param({"schema_version": 99}, "$.schema_version", id="another version"),
    pytest.param({"schema_version": None}, "$.schema_version", id="no version"),
]


@pytest.mark.parametrize(("change", "path"), WRONG)
def test_a_wrong_configuration_is_one_error_naming_its_path(
    open_screen: OpenScreen, change: dict[str, Any], path: str
) -> None:
    at = set_controls(open_screen("pages/export.py"), weight_bits=7)
    before, figures = controls(at), headline(at)
    load_configuration(at, json.dumps(exported_document(at) | change))
    assert not at.exception
    [error] = at.error
    assert path in error.value.replace("\\", "")
    assert controls(at) == before
    assert headline(at) == figures


@pytest.mark.parametrize(
    "content",
    [
        b"", b"not json", b"[1, 2]", b"null", b"\xff\xfe\x00", b"{" * 100_000, b"NaN",
        b'{"schema_version": 1}',
    ],
    ids=["empty", "words", "list", "null", "binary", "deep", "NaN", "bare"],
)  # fmt: skip
def test_a_file_that_is_no_configuration_is_one_error(
    open_screen: OpenScreen, content: bytes
) -> None:
    at = open_screen("pages/export.py")
    load_configuration(at, content)
    assert not at.exception
    assert len(at.error) == 1
    assert controls(at) == DEFAULTS


def test_the_log_watch_sees_a_deprecated_argument(logged: pytest.LogCaptureFixture) -> None:
    def old() -> None:
        import streamlit as st

        st.dataframe({"a": [1]}, use_container_width=True)

    AppTest.from_function(old).run()
    assert "will be removed" in logged.text
    logged.clear()
