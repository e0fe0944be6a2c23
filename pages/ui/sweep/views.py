"""The results of a sweep: tabs that fill as results come, each returning what was clicked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import settings, state, tables, text
from pages.ui.charts import fronts, sweeps, theme
from pages.ui.sweep import words as sweep_words
from quantlib.analysis.sweep.measures import MEASURES
from quantlib.analysis.sweep.records import json_lines
from quantlib.analysis.sweep.result import same_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import plotly.graph_objects as go

    from pages.ui.current import Current
    from quantlib.analysis.sweep.measures import Measure
    from quantlib.analysis.sweep.records import Origin
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig

_NONE = "none"


@dataclass(frozen=True, slots=True)
class View:
    """What all tabs draw.

    Parameters
    ----------
    results : tuple of SweepResult
        So far, under the current limit; positions stay while a sweep runs.
    current : QuantizationConfig
        The sidebar's.
    score_name : str
        What the score is: accuracy or R².
    """

    results: tuple[SweepResult, ...]
    current: QuantizationConfig
    score_name: str

    @classmethod
    def of(cls, results: Sequence[SweepResult], current: Current) -> View:
        """Return what there is to draw now."""
        limit, score = current.config.limit_bits, current.evaluation().score
        shown = tuple(result.under_limit(limit) for result in tuple(results))
        return cls(shown, current.config, score.name if score else "score")

    def now(self) -> SweepResult | None:
        """Return the result of the current configuration, if the sweep has it."""
        return _result_of(self.results, self.current)

    def label(self, entry: Measure) -> str:
        """Return what a measure is called here."""
        return sweep_words.label(entry, self.score_name)

    def hovers(self, *shown: Measure) -> list[str]:
        """Return what charts say about each result."""
        return [sweep_words.hover(result, shown, self.score_name) for result in self.results]


def draw(view: View, *, origin: Origin) -> None:
    """Draw the tabs; only the open one costs time."""
    drawers: dict[str, Callable[[View], None]] = {
        "Heat map": _heat_map,
        "Curves": _curves,
        "Pareto": _pareto,
        "All axes": _all_axes,
        "Table": lambda shown: _table(shown, origin),
    }
    tabs = st.tabs(list(drawers), key="sweep.view", bind="query-params")
    for tab, draw_tab in zip(tabs, drawers.values(), strict=True):
        if tab.open:
            with tab:
                draw_tab(view)


def selected(results: Sequence[SweepResult]) -> SweepResult | None:
    """Return the result that was clicked last, if it is among these."""
    chosen = st.session_state.get("sweep.selected")
    return None if chosen is None else _result_of(results, chosen)


def _result_of(results: Sequence[SweepResult], config: QuantizationConfig) -> SweepResult | None:
    """Return the result with the numbers of a configuration."""
    wanted = same_numbers(config)
    return next((r for r in results if same_numbers(r.config) == wanted), None)


def _position(view: View) -> int | None:
    """Return the position of the result that was clicked last."""
    chosen = selected(view.results)
    return None if chosen is None else view.results.index(chosen)


def _take_click(view: View, key: str, shown: Sequence[int] | None = None) -> None:
    """Take in what was clicked since the last run, before it is drawn.

    A selection that a chart still holds does not undo a later one. Rows of a table stand for the
    positions `shown`.
    """
    held = st.session_state.get(f"sweep.{key}") or {}
    selection = held.get("selection", {})
    if shown is None:
        points = selection.get("points", [])
        positions = [int(p["customdata"][0]) for p in points if p.get("customdata")]
    else:
        positions = [shown[row] for row in selection.get("rows", []) if row < len(shown)]
    seen = st.session_state.setdefault("sweep.seen", {})
    if seen.get(key) != positions:
        seen[key] = positions
        if positions and positions[0] < len(view.results):
            st.session_state["sweep.selected"] = view.results[positions[0]].config


def _measure(
    view: View, title: str, key: str, default: str, *, optional: bool = False
) -> Measure | None:
    """Draw the choice of a measure."""
    known = {
        entry.label: entry
        for entry in MEASURES.values()
        if any(entry.of(result) is not None for result in view.results)
    }
    options = [*([_NONE] if optional else []), *known]
    start = options.index(default) if default in options else 0
    chosen = st.selectbox(
        title,
        options,
        index=start,
        key=f"sweep.{key}",
        bind="query-params",
        format_func=lambda name: view.label(known[name]) if name in known else name,
        help="\n".join(f"- **{view.label(e)}**: {e.explanation}" for e in known.values()),
    )
    return known.get(chosen)


def _chart(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a chart whose points can be clicked."""
    st.plotly_chart(
        figure,
        key=f"sweep.{key}",
        height=sweeps.HEIGHT,
        on_select="rerun",
        selection_mode="points",
        config=theme.CONFIG,
        alt=alt,
    )


def _heat_map(view: View) -> None:
    measure = _measure(view, "Measure", "measure", "SQNR (dB)") or MEASURES["sqnr_db"]
    _take_click(view, "heat")
    chosen = selected(view.results)
    figure = sweeps.heat_map(
        view.results,
        measure=measure,
        label=view.label(measure),
        hovers=view.hovers(measure),
        current=view.current,
        selected=chosen.config if chosen else None,
        criterion=settings.criterion(),
        planned=state.planned(),
    )
    _chart(
        figure,
        key="heat",
        alt=f"{view.label(measure)} over weight bits and activation bits",
    )
    st.caption(
        "Where configurations share a cell, the best one is shown. A solid outline fits the "
        f"limit ({settings.criterion()}), a dotted one does not. Click a cell."
    )


