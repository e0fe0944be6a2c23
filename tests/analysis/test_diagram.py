"""The drawing of a model: nothing is lost, nothing is invented, nothing goes round."""

from __future__ import annotations

from itertools import pairwise

import pytest

import quantlib as ql
from quantlib.analysis.blocks import MAX_FOLDED, folded, repeated_blocks
from quantlib.analysis.diagram import Diagram, Kind, diagram
from quantlib.graph.model import Graph
from quantlib.ops.base import Treatment
from tests.graph.transformers import Encoder
from tests.models import residual
from tests.paths import SAMPLES
from tests.sample_data import NAMES


def sample(name: str) -> Graph:
    return ql.load_model(SAMPLES / f"{name}.onnx")


def encoders() -> list[Graph]:
    return [
        ql.load_model(Encoder(opset, style).model().SerializeToString(), name=style)
        for opset, style in ((17, "torchscript"), (18, "dynamo"))
    ]


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    return [*(sample(name) for name in NAMES), *encoders()]


def carried(found: Diagram) -> set[str]:
    return {node for edge in found.edges for node in edge.moves}


def test_each_node_is_in_one_vertex_or_on_edges(graphs: list[Graph]) -> None:
    for graph in graphs:
        found = diagram(graph)
        inside = [node for vertex in found.vertices for node in vertex.nodes]
        assert len(inside) == len(set(inside))
        assert set(inside) | carried(found) == {node.name for node in graph.nodes}
        assert not set(inside) & carried(found)


def test_edges_lead_onwards(graphs: list[Graph]) -> None:
    for graph in graphs:
        assert all(edge.source < edge.target for edge in diagram(graph).edges)


def test_vertices_are_connected_as_their_nodes_are(graphs: list[Graph]) -> None:
    """By walking back from each node over the nodes that edges carry."""
    for graph in graphs:
        found = diagram(graph)
        on_edges = carried(found)
        maker = {name: node for node in graph.nodes for name in node.outputs if name}
        index = {n: i for i, v in enumerate(found.vertices) for n in v.nodes}
        ends = {v.title: i for i, v in enumerate(found.vertices) if v.kind is Kind.END}
        raw = {r.name for r in ql.inspect_model(graph).nodes if r.treatment is Treatment.RAW}

        def origins(tensor: str, *, of: Graph = graph) -> set[int]:
            node = maker.get(tensor)  # noqa: B023
            if node is None:
                return {ends[f"input {i.name}"] for i in of.inputs if i.name == tensor}  # noqa: B023
            if node.name not in on_edges:  # noqa: B023
                return {index[node.name]}  # noqa: B023
            real = [t for t in node.inputs if t not in of.constants]
            return origins(real[0])

        expected = set()
        for node in graph.nodes:
            if node.name in on_edges:
                continue
            for tensor in node.inputs:
                expected |= {(source, index[node.name]) for source in origins(tensor)}
        for name in graph.output_names:
            expected |= {(source, ends[f"output {name}"]) for source in origins(name)}
        expected = {(a, b) for a, b in expected if a != b}
        assert {(edge.source, edge.target) for edge in found.edges} == expected
        assert raw <= {node for vertex in found.vertices for node in vertex.nodes}


def test_functions_are_fused_as_the_preflight_counts_look_ups(graphs: list[Graph]) -> None:
    for graph in graphs[: len(NAMES)]:
        numbers = {r.name: r.segment for r in ql.inspect_model(graph).nodes}
        for vertex in diagram(graph).vertices:
            if vertex.kind is Kind.FUNCTION:
                assert len({numbers[node] for node in vertex.nodes}) == 1


def test_kinds_are_the_treatments(graphs: list[Graph]) -> None:
    kinds = {
        Treatment.INTEGER: Kind.INTEGER,
        Treatment.LOOKUP: Kind.FUNCTION,
        Treatment.FLOAT: Kind.ISLAND,
        Treatment.MOVER: Kind.MARK,
        Treatment.RAW: Kind.MARK,
    }
    for graph in graphs:
        treatments = {r.name: r.treatment for r in ql.inspect_model(graph).nodes}
        for vertex in diagram(graph).vertices:
            assert {kinds[treatments[node]] for node in vertex.nodes} <= {vertex.kind}


def test_blocks_of_a_residual_model_are_its_own() -> None:
    graph = ql.load_model(residual(20).SerializeToString(), name="residual")
    found = diagram(graph)
    blocks = repeated_blocks(found)
    # ten blocks of Gemm, Relu, Gemm, Add; the first one reads the model's input twice, as all do
    assert [(block.first, block.stop) for block in blocks] == [
        (1 + 4 * i, 5 + 4 * i) for i in range(10)
    ]
    assert blocks[3].title == "/layer.3, 4 of 10"
    closed = folded(found, blocks)
    assert [v.kind for v in closed.vertices] == [Kind.END, *[Kind.BLOCK] * 10, Kind.END]
    assert [(e.source, e.target) for e in closed.edges if e.target < 3] == [(0, 1), (1, 2)]


def test_an_opened_block_shows_its_vertices() -> None:
    graph = ql.load_model(residual(20).SerializeToString(), name="residual")
    found = diagram(graph)
    blocks = repeated_blocks(found)
    opened = folded(found, blocks, {blocks[4].title})
    kinds = [vertex.kind for vertex in opened.vertices]
    assert kinds.count(Kind.BLOCK) == 9
    assert [v.op_types for v in opened.vertices if v.kind is not Kind.BLOCK][1:5] == [
        ("Gemm",), ("Relu",), ("Gemm",), ("Add",)
    ]  # fmt: skip
    assert all(edge.source < edge.target for edge in opened.edges)


def test_the_blocks_of_a_transformer_are_found() -> None:
    blocks = repeated_blocks(diagram(sample("digits_transformer")))
    assert len(blocks) == 2
    assert blocks[0].stop - blocks[0].first == blocks[1].stop - blocks[1].first == 15


def test_a_long_run_is_folded_to_few_vertices_that_hold_every_node() -> None:
    graph = ql.load_model(residual(400).SerializeToString(), name="long")
    found = diagram(graph)
    closed = folded(found, repeated_blocks(found))
    assert sum(vertex.kind is Kind.BLOCK for vertex in closed.vertices) <= MAX_FOLDED
    assert sum(len(vertex.nodes) for vertex in closed.vertices) == len(graph.nodes) == 800


def test_blocks_neither_overlap_nor_differ(graphs: list[Graph]) -> None:
    for graph in graphs:
        found = diagram(graph)
        blocks = repeated_blocks(found)
        for before, after in pairwise(blocks):
            assert before.stop <= after.first
        for block in blocks:
            same = [
                b for b in blocks if b.title.rsplit(" of ")[-1] == block.title.rsplit(" of ")[-1]
            ]
            operators = [v.op_types for v in found.vertices[block.first : block.stop]]
            assert any(
                [v.op_types for v in found.vertices[b.first : b.stop]] == operators
                for b in same
                if b is not block
            ) or block.repetitions > 1  # fmt: skip
