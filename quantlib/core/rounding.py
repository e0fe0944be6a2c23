"""How a real position between two codes becomes a code."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray


class Rounding(StrEnum):
    """Rules by which already quantized models round.

    Notes
    -----
    All but `NEAREST_FIRST` and `SIGN` are QONNX's ``rounding_mode`` of IntQuant; `NEAREST_FIRST`
    is ONNX's QuantizeLinear, `SIGN` is QONNX's BipolarQuant.
    """

    NEAREST = "ROUND"
    """To the nearest code, ties to even, after the zero point was added: the reference's."""

    NEAREST_FIRST = "ROUND_FIRST"
    """The same, but before the zero point is added: ties differ when it is odd."""

    CEIL = "CEIL"
    FLOOR = "FLOOR"
    UP = "UP"
    """Away from zero."""

    DOWN = "DOWN"
    """Towards zero."""

    HALF_UP = "HALF_UP"
    """To the nearest code, ties away from zero."""

    HALF_DOWN = "HALF_DOWN"
    """To the nearest code, ties towards zero."""

    SIGN = "SIGN"
    """To -1 below zero, else to 1."""


def round_codes(positions: AnyArray, rounding: Rounding) -> AnyArray:
    """Round real positions on the grid by a rule; shape and dtype stay."""
    size = np.abs(positions)
    rounded = {
        Rounding.NEAREST: lambda: np.rint(positions),
        Rounding.NEAREST_FIRST: lambda: np.rint(positions),
        Rounding.CEIL: lambda: np.ceil(positions),
        Rounding.FLOOR: lambda: np.floor(positions),
        Rounding.UP: lambda: np.copysign(np.ceil(size), positions),
        Rounding.DOWN: lambda: np.trunc(positions),
        Rounding.HALF_UP: lambda: np.copysign(np.floor(size + 0.5), positions),
        Rounding.HALF_DOWN: lambda: np.copysign(np.ceil(size - 0.5), positions),
        Rounding.SIGN: lambda: np.where(positions >= 0, 1.0, -1.0),
    }[rounding]()
    return rounded.astype(positions.dtype, copy=False)
