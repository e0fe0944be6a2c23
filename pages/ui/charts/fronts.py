"""The Pareto front of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import sweeps, theme
from quantlib.analysis.sweep.pareto import pareto_front

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.sweep.measures import Measure
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.arrays import AnyArray

MAX_DIMMED = 3000
"""Most dominated points that are drawn, evenly thinned."""

_AREA = (7.0, 30.0)
"""Diameters of the smallest and the largest third measure, pixels."""


def front_of(results: Sequence[SweepResult], measures: Sequence[Measure]) -> AnyArray:
    """Return which results nothing beats in these measures; a missing figure is never best."""
    values = [[_number(measure.of(result)) for measure in measures] for result in results]
    table = np.array(values, dtype=np.float64).reshape(-1, len(measures))
    return pareto_front(table, maximize=[measure.maximize for measure in measures])


def pareto(
    results: Sequence[SweepResult],
    *,
    measures: Sequence[Measure],
    labels: Sequence[str],
    hovers: Sequence[str],
    limit_bits: int,
    selected: int | None = None,
    current: int | None = None,
) -> go.Figure:
    """Two measures against each other, a third as area; dominated configurations are dimmed.

    The front is that of all measures given. With two of them its points are joined; with three
    the line is the front of the two that are axes. What is selected and what is current is ringed.
    """
    x, y, *third = measures
    on_front = front_of(results, measures)
    drawable = [
        i
        for i, result in enumerate(results)
        if all(sweeps.finite(measure.of(result)) is not None for measure in measures)
    ]
    front = sorted((i for i in drawable if on_front[i]), key=lambda i: x.of(results[i]) or 0.0)
    dimmed = [i for i in drawable if not on_front[i]]
    dimmed = dimmed[:: -(-len(dimmed) // MAX_DIMMED) or 1]
    diameters = _diameters([third[0].of(r) for r in results]) if third else None
    figure = go.Figure()
    for name, chosen, colour, symbol in (
        ("dominated", dimmed, theme.FLOAT, "circle"),
        ("Pareto front", front, theme.DEQUANTIZED, "diamond"),
    ):
        is_front = chosen is front
        opacity = 0.9 if is_front else 0.25
        figure.add_trace(
            go.Scatter(
                x=[x.of(results[i]) for i in chosen],
                y=[y.of(results[i]) for i in chosen],
                name=name,
                mode="lines+markers" if is_front and not third else "markers",
                # what a point offers holds until the next one, on the side of worse x
                line={"shape": "vh" if x.maximize else "hv", "color": colour},
                marker={
                    "color": colour,
                    "symbol": symbol,
                    "opacity": opacity,
                    "size": [diameters[i] for i in chosen] if diameters else 9,
                    "line": {"width": 1 if is_front else 0},
                },
                unselected={"marker": {"opacity": opacity}},
                customdata=[[i, hovers[i]] for i in chosen],
                hovertemplate="%{customdata[1]}<extra></extra>",
            )
        )
    if third:
        pair = np.zeros(len(results), dtype=bool)
        pair[drawable] = front_of([results[i] for i in drawable], [x, y])
        line = sorted((i for i in drawable if pair[i]), key=lambda i: x.of(results[i]) or 0.0)
        figure.add_trace(
            go.Scatter(
                x=[x.of(results[i]) for i in line],
                y=[y.of(results[i]) for i in line],
                name="front of these two",
                mode="lines",
                line={"shape": "vh" if x.maximize else "hv", "color": theme.DEQUANTIZED},
                hoverinfo="skip",
            )
        )
    if current is not None and current in drawable:
        sweeps.ring(figure, x.of(results[current]), y.of(results[current]), "current")
    if selected is not None and selected in drawable:
        sweeps.ring(figure, x.of(results[selected]), y.of(results[selected]), "selected")
    for measure, add in ((x, figure.add_vline), (y, figure.add_hline)):
        if measure.member.startswith("widest_"):
            position = limit_bits + 0.5
            add(
                **{"x" if measure is x else "y": position},
                line={"color": theme.OVER, "dash": "dash"},
                annotation_text=f"limit: {limit_bits} bits",
            )
    for measure, label, update in (
        (x, labels[0], figure.update_xaxes),
        (y, labels[1], figure.update_yaxes),
    ):
        if measure.member == "agreement" or label == "accuracy":
            update(tickformat=".2~%")  # 99.4 % is not 99 %
    return theme.titled(figure, x=labels[0], y=labels[1], height=sweeps.HEIGHT)


def _diameters(values: Sequence[float | None]) -> list[float]:
    """Return marker diameters whose areas grow with the values."""
    numbers = np.array([_number(value) for value in values])
    known = numbers[np.isfinite(numbers)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    share = np.clip((numbers - low) / ((high - low) or 1.0), 0.0, 1.0)
    areas = _AREA[0] ** 2 + np.nan_to_num(share) * (_AREA[1] ** 2 - _AREA[0] ** 2)
    return [float(size) for size in np.sqrt(areas)]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
