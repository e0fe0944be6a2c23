"""The one door to computation: a source, a question and its arguments in, a frozen value out.

Nothing is computed in this process, and no byte of a model or of data is read here: questions go to
the worker processes of the session, see `quantlib.workers`. Answers stay with the session, under
keys that name everything they depend on, in bounded caches.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import streamlit as st

from pages.ui.jobs import Job
from pages.ui.presence import Presence
from pages.ui.waiting import Waiting, interruptible
from quantlib.analysis.sweep.run import split_known
from quantlib.questions import bitwidths, evaluations, sweep
from quantlib.workers import Content, Session, Source, sweeps
from quantlib.workers.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from quantlib.analysis.reports import Evaluation
    from quantlib.analysis.sweep.records import Origin
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions import Question, Stream
    from quantlib.questions.evaluations import DataCard, ModelCard
    from quantlib.workers.client import Part

__all__ = ["Source"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

ANSWERS, ANSWER_BYTES = 512, 64 * 2**20
"""How many answers a session remembers, and how many bytes they may take on the way here."""

AGAIN_S = 2.0
"""Longest first evaluation that is followed by a second one for its time."""


Desk.here().warm()


def _session() -> Session:
    """Return what this session has of workers; it ends with the session."""
    found: Session | None = st.session_state.get("engine.session")
    if found is None:
        found = st.session_state["engine.session"] = Session(wanted=Presence.here().is_there)
    return found


def register(data: bytes, *, name: str) -> str:
    """Keep bytes in the session under their digest; return the digest."""
    digest = hashlib.sha256(data).hexdigest()
    _session().keep(digest, Content(name, data))
    return digest


def forget(digest: str) -> None:
    """Drop bytes that were refused."""
    _session().forget(digest)


def holds(digest: str) -> bool:
    """Tell whether bytes are here still."""
    return _session().holds(digest)


def ask(source: Source, question: Question[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return the answer to a question about a model and its data, computed when it is new."""
    answers = _answers()
    key = _key(source, question, args, kwargs)
    if key not in answers:
        waiting = Waiting(hashlib.sha256(repr(key).encode()).hexdigest()[:16])
        part = _session().ask(source, question.name, args, kwargs, tick=waiting.tick)
        waiting.done()
        answers.keep(key, part.value, part.n_bytes)
    return cast("_T", answers[key])


