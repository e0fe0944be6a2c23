"""Opening screens without a browser, and files to give them."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from streamlit.testing.v1 import AppTest

from quantlib.workers import Session, Source
from quantlib.workers.client import Part
from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from quantlib.questions import Question


class OpenScreen(Protocol):
    """Opens the app, or one page file alone, after setting what a link would carry."""

    def __call__(self, file: str = "app.py", **link: str) -> AppTest: ...


class GoTo(Protocol):
    """Clicks a screen in the menu."""

    def __call__(self, at: AppTest, stem: str) -> AppTest: ...


class BuildModel(Protocol):
    """Builds a small Gemm, activation, Gemm model with three features and two classes."""

    def __call__(
        self, *, operator: str = "Relu", names: tuple[str, str, str] = ("g1", "act", "g2")
    ) -> bytes: ...


class SaveArrays(Protocol):
    """Writes arrays as .npz."""

    def __call__(self, **arrays: npt.NDArray[np.generic]) -> bytes: ...


class Answering(Protocol):
    """Lets a question have a given answer, whatever is asked about."""

    def __call__(self, question: Question[Any, Any], value: object) -> None: ...


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answering:
    given: dict[str, object] = {}
    real = Session.ask

    def ask(session: Session, source: Source, name: str, *args: Any, **kwargs: Any) -> Part:
        if name in given:
            return Part(given[name], 0)
        return real(session, source, name, *args, **kwargs)

    def give(question: Question[Any, Any], value: object) -> None:
        given[question.name] = value

    monkeypatch.setattr(Session, "ask", ask)
    return give


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Watch Streamlit's loggers, which do not propagate; fail on any deprecation."""
    loggers = [logging.getLogger("streamlit")]
    loggers += [
        logging.getLogger(name) for name in logging.root.manager.loggerDict if "streamlit." in name
    ]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    yield caplog
    for logger in loggers:
        logger.removeHandler(caplog.handler)
    for phase in ("setup", "call"):
        for record in caplog.get_records(phase):
            words = record.getMessage().lower()
            assert "will be removed" not in words, words
            assert "deprecated" not in words, words


@pytest.fixture
def open_screen() -> OpenScreen:
    def run(file: str = "app.py", **link: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / file), default_timeout=60)
        for member, value in link.items():
            at.query_params[f"config.{member}"] = value
        return at.run()

    return run


@pytest.fixture
def go_to() -> GoTo:
    def run(at: AppTest, stem: str) -> AppTest:
        at.switch_page(f"pages/{stem}.py").run()
        # A browser sends its address bar, where bound values are, with the click. AppTest has
        # no address bar: the first run shows defaults, the next one what the session kept.
        return at.run()

    return run


@pytest.fixture
def build_model() -> BuildModel:
    def build(
        *, operator: str = "Relu", names: tuple[str, str, str] = ("g1", "act", "g2")
    ) -> bytes:
        rng = np.random.default_rng(0)
        shapes = {"w1": (3, 8), "b1": (8,), "w2": (8, 2), "b2": (2,)}
        weights = [
            numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ]
        nodes = [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name=names[0]),
            helper.make_node(operator, ["h"], ["r"], name=names[1]),
            helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name=names[2]),
        ]
        graph = helper.make_graph(
            nodes,
            "own",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
            weights,
        )
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
        )
        return bytes(model.SerializeToString())

    return build


@pytest.fixture
def features() -> npt.NDArray[np.float64]:
    """Forty samples for `build_model`."""
    return np.random.default_rng(1).normal(size=(40, 3))


@pytest.fixture
def save_npz() -> SaveArrays:
    def save(**arrays: npt.NDArray[np.generic]) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        return stream.getvalue()

    return save
