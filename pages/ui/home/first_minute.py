"""Home's first minute: one slider, the samples' answers, the accumulators against the limit."""

from __future__ import annotations

import atexit
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakSet

import streamlit as st

from pages.ui import engine, settings, state
from pages.ui.charts import first_minute as charts
from pages.ui.charts import theme
from pages.ui.home import picture
from quantlib import wording
from quantlib.errors import QuantlibError
from quantlib.questions import first_minute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.current import Current
    from pages.ui.jobs import Job
    from quantlib.analysis.widths.criterion import Criterion
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions.first_minute import Answers, Subjects

KEY = "home.n_bits"

QUICK_S = 3.0
"""Longest answer after which the other widths are answered ahead, in the background."""

_MOVED = "home.moved"
_ahead_jobs: WeakSet[Job[Answers]] = WeakSet()


@atexit.register
def _stop() -> None:
    """End what is answered ahead: ONNX Runtime aborts a process that ends under its threads."""
    for job in list(_ahead_jobs):
        job.cancel()
    end = time.monotonic() + QUICK_S
    while any(job.running for job in list(_ahead_jobs)) and time.monotonic() < end:
        time.sleep(0.01)


@st.fragment
def show(current: Current) -> None:
    """Draw the slider and what it moves.

    A move of the slider runs this alone, so that the picture answers at once; sidebar, headline
    and address follow in a run of the whole script.
    """
    moved_to = settings.bits_later()
    if moved_to is not None:
        with suppress(QuantlibError):  # the whole page says which controls exclude this width
            current = replace(current, config=settings.config(moved_to))
    _slider(current)
    shape, names = _known_of_sample()
    found = current.ask(first_minute.subjects, shape)
    criterion = settings.criterion()
    answers, seconds = _answers(current, criterion)
    st.html(picture.style(found))
    if found.samples.size:
        st.html(picture.classes(found, answers, names, verdict(found, answers)))
    else:
        _values(found, answers)
    if moved_to is not None:
        st.rerun()
    _answer_ahead(current, criterion, seconds)


def _known_of_sample() -> tuple[tuple[int, int] | None, Sequence[str] | None]:
    """Return the shape of pictures that lie flat, and the classes' names, of a sample's data."""
    card = state.sample()
    if card is None or not state.is_sample_data():
        return None, None
    return card.image_shape, card.class_names


def _slider(current: Current) -> None:
    """Draw the slider that moves weight and activation bits together."""
    weights, activations = current.config.weights.n_bits, current.config.activations.n_bits
    if st.session_state.get(KEY) != weights:  # the sidebar's bits lead: they have moved
        st.session_state[KEY] = weights
    with st.container(key="home-n-bits"):
        st.slider(
            "n_bits of weights and activations together"
            + ("" if weights == activations else f" (now {weights} and {activations})"),
            *settings.BITS,
            key=KEY,
            on_change=_move,
            help="The sidebar's weight and activation bits, moved together. A grid of n bits has "
            "2^n codes.",
        )


def _move() -> None:
    """Set both widths of the sidebar when its controls are drawn next."""
    settings.set_bits_later(int(st.session_state[KEY]))
    st.session_state[_MOVED] = True


def verdict(found: Subjects, answers: Answers) -> str:
    """Return in a sentence of HTML how many of the shown answers are wrong."""
    wrong, shown = int((answers.classes != found.right).sum()), found.samples.size
    held_to = "are wrong" if found.labels is not None else "differ from the float model's"
    words = f"<strong>{wrong} of {shown}</strong> answers {held_to}"
    if shown < found.n_samples:
        words += f"; of all {found.n_samples}: "
        words += (
            f"{wording.scores(answers.score)} right"
            if answers.score is not None and found.labels is not None
            else f"{wording.share(answers.agreement)} the same"
        )
    those = "Wrong" if found.labels is not None else "Different"
    return f"{words}. {those} ones are framed in red and say what is answered."


def _values(found: Subjects, answers: Answers) -> None:
    """Draw real outputs against true ones, in words and as a figure, beside the accumulators."""
    targets = answers.values[2]
    score = f", {answers.score.name} {wording.scores(answers.score)}" if answers.score else ""
    left, right = st.columns([3, 2])
    with left:
        st.markdown(
            f"**{len(answers.values[1])} outputs** against "
            f"{'the true values' if targets is not None else 'the float model'}: SQNR "
            f"{wording.decibel(answers.sqnr_db)}{score}."
        )
        st.plotly_chart(
            charts.predicted(answers),
            key="home.values",
            height=charts.HEIGHT,
            config=theme.CONFIG,
            alt=f"Output {found.output}: quantized and float predictions against the true values",
        )
    with right:
        st.html(picture.accumulators(answers))


def _answers(current: Current, criterion: Criterion) -> tuple[Answers, float]:
    """Return the answers, and how long they took, s; 0 where they were known."""
    job = state.ahead_job()
    for known in [] if job is None or job.source != _ahead(current, criterion) else job.results:
        if known.config == current.config:
            return known, 0.0
    started = time.perf_counter()
    found = current.ask(first_minute.answers, current.config, criterion)
    return found, time.perf_counter() - started


def _ahead(
    current: Current, criterion: Criterion
) -> tuple[engine.Source, Criterion, tuple[QuantizationConfig, ...]]:
    """Return what is answered ahead: the model, and the configuration at every width."""
    return current.source, criterion, tuple(_at_each_width())


def _at_each_width() -> Sequence[QuantizationConfig]:
    low, high = settings.BITS
    found = []
    for n_bits in range(low, high + 1):
        with suppress(QuantlibError):  # other controls exclude this width
            found.append(settings.config(n_bits))
    return found


def _answer_ahead(current: Current, criterion: Criterion, seconds: float) -> None:
    """Answer for the other widths in the background, the nearest first, if that is quick.

    Only for somebody who moved the slider: a screen that is merely opened costs nothing more.
    """
    if _MOVED not in st.session_state or seconds > QUICK_S:
        return
    label, job = _ahead(current, criterion), state.ahead_job()
    if job is not None and job.source == label:
        return
    here = current.config.weights.n_bits
    nearest = sorted(label[2], key=lambda config: abs(config.weights.n_bits - here))
    started = engine.begin(
        current.source,
        first_minute.answers_of_each,
        ((nearest, criterion), {}),
        total=len(nearest),
        label=label,
    )
    _ahead_jobs.add(started)
    state.keep_ahead(started)
