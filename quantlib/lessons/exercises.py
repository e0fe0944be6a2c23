"""Thirty exercises, ten lessons by three levels; every answer is computed by the library."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.conventions import Scheme, convert
from quantlib.core.array import QuantizedArray
from quantlib.core.fixed_point import FixedPointMultiplier
from quantlib.core.options import QuantizationOptions
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.rounding import Rounding
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError
from quantlib.lessons.drawing import drawn
from quantlib.lessons.fan_in import Types, type_width, widest_fan_in
from quantlib.ops.kernels import excess_bits, round_low_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LEVELS = (1, 2, 3)
LESSONS = tuple(range(1, 11))


@dataclass(frozen=True, slots=True)
class Exercise:
    """One question with its answer.

    Parameters
    ----------
    numbers : mapping of str to str
        What the question's text has places for, as it is printed.
    answer : float
        Computed by the library.
    tolerance : float
        How far a right answer may be off; 0 for integers.
    """

    numbers: Mapping[str, str]
    answer: float
    tolerance: float = 0.0

    @property
    def is_integer(self) -> bool:
        """Whether the answer is a whole number."""
        return self.tolerance == 0.0

    def accepts(self, guess: float) -> bool:
        """Tell whether a guess is right."""
        return abs(guess - self.answer) <= self.tolerance + 1e-9


def exercise(lesson: int, level: int, seed: int) -> Exercise:
    """Return an exercise.

    Parameters
    ----------
    lesson : int
        1 to 10.
    level : int
        1 (one step) to 3 (several).
    seed : int
        Which numbers, from 0; neighbours never have the same.

    Raises
    ------
    OptionsError
        There is no such lesson or level, or the seed is negative.
    """
    if lesson not in LESSONS or level not in LEVELS:
        raise OptionsError(f"there is no exercise {level} of lesson {lesson}; 1 to 3 of 1 to 10.")
    if seed < 0:
        raise OptionsError(f"the number of an exercise is {seed}; give one from 0.")
    return _EXERCISES[lesson, level](seed)


def _tenths(low: float, high: float) -> list[float]:
    return [i / 10 for i in range(round(10 * low), round(10 * high) + 1)]


def _grid(low: float, high: float, n_bits: int, **options: bool) -> UniformQuantizer:
    stats = MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
    return UniformQuantizer.from_stats(QuantizationOptions(n_bits, **options), stats)


def _code(grid: UniformQuantizer, value: float) -> int:
    return int(grid.quant(np.array([value]))[0])


def _real(grid: UniformQuantizer, code: int) -> float:
    return float(grid.dequant(np.array([code]))[0])


def _shown(**numbers: Any) -> Mapping[str, str]:
    return MappingProxyType(
        {
            name: f"{value:g}" if isinstance(value, float) else str(value)
            for name, value in numbers.items()
        }
    )


def _scale(seed: int) -> Exercise:
    low, high, n_bits = drawn(seed, _tenths(-5, -0.1), _tenths(0.1, 5), range(2, 9))
    step = float(_grid(low, high, n_bits).scale)
    return Exercise(_shown(low=low, high=high, n_bits=n_bits), step, 0.01 * step)


def _code_of(seed: int) -> Exercise:
    low, high, n_bits, part = drawn(
        seed, _tenths(-5, -0.1), _tenths(0.1, 5), (3, 4), range(5, 96, 7)
    )
    grid = _grid(low, high, n_bits)
    value = round(low + (high - low) * part / 100, 2)
    return Exercise(_shown(low=low, high=high, n_bits=n_bits, x=value), _code(grid, value))


def _comes_back(seed: int) -> Exercise:
    low, high, n_bits, part = drawn(
        seed, _tenths(-5, -0.1), _tenths(0.1, 5), (3, 4), range(-40, 150, 13)
    )
    grid = _grid(low, high, n_bits)
    value = round(low + (high - low) * part / 100, 2)
    back = _real(grid, _code(grid, value))
    return Exercise(
        _shown(low=low, high=high, n_bits=n_bits, x=value), back, 0.1 * float(grid.scale)
    )


def _zero_point(seed: int) -> Exercise:
    low, high, n_bits = drawn(seed, _tenths(-6, -0.1), _tenths(0.1, 6), range(3, 9))
    return Exercise(
        _shown(low=low, high=high, n_bits=n_bits), _whole(_grid(low, high, n_bits).zero_point)
    )


def _signed_zero_point(seed: int) -> Exercise:
    low, high, n_bits = drawn(seed, _tenths(-6, -0.1), _tenths(0.1, 6), range(3, 9))
    grid = _grid(low, high, n_bits, is_signed=True)
    return Exercise(_shown(low=low, high=high, n_bits=n_bits), _whole(grid.zero_point))


def _wasted(seed: int) -> Exercise:
    low, high, n_bits = drawn(seed, _tenths(-2, 0), _tenths(2.1, 8), range(3, 7))
    grid = _grid(low, high, n_bits, is_signed=True, is_symmetric=True)
    used = _code(grid, high) - _code(grid, low) + 1
    return Exercise(_shown(low=low, high=high, n_bits=n_bits), (1 << n_bits) - used)


def _whole(zero_point: Any) -> int:
    assert isinstance(zero_point, int)
    return zero_point


def _decode(seed: int) -> Exercise:
    hundredths, zero_point, code = drawn(seed, range(2, 60), range(20), range(32))
    array = QuantizedArray(
        5,
        np.array([code]),
        value_is_float=False,
        scale=np.float64(hundredths / 100),
        zero_point=zero_point,
        offset=0,
    )
    return Exercise(
        _shown(scale=hundredths / 100, zero_point=zero_point, code=code),
        float(array.values[0]),
        0.001,
    )


def _middle_of_three(seed: int) -> Exercise:
    low, middle, high, n_bits = drawn(
        seed, _tenths(-4, -1), _tenths(-0.9, 0.9), _tenths(1, 4), (3, 4, 5)
    )
    array = QuantizedArray(n_bits, np.array([low, middle, high]))
    return Exercise(_shown(n_bits=n_bits, low=low, middle=middle, high=high), int(array.qvalues[1]))


def _middle_symmetric(seed: int) -> Exercise:
    low, middle, high, n_bits = drawn(
        seed, _tenths(-4, -1), _tenths(-0.9, 0.9), _tenths(1, 4), (3, 4, 5)
    )
    array = QuantizedArray(n_bits, np.array([low, middle, high]), is_signed=True, is_symmetric=True)
    return Exercise(_shown(n_bits=n_bits, low=low, middle=middle, high=high), int(array.qvalues[1]))


def _dot(seed: int) -> Exercise:
    q = np.array(drawn(seed, *([range(8)] * 6)), dtype=np.int64)
    return Exercise(_shown(x=q[:3].tolist(), w=q[3:].tolist()), int(q[:3] @ q[3:]))


def _corrected(seed: int) -> Exercise:
    *codes, z1, z2 = drawn(seed, *([range(8)] * 6), range(1, 5), range(1, 5))
    q = np.array(codes, dtype=np.int64)
    total = int((q[:3] - z1) @ (q[3:] - z2))
    return Exercise(_shown(x=q[:3].tolist(), w=q[3:].tolist(), z1=z1, z2=z2), total)


def _bits_of_sum(seed: int) -> Exercise:
    terms, x_bits, top = drawn(seed, range(2, 200), range(2, 9), range(1, 128))
    reach = terms * ((1 << x_bits) - 1) * top
    return Exercise(
        _shown(terms=terms, x_bits=x_bits, x_top=(1 << x_bits) - 1, w_top=top),
        bit_width(-reach, reach),
    )


def _type_bits(seed: int) -> Exercise:
    terms, x_bits, w_bits = drawn(seed, range(2, 600), range(2, 9), range(2, 9))
    width = type_width(terms, Types(x_bits, w_bits, symmetric=False), raw=True)
    return Exercise(_shown(terms=terms, x_bits=x_bits, w_bits=w_bits), width)


def _fan_in(seed: int) -> Exercise:
    limit, x_bits, w_bits = drawn(seed, range(10, 25), range(2, 9), range(2, 9))
    found = widest_fan_in(limit, Types(x_bits, w_bits, symmetric=False), raw=True)
    return Exercise(_shown(limit=limit, x_bits=x_bits, w_bits=w_bits), found)


def _rounded_away(seed: int) -> Exercise:
    low, high, threshold = drawn(seed, range(-90000, -300, 97), range(400, 90000, 89), (6, 7, 8))
    ends = np.array([low, high], dtype=np.int64)
    return Exercise(_shown(low=low, high=high, threshold=threshold), excess_bits(ends, threshold))


def _entries(seed: int) -> Exercise:
    low, high = drawn(seed, range(-2000, 0, 7), range(1, 4000, 11))
    return Exercise(_shown(low=low, high=high), 1 << bit_width(low, high))


def _left_after_rounding(seed: int) -> Exercise:
    low, high, removed = drawn(seed, range(-500, 0, 3), range(1, 900, 7), range(2, 6))
    rounded = round_low_bits(np.arange(low, high + 1, dtype=np.int64), removed)
    return Exercise(_shown(low=low, high=high, removed=removed), int(np.unique(rounded).size))


def _relu_codes(seed: int) -> Exercise:
    low, high, step, n_bits = drawn(
        seed, range(-40, -4), range(8, 60), (0.05, 0.1, 0.2, 0.25), (2, 3)
    )
    accumulators = np.arange(low, high + 1, dtype=np.int64)
    reals = np.maximum(accumulators * step, 0.0)
    grid = _grid(0.0, float(reals.max()), n_bits)
    at_lowest = int(np.count_nonzero(grid.quant(reals) == 0))
    return Exercise(_shown(low=low, high=high, scale=step, n_bits=n_bits), at_lowest)


def _coarser(seed: int) -> Exercise:
    reach, far, n_bits = drawn(seed, _tenths(0.5, 3), range(4, 60), range(3, 9))
    plain, wide = _grid(-reach, reach, n_bits), _grid(-reach, float(far), n_bits)
    ratio = float(wide.scale) / float(plain.scale)
    return Exercise(_shown(reach=reach, far=far, n_bits=n_bits), ratio, 0.02 * ratio)


def _lost_decibel(seed: int) -> Exercise:
    reach, far, n_bits = drawn(seed, _tenths(0.5, 3), range(4, 60), range(3, 9))
    plain, wide = _grid(-reach, reach, n_bits), _grid(-reach, float(far), n_bits)
    lost = 20 * float(np.log10(float(wide.scale) / float(plain.scale)))
    return Exercise(_shown(reach=reach, far=far, n_bits=n_bits), lost, 0.3)


def _clipping_error(seed: int) -> Exercise:
    reach, far, n_bits = drawn(seed, _tenths(1, 4), _tenths(4.1, 20), range(3, 7))
    grid = _grid(0.0, reach, n_bits)
    error = far - _real(grid, _code(grid, far))
    return Exercise(_shown(reach=reach, far=far, n_bits=n_bits), error, 0.02)


_WEIGHTS = ([-0.92, -0.81, -0.73], [-0.42, -0.31], [-0.16, -0.12], [-0.06, 0.02], [0.08, 0.14])
"""No multiples of 0.05, so that no weight lies half-way between two codes of the ranges asked."""


def _weights(seed: int) -> tuple[list[float], int]:
    *small, top, n_bits = drawn(
        seed, *_WEIGHTS, [0.18, 0.22, 0.26], [0.33, 0.36, 0.46], _tenths(1, 3), (2, 3)
    )
    return [*small, top], n_bits


def _vanishing(seed: int) -> Exercise:
    values, n_bits = _weights(seed)
    array = QuantizedArray(n_bits, np.array(values), is_signed=True, is_symmetric=True)
    return Exercise(
        _shown(weights=values, n_bits=n_bits), int(np.count_nonzero(array.qvalues == 0))
    )


def _vanishing_clipped(seed: int) -> Exercise:
    values, n_bits = _weights(seed)
    grid = _grid(-0.6, 0.6, n_bits, is_signed=True, is_symmetric=True)
    codes = grid.quant(np.array(values))
    return Exercise(
        _shown(weights=values, n_bits=n_bits, reach=0.6), int(np.count_nonzero(codes == 0))
    )


_REACHES = (0.3, 0.6, 0.9, 1.5, 3.0)


def _best_reach(seed: int) -> Exercise:
    values, n_bits = _weights(seed)
    exact = np.array(values)
    errors = []
    for reach in _REACHES:
        grid = _grid(-reach, reach, n_bits, is_signed=True, is_symmetric=True)
        errors.append(float(np.square(grid.dequant(grid.quant(exact)) - exact).sum()))
    best = _REACHES[int(np.argmin(errors))]
    return Exercise(
        _shown(weights=values, n_bits=n_bits, reaches=", ".join(f"{r:g}" for r in _REACHES)),
        best,
        0.001,
    )


def _multiplier(seed: int) -> tuple[float, int]:
    digits, power, accumulator = drawn(seed, range(101, 1000), (3, 4, 5), range(200, 5000, 13))
    return digits / 10.0**power, accumulator


def _shift(seed: int) -> Exercise:
    real, _ = _multiplier(seed)
    return Exercise(_shown(multiplier=real), FixedPointMultiplier.from_real(real, bits=8).shift)


def _mantissa(seed: int) -> Exercise:
    real, _ = _multiplier(seed)
    made = FixedPointMultiplier.from_real(real, bits=8)
    return Exercise(_shown(multiplier=real, shift=made.shift), made.mantissa)


def _applied(seed: int) -> Exercise:
    real, accumulator = _multiplier(seed)
    made = FixedPointMultiplier.from_real(real, bits=8)
    return Exercise(
        _shown(mantissa=made.mantissa, shift=made.shift, accumulator=accumulator),
        int(made.apply(np.array([accumulator]))[0]),
    )


def _onnx_scale(seed: int) -> Exercise:
    low, high, middle = drawn(seed, _tenths(0.1, 2), _tenths(2.1, 12), _tenths(2, 2.1))
    made = convert("ONNX Runtime", [low, middle, high], n_bits=8, scheme=Scheme.AFFINE)
    return Exercise(_shown(low=low, high=high), made.scale, 0.01 * made.scale)


def _distiller_code(seed: int) -> Exercise:
    reach, value, n_bits = drawn(seed, _tenths(2, 9), _tenths(-1.9, 1.9), (4, 5, 6, 8))
    made = convert("Distiller", [-reach, value], n_bits=n_bits, scheme=Scheme.SYMMETRIC)
    return Exercise(_shown(reach=reach, x=value, n_bits=n_bits), int(made.codes[1]))


def _tie(seed: int) -> Exercise:
    eighths, steps, zero_point = drawn(seed, range(1, 40), range(-12, 12), range(25, 40))
    step, value = eighths / 8, (steps + 0.5) * eighths / 8
    array = QuantizedArray(
        6, np.array([0]), value_is_float=False, scale=step, zero_point=zero_point, offset=0
    )
    grid = array.quantizer
    onnx = UniformQuantizer(
        grid.quant_options, None, grid.quant_params, rounding=Rounding.NEAREST_FIRST
    )
    return Exercise(
        _shown(scale=step, zero_point=zero_point, x=value), _code(grid, value) - _code(onnx, value)
    )


_EXERCISES: Mapping[tuple[int, int], Callable[[int], Exercise]] = MappingProxyType(
    {
        (lesson, level): make
        for lesson, makers in enumerate(
            (
                (_scale, _code_of, _comes_back),
                (_zero_point, _signed_zero_point, _wasted),
                (_decode, _middle_of_three, _middle_symmetric),
                (_dot, _corrected, _bits_of_sum),
                (_type_bits, _fan_in, _rounded_away),
                (_entries, _left_after_rounding, _relu_codes),
                (_coarser, _lost_decibel, _clipping_error),
                (_vanishing, _vanishing_clipped, _best_reach),
                (_shift, _mantissa, _applied),
                (_onnx_scale, _distiller_code, _tie),
            ),
            start=1,
        )
        for level, make in enumerate(makers, start=1)
    }
)
