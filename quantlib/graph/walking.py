"""Walks over ONNX graphs that hold graphs.

They recurse over bodies only, whose depth `quantlib.graph.growth.check_depth` bounds before.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import onnx


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs that a node holds: branches of an If, bodies of a Loop or Scan."""
    found: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        found += [attribute.g] if attribute.HasField("g") else []
        found += attribute.graphs
    return found


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and every graph inside it, outer ones first."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from all_graphs(body)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of a graph and of the graphs inside it."""
    for found in all_graphs(graph):
        yield from found.node


def everything(model: onnx.ModelProto) -> tuple[list[onnx.GraphProto], list[onnx.NodeProto]]:
    """Return all graphs and all nodes of a model, those inside its functions included."""
    graphs, nodes = list(all_graphs(model.graph)), list(all_nodes(model.graph))
    for function in model.functions:
        nodes += function.node
        for node in function.node:
            for body in bodies(node):
                graphs += all_graphs(body)
                nodes += all_nodes(body)
    return graphs, nodes


def given_in(graph: onnx.GraphProto) -> set[str]:
    """Return the names that a graph's inputs and constants have."""
    given = {value.name for value in [*graph.input, *graph.initializer]}
    given.update(tensor.values.name for tensor in graph.sparse_initializer)
    return given


def read_by(node: onnx.NodeProto) -> list[str]:
    """Return what a node reads, its own inputs first, then what its bodies read from outside."""
    found = [name for name in node.input if name]
    for body in bodies(node):
        found += read_from_outside(body)
    return list(dict.fromkeys(found))


def read_from_outside(graph: onnx.GraphProto) -> list[str]:
    """Return the names that a body reads and does not make."""
    made = given_in(graph)
    made.update(name for node in graph.node for name in node.output)
    names = [name for node in graph.node for name in read_by(node)]
    names += [value.name for value in graph.output]
    return [name for name in dict.fromkeys(names) if name not in made]


def topological_order(
    reads: Sequence[Iterable[str]], makes: Sequence[Iterable[str]]
) -> tuple[list[int], list[int]]:
    """Sort nodes after what they read, keeping their order elsewhere.

    Parameters
    ----------
    reads, makes : sequences of names
        What each node reads and makes; what no node makes is there from the start.

    Returns
    -------
    order : list of int
        The nodes that can run, in the order in which they can.
    early : list of int
        The nodes that stand before something they read, each once.
    """
    makers = {name: i for i, names in enumerate(makes) for name in names if name}
    waits: list[int] = []
    readers: dict[int, list[int]] = defaultdict(list)
    early = []
    for i, names in enumerate(reads):
        sources = {makers[name] for name in names if name in makers}
        waits.append(len(sources))
        early += [i] if max(sources, default=-1) >= i else []
        for source in sources:
            readers[source].append(i)
    ready = [i for i, count in enumerate(waits) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for reader in readers[i]:
            waits[reader] -= 1
            if not waits[reader]:
                heapq.heappush(ready, reader)
    return order, early
