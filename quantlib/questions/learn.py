"""Questions of the lessons that look into the loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis import neuron as neurons
from quantlib.analysis.evaluation import evaluate
from quantlib.core.config import QuantizationConfig
from quantlib.questions.registry import Question

if TYPE_CHECKING:
    from quantlib.analysis.neuron import Choice, Neuron, Segment
    from quantlib.analysis.reports import Evaluation
    from quantlib.analysis.workbench import Workbench


@Question
def layers(bench: Workbench, config: QuantizationConfig) -> tuple[Choice, ...]:
    """Return the layers whose accumulators can be looked into."""
    return neurons.choices(bench, config)


@Question
def neuron(
    bench: Workbench, config: QuantizationConfig, layer: str, *, channel: int, sample: int
) -> Neuron:
    """Return one accumulator on one evaluation sample, product by product."""
    return neurons.neuron(bench, config, layer, channel=channel, sample=sample)


@Question
def segment(
    bench: Workbench, config: QuantizationConfig, layer: str, *, channel: int, removed: int
) -> Segment:
    """Return the table behind a channel's accumulators, `removed` low bits rounded away."""
    return neurons.segment(bench, config, layer, channel=channel, removed=removed)


@dataclass(frozen=True, slots=True)
class AtWidth:
    """A model at one width of weights and activations.

    Parameters
    ----------
    n_bits : int
        The width.
    figure : float
        Its score where there are labels, else the share of samples with the float model's class,
        else SQNR in dB.
    float_figure : float
        The same of the float model: 1 for a share, inf for SQNR.
    name : str
        What the figure is: ``"accuracy"``, ``"R²"``, ``"agreement"`` or ``"SQNR"``.
    zero_share : float
        Share of the weights that are not 0 and round to 0.
    """

    n_bits: int
    figure: float
    float_figure: float
    name: str
    zero_share: float


@Question
def after_training(bench: Workbench, n_bits: int) -> AtWidth:
    """Quantize weights and activations after training, and measure."""
    return _measured(bench, evaluate(bench, QuantizationConfig.from_n_bits(n_bits)), n_bits)


@Question
def as_trained(bench: Workbench) -> AtWidth:
    """Measure a model that brings its own grids; its width is that of its narrowest weights."""
    found = evaluate(bench, QuantizationConfig.from_n_bits(8))
    grids = [layer.weight_grid for layer in found.layers if layer.weight_grid is not None]
    return _measured(bench, found, min((grid.n_bits for grid in grids), default=8))


def _measured(bench: Workbench, found: Evaluation, n_bits: int) -> AtWidth:
    vanished = counted = 0
    for layer in found.layers:
        values = bench.graph.constants.get(layer.weight_name)
        if layer.weight_grid is not None and values is not None:
            nonzero = values != 0
            real = layer.weight_grid.dequant(layer.weight_grid.quant(values))
            vanished += int(np.count_nonzero(nonzero & (real == 0)))
            counted += int(np.count_nonzero(nonzero))
    if found.score is not None:
        name, figure, float_figure = (
            found.score.name,
            found.score.quantized_value,
            found.score.float_value,
        )
    elif found.agreement is not None:
        name, figure, float_figure = "agreement", found.agreement, 1.0
    else:
        name, figure, float_figure = "SQNR", found.sqnr_db, float("inf")
    return AtWidth(n_bits, figure, float_figure, name, vanished / max(1, counted))
