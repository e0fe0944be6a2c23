"""Guess first: an exercise, a guess, and then the answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui.learn.progress import KEY, Progress
from quantlib import wording
from quantlib.lessons.exercises import LEVELS, Exercise, exercise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pages.ui.learn.texts import Text

SEED = "learn.seed"
LEVEL = "learn.level"
LARGEST_SEED = 99_999


def read_guess(typed: str) -> float | None:
    """Return a typed number, with a point or a comma; None for anything else."""
    try:
        value = float(typed.strip().replace("−", "-").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def draw(lesson: int, text: Text, words: Mapping[str, str]) -> None:
    """Draw the exercise of a lesson at the level and number that the link says."""
    with st.container(border=True):
        title, levels, numbers, other = st.columns(
            [3, 3, 2, 2], vertical_alignment="bottom", gap="small"
        )
        title.markdown(f"#### {words['guess_first']}")
        level = int(
            levels.segmented_control(
                words["level"], [str(level) for level in LEVELS], default="1", required=True,
                key=LEVEL, bind="query-params", help=words["level_help"],
            )
            or 1
        )  # fmt: skip
        seed = int(
            numbers.number_input(
                words["seed"], 1, LARGEST_SEED, 1, key=SEED, bind="query-params",
                help=words["seed_help"],
            )
        )  # fmt: skip
        other.button(words["other_numbers"], key="learn.other", on_click=_next_seed)
        found = exercise(lesson, level, seed)
        asked = text.exercises[level]
        st.markdown(asked.ask.format(**found.numbers))
        name = f"{lesson}.{level}.{seed}"
        given = _ask(name, lesson, level, found, words)
        if st.session_state.get(f"learn.shown.{name}"):
            st.info(asked.because.format(**found.numbers, answer=shown(found)))
        elif given is not None and found.accepts(given):
            st.success(
                f"**{words['right']}** {asked.because.format(**found.numbers, answer=shown(found))}"
            )
        elif given is not None:
            st.warning(f"**{words['not_yet']}** {asked.hint.format(**found.numbers)}")
            st.button(
                words["show_answer"], key=f"learn.show.{name}",
                on_click=lambda: st.session_state.update({f"learn.shown.{name}": True}),
            )  # fmt: skip


def shown(found: Exercise) -> str:
    """Return the answer as it is printed."""
    return str(int(found.answer)) if found.is_integer else wording.number(found.answer)


def _ask(
    name: str, lesson: int, level: int, found: Exercise, words: Mapping[str, str]
) -> float | None:
    """Draw the place for a guess; return the guess that was checked."""
    field, button = st.columns([2, 3], vertical_alignment="bottom")
    key = f"learn.guess.{name}"
    field.text_input(
        words["your_guess"], key=key, max_chars=30, placeholder=words["a_number"],
        help=words["guess_help"], on_change=_check, args=(name, lesson, level, found),
    )  # fmt: skip
    button.button(
        words["check"], key=f"learn.check.{name}", type="primary",
        on_click=_check, args=(name, lesson, level, found),
    )  # fmt: skip
    typed = st.session_state.get(f"learn.checked.{name}")
    if not typed:
        return None
    value = read_guess(typed)
    if value is None:
        st.error(words["no_number"])
    return value


def _check(name: str, lesson: int, level: int, found: Exercise) -> None:
    """Keep the guess; a right one without the answer shown counts."""
    typed = str(st.session_state.get(f"learn.guess.{name}") or "")
    st.session_state[f"learn.checked.{name}"] = typed
    value = read_guess(typed)
    if value is not None and found.accepts(value) and f"learn.shown.{name}" not in st.session_state:
        progress = Progress.read(str(st.session_state.get(KEY) or ""))
        st.session_state[KEY] = progress.with_solved(lesson, level).code


def _next_seed() -> None:
    st.session_state[SEED] = int(st.session_state.get(SEED) or 1) % LARGEST_SEED + 1
