"""Questions about accumulator widths: why, what they cost, what fits, what would narrow them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.observation import observe
from quantlib.analysis.widths import cost as costs
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import FeasibleRegion, feasible_region
from quantlib.analysis.widths.remedies import Remedy, VerifiedRemedy, remedies, verify
from quantlib.errors import OptionsError
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import FloatArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions.registry import GoOn

BITS = tuple(range(2, 9))
"""Widths of the map of what fits."""


@Question
def budget(bench: Workbench, config: QuantizationConfig) -> Budget:
    """Return the bounds of every accumulator, and what calibration and evaluation data held."""
    return bit_width_budget(bench.module(config), seen=evaluate(bench, config).seen)


@Question
def cost(bench: Workbench, config: QuantizationConfig) -> costs.Cost:
    """Return what the model costs to run on one sample."""
    return costs.cost(bench.module(config), budget(bench, config))


@Question
def proposals(bench: Workbench, config: QuantizationConfig, layer: str) -> tuple[Remedy, ...]:
    """Return what makes a layer's accumulator narrower, with predictions; none without a rule."""
    module = bench.module(config)
    seen = observe(module, bench.data.evaluation, memo=bench.memo)
    try:
        return remedies(module, layer, seen=seen, sqnr_db=evaluate(bench, config).sqnr_db)
    except OptionsError:
        return ()


@Question
def verified(
    bench: Workbench, config: QuantizationConfig, layer: str
) -> tuple[VerifiedRemedy, ...]:
    """Quantize, bound and run each proposal."""
    return verify(bench, proposals(bench, config, layer))


@Question
def region(bench: Workbench, config: QuantizationConfig, layer: str) -> FeasibleRegion | None:
    """Return which widths of a layer keep its accumulator within the limit.

    None where nothing is left to choose: the grids came with the model, or there is no rule.
    """
    layers = evaluate(bench, config).layers
    grids = next((e.input_grid, e.weight_grid) for e in layers if e.name == layer)
    if all(grid is None or grid.is_carried for grid in grids):
        return None
    every = layer_facts(bench.module(config))
    found = next((facts for facts in every if facts.layer.name == layer), None)
    if found is None:
        return None
    return feasible_region(found, config.limit_bits, weight_bits=BITS, activation_bits=BITS)


def at_widths(
    config: QuantizationConfig, layer: str, weight_bits: int, activation_bits: int
) -> QuantizationConfig:
    """Return the configuration in which one layer has other widths."""
    return config.with_override(
        layer,
        config.override(layer).replace(
            weights=config.weights_of(layer).replace(n_bits=weight_bits),
            activations=config.activations_of(layer).replace(n_bits=activation_bits),
        ),
    )


@Stream
def measured_region(
    bench: Workbench, go_on: GoOn, config: QuantizationConfig, layer: str
) -> Iterator[FloatArray]:
    """Measure the model's SQNR with each pair of widths of one layer.

    Yields
    ------
    float64 array, (weight widths, activation widths)
        SQNR in dB, after each pair; NaN where it is still to be measured.
    """
    found = np.full((len(BITS), len(BITS)), np.nan)
    for i, weight_bits in enumerate(BITS):
        for j, activation_bits in enumerate(BITS):
            if not go_on():
                return
            changed = at_widths(config, layer, weight_bits, activation_bits)
            found[i, j] = evaluate(bench, changed).sqnr_db
            yield found.copy()
