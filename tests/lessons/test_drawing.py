"""Exercises never repeat their numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlib.errors import OptionsError
from quantlib.lessons.drawing import drawn
from quantlib.lessons.exercises import LESSONS, LEVELS, exercise


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 10**6))
def test_as_many_neighbours_as_there_are_combinations_are_all_different(
    sizes: list[int], start: int
) -> None:
    total = math.prod(sizes)
    found = {drawn(start + i, *(range(size) for size in sizes)) for i in range(total)}
    assert len(found) == total


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("lesson", LESSONS)
def test_three_hundred_neighbouring_exercises_have_different_numbers(
    lesson: int, level: int
) -> None:
    shown = [tuple(exercise(lesson, level, seed).numbers.items()) for seed in range(300)]
    assert len(set(shown)) == 300


def test_a_number_gives_the_same_exercise_again() -> None:
    first, again = exercise(4, 2, 77), exercise(4, 2, 77)
    assert (dict(first.numbers), first.answer) == (dict(again.numbers), again.answer)


@pytest.mark.parametrize(
    ("lesson", "level", "seed"), [(0, 1, 1), (11, 1, 1), (1, 4, 1), (1, 1, -1)]
)
def test_what_is_no_exercise_is_refused(lesson: int, level: int, seed: int) -> None:
    with pytest.raises(OptionsError):
        exercise(lesson, level, seed)
