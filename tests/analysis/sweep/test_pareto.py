from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantlib as ql
from quantlib.analysis.sweep.pareto import pareto_front

Table = npt.NDArray[np.float64]

FIGURES = st.one_of(
    st.integers(-3, 3).map(float), st.sampled_from([float("inf"), -float("inf"), float("nan")])
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, list[bool]]:
    """Few values, so that ties and equal points are common."""
    measures = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(FIGURES, min_size=measures, max_size=measures), max_size=25))
    directions = draw(st.lists(st.booleans(), min_size=measures, max_size=measures))
    return np.array(rows, dtype=np.float64).reshape(-1, measures), directions


def dominates(a: Table, b: Table, maximize: list[bool]) -> bool:
    """The definition, written out measure by measure."""
    pairs = [(x, y) if up else (y, x) for x, y, up in zip(a, b, maximize, strict=True)]
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


@given(tables())
def test_no_point_of_the_front_is_dominated_and_every_other_is(
    case: tuple[Table, list[bool]],
) -> None:
    values, maximize = case
    on_front = pareto_front(values, maximize=maximize)
    assert on_front.shape == (len(values),)
    for point, chosen in zip(values, on_front, strict=True):
        beaten = any(dominates(other, point, maximize) for other in values[on_front])
        if np.isnan(point).any():
            assert not chosen
        else:
            assert chosen != beaten


@given(tables(), st.randoms())
def test_the_front_does_not_depend_on_the_order_of_points(
    case: tuple[Table, list[bool]], shuffle: object
) -> None:
    values, maximize = case
    order = np.arange(len(values))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    assert np.array_equal(
        pareto_front(values[order], maximize=maximize),
        pareto_front(values, maximize=maximize)[order],
    )


def test_accuracy_against_width_keeps_the_best_of_each_width() -> None:
    points = np.array([[0.9, 12], [0.8, 10], [0.8, 11], [0.95, 14], [0.95, 14], [0.7, 10]])
    found = pareto_front(points, maximize=[True, False])
    assert found.tolist() == [True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("shape", "directions"), [((3, 2), [True]), ((3,), [True]), ((3, 0), [])], ids=str
)
def test_a_table_that_does_not_fit_the_directions_is_refused(
    shape: tuple[int, ...], directions: list[bool]
) -> None:
    with pytest.raises(ql.TensorError, match="one column"):
        pareto_front(np.zeros(shape), maximize=directions)
