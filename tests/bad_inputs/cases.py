"""What every table of bad and unusual inputs is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.workbench import Workbench
from quantlib.data import load_data, synthetic_data
from quantlib.execution.calls import calls
from quantlib.questions import evaluations
from tests import models

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.analysis.reports import Evaluation
    from quantlib.data import Dataset

CONFIG = ql.QuantizationConfig.from_n_bits(5)

_LIBRARY = re.compile(
    r"ONNXRuntimeError|TypeInferenceError|ShapeInferenceError|ValidationError|InferenceError|"
    r"Context:|bad_alloc|bad allocation|Traceback|==>|onnx_proto|ModelProto|\.cc:|\.h:\d|"
    r"object has no attribute|not supported between|list index|Status Message|"
    r"Got invalid dimensions|CheckerContext|opset_import|google\.protobuf|NoneType|"
    r"numpy\.(?!savez)|cannot reshape array|could not broadcast|buffer is smaller|invalid literal"
)
_PATH = re.compile(r"(?:^|[\s'\"(])(?:/[\w.-]+){2,}|[A-Z]:\\\\|site-packages")


@dataclass(frozen=True)
class Case:
    """One input, and what must become of it.

    Parameters
    ----------
    row : str
        The class of inputs it stands for.
    name : str
        What is special about it.
    make : callable
        Returns the file's content.
    words : tuple of str
        What the message must hold; empty for inputs that must run.
    file : str
        What the file is called.
    notes : tuple of str
        What must be said about an input that runs.
    """

    row: str
    name: str
    make: Callable[[], bytes]
    words: tuple[str, ...] = ()
    file: str = "given.onnx"
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether it must run."""
        return not self.words

    def __str__(self) -> str:
        return f"{self.row}-{self.name}".replace(" ", "-")


def assert_is_one_clear_message(error: BaseException, case: Case) -> None:
    """Demand the file's name, cause and remedy, in the project's own words, without a path."""
    message = str(error)
    assert isinstance(error, ql.QuantlibError), (type(error), message)
    assert message.startswith(case.file), message
    for word in case.words:
        assert word in message, (word, message)
    assert not _LIBRARY.search(message), message
    assert not _PATH.search(message), message
    assert message.endswith("."), message
    assert "\n" not in message, message
    assert len(message) < 700, message


def loaded(content: bytes, name: str) -> Workbench:
    """Load a model through the one door, with data made for it, and run it once."""
    graph = ql.load_model(content, name=name)
    bench = Workbench(graph, synthetic_data(graph, samples=30))
    evaluations.check(bench)
    return bench


def with_data(content: bytes, name: str, graph: ql.Graph) -> tuple[Dataset, Evaluation]:
    """Load data for a model through the one door and evaluate on them."""
    data = load_data(content, graph, name=name)
    bench = Workbench(graph, data)
    evaluations.check(bench)
    return data, evaluate(bench, CONFIG)


def assert_is_what_the_file_says(bench: Workbench, content: bytes) -> None:
    """Compare the float model with ONNX Runtime on the file as it was given."""
    session = ort.InferenceSession(with_own_names(content), _quiet())
    given = session.get_inputs()
    fixed = next((i.shape[0] for i in given if i.shape and isinstance(i.shape[0], int)), 3)
    step = bench.graph.batch.size or fixed
    for name in bench.graph.output_names:
        parts = []
        for call in calls(bench.graph, bench.data.evaluation, step):
            feeds = dict(zip((i.name for i in bench.graph.inputs), call, strict=True))
            (found,) = session.run([name], {value.name: feeds[value.name] for value in given})
            parts.append(np.atleast_1d(found))
        axis = bench.graph.batch.axis_of(name) or 0
        expected = np.concatenate(parts, axis=axis)
        actual = np.atleast_1d(bench.float_model.output(name))
        assert actual.shape == expected.shape
        assert np.allclose(actual, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


def with_own_names(content: bytes) -> bytes:
    """Return a model whose nodes have no names: ONNX Runtime refuses equal ones."""
    model = onnx.ModelProto.FromString(content)
    for node in model.graph.node:
        node.name = ""
    return bytes(model.SerializeToString())


def _quiet() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return options


def good_figures() -> tuple[float, ...]:
    """Return figures of a good model, which no bad file before may change."""
    bench = loaded(models.mlp().SerializeToString(), "good.onnx")
    found = evaluate(bench, CONFIG)
    return (found.mse, found.max_error, float(found.widest.width_bits or 0))  # type: ignore[union-attr]
