"""A function between two integers, without a model: an example of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.core.options import QuantizationOptions
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.ops.kernels import round_low_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.arrays import FloatArray, IntArray

FUNCTIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "Tanh": np.tanh,
}
"""Functions of the example, by ONNX name."""

LOW, HIGH = -128, 127
SCALE = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What a function makes of each integer from -128 to 127, of scale 0.03.

    Parameters
    ----------
    integers, codes : int64 arrays, (256,)
        What enters and what leaves.
    reals : float64 array, (256,)
        The function's value before it is put on the output grid.
    grid : UniformQuantizer
        The output grid.
    """

    integers: IntArray
    codes: IntArray
    reals: FloatArray
    grid: UniformQuantizer


def example_table(function: str, *, n_bits: int, removed: int) -> Table:
    """Return the table of a function, with low bits of what enters rounded away."""
    integers = np.arange(LOW, HIGH + 1, dtype=np.int64)
    exact = FUNCTIONS[function](SCALE * integers)
    stats = MinMaxQuantizationStats(rmax=np.float64(exact.max()), rmin=np.float64(exact.min()))
    grid = UniformQuantizer.from_stats(QuantizationOptions(n_bits), stats)
    reals = FUNCTIONS[function](SCALE * round_low_bits(integers, removed))
    return Table(read_only(integers), read_only(grid.quant(reals)), read_only(reals), grid)
