"""The parts of the Bit widths screen."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.ui import engine, settings, tables, text
from pages.ui.bitwidths import remedies
from pages.ui.bitwidths import tables as width_tables
from pages.ui.charts import budgets, staircases, theme
from quantlib import wording
from quantlib.analysis.widths.cost import RoundingMethod
from quantlib.analysis.widths.criterion import Criterion
from quantlib.questions import bitwidths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.current import Current
    from quantlib.analysis.reports import LayerSummary
    from quantlib.analysis.widths.budget import Budget, LayerBudget
    from quantlib.questions.bitwidths import Function, LayerTable


def pick(names: Sequence[str]) -> None:
    """Make the clicked bar's layer the chosen one; bars start with the numbers of `names`."""
    points = st.session_state["bitwidths.bars"].selection.points
    number = str(points[0].get("y", "")).split(" ", 1)[0] if points else ""
    chosen = next((name for name in names if name.split(" ", 1)[0] == number), None)
    if chosen is not None:
        st.session_state["bitwidths.layer"] = chosen


MAX_BARS = 15
"""Bars that are drawn unless all are asked for."""


def shown(found: Budget, criterion: Criterion) -> Budget:
    """Let choose between the layers with the least headroom and all; few are all drawn."""
    if len(found.layers) <= MAX_BARS:
        return found
    ordered = sorted(found.layers, key=lambda layer: _headroom(layer, criterion))
    everything = st.toggle(
        f"Show all {len(ordered)}",
        key="bitwidths.all",
        bind="query-params",
        help=f"The {MAX_BARS} with the least headroom are drawn; any layer can be chosen by name "
        "below.",
    )
    return dataclasses.replace(found, layers=tuple(ordered if everything else ordered[:MAX_BARS]))


def _headroom(layer: LayerBudget, criterion: Criterion) -> float:
    counted = layer.headroom_by(criterion)
    return layer.headroom_bits if counted is None else counted


def worst(found: Budget, criterion: Criterion) -> int:
    """Return the place of the layer with the least headroom, the first of equal ones."""
    return min(range(len(found.layers)), key=lambda i: _headroom(found.layers[i], criterion))


def verdict(found: Budget, names: Sequence[str], criterion: Criterion) -> str:
    """Return in a sentence how many accumulators do not fit, and which is worst."""
    over = found.over_limit_by(criterion)
    place = worst(found, criterion)
    bits = found.layers[place].counted_bits(criterion)
    said = f"{text.plain(names[place], 60)} needs {bits} bits, {criterion}"
    if over:
        return (
            f"**{len(over)} of {len(names)} accumulators exceed {found.limit_bits} bits**; {said}."
        )
    return f"**All {len(names)} accumulators fit {found.limit_bits} bits**; the widest, {said}."


def width(current: Current, layer: LayerBudget) -> None:
    """Draw what makes up a layer's width, by channel too, and what would narrow it."""
    summary = next(entry for entry in current.evaluation().layers if entry.name == layer.name)
    left, right = st.columns([2, 3])
    with left:
        _composition(layer, summary)
    with right:
        if layer.weights.channels > 1:
            st.plotly_chart(
                budgets.channel_strip(layer, layer.limit_bits),
                key="bitwidths.channels",
                config=theme.CONFIG,
                alt="Accumulator width by output channel",
            )
            st.caption(f"Channel {layer.widest_channel} sets the width.")
        table = width_tables.parts_table(layer)
        tables.show(table, alt="The accumulator and the integers on the way")
        if len(layer.parts) > 1:
            st.caption(
                "The weights have a zero point: an encrypted computation also holds the input sum "
                "and its product with the zero point. Symmetric weights need neither."
            )
    if not layer.fits_by(settings.criterion()):
        remedies.of_layer(current, layer)


