"""Figures of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantlib.analysis.sweep import SweepResult
    from quantlib.core.config import QuantizationConfig

Measure = "Callable[[SweepResult], float | None]"


def heat_map(
    results: Sequence[SweepResult],
    *,
    measure: Callable[[SweepResult], float | None],
    label: str,
    current: QuantizationConfig,
    limit_bits: int,
) -> go.Figure:
    """A measure over weight bits and activation bits; cells that fit the limit are outlined.

    Where several schemes share a cell, the best one is shown. A click selects the cell.
    """
    best: dict[tuple[int, int], SweepResult] = {}
    for result in results:
        cell = (result.config.weights.n_bits, result.config.activations.n_bits)
        value = measure(result)
        known = best.get(cell)
        before = measure(known) if known is not None else None
        if value is not None and (before is None or value > before):
            best[cell] = result
    xs = sorted({w for w, _ in best})
    ys = sorted({a for _, a in best})
    values = [[_finite(measure(best[w, a])) if (w, a) in best else None for w in xs] for a in ys]
    figure = go.Figure(
        go.Heatmap(
            x=xs, y=ys, z=values, colorscale=theme.MAGNITUDE, hoverinfo="skip", xgap=2, ygap=2,
            colorbar={"title": {"text": label, "side": "right"}},
            texttemplate="%{z:.3g}",
        )
    )  # fmt: skip
    cells = list(best.items())
    fits = [(r.widest_bits or 0) <= limit_bits for _, r in cells]
    figure.add_trace(
        go.Scatter(
            x=[w for (w, _), _ in cells], y=[a for (_, a), _ in cells], mode="markers",
            marker={
                "symbol": "square-open", "size": 34,
                "color": [theme.WITHIN if ok else theme.TRANSPARENT for ok in fits],
                "line": {"width": 3},
            },
            customdata=[
                [results.index(r), r.widest_bits, measure(r)] for _, r in cells
            ],
            hovertemplate="weights %{x} bits, activations %{y} bits<br>"
            + label + " %{customdata[2]:.4g}<br>widest accumulator %{customdata[1]} bits"
            "<extra></extra>",
            name=f"fits {limit_bits} bits", showlegend=True,
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[current.weights.n_bits], y=[current.activations.n_bits], mode="markers",
            marker={"symbol": "circle-open", "size": 42, "color": theme.OVER,
                    "line": {"width": 3}}, name="current",
            hoverinfo="skip",
        )
    )  # fmt: skip
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(dtick=1)
    return theme.titled(figure, x="weight bits", y="activation bits", height=460)


def trade_off(
    results: Sequence[SweepResult],
    *,
    measure: Callable[[SweepResult], float | None],
    label: str,
    limit_bits: int,
) -> go.Figure:
    """A measure against the widest accumulator; configurations nothing beats are joined."""
    points = [
        (r.widest_bits, value, i)
        for i, r in enumerate(results)
        if r.widest_bits is not None and (value := _finite(measure(r))) is not None
    ]
    front: list[tuple[int, float, int]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    best = {point[2] for point in front}
    figure = go.Figure()
    for name, chosen, colour, symbol in (
        ("others", [p for p in points if p[2] not in best], theme.FLOAT, "circle"),
        ("best for their width", front, theme.DEQUANTIZED, "diamond"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[p[0] for p in chosen], y=[p[1] for p in chosen], name=name,
                mode="lines+markers" if chosen is front else "markers",
                line={"shape": "hv", "color": colour},
                marker={"color": colour, "symbol": symbol, "size": 9,
                        "opacity": 1.0 if chosen is front else 0.5},
                customdata=[[p[2], *_widths(results[p[2]])] for p in chosen],
                hovertemplate="weights %{customdata[1]}, activations %{customdata[2]} bits<br>"
                "%{x} bits, %{y:.4g}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_vline(
        x=limit_bits + 0.5, line={"color": theme.OVER, "dash": "dash"},
        annotation_text=f"limit: {limit_bits} bits",
    )  # fmt: skip
    return theme.titled(figure, x="widest accumulator (bits)", y=label, height=460)


def _widths(result: SweepResult) -> tuple[int, int]:
    return result.config.weights.n_bits, result.config.activations.n_bits


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
