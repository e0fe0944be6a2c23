"""The Learn screen: which lesson, in which language, for whom; progress and courses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from pages.ui import frame, state, text
from pages.ui.learn import course, practice, style, texts
from pages.ui.learn.lessons import LESSONS
from pages.ui.learn.progress import KEY as PROGRESS
from pages.ui.learn.progress import Progress
from pages.ui.learn.stage import Stage
from quantlib.errors import ConfigurationError, QuantlibError

if TYPE_CHECKING:
    from pages.ui.current import Current
    from pages.ui.learn.course import Step

LESSON = "learn.lesson"
LANGUAGE = "learn.language"
PROJECTOR = "learn.projector"
NUMBERS = [str(number) for number in LESSONS]


def draw(current: Current | None) -> None:
    """Draw the lesson that the link says."""
    progress = Progress.read(str(_set_to(PROGRESS) or ""))
    number, language, large = _bar()
    words, found = texts.common(language), texts.lesson(language, number)
    if large:
        st.markdown(f"**{number} · {found.title}.** {found.idea}")
    else:
        st.markdown(f"#### {number} · {found.title}")
        st.markdown(f"**{found.idea}**")
    if found.language != language:
        st.caption(words["not_translated"])
    _stage(number, language, current, large)
    practice.draw(number, found, words)
    if not large:
        with st.expander(words["why"], icon=":material/menu_book:", expanded=False):
            st.markdown(found.story)
    _progress(number, language, progress)
    _teacher(number, language)
    style.show(large=large)


@st.fragment
def _stage(number: int, language: str, current: Current | None, large: bool) -> None:
    """Draw controls, formula and figure; a control redraws nothing else."""
    lesson = LESSONS[number]
    with frame.shown_errors():
        lesson.draw(Stage(lesson, texts.lesson(language, number), current, large))


def _bar() -> tuple[int, str, bool]:
    """Draw what chooses the lesson; return its number, the language, and if for a projector."""
    known = str(_set_to(LANGUAGE))
    words = texts.common(known if known in texts.LANGUAGES else texts.DEFAULT)
    labels: Literal["visible", "collapsed"] = (
        "collapsed" if _set_to(PROJECTOR) in (True, "true") else "visible"
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.button(
            "←", key="learn.previous",
            on_click=_turn, args=(-1,), help=words["previous_help"],
        )  # fmt: skip
        chosen = st.segmented_control(
            words["lesson"], NUMBERS, default="1", required=True, key=LESSON,
            bind="query-params", help=words["lesson_help"], label_visibility=labels, wrap=True,
        )  # fmt: skip
        st.button(
            "→", key="learn.next",
            on_click=_turn, args=(1,), help=words["next_help"],
        )  # fmt: skip
        language = st.segmented_control(
            words["language"], list(texts.LANGUAGES), default=texts.DEFAULT, required=True,
            key=LANGUAGE, bind="query-params", help=words["language_help"], label_visibility=labels,
        )  # fmt: skip
        large = st.toggle(
            words["projector"], key=PROJECTOR, bind="query-params",
            help=words["projector_help"],
        )  # fmt: skip
    return int(chosen or 1), str(language or texts.DEFAULT), large


def _set_to(key: str) -> object:
    """Return what a control is set to before it is drawn: by the session, or by the link."""
    return st.session_state.get(key, st.query_params.get(key, ""))


def _turn(by: int) -> None:
    """Go to the next or previous lesson, of the course where there is one."""
    steps = _steps()
    if steps:
        at = int(st.session_state.get("learn.at", -1 if by > 0 else 0))
        _open((at + by) % len(steps))
        return
    now = int(st.session_state.get(LESSON) or 1)
    st.session_state[LESSON] = NUMBERS[(now - 1 + by) % len(NUMBERS)]


def _steps() -> tuple[Step, ...]:
    try:
        return course.decode(str(st.session_state.get(course.KEY) or ""), LESSONS)
    except QuantlibError:
        return ()


def _open(place: int) -> None:
    """Show a step of the course: its lesson, with its settings."""
    step = _steps()[place]
    st.session_state["learn.at"] = place
    st.session_state[LESSON] = str(step.lesson)
    for name, value in step.state:
        st.session_state[LESSONS[step.lesson].key(name)] = value


def _progress(number: int, language: str, progress: Progress) -> None:
    """Draw all lessons with their marks; the code of what is solved is in the link."""
    words = texts.common(language)
    score = words["standing"].format(
        marks=progress.marks(number), score=progress.score, most=progress.most
    )
    with st.expander(f"{words['progress']} · {score}", icon=":material/checklist:"):
        for n in LESSONS:
            title = texts.lesson(language, n).title
            st.button(
                f"{progress.marks(n)}  {n} · {title}", key=f"learn.go.{n}", type="tertiary",
                on_click=lambda n=n: st.session_state.update({LESSON: str(n)}),
            )  # fmt: skip
        st.text_input(
            words["progress_code"], key=PROGRESS, max_chars=len(LESSONS), bind="query-params",
            help=words["progress_help"],
        )  # fmt: skip


def _teacher(number: int, language: str) -> None:
    """Draw the course: its steps, add, clear, download, upload."""
    words = texts.common(language)
    with st.expander(words["teacher"], icon=":material/co_present:"):
        st.caption(words["teacher_help"])
        st.text_input(
            words["course_code"], key=course.KEY, bind="query-params", help=words["course_help"]
        )
        try:
            steps = course.decode(str(st.session_state.get(course.KEY) or ""), LESSONS)
        except ConfigurationError as error:
            st.error(text.plain(str(error), limit=300))
            steps = ()
        for place, step in enumerate(steps):
            set_to = ", ".join(f"{name} {value}" for name, value in step.state)
            title = texts.lesson(language, step.lesson).title
            st.button(
                f"{place + 1}. {title}", key=f"learn.step.{place}", on_click=_open, args=(place,),
                help=text.plain(set_to, limit=200) or None, type="tertiary",
            )  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.button(
                words["add_step"], key="learn.add", on_click=_add, args=(number,),
                disabled=len(steps) >= course.MAX_STEPS,
            )  # fmt: skip
            st.button(words["clear_course"], key="learn.clear", on_click=_clear, disabled=not steps)
            st.download_button(
                words["download_course"], course.dump(steps), file_name="course.json",
                mime="application/json", key="learn.download", on_click="ignore",
                disabled=not steps,
            )  # fmt: skip
        st.file_uploader(
            words["upload_course"], type="json", key="learn.upload", on_change=_upload,
            help=words["upload_help"],
        )  # fmt: skip
        frame.show_message("learn")


def _add(number: int) -> None:
    """Put the lesson as it stands at the end of the course."""
    lesson = LESSONS[number]
    kept: list[tuple[str, Any]] = []
    for control in lesson.controls:
        value = st.session_state.get(lesson.key(control.name))
        if value is not None and control.takes(value):
            kept.append((control.name, value))
    steps = (*_steps(), course.Step(number, tuple(kept)))
    st.session_state[course.KEY] = course.encode(steps)


def _clear() -> None:
    st.session_state[course.KEY] = ""
    st.session_state.pop("learn.at", None)


def _upload() -> None:
    """Take a course from a file; a refused one changes nothing."""
    file = st.session_state["learn.upload"]
    if file is None:
        return
    try:
        steps = course.load(file.getvalue(), LESSONS)
    except ConfigurationError as error:
        state.say("learn", done=False, words=f"{file.name}: {error}")
        return
    st.session_state[course.KEY] = course.encode(steps)
    st.session_state.pop("learn.at", None)
    state.say("learn", done=True, words=f"{file.name} is loaded.")