def _composition(layer: LayerBudget, summary: LayerSummary) -> None:
    """Draw the sum of bits that ends at the width."""
    seen_bits = None if layer.seen is None else layer.seen.width_bits
    st.markdown(
        f"**{layer.weights.width_bits} bits** hold every input on the grid, "
        f"{wording.whole(seen_bits)} held the data; headroom to "
        f"{layer.limit_bits} bits: **{layer.headroom_bits:.2f} bits**"
        + ("" if layer.exact else " (a bound, not always reached)")
    )
    rows = []
    if summary.input_grid and summary.weight_grid and summary.fan_in:
        rows = [
            ("activation code", f"{summary.input_grid.n_bits}"),
            ("weight code", f"{summary.weight_grid.n_bits}"),
            (f"sum of {summary.fan_in} products", f"{math.log2(summary.fan_in):.1f}"),
        ]
    types, weights = layer.types.needed_bits, layer.weights.needed_bits
    rows += [
        ("the types allow", f"{types:.1f}"),
        ("weights smaller than their grid", f"−{types - weights:.1f}"),
        ("the weights allow", f"{weights:.1f}"),
    ]
    if layer.seen is not None:
        rows += [
            ("inputs milder than the worst", f"−{weights - layer.seen.needed_bits:.1f}"),
            ("seen on the data", f"{layer.seen.needed_bits:.1f}"),
        ]
    st.markdown("| part | bits |\n| --- | --- |\n" + "\n".join(f"| {a} | {b} |" for a, b in rows))
    if layer.rounding is not None:
        taken = layer.rounding
        st.caption(
            f"Rounding takes {taken.lsbs_to_remove} low bits and leaves {taken.width_bits}: an "
            f"error of {wording.number(taken.rms_error)} (root mean square), at most "
            f"{wording.number(taken.largest_error)}, in the unit of the layer's output."
        )
    st.caption(f"Input: {wording.grid_in_full(summary.input_grid)}")
    if summary.weight_grid:
        st.caption(f"Weights: {wording.grid_in_full(summary.weight_grid)}")


def fits(current: Current, layer: LayerBudget) -> None:
    """Draw which widths of this layer keep its accumulator within the limit."""
    config = current.config
    found = current.ask(bitwidths.region, config, layer.name)
    if found is None:
        st.info(
            "This operator's widths are not its own to choose: its grid came with the model, "
            "or it has no weights and no width of its own."
        )
        return
    sqnr, counted = None, found
    if st.toggle(
        "Measure the SQNR of each cell",
        key="bitwidths.measure",
        bind="query-params",
        help="Runs the model once per cell with only this layer changed.",
    ):
        bar = st.progress(0.0, "Measuring")
        for cells in engine.each(current.led(), bitwidths.measured_region, config, layer.name):
            sqnr, count = cells.sqnr_db, int(np.isfinite(cells.sqnr_db).sum())
            bar.progress(count / sqnr.size, f"Measuring: {count} of {sqnr.size}")
            if settings.criterion() is Criterion.SEEN:
                counted = dataclasses.replace(found, width_bits=cells.seen_bits)
        bar.empty()
    here = (config.weights_of(layer.name).n_bits, config.activations_of(layer.name).n_bits)
    picked = st.plotly_chart(
        budgets.fit_map(counted, sqnr, here),
        key="bitwidths.map",
        on_select="rerun",
        selection_mode="points",
        config=theme.CONFIG,
        alt="Accumulator width over weight and activation bits of the layer",
    )
    whose = Criterion.SEEN if counted is not found else Criterion.ANY_INPUT
    st.caption(
        f"Each cell holds the accumulator width in bits ({whose}), from the real weights quantized "
        f"anew. Outlined cells fit {found.limit_bits} bits; the circle is the present choice. "
        "Click a cell to choose it."
    )
    points = [p["customdata"] for p in picked.selection.points if p.get("customdata")]
    if points:
        w, a = int(points[0][0]), int(points[0][1])
        changed = bitwidths.at_widths(config, layer.name, w, a)
        remedies.adoption(
            st.container(),
            f"Use {w} weight and {a} activation bits for this layer",
            changed,
            key="bitwidths.adopt",
        )


