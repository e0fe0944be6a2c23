from __future__ import annotations

import io
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.ui import engine
from pages.ui.export.report_figures import report
from quantlib.export.formats import Refusal
from quantlib.export.offers import FORMATS
from quantlib.export.report import fetches
from quantlib.questions import export as questions
from quantlib.workers import Session
from tests.paths import ROOT
from tests.sample_data import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pages.conftest import Answering, OpenScreen

BENCH = sample("iris_linear").bench
CONFIG = ql.QuantizationConfig.from_n_bits(8)


def show(open_screen: OpenScreen, form: str, **link: str) -> AppTest:
    at = open_screen("pages/export.py", **{"model": "iris_linear", **link})
    at.radio(key="export.form").set_value(form).run()
    assert not at.exception
    return at


def proved(at: AppTest, name: str) -> AppTest:
    at.button(key=f"export.prove.{name}").click().run()
    deadline = time.monotonic() + 60
    while at.session_state["state.proof"].running and time.monotonic() < deadline:
        time.sleep(0.05)
    return at.run()


@pytest.mark.parametrize("name", list(FORMATS))
def test_each_format_says_who_reads_it_and_proves_itself(
    open_screen: OpenScreen, name: str
) -> None:
    at = show(open_screen, name)
    words = " ".join(item.value for item in at.markdown)
    assert FORMATS[name].reader in words
    assert FORMATS[name].loses in words
    at = proved(at, name)
    assert not at.exception
    assert not at.error
    [job] = [at.session_state["state.proof"]]
    [proof] = job.results
    assert proof.holds
    assert at.success[0].value.replace("\\", "").startswith(proof.sentence)


def test_what_a_format_cannot_carry_is_said_and_nothing_is_offered(
    open_screen: OpenScreen, answer: Answering
) -> None:
    refusal = Refusal("/f/Gemm", "17 bits", "use fewer")
    answer(questions.offer, questions.Offer((refusal,), (), (), (), ""))
    at = show(open_screen, "qdq")
    [error] = at.error
    assert "17 bits; use fewer" in error.value
    assert not [button for button in at.button if button.key == "export.prove.qdq"]


def taken(make: Callable[[], bytes]) -> bytes:
    """Call what a download button calls as Streamlit does: in a thread without the session."""
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(make())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(60)
    assert isinstance(found[0], bytes), found
    return found[0]


def test_downloads_are_made_without_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr(engine, "_session", lambda: session)
    source = engine.Source(
        engine.register((ROOT / "sample_models/iris_linear.onnx").read_bytes(), name="iris_linear"),
        engine.register((ROOT / "sample_models/iris_linear.npz").read_bytes(), name="iris.npz"),
    )
    content = taken(engine.deferred(bytes, source, questions.data_archive))
    arrays = np.load(io.BytesIO(content))
    assert np.array_equal(arrays["evaluation"], BENCH.data.evaluation[0])
    document = taken(engine.deferred_with(source, lambda ask: report(ask, CONFIG))).decode()
    assert "iris_linear" in document
    assert fetches(document) == ()


def test_the_model_that_is_downloaded_runs() -> None:
    made = questions.files(BENCH, CONFIG, "qdq", "iris")
    [content] = made.values()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = BENCH.data.evaluation[0]
    [y] = session.run(None, {session.get_inputs()[0].name: x})
    expected = BENCH.module(CONFIG).forward(x)
    assert isinstance(expected, np.ndarray)
    assert np.abs(y - expected).max() < 2 * BENCH.module(CONFIG).layers[-1].outputs[0].scale  # type: ignore[union-attr]
    found = questions.offer(BENCH, CONFIG, "qdq", "iris")
    assert dict(found.sizes) == {name: len(content) for name in made}


def test_the_script_for_concrete_ml_names_what_would_be_refused(open_screen: OpenScreen) -> None:
    at = show(open_screen, "Concrete ML script", model="wine_sklearn")
    refused = questions.concrete_ml_script(
        sample("wine_sklearn").bench, CONFIG, model="m.onnx", data="d.npz"
    )[1]
    said = at.warning[0].value
    assert refused
    assert all(entry.layer in said.replace("\\", "") for entry in refused)
    assert "def " in at.code[0].value or "import" in at.code[0].value
