"""Courses and progress: what a link or a file can carry, and what it cannot break."""

from __future__ import annotations

import base64
import contextlib
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.ui.learn import course
from pages.ui.learn.course import Step
from pages.ui.learn.lessons import LESSONS
from pages.ui.learn.progress import Progress
from quantlib.errors import ConfigurationError

STEPS = (
    Step(1, (("view", "around"), ("range", (-1.5, 2.0)), ("n_bits", 8))),
    Step(10, (("tensor", "ties"), ("clip", "AVG"))),
    Step(4, (("symmetric", True), ("layer", "/c1/Conv"), ("channel", 3))),
    Step(1, ()),
)


def test_a_course_survives_file_and_link() -> None:
    assert course.load(course.dump(STEPS), LESSONS) == STEPS
    assert course.decode(course.encode(STEPS), LESSONS) == STEPS
    assert course.decode("", LESSONS) == ()
    assert course.encode(()) == ""


def document(lesson: Any = 1, state: Any = None, schema: Any = 1) -> str:
    return json.dumps(
        {"schema": schema, "course": [{"lesson": lesson, "state": {} if state is None else state}]}
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"), ("[]", "schema"), (document(schema=2), "schema"),
        ('{"schema": 1}', "list"), ('{"schema": 1, "course": [3]}', "course"),
        (document(lesson=11), "lesson"), (document(lesson=True), "lesson"),
        (document(lesson="1"), "lesson"), (document(state=[1]), "course"),
        (document(state={"other": 1}), "no control"), (document(state={"n_bits": 9}), "n_bits"),
        (document(state={"n_bits": 3.5}), "n_bits"), (document(state={"n_bits": "3"}), "n_bits"),
        (document(state={"view": "x"}), "view"), (document(state={"range": [3, 1]}), "range"),
        (document(state={"range": [1]}), "range"), (document(state={"value": 1e9}), "value"),
        (document(lesson=4, state={"symmetric": 1}), "symmetric"),
        (document(lesson=4, state={"layer": "x" * 400}), "layer"),
        ("[" * 60_000, "JSON"), (" " * 70_000, "bytes"),
        (json.dumps({"schema": 1, "course": [{"lesson": 1}] * 41}), "list"),
    ],
)  # fmt: skip
def test_a_wrong_document_is_one_error_that_says_where(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        course.load(text, LESSONS)


@given(st.text(max_size=60))
def test_any_text_in_the_link_is_a_course_or_one_error(code: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert all(step.lesson in LESSONS for step in course.decode(code, LESSONS))


def test_a_bomb_in_the_link_is_refused() -> None:
    packed = base64.urlsafe_b64encode(zlib.compress(b" " * 10**7)).decode().rstrip("=")
    with pytest.raises(ConfigurationError, match="longer"):
        course.decode(packed, LESSONS)


def test_progress_counts_each_level_once_and_survives_the_link() -> None:
    progress = Progress.read("").with_solved(3, 1).with_solved(3, 3).with_solved(3, 1)
    assert progress.score == 2
    assert progress.marks(3) == "●○●"
    assert progress.marks(1) == "○○○"
    assert progress.code == "0050000000"
    assert Progress.read(progress.code) == progress
    assert Progress().code == ""


@pytest.mark.parametrize("code", ["", "x", "8000000000", "123", "00500000000", "٣٣٣٣٣٣٣٣٣٣"])
def test_nonsense_is_no_progress(code: str) -> None:
    assert Progress.read(code).score == 0
