"""Sweep: a grid of configurations."""

import itertools
from collections.abc import Callable

import streamlit as st

from pages.ui import engine, frame, state, tables, text
from pages.ui.charts import sweeps, theme
from pages.ui.jobs import Job
from quantlib.analysis.sweep import SweepResult, grid
from quantlib.core.config import QuantizationConfig

current = frame.begin("sweep", "Which widths and signs keep the accuracy and fit the limit?")
MEASURES: dict[str, Callable[[SweepResult], float | None]] = {
    "SQNR (dB)": lambda result: result.sqnr_db,
    "score": lambda result: result.score,
    "agreement": lambda result: result.agreement,
}


def pairs(signed: list[str], symmetric: list[str]) -> list[tuple[bool | None, bool | None]]:
    """Return every combination of the chosen words as values."""
    words = state.TRISTATE
    return [(words[a], words[b]) for a, b in itertools.product(signed, symmetric)]


def chips(label: str, options: list, default: list, name: str, explanation: str) -> list:  # type: ignore[type-arg]
    """Draw a row of chips; each chosen one multiplies the grid."""
    return st.pills(
        label, options, default=default, selection_mode="multi", key=f"sweep.{name}",
        bind="query-params", help=explanation,
    )  # fmt: skip


left, right = st.columns([1, 2])
with left:
    bits, words = list(range(2, 9)), list(state.TRISTATE)
    weight_bits = chips("Weight bits", bits, bits, "weight_bits", "Widths of weights to try.")
    activation_bits = chips(
        "Activation bits", bits, bits, "activation_bits", "Widths of activations to try."
    )
    weights_signed = chips(
        "Weights signed", words, ["auto"], "weights_signed", "Auto is Concrete ML's rule."
    )
    weights_symmetric = chips(
        "Weights symmetric",
        words,
        ["auto"],
        "weights_symmetric",
        "Symmetric and unsigned contradict each other; such pairs are left out.",
    )
    activations_signed = chips(
        "Activations signed",
        words,
        ["auto"],
        "activations_signed",
        "Auto: if any value is negative.",
    )
    activations_symmetric = chips(
        "Activations symmetric", words, ["auto"], "activations_symmetric", "Auto: no."
    )
    configs: tuple[QuantizationConfig, ...] = ()
    with frame.shown_errors():
        configs = grid(
            current.config,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            weight_schemes=pairs(weights_signed, weights_symmetric),
            activation_schemes=pairs(activations_signed, activations_symmetric),
        )
    st.caption(f"{len(configs)} configurations")
    job = state.job()
    running = job is not None and job.running
    st.button(
        "Start", key="sweep.start", type="primary", disabled=running or not configs,
        on_click=lambda: state.keep_job(engine.sweep_job(current.source, configs)),
        shortcut="Ctrl+Enter", help="Runs in the background; other screens stay usable.",
    )  # fmt: skip


def results_of(found: Job[SweepResult]) -> None:
    """Draw heat map, trade-off, table and what can be done with a selected cell."""
    results = list(found.results)
    score = engine.evaluation(current.source, current.config).score
    measures = {name: f for name, f in MEASURES.items() if any(f(r) is not None for r in results)}
    titles = {"score": score.name if score else "score"}
    name = st.segmented_control(
        "Measure", list(measures), default="SQNR (dB)", required=True, key="sweep.measure",
        bind="query-params", format_func=lambda n: titles.get(n, n),
        help="What the colour and the vertical axis show.",
    )  # fmt: skip
    measure, label = measures.get(name, MEASURES["SQNR (dB)"]), titles.get(name, name)
    limit = current.config.limit_bits
    heat, trade, table_tab = st.tabs(["Heat map", "Trade-off", "Table"])
    with heat:
        picked = st.plotly_chart(
            sweeps.heat_map(
                results, measure=measure, label=label, current=current.config, limit_bits=limit
            ),
            key="sweep.heat", height=460, on_select="rerun", selection_mode="points",
            config=theme.CONFIG, alt=f"{label} over weight bits and activation bits",
        )  # fmt: skip
        st.caption(
            "Outlined cells fit the limit; the circle marks the current configuration. Where "
            "schemes share a cell the best one is shown. Click a cell."
        )
        chosen = [p["customdata"][0] for p in picked.selection.points if p.get("customdata")]
    with trade:
        st.plotly_chart(
            sweeps.trade_off(results, measure=measure, label=label, limit_bits=limit),
            key="sweep.trade", height=460, config=theme.CONFIG,
            alt=f"{label} against the widest accumulator",
        )  # fmt: skip
    with table_tab:
        table = text.sweep_table(results, titles["score"])
        rows = st.dataframe(
            table, hide_index=True, key="sweep.table", on_select="rerun",
            selection_mode="single-row", height=400, alt="All configurations of the sweep",
        )  # fmt: skip
        chosen = chosen or list(rows.selection.rows)
        tables.download(table, key="sweep.csv", content="sweep")
    if chosen and chosen[0] < len(results):
        result = results[int(chosen[0])]
        st.markdown(f"**Selected:** {text.config(result.config)}")
        st.markdown(
            f"{text.decibel(result.sqnr_db)}, widest {result.widest_bits} bits, "
            f"{text.size(result.weight_bytes)}, {label} {measure(result) or 0.0:.4g}"
        )
        columns = st.columns(3)
        adopted = columns[0].button(
            "Adopt", key="sweep.adopt", type="primary", on_click=state.adopt, args=(result.config,)
        )
        pinned = columns[1].button(
            "Pin as B", key="sweep.pin", on_click=state.pin, args=(result.config,)
        )
        if adopted or pinned:  # sidebar and headline lie outside this fragment
            st.rerun()
        columns[2].page_link(frame.PAGES / "compare.py", label="Open Compare")


@st.fragment(run_every=0.4 if running else None)
def progress() -> None:
    """Show how far the sweep is and what it found so far."""
    if job is None:
        st.info("No sweep yet. Choose a grid and press Start.")
        return
    if job.source != current.source:
        st.info("The last sweep was of another model or other data. Press Start for this one.")
        return
    if job.running:
        rate = job.elapsed_s / max(1, job.done)
        left_s = rate * (job.total - job.done)
        st.progress(
            job.done / max(1, job.total),
            text=f"{job.done} of {job.total} configurations, about {left_s:.0f} s left",
        )
        st.button("Cancel", key="sweep.cancel", on_click=job.cancel)
    elif running:
        st.rerun()
    if job.error:
        st.error(text.plain(job.error, limit=600))
    elif job.cancelled and not job.running:
        st.warning(f"Cancelled after {job.done} of {job.total}; the results so far are below.")
    if job.results:
        results_of(job)


with right:
    progress()
