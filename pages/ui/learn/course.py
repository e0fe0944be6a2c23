"""A teacher's choice of lessons with their settings: in a link, or a small JSON file."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantlib.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pages.ui.learn.stage import Lesson

KEY = "learn.course"
SCHEMA = 1
MAX_STEPS = 40
MAX_BYTES = 64 * 1024
"""Longest document that is read, also after decompression."""


@dataclass(frozen=True, slots=True)
class Step:
    """A lesson, and what its controls are set to; others keep their defaults."""

    lesson: int
    state: tuple[tuple[str, Any], ...]


def dump(steps: Sequence[Step]) -> str:
    """Return a course as JSON."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "course": [{"lesson": s.lesson, "state": dict(s.state)} for s in steps],
        },
        indent=1,
    )


def load(document: str | bytes, lessons: Mapping[int, Lesson]) -> tuple[Step, ...]:
    """Read a course.

    Raises
    ------
    ConfigurationError
        No JSON of this schema, or a lesson, control or value that does not exist.
    """
    if len(document) > MAX_BYTES:
        raise ConfigurationError(f"a course has at most {MAX_BYTES} bytes, not {len(document)}.")
    try:
        read = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"the course is no JSON: {str(error)[:80]}.") from None
    if not isinstance(read, dict) or read.get("schema") != SCHEMA:
        raise ConfigurationError(f"$.schema is not {SCHEMA}; a course of this version has it.")
    entries = read.get("course")
    if not isinstance(entries, list) or len(entries) > MAX_STEPS:
        raise ConfigurationError(f"$.course is no list of at most {MAX_STEPS} lessons.")
    return tuple(_step(entry, f"$.course[{i}]", lessons) for i, entry in enumerate(entries))


def _step(entry: Any, path: str, lessons: Mapping[int, Lesson]) -> Step:
    if not isinstance(entry, dict) or not isinstance(entry.get("state", {}), dict):
        raise ConfigurationError(f'{path} is not {{"lesson": ..., "state": {{...}}}}.')
    number = entry.get("lesson")
    if isinstance(number, bool) or not isinstance(number, int) or number not in lessons:
        raise ConfigurationError(
            f"{path}.lesson is {number!r:.40}; lessons are 1 to {len(lessons)}."
        )
    controls = {control.name: control for control in lessons[number].controls}
    state = []
    for name, value in entry.get("state", {}).items():
        if name not in controls:
            raise ConfigurationError(
                f"{path}.state.{name:.40} is no control of lesson {number}; it has "
                f"{', '.join(controls)}."
            )
        if not controls[name].takes(value):
            raise ConfigurationError(f"{path}.state.{name} cannot be {value!r:.40}.")
        state.append((name, controls[name].restored(value)))
    return Step(number, tuple(state))


def encode(steps: Sequence[Step]) -> str:
    """Return a course as text for a link; an empty one is empty."""
    if not steps:
        return ""
    packed = zlib.compress(json.dumps(json.loads(dump(steps)), separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(code: str, lessons: Mapping[int, Lesson]) -> tuple[Step, ...]:
    """Read a course from a link.

    Raises
    ------
    ConfigurationError
        As for `load`, and for text that is no code.
    """
    if not code:
        return ()
    try:
        packed = base64.b64decode(
            code.encode("ascii") + b"=" * (-len(code) % 4), altchars=b"-_", validate=True
        )
        reader = zlib.decompressobj()
        document = reader.decompress(packed, MAX_BYTES)
    except (ValueError, binascii.Error, zlib.error):
        raise ConfigurationError(
            "the course in the link is damaged; ask for the link again."
        ) from None
    if reader.unconsumed_tail:
        raise ConfigurationError(f"the course in the link is longer than {MAX_BYTES} bytes.")
    return load(document, lessons)
