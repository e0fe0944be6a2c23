"""The parts of the Calibration screen that show one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import settings, tables
from pages.ui.calibration import tables as calibration_tables
from pages.ui.calibration import tensors
from pages.ui.charts import distributions, theme
from quantlib import wording
from quantlib.questions import calibration

if TYPE_CHECKING:
    from pages.ui.calibration.tensors import TensorView
    from pages.ui.current import Current
    from quantlib.analysis.distributions import RangeChoice
    from quantlib.calibration.sufficiency import Sufficiency


def ranges(current: Current, view: TensorView, *, log: bool) -> None:
    """Draw the tensor large with its grid, all estimators' ranges, and what each makes of it."""
    scheme = current.config.weights if view.kind == "weights" else current.config.activations
    found = list(tensors.choices(current, view, scheme))
    low, high = float(view.measured.extremes.rmin), float(view.measured.extremes.rmax)
    own = None
    if high > low:
        chosen = st.slider(
            "Own range",
            low,
            high,
            (low, high),
            key=f"calibration.own.{view.kind}.{view.tensor}",
            format="%.4g",
            help="Move the ends: the last row of the table judges them.",
        )
        own = tensors.by_hand(view, *chosen) if chosen != (low, high) else None
    picture, figures = st.columns([3, 1])
    with picture:
        st.plotly_chart(
            distributions.tensor_histogram(
                view.measured,
                view.grid,
                log=log,
                unit=f"value of the {view.kind}",
                choices=[*found, *([own] if own else [])],
            ),
            key="calibration.large",
            height=440,
            config=theme.CONFIG,
            alt="Histogram of the chosen tensor with the quantization grid",
        )
        st.caption("Click an estimator in the legend to see the ends of its range.")
    with figures:
        _figures(current, view)
    rows = [*found, tensors.running(view), *([own] if own else [])]
    table = calibration_tables.range_table(rows)
    event = st.dataframe(
        table,
        hide_index=True,
        key=f"calibration.ranges.{view.kind}",
        on_select="rerun",
        column_config=tables.formats(table),
        selection_mode="single-row",
        alt="What each range estimator makes of this tensor",
    )
    picked = [found[row] for row in event.selection.rows if row < len(found)]
    left, right = st.columns(2)
    if picked:
        _adopt(left, view.kind, picked[0])
    else:
        left.caption("Select a row to use its estimator.")
    with right:
        tables.download(
            table, key="calibration.ranges.csv", label="Ranges", content=f"ranges-{view.kind}"
        )


def _adopt(column: st.delta_generator.DeltaGenerator, kind: str, choice: RangeChoice) -> None:
    """Offer the selected estimator for all tensors of the kind."""
    assert choice.estimator is not None
    words, key = choice.estimator.words, settings.KEYS[f"{kind}_range"]
    column.button(
        f"Use {choice.estimator.kind.label} for all {kind}",
        key="calibration.adopt",
        type="primary",
        on_click=lambda: st.session_state.update({key: words}),
        help=choice.estimator.kind.explanation,
    )


def _figures(current: Current, view: TensorView) -> None:
    """Draw the numbers beside the large histogram."""
    stats = view.measured.extremes
    st.markdown(wording.grid_in_full(view.grid))
    st.markdown(f"float range {wording.interval(float(stats.rmin), float(stats.rmax))}")
    if view.path_range is not None:
        words = "float model" if current.config.calibrate_on == "float" else "quantized path"
        st.markdown(f"range on the {words} {wording.interval(*view.path_range)}")
    if view.kind == "weights":
        st.caption(
            calibration_tables.symmetry(
                current.ask(calibration.symmetry, view.tensor), current.config.weights
            )
        )
    fit, n_bits = view.fit, view.grid.n_bits
    less, more = (tensors.sqnr_at(view, n_bits + step) for step in (-1, 1))
    st.metric(f"SQNR at {n_bits} bits", wording.decibel(fit.sqnr_db), help="Of this tensor alone.")
    if less is not None or more is not None:
        st.caption(
            f"{n_bits - 1} bits: {wording.decibel(less)}  \n{n_bits + 1} bits: "
            f"{wording.decibel(more)}"
        )
    st.metric(
        "Clipped",
        wording.share(fit.clipped_share),
        help="Values more than half a step beyond the grid.",
    )
    st.metric(
        "Rounded to zero",
        wording.share(fit.zero_share),
        help="Values other than 0 whose code stands for 0.",
    )
    st.metric(
        "Codes in use",
        f"{tensors.used_codes(current, view)} of {view.grid.qmax - view.grid.qmin + 1}",
        help="Codes that at least one value maps to.",
    )


