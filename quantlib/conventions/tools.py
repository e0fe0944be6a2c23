"""The conventions of five tools, each as a function of a tensor, a width and a scheme."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.conventions.conversion import Conversion, Scheme
from quantlib.conventions.ranges import ClipMode, distiller_range
from quantlib.core.array import QuantizedArray
from quantlib.core.rounding import Rounding, round_codes
from quantlib.core.stats import check_finite
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from quantlib.arrays import AnyArray, FloatArray

BITS = (2, 16)
"""Widths for which all conventions are defined."""

AIMET_MIN_RANGE = 0.01
"""Narrowest range that AIMET's analyzers give."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a conversion may be told beside width and scheme: Distiller's clip mode."""

    clip: ClipMode = ClipMode.NONE
    n_stds: float = 2.0


@dataclass(frozen=True, slots=True)
class Convention:
    """One tool.

    Parameters
    ----------
    tool : str
        Its name.
    source : str
        Where its definition is published.
    ties : str
        How it rounds, in words.
    convert : callable
        Takes a float array, a width in bits, a scheme and settings.
    """

    tool: str
    source: str
    ties: str
    convert: Callable[[FloatArray, int, Scheme, Settings], Conversion]


def convert(
    tool: str,
    values: npt.ArrayLike,
    *,
    n_bits: int,
    scheme: Scheme,
    clip: ClipMode = ClipMode.NONE,
    n_stds: float = 2.0,
) -> Conversion:
    """Return a tensor in the integers of a tool.

    Parameters
    ----------
    tool : str
        A key of `CONVENTIONS`.
    values : array_like
        The tensor; samples along axis 0. Taken as float32, as all these tools do.
    n_bits : int
        Width of the grid, 2 to 16.
    scheme : Scheme
        Affine or symmetric.
    clip : ClipMode
        Distiller's; the other tools take the extremes.
    n_stds : float
        Standard deviations of `ClipMode.N_STD`.

    Raises
    ------
    OptionsError
        Unknown tool, or a width out of range.
    TensorError
        No values, NaN or infinity.

    Examples
    --------
    >>> from quantlib.conventions import Scheme, convert
    >>> x = [0.5, 1.0, 3.0]
    >>> for tool in ("Concrete ML", "ONNX Runtime"):
    ...     made = convert(tool, x, n_bits=8, scheme=Scheme.AFFINE)
    ...     print(tool, made.zero_point, made.codes.tolist())
    Concrete ML -51 [0, 51, 255]
    ONNX Runtime 0 [42, 85, 255]
    """
    if tool not in CONVENTIONS:
        raise OptionsError(f"there is no convention {tool!r}; give one of {', '.join(CONVENTIONS)}")
    if not BITS[0] <= n_bits <= BITS[1]:
        raise OptionsError(f"conventions are defined for {BITS[0]} to {BITS[1]} bits; got {n_bits}")
    array = np.asarray(values, dtype=np.float32)
    check_finite(array)
    return CONVENTIONS[tool].convert(array, n_bits, scheme, Settings(clip, n_stds))


def _made(
    values: AnyArray,
    *,
    scale: float,
    zero_point: int,
    ends: tuple[int, int],
    rounding: Rounding,
) -> Conversion:
    """Round, shift and saturate, in the dtype of `values`."""
    positions = values / np.asarray(scale, dtype=values.dtype)
    if rounding is Rounding.NEAREST:
        found = np.rint(positions + np.asarray(zero_point, dtype=values.dtype))
    else:
        rule = Rounding.NEAREST if rounding is Rounding.NEAREST_FIRST else rounding
        found = round_codes(positions, rule) + zero_point
    codes = np.clip(found, *ends).astype(np.int64)
    reals = scale * (codes - zero_point).astype(np.float64)
    return Conversion(float(scale), int(zero_point), *ends, read_only(codes), read_only(reals))


def _extremes(values: AnyArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _with_zero(low: float, high: float) -> tuple[float, float]:
    return min(low, 0.0), max(high, 0.0)


def _concrete_ml(values: FloatArray, n_bits: int, scheme: Scheme, _: Settings) -> Conversion:
    """Return this library's own integers: the core, not another copy of its formula."""
    symmetric = scheme is Scheme.SYMMETRIC
    array = QuantizedArray(n_bits, values, is_signed=symmetric, is_symmetric=symmetric)
    grid = array.quantizer
    zero_point = grid.zero_point
    assert isinstance(zero_point, int)
    codes = read_only(array.qvalues)
    reals = read_only(grid.dequant(codes))
    return Conversion(float(grid.scale), zero_point, grid.qmin, grid.qmax, codes, reals)


