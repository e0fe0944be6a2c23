"""What vertices are painted with: a measure, its values, the worst of them in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from quantlib import wording
from quantlib.analysis.attribution.sensitivity import Direction
from quantlib.analysis.diagram import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.analysis.attribution.sensitivity import Sensitivity
    from quantlib.analysis.diagram import Diagram, Vertex
    from quantlib.questions.graph import Figures, Structure


class Measure(StrEnum):
    """What a graph can be painted with."""

    TREATMENT = "treatment"
    PRODUCTS = "products"
    WIDTH = "width"
    HEADROOM = "headroom"
    SQNR = "SQNR"
    SENSITIVITY = "sensitivity"
    SIZE = "size"
    COST = "cost"


BEFORE_RUN = (Measure.TREATMENT, Measure.PRODUCTS)
"""Measures that need no run."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How a measure is read.

    Parameters
    ----------
    title : str
        What stands at the colour bar, with its unit.
    explained : str
        What it is, in a sentence.
    worst : str
        What the worst is called: ``"widest"``.
    low_is_bad : bool
        Which end is bad; a vertex of several nodes has the worst of them.
    is_sum : bool
        A vertex of several nodes has their sum instead.
    is_signed : bool
        0 is the middle of the colours.
    is_whole : bool
        Values are whole numbers.
    """

    title: str
    explained: str
    worst: str
    low_is_bad: bool = False
    is_sum: bool = False
    is_signed: bool = False
    is_whole: bool = False


SCALES = {
    Measure.PRODUCTS: Scale(
        "products per sample", "Multiply-accumulates, from the shapes alone.", "most", is_sum=True,
        is_whole=True,
    ),
    Measure.WIDTH: Scale(
        "accumulator (bits)", "Width that counts by the criterion of the sidebar.", "widest",
        is_whole=True,
    ),
    Measure.HEADROOM: Scale(
        "headroom (bits)",
        "The limit less what counts; below 0 the accumulator does not fit.",
        "least",
        low_is_bad=True,
        is_signed=True,
    ),
    Measure.SQNR: Scale(
        "SQNR (dB)",
        "Each output against the float model, with all errors of what comes before.",
        "lowest",
        low_is_bad=True,
    ),
    Measure.SENSITIVITY: Scale(
        "SQNR alone (dB)",
        "SQNR of the model's output if only this layer is quantized.",
        "most sensitive",
        low_is_bad=True,
    ),
    Measure.SIZE: Scale(
        "constants (bytes)", "Constants at their widths; biases keep 32 bits.", "largest",
        is_sum=True,
    ),
    Measure.COST: Scale(
        "bit operations", "Products times the widths of both factors.", "costliest", is_sum=True,
        is_whole=True,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Paint:
    """A measure's value at each vertex.

    Parameters
    ----------
    measure : Measure
        Which.
    values : tuple of float or None
        By vertex; None where it has none.
    over : tuple of bool
        By vertex: whether something inside is beyond the limit; all False before a run.
    """

    measure: Measure
    values: tuple[float | None, ...]
    over: tuple[bool, ...]

    @property
    def worst(self) -> int | None:
        """The vertex with the worst value; None for a treatment, and without values."""
        scale = SCALES.get(self.measure)
        known = [(v, i) for i, v in enumerate(self.values) if v is not None and not math.isnan(v)]
        if scale is None or not known:
            return None
        return (min if scale.low_is_bad else max)(known, key=lambda pair: pair[0])[1]


def paint(
    diagram: Diagram,
    measure: Measure,
    structure: Structure,
    figures: Figures | None = None,
    sensitivity: Sensitivity | None = None,
) -> Paint:
    """Return the values of a measure by vertex; without the figures it needs, none."""
    by_node = _by_node(measure, structure, figures, sensitivity)
    headroom = {} if figures is None else figures.headroom_bits
    return Paint(
        measure,
        tuple(_value(vertex, measure, by_node) for vertex in diagram.vertices),
        tuple(
            any(headroom.get(node, 0.0) < 0 for node in vertex.nodes) for vertex in diagram.vertices
        ),
    )


def _by_node(
    measure: Measure,
    structure: Structure,
    figures: Figures | None,
    sensitivity: Sensitivity | None,
) -> Mapping[str, float]:
    if measure is Measure.PRODUCTS:
        return {n: r.macs for n, r in structure.reports.items() if r.macs is not None}
    if measure is Measure.SENSITIVITY and sensitivity is not None:
        return {e.layer: e.sqnr_db for e in sensitivity.ranked(Direction.QUANTIZED_ALONE)}
    if figures is None:
        return {}
    match measure:
        case Measure.WIDTH:
            return figures.width_bits
        case Measure.HEADROOM:
            return figures.headroom_bits
        case Measure.SQNR:
            return figures.sqnr_db
        case Measure.SIZE:
            return {node: bits / 8 for node, bits in figures.weight_bits.items()}
        case Measure.COST:
            return figures.bit_operations
        case _:
            return {}


def _value(vertex: Vertex, measure: Measure, by_node: Mapping[str, float]) -> float | None:
    """Return the worst, the last or the sum of the nodes inside."""
    known = [by_node[node] for node in vertex.nodes if node in by_node]
    scale = SCALES.get(measure)
    if scale is None or not known:
        return None
    if measure is Measure.SQNR and vertex.kind is Kind.FUNCTION:
        return known[-1]  # what leaves the table; inside nothing has a grid
    return (sum if scale.is_sum else min if scale.low_is_bad else max)(known)


_WORDS: dict[Measure, Callable[[float], str]] = {
    Measure.PRODUCTS: lambda value: f"{value:,.0f} products",
    Measure.WIDTH: lambda value: f"{value:.0f} bits",
    Measure.HEADROOM: lambda value: f"{value:+.2f} bits",
    Measure.SQNR: wording.decibel,
    Measure.SENSITIVITY: wording.decibel,
    Measure.SIZE: lambda value: wording.size(math.ceil(value)),
    Measure.COST: lambda value: f"{value:,.0f} bit operations",
}


def words(measure: Measure, value: float | None) -> str:
    """Return a value with its unit; nothing where there is none."""
    return "" if value is None or measure not in _WORDS else _WORDS[measure](value)
