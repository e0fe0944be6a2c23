"""A model that takes long shows figures of a few samples first, and says so."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.ui import engine
from quantlib.data import beginning
from quantlib.questions import bitwidths
from tests.large_models import detector
from tests.pages.conftest import OpenScreen
from tests.sameness import same

CONFIG = ql.QuantizationConfig.from_n_bits(4)


def uploaded(at: AppTest, content: bytes) -> AppTest:
    at.file_uploader(key="home.model").upload("detector.onnx", content).run()
    until = time.monotonic() + 60
    while "uploads.trial" in at.session_state and time.monotonic() < until:
        time.sleep(0.1)
        at.run()
    assert not at.exception
    return at


def captions(at: AppTest) -> str:
    return " ".join(caption.value for caption in at.caption)


@pytest.mark.slow
def test_first_figures_are_a_preview_then_those_of_all_samples(open_screen: OpenScreen) -> None:
    content = detector().SerializeToString()
    at = uploaded(open_screen("app.py", model="iris_linear"), content)
    graph = ql.load_model(content, name="detector.onnx")
    data = ql.synthetic_data(graph)
    assert "**Preview**" in captions(at)
    source = at.session_state["engine.refinement"].source[0]
    few = beginning(graph, data, 2)
    answers = dict(at.session_state["engine.answers"].items())
    shown = [
        value for key, value in answers.items() if key[1:3] == (True, "evaluations.evaluation")
    ]
    expected = ql.evaluate(ql.Workbench(graph, few), CONFIG)
    assert [entry.evaluation.sqnr_db for entry in shown] == [expected.sqnr_db]
    assert f"{expected.sqnr_db:.1f}" in " ".join(metric.value for metric in at.metric)
    at.session_state["engine.refinement"].wait(120)
    at.run()
    assert "**Preview**" not in captions(at)
    assert not at.exception
    bench = ql.Workbench(graph, data)
    whole = ql.evaluate(bench, CONFIG)
    assert f"{whole.sqnr_db:.1f}" in " ".join(metric.value for metric in at.metric)
    answers = dict(at.session_state["engine.answers"].items())
    key = (source, False, "bitwidths.budget", (CONFIG,), ())
    assert same(answers[key], bitwidths.budget(bench, CONFIG))


@pytest.mark.slow
def test_a_refinement_can_be_stopped_and_is_not_begun_again(open_screen: OpenScreen) -> None:
    at = uploaded(open_screen("app.py", model="iris_linear"), detector().SerializeToString())
    job = at.session_state["engine.refinement"]
    started = time.monotonic()
    at.button(key="previews.stop").click().run()
    job.wait(5)
    assert time.monotonic() - started < 5
    assert not job.running
    at.run()
    assert at.session_state["engine.refinement"] is job
    assert "stopped" in at.warning[0].value
    at.slider(key="config.weight_bits").set_value(6).run()
    assert at.session_state["engine.refinement"] is not job


def test_a_preview_is_no_other_source() -> None:
    source = engine.Source("m", "d")
    assert replace(source, preview=True) == source
    assert hash(replace(source, preview=True)) == hash(source)
