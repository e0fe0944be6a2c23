"""What lessons say, one file per lesson and language; English where there is no translation."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent
DEFAULT = "en"
LANGUAGES: Mapping[str, str] = MappingProxyType({"en": "English", "de": "Deutsch"})
"""Languages by their code, as they name themselves."""


@dataclass(frozen=True, slots=True)
class ExerciseText:
    """The words of one exercise, with places for its numbers: ``{n_bits}``, ``{answer}``."""

    ask: str
    hint: str
    because: str


@dataclass(frozen=True, slots=True)
class ControlText:
    """Label and help of a control; words of its options."""

    label: str
    help: str
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Text:
    """All text of a lesson.

    Parameters
    ----------
    language : str
        The one it is written in.
    title : str
        Of the lesson.
    idea : str
        The one sentence to remember.
    alt : str
        What the figure shows, for people who do not see it.
    story : str
        The explanation, Markdown.
    controls : mapping
        By name.
    figure : mapping of str to str
        Words inside figures.
    says : mapping of str to str
        Sentences with places for numbers.
    exercises : mapping of int to ExerciseText
        By level.
    """

    language: str
    title: str
    idea: str
    alt: str
    story: str
    controls: Mapping[str, ControlText]
    figure: Mapping[str, str]
    says: Mapping[str, str]
    exercises: Mapping[int, ExerciseText]


def lesson(language: str, number: int) -> Text:
    """Return the text of a lesson, in English where it is not translated."""
    name = f"{number:02}.toml"
    found = language if (FOLDER / language / name).is_file() else DEFAULT
    return _lesson(found, name)


def common(language: str) -> Mapping[str, str]:
    """Return what the screen itself says."""
    found = language if (FOLDER / language / "common.toml").is_file() else DEFAULT
    return _common(found)


@lru_cache
def _common(language: str) -> Mapping[str, str]:
    return MappingProxyType(_read(language, "common.toml"))


@lru_cache
def _lesson(language: str, name: str) -> Text:
    document = _read(language, name)
    return Text(
        language=language,
        title=document["title"],
        idea=document["idea"],
        alt=document["alt"],
        story=document["story"],
        controls={
            key: ControlText(entry["label"], entry["help"], entry.get("words", {}))
            for key, entry in document["controls"].items()
        },
        figure=document["figure"],
        says=document.get("says", {}),
        exercises={
            int(level): ExerciseText(entry["ask"], entry["hint"], entry["because"])
            for level, entry in document["exercise"].items()
        },
    )


def _read(language: str, name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / language / name).read_text(encoding="utf-8"))
