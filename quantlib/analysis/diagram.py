"""A model as vertices and edges to be drawn: what mixes, what is fused, what moves on the way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from quantlib.analysis.preflight import inspect_model
from quantlib.ops.base import Treatment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.preflight import NodeReport
    from quantlib.graph.model import Graph, Node


class Kind(StrEnum):
    """What a vertex stands for."""

    INTEGER = "integer operator"
    """One operator that mixes integers; its accumulator must fit the limit."""

    FUNCTION = "fused function"
    """Functions of one integer tensor, one table look-up together."""

    ISLAND = "float island"
    """One operator that nobody quantizes."""

    MARK = "move or shape"
    """One operator that moves values of several tensors, or works on shapes."""

    END = "model input or output"
    """Where values enter or leave the model."""

    BLOCK = "repeated block"
    """Vertices that occur again and again, folded."""


_KINDS = {
    Treatment.INTEGER: Kind.INTEGER,
    Treatment.LOOKUP: Kind.FUNCTION,
    Treatment.FLOAT: Kind.ISLAND,
    Treatment.MOVER: Kind.MARK,
    Treatment.RAW: Kind.MARK,
}


@dataclass(frozen=True, slots=True)
class Vertex:
    """Something that is drawn.

    Parameters
    ----------
    name : str
        The first node's name, the model input's or output's, or what a block is called.
    kind : Kind
        What it stands for.
    place : int
        Number of the first node in the model, from 1 as all screens count; 0 for inputs, one more
        than there are nodes for outputs.
    nodes : tuple of str
        Names of the nodes inside, in order; empty for inputs and outputs.
    op_types : tuple of str
        Their operators.
    """

    name: str
    kind: Kind
    place: int
    nodes: tuple[str, ...] = ()
    op_types: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Number and name, unique in a diagram: ``3 /c1/Relu``, ``input x``, ``output y``."""
        if self.kind is Kind.END:
            return f"{'input' if self.place == 0 else 'output'} {self.name}"
        return f"{self.place} {self.name}"


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor on its way from one vertex to another.

    Parameters
    ----------
    source, target : int
        Indices of the vertices.
    tensor : str
        The tensor that `source` makes.
    moves : tuple of str
        Names of the nodes on the way that only move its values (Reshape, Transpose), in order.
    """

    source: int
    target: int
    tensor: str
    moves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Diagram:
    """A model's graph as it is drawn.

    Parameters
    ----------
    vertices : tuple of Vertex
        In topological order: edges lead from lower to higher indices.
    edges : tuple of Edge
        One per tensor and reader.
    op_types : mapping of str to str
        Operator of each node, also of those that edges carry.
    places : mapping of str to int
        Number of each node, from 1.

    Examples
    --------
    >>> import quantlib as ql
    >>> from quantlib.analysis.diagram import diagram
    >>> found = diagram(ql.load_model("sample_models/digits_mlp.onnx"))
    >>> [f"{vertex.kind}" for vertex in found.vertices[:3]]
    ['model input or output', 'integer operator', 'fused function']
    """

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    op_types: Mapping[str, str]
    places: Mapping[str, int]

    def vertex_of(self, node: str) -> int | None:
        """Return the index of the vertex that holds a node; None for one that an edge carries."""
        return next((i for i, v in enumerate(self.vertices) if node in v.nodes), None)

    def readers(self, index: int) -> tuple[int, ...]:
        """Return the vertices that read a vertex, in order."""
        return tuple(sorted({edge.target for edge in self.edges if edge.source == index}))

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the vertices that a vertex reads, in order."""
        return tuple(sorted({edge.source for edge in self.edges if edge.target == index}))


@dataclass(slots=True)
class _Growing:
    """A vertex while its nodes are gathered; `reads` are the tensors from outside."""

    kind: Kind
    nodes: list[Node]
    places: list[int]
    reads: frozenset[str]
    makes: set[str]


def diagram(graph: Graph) -> Diagram:
    """Return a model's graph as it is drawn; nothing runs.

    Parameters
    ----------
    graph : Graph
        From `load_model`.

    Returns
    -------
    Diagram
        Acyclic. A function joins the vertex of the functions before it if it reads nothing else
        than their results and what they read themselves: all that enters a vertex is there before
        its first node, so that vertices keep the order of their first nodes.
    """
    return graph.fact("diagram", lambda: _Drawing(graph).whole())


