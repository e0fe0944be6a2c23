"""Reals to codes and codes to reals, on whole arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import FLOAT32_EXACT
from quantlib.core.blocks import BLOCK, Scratch, along, blocks
from quantlib.core.rounding import Rounding, round_codes

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlib.arrays import AnyArray, Codes, FloatArray

_FLOAT32 = np.finfo(np.float32)


def quantize(
    values: FloatArray,
    *,
    scale: np.float64 | FloatArray,
    zero_point: int | AnyArray,
    qmin: int | None,
    qmax: int | None,
    dtype: npt.DTypeLike = np.int64,
    rounding: Rounding = Rounding.NEAREST,
) -> Codes:
    """Map real values to the nearest codes of a uniform grid.

    Parameters
    ----------
    values : float32 or float64 array, any shape
        Real values, in the unit of the tensor. The division and the addition run in this dtype;
        in float64 where a scale is no normal float32 (ranges beyond it, channels near 0).
    scale, zero_point : scalars, or arrays that broadcast against `values`
        Real step between two codes (unit of `values`); code of real 0.0.
    qmin, qmax : int or None
        Grid bounds; codes outside saturate. None leaves them unclipped.
    dtype : dtype
        Carrier of the codes; must be exact for the grid.
    rounding : Rounding
        Rule between two codes.

    Returns
    -------
    array of `dtype`, shape of `values`
        Integers in ``[qmin, qmax]``.

    Notes
    -----
    Inverse of eq. 1 of Jacob et al. 2018 (arXiv:1712.05877).
    """
    # Concrete ML rounds after adding zero_point, ONNX before: ties differ when it is odd.
    if values.dtype == np.float32 and not _is_normal(scale):
        values = values.astype(np.float64)
    wide = qmax is not None and qmax >= FLOAT32_EXACT
    if values.size > BLOCK and rounding is Rounding.NEAREST and not wide:
        return _in_blocks(values, scale, zero_point, qmin, qmax, dtype)
    codes: npt.NDArray[Any] = np.asarray(values / np.asarray(scale, dtype=values.dtype))
    shift = np.asarray(zero_point, dtype=values.dtype)
    if rounding is Rounding.NEAREST:
        codes += shift
        np.rint(codes, out=codes)
    elif rounding is Rounding.NEAREST_FIRST:
        codes = np.asarray(np.rint(codes) + shift)
    else:
        codes = np.asarray(round_codes(np.asarray(codes + shift), rounding))
    if wide:  # the bound itself is no float32
        codes = codes.astype(np.float64)
    if qmin is not None or qmax is not None:
        np.clip(codes, qmin, qmax, out=codes)
    return codes.astype(dtype, copy=False)


def _in_blocks(
    values: FloatArray,
    scale: np.float64 | FloatArray,
    zero_point: int | AnyArray,
    qmin: int | None,
    qmax: int | None,
    dtype: npt.DTypeLike,
) -> Codes:
    """Divide, add, round, clip and convert a block at a time, as `quantize` does on the whole."""
    kind = values.dtype
    step, shift = (along(np.asarray(p, dtype=kind), values.shape) for p in (scale, zero_point))
    result = np.empty(values.shape, dtype=dtype)
    work = Scratch(kind)
    for part in blocks(values.shape):
        x = values[part]
        codes = work.like(x)
        np.divide(x, step(part), out=codes)
        codes += shift(part)
        np.rint(codes, out=codes)
        if qmin is not None or qmax is not None:
            np.clip(codes, qmin, qmax, out=codes)
        result[part] = codes
    return result


def _is_normal(scale: np.float64 | FloatArray) -> bool:
    """Tell whether all scales are float32 with full precision."""
    size = np.abs(scale)
    return bool(np.all((size >= _FLOAT32.tiny) & (size <= _FLOAT32.max)))


def dequantize(
    codes: Codes, *, scale: np.float64 | FloatArray, zero_point: int | AnyArray
) -> FloatArray:
    """Map codes to the real values they stand for: ``scale * (codes - zero_point)``, float64."""
    # NumPy 1 would keep float32 codes float32 beside a float64 scalar
    point, step = np.asarray(zero_point, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    widens = (point.ndim or step.ndim) and codes.shape != np.broadcast_shapes(
        codes.shape, point.shape, step.shape
    )
    if widens:
        return np.asarray((codes.astype(np.float64) - point) * step)
    return scaled(codes, -point, step)


def scaled(codes: Codes, constant: AnyArray, scale: AnyArray) -> FloatArray:
    """Return ``scale * (codes + constant)`` in float64, in this order, a block at a time.

    Both broadcast against the codes and do not widen them.
    """
    if codes.size <= BLOCK:
        values = codes.astype(np.float64)
        values += constant
        values *= scale
        return values
    result = np.empty(codes.shape)
    shift, step = (along(p, codes.shape) for p in (constant, scale))
    for part in blocks(codes.shape):
        values = result[part]
        values[...] = codes[part]
        values += shift(part)
        values *= step(part)
    return result
