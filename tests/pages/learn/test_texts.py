"""Texts of lessons: whole in English, one lesson translated, every place filled."""

from __future__ import annotations

import string
import tomllib
from typing import TYPE_CHECKING

import pytest

from pages.ui.learn import texts
from pages.ui.learn.controls import Choice
from pages.ui.learn.lessons import LESSONS
from quantlib.lessons.exercises import LEVELS, exercise

if TYPE_CHECKING:
    from pathlib import Path

TRANSLATED = [path for path in texts.FOLDER.glob("*/*.toml") if path.parent.name != texts.DEFAULT]


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_has_words_for_each_control_and_option(number: int) -> None:
    found = texts.lesson("en", number)
    assert found.controls.keys() == {control.name for control in LESSONS[number].controls}
    for control in LESSONS[number].controls:
        words = found.controls[control.name]
        assert words.label
        assert words.help
        if isinstance(control, Choice):
            assert words.words.keys() <= set(control.options)
    assert found.idea.endswith(".")
    assert len(found.story) > 300


@pytest.mark.parametrize("number", LESSONS)
@pytest.mark.parametrize("level", LEVELS)
def test_an_exercise_shows_all_numbers_that_it_needs(number: int, level: int) -> None:
    numbers = exercise(number, level, 1).numbers
    asked = texts.lesson("en", number).exercises[level]
    assert places(asked.ask) == numbers.keys()
    assert places(asked.hint) <= numbers.keys()
    assert places(asked.because) <= {*numbers, "answer"}
    assert "answer" in places(asked.because)


def keys(document: dict[str, object], path: str = "") -> dict[str, set[str]]:
    """Every text by its path, with its places."""
    found: dict[str, set[str]] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            found |= keys(value, f"{path}.{key}")
        else:
            found[f"{path}.{key}"] = places(str(value)) if key != "story" else set()
    return found


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_translation_has_the_texts_and_places_of_the_original(path: Path) -> None:
    original = texts.FOLDER / texts.DEFAULT / path.name
    both = [tomllib.loads(p.read_text(encoding="utf-8")) for p in (original, path)]
    assert keys(both[0]) == keys(both[1])


def test_one_lesson_is_translated_and_others_fall_back_to_english() -> None:
    assert texts.lesson("de", 1).language == "de"
    assert texts.lesson("de", 1).title != texts.lesson("en", 1).title
    assert texts.lesson("de", 2).language == "en"
    assert texts.common("de").keys() == texts.common("en").keys()
