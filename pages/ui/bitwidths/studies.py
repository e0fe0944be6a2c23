"""Questions about accumulator widths, asked through the engine's door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pages.ui import engine
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.widths import cost as costs
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import FeasibleRegion, feasible_region
from quantlib.analysis.widths.remedies import Remedy, VerifiedRemedy, remedies, verify
from quantlib.analysis.widths.seen import observe
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.arrays import FloatArray
    from quantlib.core.config import QuantizationConfig

BITS = tuple(range(2, 9))
"""Widths of the map of what fits."""


def budget(source: engine.Source, config: QuantizationConfig) -> Budget:
    """Return the bounds of every accumulator, and what calibration and evaluation data held."""

    def compute(space: engine.Workspace) -> Budget:
        module = engine.module(source, config)
        parts = zip(space.data.calibration, space.data.evaluation, strict=True)
        return bit_width_budget(module, tuple(np.concatenate(pair) for pair in parts))

    return engine.study(source, ("budget", config), compute)


def cost(source: engine.Source, config: QuantizationConfig) -> costs.Cost:
    """Return what the model costs to run on one sample."""
    return engine.study(
        source,
        ("cost", config),
        lambda _: costs.cost(engine.module(source, config), budget(source, config)),
    )


def proposals(source: engine.Source, config: QuantizationConfig, layer: str) -> tuple[Remedy, ...]:
    """Return what makes a layer's accumulator narrower, with predictions."""

    def compute(space: engine.Workspace) -> tuple[Remedy, ...]:
        module = engine.module(source, config)
        seen = observe(module, space.data.evaluation)
        found = engine.evaluation(source, config)
        try:
            return remedies(module, layer, seen=seen, sqnr_db=found.sqnr_db)
        except OptionsError:  # no rule for this operator
            return ()

    return engine.study(source, ("remedies", config, layer), compute)


def verified(
    source: engine.Source, config: QuantizationConfig, layer: str
) -> tuple[VerifiedRemedy, ...]:
    """Quantize, bound and run each proposal."""
    proposed = proposals(source, config, layer)
    return engine.study(
        source,
        ("verified", config, layer),
        lambda space: verify(
            space.graph, space.data, proposed, reference=space.reference, memo=space.memo
        ),
    )


def region(source: engine.Source, config: QuantizationConfig, layer: str) -> FeasibleRegion | None:
    """Return which widths of a layer keep its accumulator within the limit."""

    def compute(_: engine.Workspace) -> FeasibleRegion | None:
        layers = engine.evaluation(source, config).layers
        grids = next((e.input_grid, e.weight_grid) for e in layers if e.name == layer)
        if all(grid is None or grid.is_carried for grid in grids):  # nothing is left to choose
            return None
        found = next(
            (f for f in layer_facts(engine.module(source, config)) if f.layer.name == layer), None
        )
        if found is None:
            return None
        return feasible_region(found, config.limit_bits, weight_bits=BITS, activation_bits=BITS)

    return engine.study(source, ("region", config, layer), compute)


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


def measured_region(
    source: engine.Source, config: QuantizationConfig, layer: str
) -> Iterator[tuple[int, FloatArray | None]]:
    """Measure the model's SQNR with each pair of widths of one layer.

    Yields the number of pairs done, and at the end the SQNR in dB, (weight widths, activation
    widths).
    """
    known: dict[tuple[int, int], float] = {}
    for i, (w, a) in enumerate((w, a) for w in BITS for a in BITS):
        changed = at_widths(config, layer, w, a)
        known[w, a] = engine.study(
            source,
            ("sqnr", changed),
            lambda space, changed=changed: (
                evaluate(  # type: ignore[misc]
                    space.graph, space.data, changed, reference=space.reference, memo=space.memo
                ).sqnr_db
            ),
        )
        yield i + 1, None
    yield len(known), np.array([[known[w, a] for a in BITS] for w in BITS])
