"""What `rounding_threshold_bits` takes from an accumulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.ranges import ChannelRange
from quantlib.arrays import exact_integers
from quantlib.core.tensor import Tensor
from quantlib.ops.kernels import round_low_bits
from quantlib.ops.linear import Gemm

if TYPE_CHECKING:
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.arrays import AnyArray


@dataclass(frozen=True, slots=True)
class Rounding:
    """The error of rounding an accumulator's low bits, in the unit of the layer's output.

    Parameters
    ----------
    lsbs_to_remove : int
        Low bits that become 0.
    width_bits : int
        Width of the remaining high bits, of the accumulators the weights allow: what enters the
        table look-up. Rounding up can carry into one bit more than the threshold.
    largest_error : float
        Half a step of the rounded grid.
    rms_error : float
        Root mean square for low bits that are all equally frequent.
    kept : ChannelRange
        The high bits that remain, for any input on the grid.

    Notes
    -----
    With a step of ``m = 2**lsbs`` integers, rounding to nearest with ties upward has the errors
    ``-m/2 + 1 ... m/2``, whose mean square over equally frequent low bits is ``(m**2 + 2) / 12``.
    """

    lsbs_to_remove: int
    width_bits: int
    largest_error: float
    rms_error: float
    kept: ChannelRange


def rounding(facts: LayerFacts, weights: ChannelRange) -> Rounding | None:
    """Return what rounding does to a layer, None when it removes nothing.

    Parameters
    ----------
    facts : LayerFacts
        The layer.
    weights : ChannelRange
        What its weights allow.
    """
    lsbs = facts.layer.lsbs_to_remove
    if lsbs == 0:
        return None
    scales = np.abs(accumulator_scale(facts))
    shifted = offset_range(facts, weights)
    return Rounding(
        lsbs_to_remove=lsbs,
        width_bits=rounded_width(shifted, lsbs),
        kept=rounded_range(shifted, lsbs),
        largest_error=float(scales.max() * 2.0 ** (lsbs - 1)),
        rms_error=float(np.sqrt(np.mean(scales**2) * rounding_power(lsbs))),
    )


def rounding_power(lsbs_to_remove: int) -> float:
    """Return the mean square rounding error, in squared steps of the accumulator."""
    return (4.0**lsbs_to_remove + 2.0) / 12.0 if lsbs_to_remove else 0.0


def offset_range(facts: LayerFacts, accumulator: ChannelRange) -> ChannelRange:
    """Return the range of an accumulator with what is added to it before it is rounded.

    A product of two encrypted matrices is rounded with its constant terms, which depend on the
    second one; both are then bounded on their own.
    """
    op = facts.op
    low, high = accumulator.range
    if isinstance(op, Gemm) and op.factor_lsbs is not None:
        a, b = (o for o in facts.operands[:2] if isinstance(o, Tensor))
        za, zb = (int(np.ravel(x.quantizer.zero_point)[0]) for x in (a, b))
        fan_in = facts.shapes[0][0 if op.transA else -1] or facts.rows
        ends = [fan_in * za * (zb - int(code)) for code in (b.codes.min(), b.codes.max())]
        return ChannelRange.of(low + min(ends), high + max(ends))
    offset = int(np.ravel(op.rounding_offset(*facts.at_zero()))[0])
    return ChannelRange.of(low + offset, high + offset)


def rounded_integers(facts: LayerFacts, accumulator: ChannelRange) -> ChannelRange:
    """Return the range of an accumulator after it was rounded, in its own steps."""
    lsbs = facts.layer.lsbs_to_remove
    low, high = rounded_range(offset_range(facts, accumulator), lsbs).range
    return ChannelRange.of(low << lsbs, high << lsbs)


def rounded_range(accumulator: ChannelRange, lsbs_to_remove: int) -> ChannelRange:
    """Return the range of the high bits that remain of a range."""
    ends = exact_integers(np.array(accumulator.range, dtype=object))
    low, high = (int(end) >> lsbs_to_remove for end in round_low_bits(ends, lsbs_to_remove))
    return ChannelRange.of(low, high)


def rounded_width(accumulator: ChannelRange, lsbs_to_remove: int) -> int:
    """Return the width of the high bits that remain of a range."""
    return rounded_range(accumulator, lsbs_to_remove).width_bits


def accumulator_scale(facts: LayerFacts) -> AnyArray:
    """Return the real value of one step of the accumulator.

    Returns
    -------
    float64 array, one-dimensional
        One value, or one per output channel or window.
    """
    op, operands = facts.op, facts.at_zero()
    params = op.output_params(*operands)
    if params is not None:
        return np.ravel(np.asarray(params.scale, dtype=np.float64))
    output = facts.layer.output_grid()
    sums = op.accumulate(*operands, output=output)
    real, next_real = (op.dequantize(sums + i, *operands, output=output) for i in (0, 1))
    return np.ravel(next_real - real)
