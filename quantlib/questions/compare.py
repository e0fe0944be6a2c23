"""Questions about two sets of outputs, and about where their difference comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.attribution import ledger as ledgers
from quantlib.analysis.attribution.flip_origin import divergences
from quantlib.analysis.attribution.partial_run import is_integer
from quantlib.analysis.comparison import compare_outputs, dequantized_outputs
from quantlib.analysis.preflight import inspect_model
from quantlib.analysis.ties import count_ties
from quantlib.core.metrics import wilson_interval
from quantlib.execution.calls import n_samples
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.analysis.attribution.ledger import ErrorLedger
    from quantlib.analysis.comparison import Comparison, MarginBin
    from quantlib.analysis.reports import Flip
    from quantlib.analysis.ties import Ties
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.metrics import Divergence
    from quantlib.questions.registry import GoOn

MAX_CLASSES = 24
"""Most classes of a confusion matrix that are drawn."""

MAX_FLIPS = 1000
"""Most samples of a flip table; the surest decisions come first."""

MAX_TRACED = 64
"""Most flips whose place of divergence is looked for."""

MAX_POINTS = 4000

AT_ONCE = 2e9
"""Products that a ledger may take before it waits for a button: about a second."""

SECONDS_PER_PRODUCT = 6e-10
"""Measured on the residual sample: a ledger's time over samples, layers and their products."""


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What happens to answers, in bounded size.

    Parameters
    ----------
    n_samples, n_flips : int
        Samples compared; those whose class changes.
    agreement : float
        Share of the others.
    margins : tuple of MarginBin
        Agreement by the margin before.
    flips : tuple of Flip
        The first `MAX_FLIPS`.
    diverges : dict of int to str
        Layer at which a sample's decision is lost, for the first `MAX_TRACED` flips; empty where
        that would take long.
    classes : int array, (C,)
        Classes that change most, by number.
    samples, right_before, right_after : int arrays, (C,)
        Their samples, and those answered with this class.
    change : int array, (C, C)
        Change of the confusion matrix between these classes.
    by_label : bool
        Rows are labels; else the answers before.
    divergence : Divergence or None
        Of the outputs after from those before, as distributions over the classes.
    """

    n_samples: int
    n_flips: int
    agreement: float
    margins: tuple[MarginBin, ...]
    flips: tuple[Flip, ...]
    diverges: dict[int, str]
    classes: IntArray
    samples: IntArray
    right_before: IntArray
    right_after: IntArray
    change: IntArray
    by_label: bool
    divergence: Divergence | None = None

    @property
    def agreement_interval(self) -> tuple[float, float]:
        """Wilson interval (95 %) of the agreement."""
        return wilson_interval(self.agreement, self.n_samples)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Outputs of one configuration against those of another.

    Parameters
    ----------
    mse, max_error, sqnr_db : float
        Of the second against the first.
    scatter : (float array, float array)
        Outputs of the first and of the second, thinned to `MAX_POINTS`.
    decisions : Decisions or None
        For outputs that are scores.
    """

    mse: float
    max_error: float
    sqnr_db: float
    scatter: tuple[FloatArray, FloatArray]
    decisions: Decisions | None


@Question
def decisions(bench: Workbench, config: QuantizationConfig) -> Decisions | None:
    """Compare a configuration's answers with the float model's; None for other outputs."""
    module = bench.module(config)
    outputs = dequantized_outputs(module, bench.float_model)
    found = compare_outputs(bench.float_model.output(), outputs, bench.data.labels)
    if found.agreement is None:
        return None
    places: dict[int, str] = {}
    if ledger_products(bench, config) * MAX_TRACED / found.n_samples < AT_ONCE:
        chosen = [flip.sample for flip in found.flips[:MAX_TRACED]]
        traced = divergences(module, bench.float_model.inputs, chosen)
        places = {place.sample: place.layer for place in traced}
    return _decisions(found, places)


@Question
def pair(bench: Workbench, first: QuantizationConfig, second: QuantizationConfig) -> Pair:
    """Compare two configurations with each other."""
    before, after = (
        dequantized_outputs(bench.module(config), bench.float_model) for config in (first, second)
    )
    found = compare_outputs(before, after, bench.data.labels)
    keep = np.linspace(0, before.size - 1, min(before.size, MAX_POINTS)).astype(np.int64)
    return Pair(
        found.mse,
        found.max_error,
        found.sqnr_db,
        (_numbers(before)[keep], _numbers(after)[keep]),
        None if found.agreement is None else _decisions(found, {}),
    )


@Question
def ties(bench: Workbench, config: QuantizationConfig) -> Ties:
    """Count the integers of the evaluation data that hang on the last bit."""
    return count_ties(bench.module(config), *bench.data.evaluation)


@Question
def ledger_products(bench: Workbench, config: QuantizationConfig) -> float:
    """Return how many products a ledger of a configuration takes, roughly."""
    layers = sum(is_integer(layer) for layer in bench.module(config).layers)
    macs = sum(node.macs or 0 for node in inspect_model(bench.graph).nodes)
    return float(macs) * n_samples(bench.graph, bench.data.evaluation) * max(1, layers)


@Question
def error_ledger(bench: Workbench, config: QuantizationConfig) -> ErrorLedger:
    """Divide the output error up, on all evaluation samples."""
    return ledgers.error_ledger(bench.module(config), bench.float_model)


@Stream
def ledger(bench: Workbench, go_on: GoOn, config: QuantizationConfig) -> Iterator[ErrorLedger]:
    """Divide the output error up, over more and more samples; the last ledger is of all."""
    yield from ledgers.error_ledgers(bench.module(config), bench.float_model, go_on=go_on)


def _numbers(output: AnyArray) -> FloatArray:
    return output.astype(np.float64).ravel()


def _decisions(found: Comparison, places: dict[int, str]) -> Decisions:
    confusion = found.confusion
    assert confusion is not None and found.agreement is not None
    classes = confusion.most_changed(MAX_CLASSES)
    return Decisions(
        n_samples=found.n_samples,
        n_flips=len(found.flips),
        agreement=found.agreement,
        margins=found.margins,
        flips=found.flips[:MAX_FLIPS],
        diverges=places,
        classes=classes,
        samples=confusion.samples[classes],
        right_before=np.diag(confusion.before)[classes],
        right_after=np.diag(confusion.after)[classes],
        change=confusion.change[np.ix_(classes, classes)],
        by_label=confusion.by_label,
        divergence=found.divergence,
    )