def table(current: Current, layer: LayerBudget) -> None:
    """Draw what a layer's table look-up does, and what rounding would take from it."""
    found = current.ask(bitwidths.tables, current.config, layer.name)
    if not found.tables:
        st.info(text.plain(found.why_none[:1].upper() + found.why_none[1:], limit=400))
        return
    reader_column, function_column = st.columns(2)
    readers = {entry.view.reader: entry for entry in found.tables}
    chosen = next(iter(readers.values()))
    if len(readers) > 1:
        picked = reader_column.selectbox(
            "Read by",
            list(readers),
            key="bitwidths.table.reader",
            help="Each reader has codes, and so a table, of its own.",
        )
        chosen = readers.get(picked, chosen)
    function = _function(function_column, chosen)
    view, count = chosen.view, len(chosen.functions)
    left, right = st.columns([3, 2])
    with left:
        st.plotly_chart(
            staircases.staircase(function, view.low, view.high, reader=view.reader),
            key="bitwidths.staircase",
            config=theme.CONFIG,
            alt="Code that comes out of the table over the accumulator that enters",
        )
        inside = ", ".join(text.plain(name, 24) for name in view.through) or "requantization only"
        st.caption(
            f"{len(function.thresholds)} steps over {wording.span((view.low, view.high))}, the "
            f"integers that can enter. Inside: {inside}; then the quantizer of "
            f"{text.plain(view.reader)}."
        )
    with right:
        st.plotly_chart(
            staircases.memory(view.rounded),
            key="bitwidths.table.memory",
            config=theme.CONFIG,
            alt="Bytes of the table by the width that rounding leaves, whole and as thresholds",
        )
        st.caption(
            f"{'One function' if count == 1 else f'All {count} functions'}: "
            f"**{wording.size(view.cost.whole_bytes)}** as a whole table, "
            f"**{wording.size(view.cost.threshold_bytes)}** as thresholds."
        )
    lost = width_tables.rounding_table(view.rounded)
    tables.show(lost, alt="Steps lost and bytes of the table by the width that rounding leaves")
    tables.download(lost, key="bitwidths.table.csv", label="Rounding", content="table-rounding")


def _function(column: st.delta_generator.DeltaGenerator, chosen: LayerTable) -> Function:
    """Let choose between the functions of a table, where there are several."""
    if len(chosen.functions) == 1:
        return chosen.functions[0]
    what = "channel" if chosen.by_channel else "element"
    options = {
        f"{what}{'s' if len(entry.channels) > 1 else ''} "
        f"{wording.names([str(i) for i in entry.channels])}": entry
        for entry in sorted(chosen.functions, key=lambda entry: entry.channels)
    }
    picked = column.selectbox(
        what.capitalize(),
        list(options),
        key=f"bitwidths.table.{what}",
        help=f"The table differs by {what}; those that are alike are one choice.",
    )
    return options.get(picked, next(iter(options.values())))


def cost(current: Current) -> None:
    """Draw what the model costs: look-ups by width, bit operations, memory."""
    found = current.ask(bitwidths.cost, current.config)
    places = text.places(current.evaluation())
    figures = st.columns(4)
    exact, approximate = found.n_lookups, found.n_lookups_approximate
    figures[0].metric(
        "Table look-ups",
        f"{exact:,}",
        help="Programmable bootstraps per sample; exact rounding takes each low bit by one.",
    )
    if approximate != exact:
        figures[0].caption(f"{approximate:,} with approximate rounding")
    figures[1].metric("Products", f"{found.macs:,}", help="Multiply-accumulates per sample.")
    figures[2].metric(
        "Bit operations",
        f"{found.bit_operations:,}",
        help="Each product counted as its input width times its weight width, arXiv:1804.10969.",
    )
    figures[3].metric(
        "Codes of the largest layer",
        wording.size(-(-found.peak_activation_bits // 8)),
        help="Memory of the activations that one layer reads.",
    )
    left, right = st.columns(2)
    with left:
        st.plotly_chart(
            budgets.look_ups(found),
            key="bitwidths.lookups",
            config=theme.CONFIG,
            alt="Table look-ups by input width",
        )
        flops = found.complexity(RoundingMethod.EXACT)
        st.caption(
            f"{flops:.3g} floating-point operations per sample under encryption, by the "
            "optimizer of Concrete 2.10 for single look-ups at an error probability of 2⁻⁴⁰: each "
            "bit that enters costs 1.4 to 3.3 times more up to 9 bits, and little more beyond."
        )
    with right:
        st.plotly_chart(
            budgets.bit_operations(found, places),
            key="bitwidths.bitops",
            config=theme.CONFIG,
            alt="Bit operations of each operator",
        )
    table = width_tables.cost_table(found)
    tables.show(table, alt="Look-ups, products and memory of each operator")
    tables.download(table, key="bitwidths.cost.csv", label="Cost", content="cost")
