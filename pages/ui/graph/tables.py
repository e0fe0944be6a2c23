"""The same facts as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pages.ui.graph.painting import SCALES, Paint
from quantlib.analysis.diagram import Kind

if TYPE_CHECKING:
    from quantlib.analysis.diagram import Diagram


def vertex_table(diagram: Diagram, paint: Paint) -> pd.DataFrame:
    """Return one row per vertex that holds nodes, worst first; what it reads and who reads it.

    The index is that of the vertices.
    """
    rows = [i for i, vertex in enumerate(diagram.vertices) if vertex.kind is not Kind.END]
    vertices = [diagram.vertices[i] for i in rows]
    titles = [vertex.title for vertex in diagram.vertices]
    table = pd.DataFrame(
        {
            "node": [vertex.title for vertex in vertices],
            "what it is": [str(vertex.kind) for vertex in vertices],
            "operators": [" · ".join(vertex.op_types[:12]) for vertex in vertices],
            "reads": [", ".join(titles[j] for j in diagram.sources(i)[:6]) for i in rows],
            "read by": [", ".join(titles[j] for j in diagram.readers(i)[:6]) for i in rows],
        },
        index=rows,
    )
    scale = SCALES.get(paint.measure)
    if scale is None:
        return table
    values = pd.Series([paint.values[i] for i in rows], index=rows, dtype="float64")
    table.insert(1, scale.title, values.round().astype("Int64") if scale.is_whole else values)
    return table.sort_values(
        scale.title, ascending=scale.low_is_bad, kind="stable", na_position="last"
    )
