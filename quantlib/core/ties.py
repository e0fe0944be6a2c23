"""Where rounding hangs on the last bit: positions on a grid within a few ulp of a boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.arguments import as_float
from quantlib.core.params import DEGENERATE_RANGE
from quantlib.core.rounding import Rounding, round_codes

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.stats import MinMaxQuantizationStats

ULPS = 4.0
"""How many units in the last place two right computations of a position may be apart.

Sums of a few hundred products in another order differ by one or two.
"""


def positions(values: npt.ArrayLike, quantizer: UniformQuantizer) -> FloatArray:
    """Return where real values lie between the codes of a grid, before rounding.

    Parameters
    ----------
    values : array_like
        Real values.
    quantizer : UniformQuantizer
        The grid.

    Returns
    -------
    float array, shape of `values`
        ``values / scale + zero_point`` in the arithmetic in which `quantizer` quantizes (float32
        for float32 values); for `Rounding.NEAREST_FIRST`, which rounds first, ``values / scale``.
    """
    array = as_float(values)
    found = array / np.asarray(quantizer.scale, dtype=array.dtype)
    if quantizer.rounding is not Rounding.NEAREST_FIRST:
        found = found + np.asarray(quantizer.zero_point, dtype=array.dtype)
    return np.asarray(found)


def reach(quantizer: UniformQuantizer) -> FloatArray:
    """Return the largest magnitude on a grid: of its codes, and of those less the zero point.

    Errors of a position are relative to it, not to the position itself: values near 0 are
    differences of large ones.
    """
    ends = np.array([quantizer.qmin, quantizer.qmax], dtype=np.float64)
    point = np.asarray(quantizer.zero_point, dtype=np.float64)
    far = np.maximum(np.abs(ends[0] - point), np.abs(ends[1] - point))
    return np.asarray(np.maximum(far, np.abs(ends).max()))


def decided_by_the_last_bit(
    values: npt.ArrayLike,
    quantizer: UniformQuantizer,
    *,
    precision: npt.DTypeLike = np.float64,
    ulps: float = ULPS,
) -> npt.NDArray[np.bool_]:
    """Tell of each value whether its code hangs on the last bits of the computation.

    Parameters
    ----------
    values : array_like
        Real values.
    quantizer : UniformQuantizer
        The grid that they are rounded to.
    precision : dtype
        The coarsest precision that scale and values were computed in; float32 values count as
        float32 whatever is given here.
    ulps : float
        How far a position may be off, in units in the last place at `reach`; at the largest
        position where the grid does not clip. Above 0.

    Returns
    -------
    bool array, shape of `values`
        True where the position moved down and the position moved up by that much have different
        codes. Exact ties are among them; values that saturate either way are not.

    Notes
    -----
    A tie is a position at which the rule switches: a half step for rounding to nearest, a whole
    one for floor and ceil. Which code such a value gets depends on the order of sums (that is, on
    the processor), not on the model.
    """
    array = as_float(values)
    unit = max(np.finfo(array.dtype).eps, np.finfo(np.dtype(precision)).eps)
    found = positions(array, quantizer).astype(np.float64)
    far = np.abs(found).max(initial=0.0) if quantizer.no_clipping else reach(quantizer)
    margin = ulps * unit * far
    down, up = (_codes(moved, quantizer) for moved in (found - margin, found + margin))
    return np.asarray(down != up)


def zero_point_hangs_on_the_last_bit(
    options: QuantizationOptions, stats: MinMaxQuantizationStats, *, ulps: float = ULPS
) -> bool:
    """Tell whether the zero point of a measured range is the rounding of a tie.

    Another last bit of the range then moves all codes of the tensor by one. The precision is the
    statistics' own; grids whose zero point is fixed (symmetric, QAT, one constant) have no tie.
    """
    low, high = float(stats.rmin), float(stats.rmax)
    if options.is_symmetric or options.is_qat or high - low < DEGENERATE_RANGE:
        return False
    position = (high * -options.offset - low * (2**options.n_bits - 1 - options.offset)) / (
        high - low
    )
    unit = float(np.finfo(np.result_type(stats.rmin, stats.rmax)).eps)
    margin = ulps * unit * max(1.0, abs(position), float(2**options.n_bits))
    return bool(np.rint(position - margin) != np.rint(position + margin))


def _codes(found: AnyArray, quantizer: UniformQuantizer) -> AnyArray:
    """Return the codes of positions in float64."""
    codes = round_codes(found, quantizer.rounding)
    if quantizer.rounding is Rounding.NEAREST_FIRST:
        codes = codes + np.asarray(quantizer.zero_point, dtype=np.float64)
    return codes if quantizer.no_clipping else np.clip(codes, quantizer.qmin, quantizer.qmax)