def is_known(
    source: Source, question: Question[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> bool:
    """Tell whether a question was asked before and its answer is still remembered."""
    return _key(source, question, args, kwargs) in _answers()


def each(
    source: Source, stream: Stream[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> Iterator[_T]:
    """Yield what a growing answer comes to, here and now; once known, its last value only."""
    answers = _answers()
    key = _key(source, stream, args, kwargs)
    if key in answers:
        yield cast("_T", answers[key])
        return
    last: _T | None = None
    for last in _session().stream(source, stream.name, args, kwargs, tick=interruptible):
        yield cast("_T", last)
    if last is not None:
        answers.keep(key, last, _UNMEASURED_BYTES)


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
    return deferred_with(source, lambda asked: form(asked(question, *args, **kwargs)))


def deferred_with(
    source: Source, make: Callable[[Callable[..., Any]], bytes]
) -> Callable[[], bytes]:
    """Return what makes a file of answers later, outside the session; `make` gets who asks."""
    session = _session()

    def asked(question: Question[Any, Any], /, *args: Any, **kwargs: Any) -> Any:
        return session.ask(source, question.name, args, kwargs).value

    return lambda: make(asked)


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
    session, presence = _session(), Presence.here()
    source = replace(source, preview=False)
    args, kwargs = arguments

    def work(go_on: Callable[[], bool], add: Callable[[_T], None]) -> None:
        wanted = presence.and_also(go_on)
        for value in session.background(source, stream.name, args, kwargs, go_on=wanted):
            add(value)

    return Job.start(work, total=total, source=source if label is None else label, known=known)


def trial(source: Source) -> Job[None]:
    """Load model and data for the first time, in a worker of their own, as a job.

    It ends with an error that says what is wrong with either or with both together.
    """
    session, presence = _session(), Presence.here()
    first = replace(source, preview=True)

    def work(go_on: Callable[[], bool], _: Callable[[None], None]) -> None:
        session.try_out(first, evaluations.check.name, go_on=presence.and_also(go_on))

    return Job.start(work, total=1, source=source)


def model_card(source: Source) -> ModelCard:
    """Return what the model is and how each node will be treated."""
    return ask(source, evaluations.model_card)


def data_card(source: Source) -> DataCard:
    """Return what the data are."""
    return ask(source, evaluations.data_card)


def evaluation(source: Source, config: QuantizationConfig) -> Evaluation:
    """Return the figures of a configuration."""
    found = ask(source, evaluations.evaluation, config)
    key = (source, "seconds")
    if key not in _answers():
        _answers().keep(key, found.seconds, 0)
    return found.evaluation


def settled(source: Source, config: QuantizationConfig) -> Source:
    """Return the source to ask about now: all samples, or a preview while they take long.

    The figures of all samples are then computed in the background.
    """
    answers = _answers()
    key = _key(source, evaluations.evaluation, (config,), {})
    if key in answers or not _is_large(source):
        return source
    job = refinement()
    if job is None or job.source != (source, config):
        if job is not None:
            job.cancel()
        job = st.session_state["engine.refinement"] = _refined(source, config)
    if job.running or len(job.results) < len(_FIGURES):
        return replace(source, preview=True)
    for question, part in zip(_FIGURES, job.results, strict=True):
        answers.keep(_key(source, question, (config,), {}), part.value, part.n_bytes)
    return source


def refinement() -> Job[Part] | None:
    """Return what computes the figures of all samples, started last."""
    return st.session_state.get("engine.refinement")


_FIGURES: tuple[Question[Any, Any], ...] = (evaluations.evaluation, bitwidths.budget)
"""What every screen shows of a configuration."""


def _refined(source: Source, config: QuantizationConfig) -> Job[Part]:
    session, presence = _session(), Presence.here()
    asked = [(question.name, (config,)) for question in _FIGURES]

    def work(go_on: Callable[[], bool], add: Callable[[Part], None]) -> None:
        for part in session.refine(source, asked, go_on=presence.and_also(go_on)):
            add(part)

    return Job.start(work, total=len(asked), source=(source, config))


def _is_large(source: Source) -> bool:
    """Tell whether all samples of a model take so long that a preview comes first."""
    first = data_card(replace(source, preview=True))
    return first.n_evaluation < data_card(source).n_evaluation


def sweep_job(
    source: Source, configs: Sequence[QuantizationConfig], known: Iterable[SweepResult] = ()
) -> Job[SweepResult]:
    """Start a sweep in the background; what is `known` already is not computed again."""
    there, missing = split_known(configs, known)
    source = replace(source, preview=False)
    session, presence = _session(), Presence.here()

    def work(go_on: Callable[[], bool], add: Callable[[SweepResult], None]) -> None:
        wanted = presence.and_also(go_on)
        for result in sweeps.sweep(session, source, missing, go_on=wanted):
            add(result)

    return Job.start(work, total=len(configs), source=source, known=there)


def kept_results(source: Source, content: bytes, *, name: str) -> Job[SweepResult]:
    """Return an ended job with the results of a file; raises what is wrong with the file."""
    found: tuple[SweepResult, ...] = (
        _session().ask(source, sweep.kept.name, (content,), {"name": name}).value
    )
    return Job(total=len(found), source=source, known=found)


def origin(source: Source) -> Origin:
    """Return what results of this model and these data are marked with."""
    return ask(source, sweep.origin)


def seconds_each(source: Source, config: QuantizationConfig) -> float:
    """Return how long one configuration of a sweep takes on this model and these data.

    A quick model is measured once more, when it is warm; a slow one is not made to wait.
    """
    answers = _answers()
    known = (source, "seconds")
    first = cast("float", answers[known]) if known in answers else 0.0
    if first > AGAIN_S:
        return first
    key = (source, "seconds each")
    if key not in answers:
        answers.keep(key, ask(source, sweep.seconds_each, config), 0)
    return cast("float", answers[key])


_UNMEASURED_BYTES = 64 * 2**10


class Answers:
    """Answers by key, bounded in number and bytes; those used longest ago go first."""

    def __init__(self) -> None:
        self._held: OrderedDict[object, tuple[object, int]] = OrderedDict()
        self._size = 0

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __getitem__(self, key: object) -> object:
        self._held.move_to_end(key)
        return self._held[key][0]

    def items(self) -> list[tuple[object, object]]:
        """Return keys and answers."""
        return [(key, value) for key, (value, _) in self._held.items()]

    def keep(self, key: object, value: object, n_bytes: int) -> None:
        """Remember an answer."""
        if key in self._held:
            self._size -= self._held.pop(key)[1]
        self._held[key] = (value, n_bytes)
        self._size += n_bytes
        while len(self._held) > 1 and (len(self._held) > ANSWERS or self._size > ANSWER_BYTES):
            _, (_, dropped) = self._held.popitem(last=False)
            self._size -= dropped


def _answers() -> Answers:
    found: Answers | None = st.session_state.get("engine.answers")
    if found is None:
        found = st.session_state["engine.answers"] = Answers()
    return found


def _key(
    source: Source, question: Question[_P, _T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[object, ...]:
    return (source, source.preview, question.name, args, tuple(sorted(kwargs.items())))
