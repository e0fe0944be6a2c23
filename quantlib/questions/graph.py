"""Questions about the model as a graph: its vertices, their figures, and all about one node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantlib.analysis.blocks import Block, repeated_blocks
from quantlib.analysis.diagram import Diagram, diagram
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.formula import ProductFormula, product_formula
from quantlib.analysis.preflight import inspect_model
from quantlib.questions import bitwidths
from quantlib.questions.registry import Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.preflight import NodeReport
    from quantlib.analysis.reports import LayerSummary
    from quantlib.analysis.widths.budget import LayerBudget
    from quantlib.analysis.widths.criterion import Criterion
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A model's graph before anything runs.

    Parameters
    ----------
    diagram : Diagram
        Vertices and edges.
    blocks : tuple of Block
        What repeats.
    reports : mapping of str to NodeReport
        Each node by name.
    """

    diagram: Diagram
    blocks: tuple[Block, ...]
    reports: Mapping[str, NodeReport]


@Question
def structure(bench: Workbench) -> Structure:
    """Return the model's graph; nothing runs."""
    found = diagram(bench.graph)
    reports = {node.name: node for node in inspect_model(bench.graph).nodes}
    return Structure(found, repeated_blocks(found), reports)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a configuration comes to, by node name; nodes without a figure are left out.

    Parameters
    ----------
    width_bits, headroom_bits : mapping
        Of what counts by the criterion, of integer operators.
    sqnr_db : mapping
        Output of the node against the float model.
    weight_bits : mapping
        Memory of the constants at their widths, bits.
    bit_operations : mapping
        Products times the widths of their factors, per sample.
    """

    width_bits: Mapping[str, int] = field(default_factory=dict)
    headroom_bits: Mapping[str, float] = field(default_factory=dict)
    sqnr_db: Mapping[str, float] = field(default_factory=dict)
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    bit_operations: Mapping[str, int] = field(default_factory=dict)


@Question
def figures(bench: Workbench, config: QuantizationConfig, criterion: Criterion) -> Figures:
    """Return the figures that a graph is painted with."""
    found = evaluate(bench, config)
    budget = bitwidths.budget(bench, config)
    costs = bitwidths.cost(bench, config).layers
    counted = [layer for layer in budget.layers if layer.counted(criterion) is not None]
    return Figures(
        width_bits={layer.name: layer.counted_bits(criterion) for layer in counted},
        headroom_bits={layer.name: layer.headroom_by(criterion) or 0.0 for layer in counted},
        sqnr_db={e.name: e.sqnr_db for e in found.layers if e.sqnr_db is not None},
        weight_bits={layer.name: layer.weight_bits for layer in costs},
        bit_operations={layer.name: layer.bit_operations for layer in costs},
    )


@dataclass(frozen=True, slots=True, eq=False)
class NodeCard:
    """All about one node under a configuration.

    Parameters
    ----------
    report : NodeReport
        What was known before anything ran.
    summary : LayerSummary
        What it came to.
    inputs, outputs : tuple of (str, UniformQuantizer or None)
        Variable tensors that it reads, and those it makes, with their grids.
    shapes : mapping of str to str
        Shape of each of these tensors in words, where it is known.
    formula : ProductFormula or None
        Of an operator that sums products.
    budget : LayerBudget or None
        Its accumulator.
    """

    report: NodeReport
    summary: LayerSummary
    inputs: tuple[tuple[str, UniformQuantizer | None], ...]
    outputs: tuple[tuple[str, UniformQuantizer | None], ...]
    shapes: Mapping[str, str]
    formula: ProductFormula | None
    budget: LayerBudget | None


@Question
def card(bench: Workbench, config: QuantizationConfig, node: str) -> NodeCard:
    """Return all about a node: quantizers, formula, accumulator.

    Raises
    ------
    KeyError
        The model has no such node.
    """
    layers = bench.module(config).layers
    made = {
        name: grid
        for layer in layers
        for name, grid in zip(layer.node.outputs, layer.outputs, strict=False)
    }
    layer = {entry.name: entry for entry in layers}[node]
    summary = next(entry for entry in evaluate(bench, config).layers if entry.name == node)
    report = next(entry for entry in inspect_model(bench.graph).nodes if entry.name == node)
    names = [name for _, name in layer.variables]
    inputs: tuple[tuple[str, UniformQuantizer | None], ...] = (
        tuple(zip(names, layer.input_grids, strict=False))
        if layer.input_grids
        else tuple((name, made.get(name)) for name in names)
    )
    outputs = tuple((n, g) for n, g in zip(layer.node.outputs, layer.outputs, strict=False) if n)
    shapes = bench.graph.shapes
    budget = bitwidths.budget(bench, config)
    return NodeCard(
        report=report,
        summary=summary,
        inputs=inputs,
        outputs=outputs,
        shapes={
            name: " × ".join("?" if size is None else str(size) for size in shapes[name])
            for name, _ in (*inputs, *outputs)
            if name in shapes
        },
        formula=product_formula(layer, summary.weight_grid, report.fan_in),
        budget=next((entry for entry in budget.layers if entry.name == node), None),
    )
