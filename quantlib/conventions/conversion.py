"""What any tool makes of a tensor, in one notation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantlib.arrays import FloatArray, IntArray


class Scheme(StrEnum):
    """Which of a tool's two families of grids."""

    AFFINE = "affine"
    """A zero point; unsigned codes where the tool has a choice."""

    SYMMETRIC = "symmetric"
    """A range symmetric around 0, as the tool has it for weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """A tensor in one tool's integers, in the notation ``x = scale * (q - zero_point)``.

    Parameters
    ----------
    scale : float
        Real step between two codes. Distiller's own scale factor is its inverse.
    zero_point : int
        Code of real 0. AIMET's offset and Distiller's zero point are its negative.
    qmin, qmax : int
        Ends of the grid, where codes saturate.
    codes : int64 array, shape of the tensor
        The integers.
    reals : float64 array, shape of the tensor
        What they stand for.
    """

    scale: float
    zero_point: int
    qmin: int
    qmax: int
    codes: IntArray
    reals: FloatArray

    @property
    def low(self) -> float:
        """Real value of the lowest code."""
        return self.scale * (self.qmin - self.zero_point)

    @property
    def high(self) -> float:
        """Real value of the highest code."""
        return self.scale * (self.qmax - self.zero_point)
