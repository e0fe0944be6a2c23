"""Where the vertices of a diagram stand: layers from top to bottom, few crossings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from fast_sugiyama import from_edges

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.arrays import FloatArray

_SPACING = 72.0
"""Distance of neighbours and of layers in the library's answer."""

_FREE_ROOM = 2000
_ROOM_EACH = 10
"""Layers that edges may cross in sum, at least and per vertex; longer edges are drawn straight."""

_HUB = 6
_NEAR = 4
"""From a vertex with more readers than the first, edges over more layers than the second are drawn
straight: laid side by side they would push the model aside."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Positions in steps: one step right to the next vertex, one step up to the layer above.

    Parameters
    ----------
    x, y : float64 arrays, (vertices,)
        Centres; the lowest layer of the tallest part is at 0.
    routes : tuple of float64 arrays, (points, 2)
        Way of each edge, from its source to its target, in the order of the edges.
    routed : tuple of bool
        Whether the way of an edge was laid; False for one so long that it is drawn straight.
    """

    x: FloatArray
    y: FloatArray
    routes: tuple[FloatArray, ...]
    routed: tuple[bool, ...]


def layered(count: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay a graph out in layers by Sugiyama's method.

    Parameters
    ----------
    count : int
        Vertices, numbered from 0.
    edges : sequence of (int, int)
        From the lower number to the higher one; a pair may occur more than once.

    Returns
    -------
    Layout
        Parts that are not connected stand side by side, tops aligned.

    Raises
    ------
    OptionsError
        An edge does not lead to a higher number: the library ends the process at a cycle.

    Notes
    -----
    Crossings by the barycenter method, coordinates by Brandes and Köpf; package fast-sugiyama. An
    edge costs it as much as the layers that it crosses: a mask that each of 400 layers reads would
    take longer than all the rest, so that the longest edges take no part.
    """
    for source, target in edges:
        if not 0 <= source < target < count:
            raise OptionsError(f"edge {source} to {target} leads to no later vertex.")
    laid = _short(count, edges)
    x, y = np.zeros(count), np.zeros(count)
    placed = np.zeros(count, dtype=bool)
    points: dict[int, tuple[float, float]] = {}
    follows: dict[int, list[int]] = {}
    right = 0.0
    for positions, _, height, drawn in from_edges(sorted(laid), dummy_vertices=True) or ():
        at = {
            int(v): (px / _SPACING + right, (py - height) / _SPACING) for v, (px, py) in positions
        }
        # numbers of the points between are given anew in each part
        offset = (len(points) + 1) * count
        for vertex, (px, py) in at.items():
            if vertex < count:
                x[vertex], y[vertex], placed[vertex] = px, py, True
            points[vertex if vertex < count else vertex + offset] = (px, py)
        for start, end in drawn or ():
            a, b = int(start), int(end)
            follows.setdefault(a + offset * (a >= count), []).append(b + offset * (b >= count))
        right = max(px for px, _ in at.values()) + 1.5
    for alone in np.flatnonzero(~placed):
        x[alone], right = right, right + 1.5
    y -= y.min(initial=0.0)
    lowest = min((py for _, py in points.values()), default=0.0)
    ways = _ways(count, follows, {v: (px, py - lowest) for v, (px, py) in points.items()})
    routes, routed = [], []
    for source, target in edges:
        way = ways.get((source, target))
        routed.append(way is not None)
        straight = np.array([(x[source], y[source]), (x[target], y[target])])
        routes.append(straight if way is None else way)
    return Layout(x, y, tuple(routes), tuple(routed))


def _short(count: int, edges: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the edges that are laid: the shortest, as far as the room for crossings goes."""
    ranks = [0] * count
    for source, target in sorted(set(edges)):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    readers = Counter(source for source, _ in set(edges))
    spans = sorted(
        (ranks[b] - ranks[a], a, b)
        for a, b in set(edges)
        if readers[a] <= _HUB or ranks[b] - ranks[a] <= _NEAR
    )
    room = _FREE_ROOM + _ROOM_EACH * count
    kept = np.cumsum([span for span, *_ in spans]) <= room
    return {(a, b) for (_, a, b), keep in zip(spans, kept, strict=True) if keep}


def _ways(
    count: int, follows: dict[int, list[int]], points: dict[int, tuple[float, float]]
) -> dict[tuple[int, int], FloatArray]:
    """Return the way of each laid edge through the points between."""
    ways = {}
    for source in [vertex for vertex in follows if vertex < count]:
        for first in follows[source]:
            way = [source, first]
            while way[-1] >= count:
                way.append(follows[way[-1]][0])
            ways[source, way[-1]] = np.array([points[vertex] for vertex in way])
    return ways
