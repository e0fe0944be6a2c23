"""The error ledger on the Compare screen: at once for small models, else in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, state, tables, text
from pages.ui.charts import ledger as charts
from pages.ui.charts import theme
from pages.ui.compare import tables as comparison_tables
from quantlib import wording
from quantlib.questions import compare as comparisons

if TYPE_CHECKING:
    from pages.ui.current import Current
    from pages.ui.jobs import Job
    from quantlib.analysis.attribution.ledger import ErrorLedger
    from quantlib.core.config import QuantizationConfig

MAX_BARS = 15
"""Places that are drawn without a window that scrolls."""

DEFINITION = r"""
Start from a run in which nothing is quantized. Then switch the sources of error on one after
another, layer by layer in execution order; in each layer weight clipping, weight rounding,
activation clipping, activation rounding, accumulator rounding. All that comes after stays exact.
With outputs $y_0, \ldots, y_K = \hat y$ on this path, $d_k = y_k - y_{k-1}$ and $e = \hat y - y$:

- **share**, in context: $\langle d_k, e\rangle / N$. The sum of all shares is
  $\langle e, e\rangle / N$, the measured error. A negative share undoes other errors.
- **alone**: $\langle a_k, a_k\rangle / N$, where $a_k$ is the change of the output when only
  source $k$ is on.
- **interaction**: share − alone. What errors do to each other on the way; negative where they
  cancel.

*Clipping* saturates values that lie more than half a step beyond the grid, *rounding* is the rest
of what it does.
*Accumulator rounding* is what an integer layer loses beyond that: the low bits that a threshold
removes, the common scale of an Add.
"""


def draw(current: Current, config: QuantizationConfig, *, name: str, alone: bool) -> None:
    """Draw one configuration's ledger, or the way to it."""
    products = current.ask_of_output(comparisons.ledger_products, config)
    if products <= comparisons.AT_ONCE:
        _finished(
            current.ask_of_output(comparisons.error_ledger, config), config, name=name, alone=alone
        )
        return
    seconds = products * comparisons.SECONDS_PER_PRODUCT
    st.caption(f"This model is large: its ledger takes about {seconds:,.0f} s.")
    key = (current.led(), config)
    job = state.ledger_job()
    running = job is not None and job.running and job.source == key
    st.button(
        "Compute the ledger",
        key=f"compare.{name[0]}.start",
        disabled=running,
        on_click=lambda: state.keep_ledger_job(_started(current, config)),
        help="Runs in the background, on more and more samples; other screens stay usable.",
    )

    @st.fragment(run_every=0.5 if running else None)
    def progress() -> None:
        job = state.ledger_job()
        if job is None or job.source != key:
            return
        found = job.results[-1] if job.results else None
        if job.running:
            done = found.n_samples if found else 0
            st.progress(done / job.total, text=f"{done} of {job.total} samples")
            st.button("Cancel", key=f"compare.{name[0]}.cancel", on_click=job.cancel)
        elif running:
            st.rerun()
        if job.error:
            st.error(text.plain(job.error, limit=600))
        elif job.cancelled and not job.running:
            done = found.n_samples if found else 0
            st.warning(f"Cancelled after {done} of {job.total} samples.")
        if found:
            _finished(found, config, name=name, alone=alone)

    progress()


def _started(current: Current, config: QuantizationConfig) -> Job[ErrorLedger]:
    """Start a ledger in the background; it grows with the samples it has seen."""
    total = engine.data_card(current.source).n_evaluation
    return engine.begin(
        current.led(),
        comparisons.ledger,
        ((config,), {}),
        total=total,
        label=(current.led(), config),
    )


def _finished(ledger: ErrorLedger, config: QuantizationConfig, *, name: str, alone: bool) -> None:
    """Draw a ledger with its table."""
    if not ledger.entries:
        st.success("Nothing is lost: no layer rounds or clips on these samples.")
        return
    # one bar per place: of a large model they scroll in a window of their own
    places = len({entry.place for entry in ledger.entries})
    st.container(height="content" if places <= MAX_BARS else 700).plotly_chart(
        charts.stacked(ledger, alone=alone),
        key=f"compare.{name[0]}.ledger",
        config=theme.CONFIG,
        alt=f"{name}: parts of the mean squared output error per layer, and their running sum",
    )
    st.caption(
        f"On {ledger.n_samples} samples: {comparison_tables.sources(ledger)}. The parts sum to "
        f"{wording.number(ledger.explained)}, measured is {wording.number(ledger.mse)} (relative "
        f"gap {ledger.relative_gap:.0e}). Alone, the sources would make "
        f"{wording.number(ledger.explained - ledger.interaction)}."
    )
    table = comparison_tables.ledger(ledger)
    digits = st.column_config.NumberColumn(format="%.3g")
    numbers = dict.fromkeys(table.select_dtypes("number").columns, digits)
    st.dataframe(
        table,
        hide_index=True,
        height=280,
        column_config=numbers,
        alt=f"{name}: the ledger, entry by entry",
    )
    content = f"ledger-{name[0]}-{text.file_tag(config)}"
    tables.download(table, key=f"compare.{name[0]}.ledger.csv", content=content)