def channels(view: TensorView) -> None:
    """Draw the range of each channel, and name dead and clipped ones."""
    found = view.measured.channels
    if found is None or len(found.low) < 2:
        st.info("This tensor has no channels, or one: its range is the one under ranges.")
        return
    st.plotly_chart(
        distributions.channel_ranges(found, view.grid),
        key="calibration.channels",
        config=theme.CONFIG,
        alt="Range of each channel with the ends of its grid",
    )
    st.caption(
        "A short bar in a wide grid wastes codes: one grid per channel would fit it."
        if view.kind == "weights"
        else "A dead channel holds one constant on all calibration samples."
    )
    for words, listed in (("Dead", found.dead), ("Beyond the grid", found.clipped(view.grid))):
        numbers = ", ".join(map(str, listed[:40])) + (" …" if len(listed) > 40 else "")
        st.markdown(f"**{words}:** {numbers or 'none'}")
    table = calibration_tables.channel_table(found)
    tables.show(table, alt="Range and zeros of each channel")
    tables.download(
        table, key="calibration.channels.csv", label="Channels", content=f"channels-{view.kind}"
    )


def samples(current: Current, view: TensorView) -> None:
    """Draw how range and accumulator width settle with the number of samples."""
    if view.kind == "weights" or len(view.measured.sample_low) < 2:
        st.info("Weights do not depend on samples. Choose activations.")
        return
    of_range = tensors.range_sufficiency(current, view)
    of_width = current.ask(calibration.width_sufficiency, current.config, view.layer)
    left, right = st.columns(2)
    with left:
        st.plotly_chart(
            distributions.sufficiency(of_range, unit="width of the range", width=False),
            key="calibration.samples.range",
            config=theme.CONFIG,
            alt="Range of the tensor over the number of calibration samples",
        )
        setter = view.measured.range_setter
        if setter is not None:
            st.warning(
                f"Sample {setter} alone sets this range: it reaches twice as far as any other."
            )
    with right:
        if of_width is None:
            st.info("This operator has no accumulator.")
        else:
            st.plotly_chart(
                distributions.sufficiency(of_width, unit="accumulator width (bits)", width=True),
                key="calibration.samples.width",
                config=theme.CONFIG,
                alt="Accumulator width over the number of calibration samples",
            )
    whose = ("The range, counted in steps of the grid from 0 on", "The accumulator")
    for words, found in zip(whose, (of_range, of_width), strict=True):
        if found is not None:
            _verdict(words, found)


def _verdict(words: str, found: Sufficiency) -> None:
    """Say whether the samples are enough, and how many would be."""
    chance = f"{100 * found.chance_wider:.2g} %" if found.chance_wider > 1e-4 else "under 0.01 %"
    sentence = (
        f"{words}: {found.n_samples} samples need {found.present_bits} bits; an unseen sample "
        f"needs one more with an estimated chance of {chance}"
    )
    if found.is_enough:
        st.success(f"{sentence}. The aim is {100 * found.target:g} %: enough.")
    else:
        st.warning(
            f"{sentence}. For {100 * found.target:g} % take about {found.enough_samples:,} "
            f"samples; {found.certain_samples:,} suffice whatever the distribution."
        )
