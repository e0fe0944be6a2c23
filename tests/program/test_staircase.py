"""Bisection against evaluation at every integer."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantlib.program.staircase import Staircase, bisect, tabulate


@given(
    low=st.integers(-3000, 3000),
    width=st.integers(1, 5000),
    slopes=st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=5),
    shift=st.floats(-50, 50),
)
def test_bisection_finds_every_step_of_monotone_functions(
    low: int, width: int, slopes: list[float], shift: float
) -> None:
    slope = np.array(slopes)

    def evaluate(integers: Any) -> Any:
        return np.clip(np.rint(integers * slope + shift), -20, 20).astype(np.int64)

    high = low + width - 1
    found = bisect(evaluate, low=low, high=high, rows=len(slopes))
    wanted = tabulate(evaluate, low=low, high=high, rows=len(slopes))
    integers = np.arange(low, high + 1)
    table = evaluate(np.broadcast_to(integers[:, None], (width, len(slopes))))
    for row, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert mine.equals(theirs)
        assert np.array_equal(mine(integers), table[:, row])
        assert mine.is_monotone


def test_a_staircase_joins_equal_neighbours() -> None:
    integers = np.arange(-3, 4)
    stairs = Staircase.of_samples(integers, np.array([5, 5, 2, 2, 2, 5, 6]))
    assert stairs.thresholds.tolist() == [-1, 2, 3]
    assert stairs.values.tolist() == [5, 2, 5, 6]
    assert not stairs.is_monotone
    assert stairs(np.array([-3, -2, -1, 1, 2, 3])).tolist() == [5, 5, 2, 2, 5, 6]
