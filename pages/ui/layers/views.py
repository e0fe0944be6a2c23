"""The parts of the Layers screen about single layers: what each does, and bits for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui import engine, settings, state, tables, text
from pages.ui.charts import searches, theme
from pages.ui.home import tables as preflight_tables
from pages.ui.layers import asking, editing
from pages.ui.layers import tables as layer_tables
from quantlib import wording
from quantlib.analysis.attribution.sensitivity import Direction, Part
from quantlib.core.estimator import ESTIMATORS, WEIGHT_ESTIMATORS
from quantlib.errors import QuantlibError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from pages.ui.current import Current
    from quantlib.analysis.attribution.sensitivity import Sensitivity
    from quantlib.core.config import QuantizationConfig

MAX_BARS = 15
"""Layers that are drawn unless all are asked for."""


def sensitivity(current: Current) -> None:
    """Draw what each layer does alone."""
    words = st.segmented_control(
        "Of each layer",
        [str(part) for part in Part],
        default=str(Part.BOTH),
        required=True,
        key="layers.part",
        bind="query-params",
        help="Which of its operands are quantized.",
    )
    part = Part(words) if words in set(Part) else Part.BOTH
    found = asking.sensitivity(current, key="layers.run")
    if found is None:
        return
    if words := preflight_tables.carried(engine.model_card(current.source).preflight):
        st.info(words)
    if found.mse == 0:
        st.success("No layer loses anything: on these samples the output is the float model's.")
    ranked = found.ranked(Direction.QUANTIZED_ALONE, part)
    places = text.places(current.evaluation())
    everything = len(ranked) <= MAX_BARS or st.toggle(
        f"Show all {len(ranked)}",
        key="layers.all",
        bind="query-params",
        help=f"The {MAX_BARS} that matter most are drawn; the table holds all.",
    )
    few = len(ranked) <= MAX_BARS or not everything
    st.container(height="content" if few else 700).plotly_chart(
        searches.tornado(found, part, places, most=None if everything else MAX_BARS),
        key="layers.tornado",
        config=theme.CONFIG,
        alt="Error of each layer alone, and error that leaving it in float removes",
    )
    st.caption(
        "Shares of the mean squared error of the whole: to the left, with only this layer "
        "quantized; to the right, what goes with only this layer in float. Bits are "
        "worth most where both are long; where the right bar is negative, its error "
        "cancels another's."
    )
    _of_one(found, part, places)
    table = layer_tables.sensitivity_table(found)
    st.dataframe(
        table,
        hide_index=True,
        height=300,
        column_config=tables.formats(table),
        placeholder=tables.MISSING,
        alt="Effect of each layer and part",
    )
    left, right = st.columns(2)
    with left:
        tables.download(
            table, key="layers.sensitivity.csv", label="Sensitivities", content="sensitivity"
        )
    right.download_button(
        "Sensitivities (JSON)",
        found.to_json(),
        key="layers.sensitivity.json",
        file_name=f"{text.safe_name(state.file_name())}-sensitivity.json",
        on_click="ignore",
        mime="application/json",
    )


def _of_one(found: Sensitivity, part: Part, places: Mapping[str, int]) -> None:
    """Let find a layer by name, and say what it does and what leaving it in float gives back."""
    ranked = found.ranked(Direction.QUANTIZED_ALONE, part)
    floats = {e.layer: e for e in found.ranked(Direction.FLOAT_ALONE, part)}
    titles = {f"{places[e.layer]} {e.layer}": i for i, e in enumerate(ranked)}
    title = st.selectbox(
        "Find a layer",
        sorted(titles, key=lambda name: int(name.split(" ", 1)[0])),
        index=None,
        key="layers.find",
        bind="query-params",
        placeholder="type a part of its name",
        help="What it does alone, and its place among all.",
    )
    if title not in titles:
        return
    place = titles[title]
    effect = ranked[place]
    st.markdown(
        f"**{text.plain(title, 60)}** is number {place + 1} of {len(ranked)}: quantized alone "
        f"{wording.decibel(effect.sqnr_db)}; left in float alone the model has "
        f"{wording.decibel(floats[effect.layer].sqnr_db)} instead of "
        f"{wording.decibel(found.sqnr_db)}."
    )


def table(current: Current) -> None:
    """Draw the editable table; every edit is applied, and can be undone."""
    rows = editing.layer_rows(current.evaluation(), current.config)
    words = list(settings.TRISTATE)
    choices = {
        **dict.fromkeys(
            ["weights signed", "weights symmetric", "activations signed", "activations symmetric"],
            words,
        ),
        "weights range": list(WEIGHT_ESTIMATORS),
        "activations range": list(ESTIMATORS),
    }
    columns: dict[str, Any] = {
        name: st.column_config.SelectboxColumn(
            options=[*dict.fromkeys([*options, *rows[name].dropna()])]
        )
        for name, options in choices.items()
    }
    low, high = settings.BITS
    for name in ("weight bits", "activation bits"):
        columns[name] = st.column_config.NumberColumn(
            min_value=low, max_value=high, step=1, help=f"{low} to {high}; cleared: the sidebar's."
        )
    columns["layer"] = st.column_config.TextColumn(pinned=True)
    columns["SQNR (dB)"] = st.column_config.NumberColumn(format="%.1f")
    version = st.session_state.setdefault("layers.version", 0)
    after = st.data_editor(
        rows,
        hide_index=True,
        key=f"layers.table.{version}",
        column_config=columns,
        disabled=[name for name in rows.columns if name not in editing.EDITABLE],
        placeholder=tables.MISSING,
        alt="Choices of each layer, to edit",
    )
    st.caption(
        "Columns with a pencil are yours: click a cell and type. A cleared cell follows the "
        "sidebar. A dash is not to choose: no weights, or a grid that came with the model."
    )
    _apply(current, rows, after)
    undo, clear, download = st.columns(3)
    undo.button(
        "Undo",
        key="layers.undo",
        disabled=not settings.history(),
        on_click=_step_back,
        help="Back to the configuration before the last edit, remedy or search.",
    )
    clear.button(
        "All layers alike",
        key="layers.clear",
        disabled=not current.config.overrides,
        on_click=change,
        args=(current.config.replace(overrides=()),),
        help="Drops every per-layer choice.",
    )
    with download:
        tables.download(rows, key="layers.csv", content="layers")


def _apply(current: Current, rows: pd.DataFrame, after: pd.DataFrame) -> None:
    """Adopt what an edit means; a contradiction is said and changes nothing."""
    try:
        config = settings.within_controls(editing.edited(current.config, rows, after))
    except QuantlibError as error:
        st.error(text.plain(str(error), limit=400))
        return
    if config != current.config:
        settings.later(config)
        st.session_state["layers.version"] += 1
        st.rerun()


def change(config: QuantizationConfig) -> None:
    """Adopt a configuration; the editable table begins anew."""
    settings.adopt(config)
    st.session_state["layers.version"] = st.session_state.get("layers.version", 0) + 1


def _step_back() -> None:
    settings.undo()
    st.session_state["layers.version"] = st.session_state.get("layers.version", 0) + 1
