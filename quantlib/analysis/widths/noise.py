"""Quantization noise in closed form, to rank remedies before any of them runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.rounding import accumulator_scale, rounding_power
from quantlib.core.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.observation import Seen
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.core.quantizer import UniformQuantizer


def weight_noise(facts: LayerFacts, weights: Tensor) -> float:
    """Return the energy of a weight tensor's quantization error over that of its values.

    Measured, not modelled: both are known. `weights` is the constant factor on any grid.
    """
    position = facts.layer.weight_position
    assert position is not None
    name = facts.layer.node.inputs[position]
    exact = facts.graph.constants[name].astype(np.float64)
    error = weights.rounded().values - exact
    return float(np.vdot(error, error)) / (float(np.vdot(exact, exact)) or 1.0)


def activation_noise(grid: UniformQuantizer, power: float | None = None) -> float:
    """Return the power of a grid's rounding error over that of the values on it.

    Parameters
    ----------
    grid : UniformQuantizer
        Grid of a variable input.
    power : float, optional
        Mean square of the values, in the square of their unit; that of a uniform distribution
        over the measured range when not given.

    Notes
    -----
    The error of a step Δ has the power ``Δ**2 / 12`` (Widrow and Kollár 2008, Quantization
    Noise, ch. 1): four times as much per bit less.
    """
    step = float(np.mean(np.square(grid.scale)))
    if power is None:
        ends = grid.averaged().dequant(np.array([grid.qmin, grid.qmax]))
        low = float(ends.min() if grid.rmin is None else grid.rmin)
        high = float(ends.max() if grid.rmax is None else grid.rmax)
        power = (low * low + low * high + high * high) / 3.0
    return step / 12.0 / power if power > 0.0 else 0.0


def layer_noise(
    facts: LayerFacts,
    seen: Seen | None,
    *,
    weights: Tensor | None = None,
    grids: Mapping[int, UniformQuantizer] | None = None,
    lsbs_to_remove: int | None = None,
) -> float:
    """Return the noise that an integer operator adds, over its signal.

    Parameters
    ----------
    facts : LayerFacts
        The operator.
    seen : Seen or None
        Powers measured on data; without them values are taken to be uniform over their range.
    weights : Tensor, optional
        Its weights on another grid.
    grids : mapping of int to UniformQuantizer, optional
        Other grids of its variable inputs, by position.
    lsbs_to_remove : int, optional
        Other rounding.

    Notes
    -----
    For a sum of products of independent factors the relative noise powers of the factors add:
    ``1 / SQNR = 1 / SQNR_w + 1 / SQNR_x`` (Lin, Talathi and Annapureddy 2016,
    arXiv:1511.06393, section 3). Rounding the accumulator adds its error's power over the
    output's.
    """
    total = 0.0
    for order, (place, operand) in enumerate(facts.variables()):
        grid = (grids or {}).get(place, operand.quantizer)
        measured = seen.input_powers[order] if seen and seen.inputs else None
        total += activation_noise(grid, measured)
    position = facts.layer.weight_position
    if position is not None:
        constant = weights or facts.layer.constants[position]
        if isinstance(constant, Tensor):
            total += weight_noise(facts, constant)
    lsbs = facts.layer.lsbs_to_remove if lsbs_to_remove is None else lsbs_to_remove
    if lsbs:
        step = float(np.mean(np.square(accumulator_scale(facts))))
        power = seen.output_power if seen and seen.output.count else _uniform_output_power(facts)
        total += rounding_power(lsbs) * step / power if power > 0.0 else 0.0
    return total


def predicted_sqnr_db(noise: float, *, before: float, measured_db: float | None) -> float:
    """Return the model's SQNR once its noise is `noise`.

    Parameters
    ----------
    noise, before : float
        Sum of `layer_noise` over the layers, with and without a change.
    measured_db : float or None
        SQNR that was measured without it, dB; the model then only tells the difference.

    Notes
    -----
    Noise of different layers is taken to be independent and to reach the output as strongly as
    the signal does, so relative powers add along the graph (Lin et al. 2016). Where less was
    measured than the model says without the change (an offset that the noise does not share, a
    nonlinearity that saturates), what is added reaches the output as weakly; where more was
    measured, it has another source and stays. Less noise scales what was measured.
    """
    if measured_db is not None and before > 0.0 and math.isfinite(measured_db):
        measured = 10.0 ** (-measured_db / 10.0)
        scale = min(1.0, measured / before) if noise >= before else measured / before
        noise = measured + scale * (noise - before)
    return -10.0 * math.log10(noise) if noise > 0.0 else float("inf")


def _uniform_output_power(facts: LayerFacts) -> float:
    grid = facts.layer.outputs[0]
    if grid is None or grid.rmin is None or grid.rmax is None:
        return 0.0
    low, high = float(grid.rmin), float(grid.rmax)
    return (low * low + low * high + high * high) / 3.0