def _onnx_runtime(values: FloatArray, n_bits: int, scheme: Scheme, _: Settings) -> Conversion:
    """Return what ``quantize_static`` computes and the operator QuantizeLinear gives.

    Symmetric grids are those of weights (int8, [-127, 127]); float32 throughout.
    """
    low, high = _with_zero(*_extremes(values))
    if scheme is Scheme.SYMMETRIC:
        reach = max(-low, high)
        top = (1 << (n_bits - 1)) - 1
        low, high, ends = -reach, reach, (-top, top)
    else:
        ends = (0, (1 << n_bits) - 1)
    step = (high - low) / (ends[1] - ends[0])
    if step < np.finfo(np.float32).tiny:
        step, zero_point = 1.0, 0
    else:
        zero_point = 0 if scheme is Scheme.SYMMETRIC else int(np.round(ends[0] - low / step))
    scale = float(np.float32(step))
    return _made(
        values, scale=scale, zero_point=zero_point, ends=ends, rounding=Rounding.NEAREST_FIRST
    )


def _aimet(values: FloatArray, n_bits: int, scheme: Scheme, _: Settings) -> Conversion:
    """Return the encodings of AIMET's min-max analyzer ("TF"), codes from 0 in both schemes."""
    low, high = _with_zero(*_extremes(values))
    high = max(high, low + AIMET_MIN_RANGE)
    steps = (1 << n_bits) - 1
    if scheme is Scheme.SYMMETRIC:
        reach = max(high, -low)
        scale = reach / (steps // 2)
        zero_point = (steps + 1) // 2
    else:
        scale = (high - low) / steps
        zero_point = int(_half_away(-low / scale))
    return _made(
        values.astype(np.float64),
        scale=scale,
        zero_point=min(zero_point, steps if scheme is Scheme.AFFINE else zero_point),
        ends=(0, steps),
        rounding=Rounding.HALF_UP,
    )


def _half_away(value: float) -> float:
    """Round as C's ``round`` does."""
    return float(round_codes(np.array([value]), Rounding.HALF_UP)[0])


def _distiller(values: FloatArray, n_bits: int, scheme: Scheme, settings: Settings) -> Conversion:
    """Return the integers of Distiller's range-based linear quantization."""
    low, high = distiller_range(values, settings.clip, n_stds=settings.n_stds)
    if scheme is Scheme.SYMMETRIC:
        half = 1 << (n_bits - 1)
        reach = max(abs(low), abs(high))
        scale = reach / (half - 1) if reach else 1.0
        zero_point, ends = 0, (-half, half - 1)
    else:
        low, high = _with_zero(low, high)
        steps = (1 << n_bits) - 1
        scale = (high - low) / steps if high > low else 1.0
        zero_point, ends = -int(np.round(low / scale)), (0, steps)
    # linear_quantize: round(factor * x - zero_point), so the zero point is inside
    return _made(
        values.astype(np.float64),
        scale=scale,
        zero_point=zero_point,
        ends=ends,
        rounding=Rounding.NEAREST,
    )


def _qonnx(values: FloatArray, n_bits: int, scheme: Scheme, _: Settings) -> Conversion:
    """Return IntQuant's integers on the grids that Brevitas exports with it.

    IntQuant itself has no rule for scale and zero point. Brevitas' are: weights signed, narrow,
    reach / (2**(n-1) - 1); shifted unsigned activations with 0 in the range.
    """
    if scheme is Scheme.SYMMETRIC:
        top = (1 << (n_bits - 1)) - 1
        low, high = _extremes(values)
        reach = max(abs(low), abs(high))
        scale, zero_point, ends = (reach / top if reach else 1.0), 0, (-top, top)
    else:
        low, high = _with_zero(*_extremes(values))
        steps = (1 << n_bits) - 1
        scale = (high - low) / steps if high > low else 1.0
        zero_point, ends = int(np.round(-low / scale)), (0, steps)
    return _made(
        values.astype(np.float64),
        scale=scale,
        zero_point=zero_point,
        ends=ends,
        rounding=Rounding.NEAREST,
    )


CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        convention.tool: convention
        for convention in (
            Convention(
                "Concrete ML",
                "Concrete ML 1.9, UniformQuantizer: the core of this library",
                "half to even, after Z is added",
                _concrete_ml,
            ),
            Convention(
                "ONNX Runtime",
                "onnxruntime.quantization.quant_utils.compute_scale_zp; ONNX QuantizeLinear",
                "half to even, before Z is added",
                _onnx_runtime,
            ),
            Convention(
                "AIMET",
                "AIMET, TfEncodingAnalyzer::computeEncoding and QuantizeToFxp",
                "half away from zero, before the offset is taken",
                _aimet,
            ),
            Convention(
                "Distiller",
                "IntelLabs Distiller, q_utils.py and range_linear.py",
                "half to even, after the zero point is taken",
                _distiller,
            ),
            Convention(
                "QONNX",
                "QONNX, IntQuant version 1; scales as Brevitas exports them",
                "half to even, after Z is added",
                _qonnx,
            ),
        )
    }
)
"""Every convention by tool, in display order."""
