"""Questions about single layers, and the search over their widths."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.attribution import sensitivity as attribution
from quantlib.analysis.attribution.partial_run import is_integer
from quantlib.analysis.search import search as searches
from quantlib.questions.compare import ledger_products
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.analysis.attribution.sensitivity import Sensitivity
    from quantlib.analysis.search.objective import Objective
    from quantlib.analysis.search.search import Progress, SearchResult
    from quantlib.analysis.widths.criterion import Criterion
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions.registry import GoOn

WORKERS = 2
"""Layers that are measured at a time; they share the tensors before them."""


@Question
def sensitivity(bench: Workbench, config: QuantizationConfig) -> Sensitivity:
    """Return what each layer does alone, and what leaving it in float gives back."""
    with ThreadPoolExecutor(WORKERS) as executor:
        return attribution.sensitivity(
            bench.module(config), bench.float_model, bench.data.labels, executor=executor
        )


SECONDS_PER_PRODUCT = 1e-9
SECONDS_PER_STEP = 1.8e-4
"""Measured on samples and on chains of 60 to 400 layers: the time of all runs of all layers over
samples, layers and their products; and what a node of one of these runs costs beside."""


@Question
def sensitivity_seconds(bench: Workbench, config: QuantizationConfig) -> float:
    """Return about how long `sensitivity` takes, s; small models of many layers too take long."""
    every = bench.module(config).layers
    steps = len(every) * sum(is_integer(layer) for layer in every)
    products = ledger_products(bench, config)
    return SECONDS_PER_PRODUCT * products + SECONDS_PER_STEP * steps


@dataclass(frozen=True, slots=True)
class SensitivityProgress:
    """How far layers have been measured.

    Parameters
    ----------
    done, total : int
        Layers.
    found : Sensitivity or None
        The answer, once all are.
    """

    done: int
    total: int
    found: Sensitivity | None = None


@Stream
def measured_sensitivity(
    bench: Workbench, go_on: GoOn, config: QuantizationConfig
) -> Iterator[SensitivityProgress]:
    """Measure what `sensitivity` returns, layer by layer; the answer comes last."""
    module, reference, labels = bench.module(config), bench.float_model, bench.data.labels
    total = sum(is_integer(layer) for layer in module.layers)
    effects, measured = [], set()
    yield SensitivityProgress(0, total)
    with ThreadPoolExecutor(WORKERS) as executor:
        for effect in attribution.sensitivities(module, reference, labels, executor=executor):
            if not go_on():
                return
            effects.append(effect)
            if effect.layer not in measured:
                measured.add(effect.layer)
                yield SensitivityProgress(len(measured), total)
    found = attribution.gathered(effects, module, reference, labels)
    yield SensitivityProgress(total, total, found)


@Stream
def search(
    bench: Workbench,
    go_on: GoOn,
    config: QuantizationConfig,
    *,
    objective: Objective,
    floor_db: float | None,
    criterion: Criterion,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
) -> Iterator[Progress | SearchResult]:
    """Search widths per layer; progress, and at the end the result."""
    yield from searches.search(
        bench,
        config,
        objective=objective,
        floor_db=floor_db,
        criterion=criterion,
        go_on=go_on,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
    )
