"""Questions about many configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.analysis.sweep import run
from quantlib.analysis.sweep.executors import open_executor
from quantlib.analysis.sweep.records import Origin
from quantlib.analysis.sweep.result import SweepResult, measure
from quantlib.analysis.sweep.store import read_results
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions.registry import GoOn

WORKERS = 2
"""Configurations that are computed at a time."""


@Stream
def sweep(
    bench: Workbench, go_on: GoOn, configs: tuple[QuantizationConfig, ...]
) -> Iterator[SweepResult]:
    """Compute configurations; each result as it is ready."""
    with open_executor(workers=WORKERS) as executor:
        yield from run.sweep(bench, configs, executor=executor, go_on=go_on)


@Question
def measured(bench: Workbench, config: QuantizationConfig) -> SweepResult:
    """Return the figures of one configuration, as a sweep has them."""
    return measure(bench, config)


@Question
def seconds_each(bench: Workbench, config: QuantizationConfig) -> float:
    """Return how long one configuration takes, s."""
    return measure(bench, config)["elapsed_s"] or 0.0


@Question
def origin(bench: Workbench) -> Origin:
    """Return what results of this model and these data are marked with."""
    return Origin.of(bench)


@Question
def kept(bench: Workbench, content: bytes, *, name: str) -> tuple[SweepResult, ...]:
    """Return the results in a file, which must be of this model and these data."""
    return read_results(content, Origin.of(bench), name=name, is_csv=name.endswith(".csv"))[0]
