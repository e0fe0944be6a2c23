"""Questions about ranges and calibration sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.distributions import (
    Distribution,
    GridFit,
    RangeChoice,
    activation_distributions,
    codes_in_use,
    exact_fit,
    range_choices,
    weight_distributions,
)
from quantlib.analysis.float_model import FloatModel
from quantlib.calibration.sufficiency import Sufficiency, assess_samples
from quantlib.core.options import QuantizationOptions
from quantlib.execution.calls import calls
from quantlib.execution.weights import weight_symmetry
from quantlib.questions.registry import Question

if TYPE_CHECKING:
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.symmetry import SymmetryVerdict
    from quantlib.execution.layer import LayerRun, QuantizedLayer

SEED = 0
"""Of the bootstrap: the same question has the same bands."""


@dataclass(frozen=True, slots=True, eq=False)
class Distributions:
    """What tensors hold, by tensor name; activations on the calibration data."""

    activations: dict[str, Distribution]
    weights: dict[str, Distribution]


@Question
def distributions(bench: Workbench) -> Distributions:
    """Return what all weights hold, and all activations of the float model."""
    return bench.remembered(("distributions",), lambda: _distributions(bench), _size_of)


def _distributions(bench: Workbench) -> Distributions:
    on_calibration = FloatModel(bench.graph, bench.data.calibration)
    return Distributions(
        activation_distributions(on_calibration), weight_distributions(bench.graph)
    )


def _size_of(found: Distributions) -> int:
    every = (*found.activations.values(), *found.weights.values())
    return sum(
        d.counts.nbytes
        + d.edges.nbytes
        + 2 * d.sample_low.nbytes
        + (d.points.values.nbytes + d.points.counts.nbytes if d.points else 0)
        for d in every
    )


@Question
def weight_fit(bench: Workbench, name: str, grid: UniformQuantizer) -> GridFit:
    """Return how a grid fits a constant of the model."""
    return exact_fit(bench.graph.constants[name], grid)


@Question
def used_codes(bench: Workbench, kind: str, tensor: str, grid: UniformQuantizer) -> int:
    """Count the codes of a grid that a tensor's values map to; `kind` as in `choices`."""
    if kind == "weights":
        return int(np.unique(grid.quant(bench.graph.constants[tensor])).size)
    on_calibration = FloatModel(bench.graph, bench.data.calibration)
    return codes_in_use(on_calibration, {tensor: grid})[tensor]


@Question
def choices(
    bench: Workbench, kind: str, tensor: str, options: QuantizationOptions, *, power_of_two: bool
) -> tuple[RangeChoice, ...]:
    """Return what every estimator makes of a tensor at its width.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    kind : str
        ``"activations"`` or ``"weights"``.
    tensor : str
        Its name.
    options : QuantizationOptions
        Width and signs of its grid.
    power_of_two : bool
        Whether scales are powers of two.
    """
    measured: Distribution = getattr(distributions(bench), kind)[tensor]
    return range_choices(measured, options, power_of_two=power_of_two)


@Question
def symmetry(bench: Workbench, tensor: str) -> SymmetryVerdict:
    """Return what the automatic rule finds about a constant."""
    return weight_symmetry(bench.graph, tensor)


@Question
def range_sufficiency(
    bench: Workbench, tensor: str, options: QuantizationOptions, step: float
) -> Sufficiency:
    """Assess the calibration set by a tensor's extremes per sample; `step` is its grid's."""
    measured = distributions(bench).activations[tensor]
    return assess_samples(
        measured.sample_low,
        measured.sample_high,
        options,
        rng=np.random.default_rng(SEED),
        step=step,
    )


@Question
def width_sufficiency(
    bench: Workbench, config: QuantizationConfig, layer: str
) -> Sufficiency | None:
    """Assess the calibration set by a layer's accumulators per sample; None without such."""
    low, high = _sample_accumulators(bench, config, layer)
    if not len(low):
        return None
    options = QuantizationOptions(8, is_signed=bool(low.min() < 0))
    return assess_samples(low, high, options, rng=np.random.default_rng(SEED))


def _sample_accumulators(
    bench: Workbench, config: QuantizationConfig, name: str
) -> tuple[AnyArray, AnyArray]:
    """Return smallest and largest accumulator of each calibration sample in one layer."""
    lows: list[AnyArray] = []
    highs: list[AnyArray] = []

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        if layer.name == name and run.accumulator is not None and run.accumulator.ndim:
            rows = run.accumulator.reshape(len(run.accumulator), -1)
            lows.append(rows.min(axis=1))
            highs.append(rows.max(axis=1))

    for batch in calls(bench.graph, bench.data.calibration):
        bench.module(config).run(*batch, observe=note)
    if not lows:
        return np.empty(0), np.empty(0)
    return np.concatenate(lows), np.concatenate(highs)
