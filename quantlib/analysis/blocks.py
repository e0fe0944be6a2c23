"""Repeated blocks of a diagram: found by what they hold, folded into one vertex each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.diagram import Diagram, Edge, Kind, Vertex

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from quantlib.arrays import IntArray

MAX_PERIOD = 512
"""Most vertices of one repetition that are looked for."""

MAX_FOLDED = 24
"""Most vertices that a run of repetitions is folded to; of longer runs each holds several."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive vertices that are folded together.

    Parameters
    ----------
    title : str
        What it is called: the beginning that its nodes' names share, or its operators.
    first, stop : int
        Its vertices in the diagram, ``range(first, stop)``.
    repetitions : int
        How many times it holds what repeats.
    """

    title: str
    first: int
    stop: int
    repetitions: int


def repeated_blocks(diagram: Diagram) -> tuple[Block, ...]:
    """Return the repeated blocks of a diagram, in order and without overlap.

    Parameters
    ----------
    diagram : Diagram
        From `quantlib.analysis.diagram.diagram`.

    Returns
    -------
    tuple of Block
        Two repetitions of four vertices and more, or four of two and more, with the same
        operators and inner edges. From the first vertex on, the run that covers most is taken,
        of equal ones that with the smallest block.
    """
    labels = _labels(diagram)
    count = len(labels)
    runs = {p: _runs(labels, p) for p in range(2, min(count // 2, MAX_PERIOD) + 1)}
    inner = _inner_edges(diagram)
    found: list[Block] = []
    at = 0
    while at < count:
        best: tuple[int, int] | None = None
        for period, run in runs.items():
            if at >= len(run):
                break
            times = int(run[at]) // period + 1
            if times < 2 or (best is not None and times * period <= best[0] * best[1]):
                continue
            times = _alike(inner, at, period, times)
            enough = times >= (2 if period >= 4 else 4)
            if enough and (best is None or times * period > best[0] * best[1]):
                best = (times, period)
        if best is None:
            at += 1
            continue
        found += _blocks(diagram, at, *best)
        at += best[0] * best[1]
    return tuple(found)


def folded(diagram: Diagram, blocks: Sequence[Block], opened: Collection[str] = ()) -> Diagram:
    """Return a diagram in which blocks are one vertex each, but for the opened ones.

    Parameters
    ----------
    diagram : Diagram
        The whole one.
    blocks : sequence of Block
        Of this diagram.
    opened : collection of str
        Titles of the blocks that stay as they are.

    Returns
    -------
    Diagram
        Acyclic: consecutive vertices of a topological order are left by edges to later ones only.
    """
    closed = [block for block in blocks if block.title not in opened]
    block_of = {i: block for block in closed for i in range(block.first, block.stop)}
    vertices: list[Vertex] = []
    new_index: list[int] = []
    for i, vertex in enumerate(diagram.vertices):
        block = block_of.get(i)
        if block is None:
            vertices.append(vertex)
        elif i == block.first:
            inside = diagram.vertices[block.first : block.stop]
            vertices.append(
                Vertex(
                    name=block.title,
                    kind=Kind.BLOCK,
                    place=vertex.place,
                    nodes=tuple(name for v in inside for name in v.nodes),
                    op_types=tuple(op for v in inside for op in v.op_types),
                )
            )
        new_index.append(len(vertices) - 1)
    edges = dict.fromkeys(
        replace(edge, source=new_index[edge.source], target=new_index[edge.target])
        for edge in diagram.edges
        if new_index[edge.source] != new_index[edge.target]
    )
    return replace(diagram, vertices=tuple(vertices), edges=tuple(edges))


def _labels(diagram: Diagram) -> IntArray:
    """Return a number per vertex, equal for those of equal operators; ends are unique.

    The same operators can be treated otherwise at the end of a model than inside: what repeats in
    the file is still the same block.
    """
    numbers: dict[object, int] = {}
    labels = [
        numbers.setdefault(i if v.kind is Kind.END else v.op_types, len(numbers))
        for i, v in enumerate(diagram.vertices)
    ]
    return np.array(labels, dtype=np.int64)


def _runs(labels: IntArray, period: int) -> IntArray:
    """Return for each vertex how many in a row, from it on, equal the one `period` later."""
    same = labels[:-period] == labels[period:]
    ends = np.where(same, len(same), np.arange(len(same)))
    first_other = np.minimum.accumulate(ends[::-1])[::-1]
    return np.asarray(first_other - np.arange(len(same)), dtype=np.int64)


def _inner_edges(diagram: Diagram) -> list[list[Edge]]:
    """Return the edges that enter each vertex."""
    entering: list[list[Edge]] = [[] for _ in diagram.vertices]
    for edge in diagram.edges:
        entering[edge.target].append(edge)
    return entering


def _alike(entering: list[list[Edge]], at: int, period: int, times: int) -> int:
    """Return how many repetitions have the inner edges of the first."""

    def shape(first: int) -> list[set[int]]:
        return [
            {edge.source - first for edge in entering[i] if edge.source >= first}
            for i in range(first, first + period)
        ]

    model = shape(at)
    for repetition in range(1, times):
        if shape(at + repetition * period) != model:
            return repetition
    return times


def _blocks(diagram: Diagram, at: int, times: int, period: int) -> list[Block]:
    together = -(-times // MAX_FOLDED)
    found = []
    for first in range(0, times, together):
        held = min(together, times - first)
        start, stop = at + first * period, at + (first + held) * period
        inside = diagram.vertices[start:stop]
        shared = _shared_path([n for v in inside for n in v.nodes if "/" in n])
        number = first + 1
        which = f"{number}" if held == 1 else f"{number} to {number + held - 1}"
        name = shared or " ".join(dict.fromkeys(op for v in inside for op in v.op_types))[:40]
        found.append(Block(f"{name}, {which} of {times}", start, stop, held))
    return found


def _shared_path(names: Sequence[str]) -> str:
    """Return the parts, divided by slashes, that names begin with alike; not the last ones."""
    columns = zip(*(name.split("/")[:-1] for name in names), strict=False)
    return "/".join(column[0] for column in takewhile(lambda c: len(set(c)) == 1, columns))