def _curves(view: View) -> None:
    axes = sweep_words.varied(view.results) or sweep_words.AXES[:2]
    names = [entry.label for entry in axes]
    columns = st.columns(3)
    with columns[0]:
        measure = _measure(view, "Measure", "curve_measure", "SQNR (dB)") or MEASURES["sqnr_db"]
    x = columns[1].selectbox(
        "Along", names, key="sweep.curve_x", bind="query-params", help="The horizontal axis."
    )
    others = [name for name in names if name != x] or names
    extra = [name for name in others if not name.endswith("bits")]
    by = columns[2].selectbox(
        "A curve per",
        others,
        index=others.index(extra[0]) if extra else 0,
        key="sweep.curve_by",
        bind="query-params",
        help="Each value has a curve: the best of what else varies.",
    )
    _take_click(view, "curves")
    along, per = sweep_words.axis(x), sweep_words.axis(by)
    figure = sweeps.curves(
        view.results,
        measure=measure,
        label=view.label(measure),
        hovers=view.hovers(measure),
        x=(along.label, along.of),
        by=(per.label, per.of),
        order=sweep_words.ordered,
    )
    _chart(figure, key="curves", alt=f"{view.label(measure)} along {x}, a curve per {by}")
    st.caption("Each point is the best of all configurations with its two values. Click a point.")


def _pareto(view: View) -> None:
    has_score = any(result["score"] is not None for result in view.results)
    columns = st.columns(3)
    with columns[0]:
        x = _measure(view, "Across", "pareto_x", "widest seen (bits)")
    with columns[1]:
        y = _measure(view, "Up", "pareto_y", "score" if has_score else "SQNR (dB)")
    with columns[2]:
        third = _measure(view, "Area", "pareto_area", "weights (bytes)", optional=True)
    measures = [entry for entry in (x, y, third) if entry is not None]
    if len({entry.member for entry in measures}) < len(measures) or len(measures) < 2:
        st.info("A measure is chosen twice. Choose different ones.")
        return
    _take_click(view, "pareto")
    on_front = fronts.front_of(view.results, measures)
    figure = fronts.pareto(
        view.results,
        measures=measures,
        labels=[view.label(entry) for entry in measures],
        hovers=view.hovers(*measures),
        limit_bits=view.current.limit_bits,
        selected=_position(view),
        current=None if (now := view.now()) is None else view.results.index(now),
    )
    _chart(figure, key="pareto", alt="Pareto front of the chosen measures")
    goals = ", ".join(
        f"{'more' if entry.maximize else 'less'} {view.label(entry)}" for entry in measures
    )
    st.caption(
        f"{int(on_front.sum())} of {len(view.results)} configurations are on the front ({goals}): "
        "no other is at least as good in all of these and better in one. Click a point."
    )


def _all_axes(view: View) -> None:
    measure = _measure(view, "Colour", "axes_measure", "SQNR (dB)") or MEASURES["sqnr_db"]
    members = ["sqnr_db", "score", "widest_seen_bits", "weight_bytes", measure.member]
    measures = {
        view.label(MEASURES[m]): MEASURES[m]
        for m in members
        if any(MEASURES[m].of(result) is not None for result in view.results)
    }
    choices = {
        entry.label: [entry.of(result.config) for result in view.results]
        for entry in sweep_words.varied(view.results)
    }
    figure = sweeps.all_axes(
        view.results,
        choices=choices,
        measures=measures,
        colour=measure,
        colour_label=view.label(measure),
        order=sweep_words.ordered,
    )
    st.plotly_chart(
        figure,
        key="sweep.axes",
        height=sweeps.HEIGHT,
        config=theme.CONFIG,
        alt="All varied choices and four measures as parallel axes",
    )
    st.caption(
        "A line per configuration. Drag along an axis to keep what passes there, drag a title to "
        "move its axis. Results without one of the figures (or exact ones) are left out."
    )


def _table(view: View, origin: Origin) -> None:
    shown = _filtered(view)
    _take_click(view, "table", shown)
    table = sweep_words.table([view.results[i] for i in shown], view.score_name)
    st.dataframe(
        table,
        hide_index=True,
        key="sweep.table",
        on_select="rerun",
        selection_mode="single-row",
        height=400,
        alt="All configurations of the sweep",
    )
    if len(shown) < len(view.results):
        st.caption(f"{len(shown)} of {len(view.results)} configurations")
    columns = st.columns(2)
    with columns[0]:
        tables.download(table, key="sweep.csv", content="sweep")
    columns[1].download_button(
        "Results (JSON lines)",
        lambda: json_lines(view.results, origin).encode(),
        file_name=f"{text.safe_name(state.file_name())}-sweep.jsonl",
        mime="application/jsonl",
        key="sweep.jsonl",
        on_click="ignore",
        help="Every result with its configuration. Uploaded here or given to `quantlib sweep "
        "--out`, it is continued.",
    )


def _filtered(view: View) -> list[int]:
    """Draw the filters; return the positions of the results that pass."""
    with st.popover("Filters"):
        fitting = st.toggle(
            "Fits the limit",
            key="sweep.only_fits",
            help="What counts of the widest accumulator is within the limit: "
            f"{settings.criterion()}.",
        )
        wanted = {
            entry: st.multiselect(
                entry.label.capitalize(),
                sweep_words.ordered({entry.of(result.config) for result in view.results}),
                key=f"sweep.filter {entry.label}",
                placeholder="all",
            )
            for entry in sweep_words.varied(view.results)
        }
    return [
        i
        for i, result in enumerate(view.results)
        if (result.fits_by(settings.criterion()) or not fitting)
        and all(not values or axis.of(result.config) in values for axis, values in wanted.items())
    ]
