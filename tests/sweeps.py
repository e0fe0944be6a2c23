"""A small model on its data, and results that compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import quantlib as ql
from quantlib.analysis.sweep.measures import KEPT
from quantlib.analysis.sweep.result import SweepResult
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from tests import models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def bench(graph: ql.Graph | None = None, *, samples: int = 200) -> Workbench:
    """Return a model of six features with labels that 14 bits get right."""
    graph = ql.load_model(models.mlp()) if graph is None else graph
    x = models.normal(samples, 6, seed=9)
    module = ql.PostTrainingAffineQuantization(14, graph).quantize_module(x[:60])
    labels = np.argmax(module(x), 1)
    return Workbench(graph, Dataset("made", (x[:60],), (x,), labels, (), "digest"))


ORDER = (
    "sqnr_db", "mse", "cosine", "max_error", "agreement", "score", "widest_types_bits",
    "widest_weights_bits", "widest_seen_bits", "needed_bits", "weight_bytes", "bit_operations",
    "table_lookups", "elapsed_s",
)  # fmt: skip


def result(config: ql.QuantizationConfig, *figures: float | None) -> SweepResult:
    """Return a result with these figures, in `ORDER`, of a model that was looked into."""
    given = dict(zip(ORDER, figures, strict=True))
    # nothing is rounded: whole accumulators count
    counted = {
        "counted_seen_bits": given["widest_seen_bits"],
        "counted_any_bits": given["widest_weights_bits"],
    }
    return SweepResult(config, {**dict.fromkeys(KEPT), **given, **counted, "n_unseen": 0})


def changed(result: SweepResult, **figures: float | None) -> SweepResult:
    """Return a result with other figures."""
    assert set(figures) <= set(result.figures)
    return SweepResult(result.config, {**result.figures, **figures})


def by_config(results: Iterable[SweepResult]) -> dict[ql.QuantizationConfig, SweepResult]:
    """Return results by configuration, without the seconds."""
    return {result.config: changed(result, elapsed_s=0.0) for result in results}


def until_error(
    results: Iterable[SweepResult], *, each: Callable[[int], object] = lambda _: None
) -> tuple[list[SweepResult], ql.SweepError]:
    """Return what a sweep found and the error that ended it; tell `each` how many there are."""
    found: list[SweepResult] = []
    try:
        for result in results:
            found.append(result)
            each(len(found))
    except ql.SweepError as error:
        return found, error
    raise AssertionError("the sweep ended without an error")
