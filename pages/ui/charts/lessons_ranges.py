"""Lesson 7: estimators of a range on one histogram, and too few samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import lessons
from quantlib import wording
from quantlib.core.estimator import ESTIMATORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.charts.lessons import Look
    from quantlib.analysis.distributions import RangeChoice
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.lessons.ranges import FewSamples


def race(
    counts: AnyArray, edges: FloatArray, choices: Sequence[RangeChoice], *, look: Look
) -> go.Figure:
    """A histogram, and under it the range of each estimator with the SQNR of its grid."""
    colours, words = look.palette, look.words
    figure = make_subplots(
        rows=2, shared_xaxes=True, row_heights=[0.38, 0.62], vertical_spacing=0.06
    )
    figure.add_trace(
        go.Bar(
            x=(edges[1:] + edges[:-1]) / 2, y=np.where(counts > 0, counts, np.nan),
            width=np.diff(edges), marker={"color": colours.range, "line": {"width": 0}},
            showlegend=False, hovertemplate="%{x:.3g}: %{y}<extra></extra>",
        ),
        row=1, col=1,
    )  # fmt: skip
    best = len(choices) - 1
    names = []
    for row, choice in enumerate(choices):
        assert choice.estimator is not None
        stats = choice.quantizer.quant_stats
        assert stats is not None
        ends = [float(stats.rmin), float(stats.rmax)]
        kind = ESTIMATORS[choice.estimator.name]
        names.append(f"{kind.label} <b>{wording.decibel(choice.fit.sqnr_db)}</b>")
        winner = row == best
        figure.add_trace(
            go.Scatter(
                x=ends, y=[row, row], mode="lines+markers", showlegend=False,
                line={"color": colours.zero if winner else colours.scale,
                      "width": 7 if winner else 4},
                marker={"symbol": "line-ns-open", "size": 13, "line": {"width": 3}},
                hovertemplate=f"{kind.label}: %{{x:.4g}}<extra></extra>",
            ),
            row=2, col=1,
        )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4],
        row=2, col=1,
    )  # fmt: skip
    figure.update_yaxes(title_text=words["count"], type="log", row=1, col=1, nticks=4)
    figure.update_xaxes(title_text=words["value"], row=2, col=1)
    return lessons.finished(figure, look)


def few_samples(found: FewSamples, *, chosen: int, look: Look) -> go.Figure:
    """The largest value seen against the number of samples, with the band of 90 % of draws."""
    colours, words = look.palette, look.words
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([found.samples, found.samples[::-1]]),
            y=np.concatenate([found.high, found.low[::-1]]),
            fill="toself", mode="lines", name=words["band"], hoverinfo="skip", opacity=0.35,
            line={"color": colours.scale, "width": 0}, fillcolor=colours.scale,
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=found.samples, y=found.middle, mode="lines+markers", name=words["middle"],
            line={"color": colours.scale, "width": 3}, marker={"size": 8},
            customdata=100 * found.clipped,
            hovertemplate="%{x}: %{y:.3g}, %{customdata:.3g} %<extra></extra>",
        )
    )  # fmt: skip
    place = int(np.argmin(np.abs(found.samples - chosen)))
    figure.add_trace(
        go.Scatter(
            x=[found.samples[place]] * 2, y=[found.low[place], found.high[place]],
            mode="lines+markers", name=words["chosen"],
            line={"color": colours.error, "width": 5}, marker={"symbol": "diamond", "size": 11},
            hovertemplate="%{y:.3g}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text=words["samples"], type="log", tickvals=found.samples)
    figure.update_yaxes(title_text=words["largest"], rangemode="tozero")
    return lessons.finished(figure, look)
