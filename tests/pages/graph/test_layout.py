"""Where vertices stand: below what they read, never on one another."""

from __future__ import annotations

import numpy as np
import pytest

from pages.ui.graph.layout import layered
from quantlib.errors import OptionsError

LADDER = [edge for i in range(0, 40, 4) for edge in
          [(i, i + 1), (i + 1, i + 2), (i + 2, i + 3), (i, i + 3), (i + 3, i + 4)]]  # fmt: skip
MASK = [(i, i + 1) for i in range(100)] + [(0, i) for i in range(2, 100)]
GRAPHS = [
    pytest.param(2, [(0, 1)], id="two"),
    pytest.param(41, LADDER, id="residual"),
    pytest.param(101, MASK, id="mask"),
    pytest.param(6, [(0, 2), (2, 4), (1, 3), (3, 5)], id="two-parts"),
    pytest.param(4, [(0, 1)], id="alone"),
    pytest.param(3, [], id="no-edges"),
    pytest.param(9, [(i, j) for i in range(4) for j in range(4, 9)], id="complete"),
]


@pytest.mark.parametrize(("count", "edges"), GRAPHS)
def test_readers_stand_below_what_they_read(count: int, edges: list[tuple[int, int]]) -> None:
    found = layered(count, edges)
    assert all(found.y[a] - found.y[b] >= 1 for a, b in edges)


@pytest.mark.parametrize(("count", "edges"), GRAPHS)
def test_no_two_vertices_cover_each_other(count: int, edges: list[tuple[int, int]]) -> None:
    found = layered(count, edges)
    for i in range(count):
        for j in range(i):
            apart = abs(found.x[i] - found.x[j]) >= 1 - 1e-9 or found.y[i] != found.y[j]
            assert apart, (i, j)
    assert found.y.min(initial=0.0) == 0


@pytest.mark.parametrize(("count", "edges"), GRAPHS)
def test_a_way_leads_from_its_source_to_its_target(
    count: int, edges: list[tuple[int, int]]
) -> None:
    found = layered(count, edges)
    for (a, b), way in zip(edges, found.routes, strict=True):
        assert np.allclose(way[0], (found.x[a], found.y[a]))
        assert np.allclose(way[-1], (found.x[b], found.y[b]))
        assert (np.diff(way[:, 1]) < 0).all()


def test_a_laid_way_goes_round_the_vertices_between() -> None:
    found = layered(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    way = found.routes[3]
    assert len(way) == 4
    for x, y in way[1:-1]:
        assert all(abs(x - found.x[i]) >= 0.5 for i in (1, 2) if found.y[i] == y)


def test_what_every_layer_reads_does_not_push_the_model_aside() -> None:
    found = layered(101, MASK)
    assert not found.routed[-1]
    assert np.ptp(found.x) < 4
    assert all(found.routed[:100])


@pytest.mark.parametrize("edges", [[(1, 0)], [(0, 0)], [(0, 1), (1, 2), (2, 0)], [(0, 9)]])
def test_a_circle_is_refused_before_the_library_ends_the_process(
    edges: list[tuple[int, int]],
) -> None:
    with pytest.raises(OptionsError, match="leads to no later vertex"):
        layered(3, edges)
