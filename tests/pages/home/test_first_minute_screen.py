"""Home's slider, its picture, its doors, and the ways back to the sample."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.core.tensor import Tensor
from tests.paths import SAMPLES

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.pages.conftest import BuildModel, OpenScreen, SaveArrays

SLIDER = "home.n_bits"


def picture(at: AppTest) -> str:
    [found] = [html for entry in at.get("html") if 'class="fm"' in (html := entry.proto.body)]
    return str(found)


def n_bits(at: AppTest) -> Any:
    return at.slider(key=SLIDER)


def wrong_of(name: str, bits: int) -> tuple[int, int]:
    """Count wrong answers of the evenly spaced samples with the library."""
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    data = ql.load_data(SAMPLES / f"{name}.npz", graph)
    module = ql.PostTrainingAffineQuantization(bits, graph).quantize_module(*data.calibration)
    chosen = np.linspace(0, len(data.evaluation[0]) - 1, 96).astype(int)
    classes = module.forward(data.evaluation[0]).argmax(1)[chosen]  # type: ignore[union-attr]
    assert data.labels is not None
    return int((classes != data.labels[chosen]).sum()), chosen.size


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_the_slider_moves_both_widths_and_wrong_answers_are_red(
    open_screen: OpenScreen, bits: int
) -> None:
    at = open_screen()
    n_bits(at).set_value(bits).run()
    assert not at.exception
    for member in ("weight_bits", "activation_bits"):
        assert at.session_state[f"config.{member}"] == bits
    wrong, shown = wrong_of("digits_cnn", bits)
    assert picture(at).count("fm-wrong") == wrong
    assert f"<strong>{wrong} of {shown}</strong>" in picture(at)


def test_the_slider_follows_the_sidebar_and_says_where_widths_differ(
    open_screen: OpenScreen,
) -> None:
    at = open_screen(weight_bits="6")
    assert n_bits(at).value == 6
    assert "(now 6 and 4)" in n_bits(at).label
    n_bits(at).set_value(5).run()
    assert n_bits(at).label.endswith("together")
    assert at.slider(key="config.activation_bits").value == 5


def test_a_width_that_other_controls_exclude_is_one_error(open_screen: OpenScreen) -> None:
    at = open_screen(output_bits="6")
    n_bits(at).set_value(9).run()
    assert not at.exception
    [error] = at.error
    assert "raise the output bits" in error.value


def test_a_table_of_classes_is_drawn_by_class_and_a_regression_as_points(
    open_screen: OpenScreen,
) -> None:
    at = open_screen(model="iris_linear")
    assert [re.search("<span>(.*?)</span>", row) is not None for row in [picture(at)]] == [True]
    for name in ("setosa", "versicolor", "virginica"):
        assert name in picture(at)
    at = open_screen(model="diabetes_mlp")
    assert "fm-tile" not in picture(at)
    assert len(at.get("plotly_chart")) == 1


def test_uploaded_data_are_left_for_the_sample_s(
    open_screen: OpenScreen, save_npz: SaveArrays
) -> None:
    at = open_screen(model="iris_linear")
    shown = picture(at)
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    at.file_uploader(key="home.data").upload("mine.npz", save_npz(evaluation=rows)).run()
    assert not at.exception
    back = at.button(key="home.back")
    assert back.label == "Back to sample data"
    assert "setosa" not in picture(at)
    back.click().run()
    assert picture(at) == shown


def test_an_uploaded_model_is_left_for_the_sample_and_its_data_are_marked(
    open_screen: OpenScreen, build_model: BuildModel
) -> None:
    at = open_screen()
    assert not [b for b in at.button if b.key == "home.back"]
    at.file_uploader(key="home.model").upload("mine.onnx", build_model()).run()
    assert not at.exception
    assert any("Synthetic data" in entry.value for entry in at.warning)
    assert "differ from the float model" in picture(at)
    at.button(key="home.back").click().run()
    assert at.session_state["config.model"] == "digits_cnn"
    assert not at.warning


@pytest.mark.parametrize(
    ("link", "words"),
    [
        pytest.param({"weight_bits": "99"}, "weight\\_bits", id="out of range"),
        pytest.param({"calibrate_on": "moon"}, "calibrate\\_on", id="no such choice"),
        pytest.param({"wieght_bits": "5"}, "no setting", id="no such setting"),
    ],
)
def test_what_a_link_asks_for_in_vain_is_said_once(
    open_screen: OpenScreen, link: dict[str, str], words: str
) -> None:
    at = open_screen(**link)
    [warning] = at.warning
    assert words in warning.value
    at.run()
    assert not at.warning


def test_what_a_link_sets_is_not_complained_about(open_screen: OpenScreen) -> None:
    link = {
        "model": "iris_linear", "weight_bits": "6", "weights_per_channel": "true",
        "weights_signed": "yes", "weights_range": "percentile:99.5", "input_bits": "8",
        "criterion": "any input", "limit": "8", "weights_narrow": "false",
    }  # fmt: skip
    assert not open_screen(**link).warning


def test_the_sidebar_says_what_auto_decided(open_screen: OpenScreen) -> None:
    at = open_screen(model="iris_linear")
    said = [caption.value for caption in at.sidebar.caption if caption.value.startswith("auto")]
    graph = ql.load_model(SAMPLES / "iris_linear.onnx")
    data = ql.load_data(SAMPLES / "iris_linear.npz", graph)
    module = ql.quantize(graph, data.calibration, ql.QuantizationConfig.from_n_bits(4))
    [layer] = module.layers
    weight = layer.constants[1]
    assert isinstance(weight, Tensor)
    words = f"auto: {'signed' if weight.quantizer.is_signed else 'unsigned'}, "
    words += "symmetric" if weight.quantizer.is_symmetric else "not symmetric"
    assert said[0] == words
    at = open_screen(model="iris_linear", weights_signed="yes", weights_symmetric="no")
    said = [caption.value for caption in at.sidebar.caption if caption.value.startswith("auto")]
    assert len(said) == 1
