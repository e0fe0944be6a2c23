"""The one door to computation: a source, a question and its arguments in, a frozen value out.

Answers stay with the user's session, under keys that name everything they depend on, in bounded
caches. No page sees a module, a session of ONNX Runtime or a whole activation.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import streamlit as st

import quantlib as ql
from pages.ui.jobs import Job
from quantlib.analysis.sweep.run import split_known
from quantlib.analysis.sweep.store import read_results
from quantlib.analysis.workbench import Workbench
from quantlib.data import load_data, synthetic_data
from quantlib.execution.threads import one_thread_each
from quantlib.questions import evaluations, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from quantlib.analysis.reports import Evaluation
    from quantlib.analysis.sweep.records import Origin
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions import Question, Stream
    from quantlib.questions.evaluations import DataCard, ModelCard

_P = ParamSpec("_P")
_T = TypeVar("_T")

_BOUNDS = {"bench": 3, "answer": 512}
"""How many entries each cache of a session holds."""

AGAIN_S = 2.0
"""Longest first evaluation that is followed by a second one for its time."""

one_thread_each()


@dataclass(frozen=True, slots=True)
class Source:
    """Which model on which data; the bytes behind the digests are registered in the session.

    Parameters
    ----------
    model, data : str
        SHA-256 digests; ``data`` is ``""`` for generated data.
    output : str
        The model output that figures are of; ``""`` for the worst.
    """

    model: str
    data: str
    output: str = ""


def register(data: bytes, *, name: str) -> str:
    """Keep bytes in the session under their digest; return the digest."""
    digest = hashlib.sha256(data).hexdigest()
    st.session_state.setdefault("engine.bytes", {})[digest] = (name, data)
    return digest


def forget(digest: str) -> None:
    """Drop bytes that were refused."""
    st.session_state.get("engine.bytes", {}).pop(digest, None)


def ask(source: Source, question: Question[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return the answer to a question about a model and its data, computed when it is new."""
    key = _key(source, question, args, kwargs)
    return _remember("answer", key, lambda: question(_bench(source), *args, **kwargs))


def is_known(
    source: Source, question: Question[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> bool:
    """Tell whether a question was asked before and its answer is still remembered."""
    return _key(source, question, args, kwargs) in st.session_state.get("engine.answer", {})


def each(
    source: Source, stream: Stream[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> Iterator[_T]:
    """Yield what a growing answer comes to, here and now; once known, its last value only."""
    key = _key(source, stream, args, kwargs)
    if key in st.session_state.get("engine.answer", {}):
        yield _remember("answer", key, _never)
        return
    last: _T | None = None
    for last in stream(_bench(source), *args, **kwargs):
        yield last
    if last is not None:
        final = last
        _remember("answer", key, lambda: final)


def _never() -> Any:
    raise AssertionError("asked for what is known")


def deferred(
    form: Callable[[_T], bytes],
    source: Source,
    question: Question[_P, _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> Callable[[], bytes]:
    """Return what a download button calls later: the answer, in the form of a file.

    Streamlit calls it outside the session, so that what it needs is taken along.
    """
    return deferred_with(source, lambda bench: form(question(bench, *args, **kwargs)))


def deferred_with(source: Source, make: Callable[[Workbench], bytes]) -> Callable[[], bytes]:
    """Return what makes a file of a model and its data later, outside the session."""
    bench = _bench(source)
    return lambda: make(bench)


def begin(
    source: Source,
    stream: Stream[Any, _T],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    *,
    total: int,
    label: object = None,
    known: Iterable[_T] = (),
) -> Job[_T]:
    """Start a stream as a job that knows its `total`, what it is for, and what was known before."""
    bench = _bench(source)
    args, kwargs = arguments

    def work(go_on: Callable[[], bool], add: Callable[[_T], None]) -> None:
        for value in stream.until(go_on, bench, *args, **kwargs):
            add(value)

    return Job.start(work, total=total, source=source if label is None else label, known=known)


def check(source: Source) -> None:
    """Load model and data once, raising what is wrong with either or with both together."""
    ask(source, evaluations.check)


def model_card(source: Source) -> ModelCard:
    """Return what the model is and how each node will be treated."""
    return ask(source, evaluations.model_card)


def data_card(source: Source) -> DataCard:
    """Return what the data are."""
    return ask(source, evaluations.data_card)


def evaluation(source: Source, config: QuantizationConfig) -> Evaluation:
    """Return the figures of a configuration."""
    found = ask(source, evaluations.evaluation, config)
    _remember("answer", (source, "seconds"), lambda: found.seconds)
    return found.evaluation


def sweep_job(
    source: Source, configs: Sequence[QuantizationConfig], known: Iterable[SweepResult] = ()
) -> Job[SweepResult]:
    """Start a sweep in the background; what is `known` already is not computed again."""
    there, missing = split_known(configs, known)
    return begin(source, sweep.sweep, ((missing,), {}), total=len(configs), known=there)


def kept_results(source: Source, content: bytes, *, name: str) -> Job[SweepResult]:
    """Return an ended job with the results of a file; raises what is wrong with the file."""
    found, _ = read_results(content, origin(source), name=name, is_csv=name.endswith(".csv"))
    return Job(total=len(found), source=source, known=found)


def origin(source: Source) -> Origin:
    """Return what results of this model and these data are marked with."""
    return ask(source, sweep.origin)


def seconds_each(source: Source, config: QuantizationConfig) -> float:
    """Return how long one configuration of a sweep takes on this model and these data.

    A quick model is measured once more, when it is warm; a slow one is not made to wait.
    """
    first: float = _remember("answer", (source, "seconds"), lambda: 0.0)
    if first > AGAIN_S:
        return first
    return _remember(
        "answer",
        (source, "seconds each"),
        lambda: sweep.seconds_each(_bench(source), config),
    )


def _key(
    source: Source, question: Question[_P, _T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[object, ...]:
    return (source, question.name, args, tuple(sorted(kwargs.items())))


def _bench(source: Source) -> Workbench:
    """Return a session's model with its data, loaded when it is new."""

    def compute() -> Workbench:
        held = st.session_state.get("engine.bytes", {})
        name, model = held[source.model]
        graph = ql.load_model(model, name=name)
        output = source.output or None
        if not source.data:
            return Workbench(graph, synthetic_data(graph), output=output)
        data_name, content = held[source.data]
        return Workbench(graph, load_data(content, graph, name=data_name), output=output)

    return _remember("bench", source, compute)


def _remember(kind: str, key: object, compute: Callable[[], _T]) -> _T:
    """Return a cached value of this session, computing it when it is not there."""
    cache: OrderedDict[object, _T] = st.session_state.setdefault(f"engine.{kind}", OrderedDict())
    if key not in cache:
        cache[key] = compute()
    cache.move_to_end(key)
    while len(cache) > _BOUNDS[kind]:
        cache.popitem(last=False)
    return cache[key]
