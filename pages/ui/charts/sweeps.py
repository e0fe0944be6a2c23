"""Figures of a sweep over its choices: heat map, curves, all axes at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from pages.ui.charts import theme
from quantlib.analysis.widths.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from quantlib.analysis.sweep.measures import Measure
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig

HEIGHT = 440
MAX_CURVES = 12
"""More curves than this are not told apart."""

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def best_by(
    results: Sequence[SweepResult], key: Callable[[SweepResult], Any], measure: Measure
) -> dict[Any, int]:
    """Return the position of the best result for each key; results without the figure are out."""
    best: dict[Any, int] = {}
    for i, result in enumerate(results):
        value = measure.of(result)
        if value is None:
            continue
        before = measure.of(results[best[key(result)]]) if key(result) in best else None
        if before is None or (value > before if measure.maximize else value < before):
            best[key(result)] = i
    return best


def heat_map(
    results: Sequence[SweepResult],
    *,
    measure: Measure,
    label: str,
    hovers: Sequence[str],
    current: QuantizationConfig,
    selected: QuantizationConfig | None = None,
    criterion: Criterion = Criterion.SEEN,
    planned: Collection[tuple[int, int]] = (),
) -> go.Figure:
    """A measure over weight bits and activation bits; cells that fit the limit are outlined.

    The whole grid that is `planned`, in pairs of widths, is there from the start: cells without a
    result yet are empty.

    Where several configurations share a cell, the best one is shown; its position in `results`
    is the first entry of a point's custom data. A click selects the cell.
    """
    best = best_by(results, lambda r: _widths(r.config), measure)
    cells = {*best, *planned}
    xs, ys = sorted({w for w, _ in cells}), sorted({a for _, a in cells})
    values = [
        [finite(measure.of(results[best[w, a]])) if (w, a) in best else None for w in xs]
        for a in ys
    ]
    figure = go.Figure(
        go.Heatmap(
            x=xs,
            y=ys,
            z=values,
            colorscale=theme.MAGNITUDE,
            reversescale=not measure.maximize,
            hoverinfo="skip",
            xgap=4,
            ygap=4,
            texttemplate="%{z:.3~g}",
            colorbar={"title": {"text": label, "side": "right"}, "thickness": 14},
        )
    )
    figure.add_trace(
        go.Scatter(  # a heat map reports no clicks
            x=[w for w, _ in best],
            y=[a for _, a in best],
            mode="markers",
            showlegend=False,
            marker={"symbol": "square", "size": 30, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            customdata=[[i, hovers[i]] for i in best.values()],
            hovertemplate="%{customdata[1]}<extra></extra>",
        )
    )
    frames = {
        f"fits {current.limit_bits} bits": ("solid", theme.WITHIN, 3, True),
        "over the limit": ("dot", theme.OVER, 2, False),
    }
    for name, (dash, colour, width, fits) in frames.items():
        framed = [cell for cell, i in best.items() if results[i].fits_by(criterion) == fits]
        line = {"dash": dash, "color": colour, "width": width}
        for cell in framed:
            _frame(figure, xs.index(cell[0]), ys.index(cell[1]), line)
        if framed:
            _legend(figure, name, "square-open", colour)
    if selected is not None and _widths(selected) in best:
        w, a = _widths(selected)
        line = {"color": theme.GRID, "width": 5}
        _frame(figure, xs.index(w), ys.index(a), line)
        _legend(figure, "selected", "square", theme.GRID)
    if _widths(current) in best:
        w, a = _widths(current)
        line = {"color": theme.GRID, "width": 3}
        _frame(figure, xs.index(w), ys.index(a), line, shape="circle")
        _legend(figure, "current", "circle-open", theme.GRID)
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=xs, showgrid=False)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=ys, showgrid=False)
    return theme.titled(figure, x="weight bits", y="activation bits", height=HEIGHT)


def _frame(
    figure: go.Figure, column: int, row: int, line: dict[str, Any], *, shape: str = "rect"
) -> None:
    """Outline a cell, or ring its number; category axes count from 0."""
    reach = 0.46 if shape == "rect" else 0.38
    figure.add_shape(
        type=shape, x0=column - reach, x1=column + reach, y0=row - reach, y1=row + reach, line=line
    )


def _legend(figure: go.Figure, name: str, symbol: str, colour: str) -> None:
    """Explain an outline."""
    marker = {"symbol": symbol, "color": colour, "size": 12}
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=name, marker=marker))


def curves(
    results: Sequence[SweepResult],
    *,
    measure: Measure,
    label: str,
    hovers: Sequence[str],
    x: tuple[str, Callable[[QuantizationConfig], int | str]],
    by: tuple[str, Callable[[QuantizationConfig], int | str]],
    order: Callable[[set[int | str]], list[int | str]],
) -> go.Figure:
    """A measure over one choice, a curve per value of another; the best of what else varies."""
    x_name, x_of = x
    by_name, by_of = by
    best = best_by(results, lambda r: (x_of(r.config), by_of(r.config)), measure)
    places = order({place for place, _ in best})
    is_number = all(isinstance(place, int) for place in places)
    figure = go.Figure()
    for n, value in enumerate(order({value for _, value in best})[:MAX_CURVES]):
        points = [(place, best[place, value]) for place in places if (place, value) in best]
        figure.add_trace(
            go.Scatter(
                x=[place if is_number else str(place) for place, _ in points],
                y=[finite(measure.of(results[i])) for _, i in points],
                mode="lines+markers",
                name=theme.plain(str(value)),
                line={"dash": _DASHES[n % len(_DASHES)]},
                marker={"symbol": n % 8, "size": 9},
                unselected={"marker": {"opacity": 1}},
                customdata=[[i, hovers[i]] for _, i in points],
                hovertemplate=f"{by_name} {theme.plain(str(value))}<br>%{{customdata[1]}}"
                "<extra></extra>",
            )
        )
    if is_number:
        figure.update_xaxes(dtick=1)
    else:
        figure.update_xaxes(type="category")
    theme.titled(figure, x=x_name, y=label, height=HEIGHT)
    figure.update_layout(legend={"title": {"text": by_name}}, showlegend=True)
    return figure


def all_axes(
    results: Sequence[SweepResult],
    *,
    choices: Mapping[str, Sequence[int | str]],
    measures: Mapping[str, Measure],
    colour: Measure,
    colour_label: str,
    order: Callable[[set[int | str]], list[int | str]],
) -> go.Figure:
    """Every varied choice and some measures as parallel axes, a line per configuration.

    Results without one of the figures are left out.
    """
    shown = [
        i
        for i, result in enumerate(results)
        if all(finite(m.of(result)) is not None for m in (*measures.values(), colour))
    ]
    axes: list[dict[str, Any]] = []
    for name, values in choices.items():
        places = order(set(values))
        if all(isinstance(place, int) for place in places):
            axes.append({"label": name, "values": [values[i] for i in shown], "tickvals": places})
            continue
        axes.append(
            {
                "label": name,
                "values": [places.index(values[i]) for i in shown],
                "tickvals": list(range(len(places))),
                "ticktext": [theme.plain(str(place), 14) for place in places],
            }
        )
    axes += [
        {"label": name, "values": [measure.of(results[i]) for i in shown]}
        for name, measure in measures.items()
    ]
    figure = go.Figure(
        go.Parcoords(
            dimensions=axes,
            line={
                "color": [colour.of(results[i]) for i in shown],
                "colorscale": theme.MAGNITUDE,
                "reversescale": not colour.maximize,
                "showscale": True,
                "colorbar": {"title": {"text": colour_label, "side": "right"}, "thickness": 14},
            },
            labelangle=-25,
        )
    )
    theme.framed(figure, height=HEIGHT)
    figure.update_layout(margin={"l": 50, "r": 20, "t": 90, "b": 20})
    return figure


def ring(figure: go.Figure, x: Any, y: Any, name: str) -> None:
    """Mark one point."""
    figure.add_trace(
        go.Scatter(
            x=[x],
            y=[y],
            mode="markers",
            name=name,
            hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 22, "color": theme.GRID, "line": {"width": 3}},
            unselected={"marker": {"opacity": 1}},
        )
    )


def finite(value: float | None) -> float | None:
    """Return a number that can be drawn, None for any other."""
    return value if value is not None and math.isfinite(value) else None


def _widths(config: QuantizationConfig) -> tuple[int, int]:
    return config.weights.n_bits, config.activations.n_bits
