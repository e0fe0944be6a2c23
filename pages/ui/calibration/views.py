"""The parts of the Calibration screen that show one tensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import settings, tables
from pages.ui.calibration import tables as calibration_tables
from pages.ui.calibration import tensors
from pages.ui.charts import distributions, theme
from quantlib import wording
from quantlib.questions import calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.calibration.tensors import TensorView
    from pages.ui.current import Current
    from quantlib.analysis.distributions import RangeChoice
    from quantlib.calibration.sufficiency import Sufficiency


def pick(titles: Sequence[str]) -> None:
    """Make the tensor of the clicked small histogram the chosen one."""
    points = st.session_state["calibration.multiples"].selection.points
    places = [int(point["customdata"][0]) for point in points if point.get("customdata")]
    if places and places[0] < len(titles):
        st.session_state["calibration.layer"] = titles[places[0]]


def ranges(current: Current, view: TensorView, *, log: bool) -> None:
    """Draw the tensor large with its grid, all estimators' ranges, and what each makes of it."""
    scheme = current.config.weights if view.kind == "weights" else current.config.activations
    found = list(tensors.choices(current, view, scheme))
    best = tensors.best_of(found)
    labels = [choice.estimator.kind.label if choice.estimator else "" for choice in found]
    compared = st.multiselect(
        "Compare",
        labels,
        default=[] if best is None else [labels[best]],
        max_selections=2,
        key=f"calibration.compare.{view.kind}",
        bind="query-params",
        help="The ends of these ranges stand as lines in the histogram; two are told apart.",
    )
    picture, figures = st.columns([3, 1])
    ends = tensors.axis_ends(view, found)
    with picture:
        place = st.container()
        own = _own_range(view, ends)
        place.plotly_chart(
            distributions.tensor_histogram(
                view.measured,
                view.grid,
                log=log,
                unit=f"value of the {view.kind}",
                choices=[*found, *([own] if own else [])],
                compared=[labels.index(label) for label in compared if label in labels],
                best=best,
                ends=ends,
            ),
            key="calibration.large",
            config=theme.CONFIG,
            alt="Histogram of the chosen tensor with the quantization grid and every range",
        )
        _told_apart([found[labels.index(label)] for label in compared if label in labels])
    with figures:
        _figures(current, view)
    rows = [*found, tensors.running(view), *([own] if own else [])]
    table = calibration_tables.range_table(rows, best)
    event = st.dataframe(
        table,
        hide_index=True,
        height=250,
        key=f"calibration.ranges.{view.kind}",
        on_select="rerun",
        column_config=tables.formats(table),
        selection_mode="single-row",
        alt="What each range estimator makes of this tensor",
    )
    picked = [found[row] for row in event.selection.rows if row < len(found)]
    chosen = picked[0] if picked else None if best is None else found[best]
    if chosen is not None:
        _adopt(current, view, chosen, is_best=not picked)
    tables.download(
        table, key="calibration.ranges.csv", label="Ranges", content=f"ranges-{view.kind}"
    )


def _own_range(view: TensorView, ends: tuple[float, float]) -> RangeChoice | None:
    """Draw two handles under the axis, as wide as it, and what the range between them does."""
    low, high = float(view.measured.extremes.rmin), float(view.measured.extremes.rmax)
    if high <= low:
        return None
    alpha, beta = st.slider(
        "Own range: α and β",
        *ends,
        (low, high),
        key=f"calibration.own.{view.kind}.{view.tensor}",
        format="%.4g",
        help="Move the ends under the axis; the figures below and the last row of the table judge "
        "them.",
    )
    if (alpha, beta) == (low, high) or beta <= alpha:
        st.caption("Move α and β under the axis to try a range of your own.")
        return None
    own = tensors.by_hand(view, alpha, beta)
    figures = st.columns(3)
    grid, fit = own.quantizer, own.fit
    step = abs(grid.quant_params.mean_scale)
    now = abs(view.grid.quant_params.mean_scale)
    figures[0].metric("Scale", wording.number(step), f"{step / now:.3g} × that of now", "off")
    figures[1].metric(
        "Clipped",
        wording.share(fit.clipped_share),
        f"{100 * (fit.clipped_share - view.fit.clipped_share):.2g} points",
        "inverse",
    )
    difference = fit.sqnr_db - view.fit.sqnr_db
    figures[2].metric(
        "SQNR",
        wording.decibel(fit.sqnr_db),
        f"{difference:.1f} dB" if math.isfinite(difference) else None,
    )
    return own


def _told_apart(chosen: list[RangeChoice]) -> None:
    """Say what tells two ranges apart."""
    if len(chosen) != 2:
        st.caption("Every bar is an estimator's range, from its lowest to its highest code.")
        return
    first, second = chosen
    names = [choice.estimator.kind.label if choice.estimator else "" for choice in chosen]
    steps = [abs(choice.quantizer.quant_params.mean_scale) for choice in chosen]
    st.markdown(
        f"**{names[0]}** against **{names[1]}**: {wording.decibel(first.fit.sqnr_db)} against "
        f"{wording.decibel(second.fit.sqnr_db)}, scale {wording.number(steps[0])} against "
        f"{wording.number(steps[1])}, clipped {100 * first.fit.clipped_share:.3g} % against "
        f"{100 * second.fit.clipped_share:.3g} %."
    )


def _adopt(current: Current, view: TensorView, choice: RangeChoice, *, is_best: bool) -> None:
    """Offer an estimator for this tensor, and for all tensors of the kind."""
    assert choice.estimator is not None
    label = choice.estimator.kind.label
    words, key = choice.estimator.words, settings.KEYS[f"{view.kind}_range"]
    gain = choice.fit.sqnr_db - view.fit.sqnr_db
    told = f", {gain:+.1f} dB" if math.isfinite(gain) else ""
    left, right = st.columns(2)
    left.button(
        f"Use {label} for this tensor" + (f" (best{told})" if is_best else ""),
        key="calibration.adopt_here",
        type="primary",
        on_click=settings.adopt,
        args=(tensors.adopted(current.config, view, choice.estimator),),
        disabled=view.grid.is_carried,
        help="An override of this layer; Undo is on Layers. "
        + ("Its grid came with the model." if view.grid.is_carried else "")
        + choice.estimator.kind.explanation,
    )
    right.button(
        f"Use {label} for all {view.kind}",
        key="calibration.adopt",
        on_click=lambda: st.session_state.update({key: words}),
        help=choice.estimator.kind.explanation,
    )
    if is_best:
        st.caption("Select a row of the table to use another estimator.")


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
