"""Predicted values against true ones, before and after quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.arrays import FloatArray
    from quantlib.questions.first_minute import Answers

HEIGHT = 300


def predicted(answers: Answers) -> go.Figure:
    """Outputs of both models against the targets; without targets, quantized against float."""
    before, after, targets = answers.values
    across = before if targets is None else targets
    figure = go.Figure(_moves(across, before, after))
    if targets is not None:
        figure.add_trace(_points(targets, before, "float", theme.FLOAT, "circle-open"))
    figure.add_trace(_points(across, after, "quantized", theme.DEQUANTIZED, "circle"))
    ends = [float(across.min()), float(across.max())] if across.size else [0.0, 1.0]
    figure.add_trace(_line(ends, ends, {"color": theme.FLOAT, "dash": "dot", "width": 1}))
    if before.size:  # the float model sets the axis: the points move, the frame does not
        low, high = float(before.min()), float(before.max())
        room = 0.25 * (high - low) or 1.0
        figure.update_yaxes(range=[low - room, high + room])
    name = "float output" if targets is None else "true value"
    return theme.titled(figure, x=name, y="model output", height=HEIGHT)


def _points(x: FloatArray, y: FloatArray, name: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": 6},
        hovertemplate="%{x:.4g} → %{y:.4g}<extra>" + name + "</extra>",
    )


def _moves(across: FloatArray, before: FloatArray, after: FloatArray) -> go.Scatter:
    """Return a line from each float output to the quantized one."""
    x = [value for at in across.tolist() for value in (at, at, None)]
    ends = zip(before.tolist(), after.tolist(), strict=True)
    y = [value for pair in ends for value in (*pair, None)]
    return _line(x, y, {"color": theme.CLIPPED, "width": 2})


def _line(x: Sequence[float | None], y: Sequence[float | None], look: dict[str, Any]) -> go.Scatter:
    return go.Scatter(x=x, y=y, mode="lines", line=look, hoverinfo="skip", showlegend=False)
