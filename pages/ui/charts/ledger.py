"""Figures of an error ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from pages.ui.charts import theme
from quantlib.analysis.attribution.ledger import ErrorSource

if TYPE_CHECKING:
    from quantlib.analysis.attribution.ledger import ErrorLedger, LedgerEntry

STYLES = {
    ErrorSource.WEIGHT_CLIPPING: (theme.CLIPPED, "/"),
    ErrorSource.WEIGHT_ROUNDING: (theme.DEQUANTIZED, "/"),
    ErrorSource.ACTIVATION_CLIPPING: (theme.CLIPPED, ""),
    ErrorSource.ACTIVATION_ROUNDING: (theme.DEQUANTIZED, ""),
    ErrorSource.ACCUMULATOR_ROUNDING: (theme.GRID, "x"),
}
"""Colour and hatch: weights are hatched, activations plain, accumulators crossed."""

INTERACTION = (theme.FLOAT, ".")


def stacked(ledger: ErrorLedger, *, alone: bool) -> go.Figure:
    """Parts of the output error per layer, and their running sum up to the measured error.

    With `alone` each part is what its source does alone and interaction is a part of its own;
    else interaction is within each part.
    """
    rows = [theme.plain(place, 22) for place in ledger.places]
    figure = go.Figure()
    for source, (colour, hatch) in STYLES.items():
        found = {
            e.place: e.alone if alone else e.share for e in ledger.entries if e.source is source
        }
        if found:
            values = [found.get(place, 0.0) for place in ledger.places]
            figure.add_trace(_bars(rows, values, str(source), colour, hatch))
    if alone:
        values = [_sum(ledger.of(place).values()) for place in ledger.places]
        figure.add_trace(_bars(rows, values, "interaction", *INTERACTION))
    running, total = [], 0.0
    for place in ledger.places:
        total += sum(entry.share for entry in ledger.of(place).values())
        running.append(total)
    figure.add_trace(
        go.Scatter(
            x=running,
            y=list(range(len(rows))),
            name="running sum",
            mode="lines+markers",
            customdata=rows,
            line={"color": theme.FLOAT, "dash": "dot"},
            marker={"symbol": "diamond", "size": 8, "color": theme.FLOAT},
            hovertemplate="%{customdata}<br>sum up to here %{x:.4g}<extra></extra>",
        )
    )
    figure.add_vline(
        x=ledger.mse,
        line={"color": theme.FLOAT, "dash": "dash", "width": 2},
        annotation_text=f"measured {ledger.mse:.4g}",
        annotation_position="top left",
    )
    figure.update_layout(barmode="relative")
    # names that are cut may be equal, so the axis counts places
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=rows,
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    theme.titled(
        figure,
        x="mean squared output error (output units²)",
        y="",
        height=max(320, 170 + 34 * len(rows)),
    )
    return figure


def _sum(entries: object) -> float:
    found: list[LedgerEntry] = list(entries)  # type: ignore[call-overload]
    return float(sum(entry.interaction for entry in found))


def _bars(rows: list[str], values: list[float], name: str, colour: str, hatch: str) -> go.Bar:
    return go.Bar(
        x=values,
        y=list(range(len(rows))),
        name=name,
        orientation="h",
        customdata=rows,
        marker={
            "color": colour,
            "pattern": {"shape": hatch, "fillmode": "overlay"},
            "line": {"width": 0.5, "color": theme.FLOAT},
        },
        hovertemplate="%{customdata}<br>" + name + " %{x:.4g}<extra></extra>",
    )