class _Drawing:
    """Gathers a diagram, node by node."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._variable = {info.name for info in graph.inputs}
        self._moved: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._maker: dict[str, _Growing] = {}
        self._grown: list[_Growing] = []
        self._read = {name for node in graph.nodes for name in node.inputs}
        self._read |= set(graph.output_names)

    def whole(self) -> Diagram:
        """Return the diagram of the graph."""
        reports = inspect_model(self._graph).nodes
        for place, (node, report) in enumerate(zip(self._graph.nodes, reports, strict=True), 1):
            self._add(node, report, place)
        return self._finished()

    def _add(self, node: Node, report: NodeReport, place: int) -> None:
        reads = frozenset(self._origin(name)[0] for name in node.inputs if name in self._variable)
        made = {name for name in node.outputs if name}
        if report.treatment is not Treatment.RAW:
            self._variable |= made
        if self._is_folded(node, report, made):
            source = next(name for name in node.inputs if name in self._variable)
            origin, moves = self._origin(source)
            for name in made:
                self._moved[name] = (origin, (*moves, node.name))
            return
        joined = self._joined(report, node, reads)
        if joined is None:
            joined = _Growing(_KINDS[report.treatment], [], [], reads, set())
            self._grown.append(joined)
        joined.nodes.append(node)
        joined.places.append(place)
        joined.makes |= made
        self._maker.update(dict.fromkeys(made, joined))
        if report.treatment is Treatment.RAW:
            self._variable |= made

    def _origin(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Return the tensor that holds the values, and the nodes that moved them since."""
        return self._moved.get(name, (name, ()))

    def _is_folded(self, node: Node, report: NodeReport, made: set[str]) -> bool:
        """Tell whether a node only moves the values of one tensor on their way to a reader."""
        variable = [name for name in node.inputs if name in self._variable - made]
        return (
            report.treatment is Treatment.MOVER
            and len(variable) == 1
            and len(made) == 1
            and bool(made & self._read)
        )

    def _joined(self, report: NodeReport, node: Node, reads: frozenset[str]) -> _Growing | None:
        """Return the vertex of functions that a function belongs to."""
        if report.treatment is not Treatment.LOOKUP:
            return None
        moved = any(self._origin(name)[1] for name in node.inputs)
        for name in reads:
            found = self._maker.get(name)
            if (
                found is not None
                and found.kind is Kind.FUNCTION
                and not moved
                and reads <= found.reads | found.makes
            ):
                return found
        return None

    def _finished(self) -> Diagram:
        graph = self._graph
        inputs = [Vertex(info.name, Kind.END, 0) for info in graph.inputs]
        inner = [
            Vertex(
                name=grown.nodes[0].name,
                kind=grown.kind,
                place=grown.places[0],
                nodes=tuple(node.name for node in grown.nodes),
                op_types=tuple(node.op_type for node in grown.nodes),
            )
            for grown in self._grown
        ]
        last = len(graph.nodes) + 1
        outputs = [Vertex(name, Kind.END, last) for name in graph.output_names]
        index = {info.name: i for i, info in enumerate(graph.inputs)}
        for i, grown in enumerate(self._grown, len(inputs)):
            index.update(dict.fromkeys(grown.makes, i))
        edges: dict[Edge, None] = {}
        for i, grown in enumerate(self._grown, len(inputs)):
            for node in grown.nodes:
                for name in node.inputs:
                    self._connect(edges, index, name, i)
        for i, name in enumerate(graph.output_names, len(inputs) + len(inner)):
            self._connect(edges, index, name, i)
        return Diagram(
            vertices=(*inputs, *inner, *outputs),
            edges=tuple(edges),
            op_types={node.name: node.op_type for node in graph.nodes},
            places={node.name: place for place, node in enumerate(graph.nodes, 1)},
        )

    def _connect(
        self, edges: dict[Edge, None], index: Mapping[str, int], name: str, target: int
    ) -> None:
        tensor, moves = self._origin(name)
        source = index.get(tensor)
        if source is not None and source != target:
            edges[Edge(source, target, tensor, moves)] = None
