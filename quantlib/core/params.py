"""What follows from options and statistics: scale and zero point, their only formula."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.stats import MinMaxQuantizationStats

DEGENERATE_RANGE = 1e-6
"""Ranges narrower than this (in the tensor's unit) are treated as one constant."""


@dataclass(frozen=True, slots=True, eq=False)
class UniformQuantizationParameters:
    """Scale and zero point of a uniform grid.

    Parameters
    ----------
    scale : float64
        Real step between two codes, in the tensor's unit.
    zero_point : int, or float array
        Code of real 0.0. A layer that is a graph output returns its accumulator, whose zero
        point is a float array with one value per output channel.
    offset : int
        How far the grid reaches below 0; clipping uses it.
    """

    scale: np.float64
    zero_point: int | AnyArray
    offset: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", np.float64(self.scale))
        if not isinstance(self.zero_point, np.ndarray):
            object.__setattr__(self, "zero_point", int(self.zero_point))

    @classmethod
    def from_stats(
        cls, options: QuantizationOptions, stats: MinMaxQuantizationStats
    ) -> UniformQuantizationParameters:
        """Compute scale and zero point of a measured range.

        Notes
        -----
        ``scale = (rmax - rmin) / (2**n - 1)`` and ``zero_point = round((-rmax*offset -
        rmin*qmax) / (rmax - rmin))`` (Jacob et al. 2018, arXiv:1712.05877, eq. 1), with the
        special cases of Concrete ML 1.9: a range below 1e-6 is one constant, a symmetric grid
        has ``scale = max(abs(rmax), abs(rmin)) / qmax``. The subtraction runs in the dtype of
        the statistics, everything after it in float64.
        """
        rmin, rmax = stats.rmin, stats.rmax
        span = rmax - rmin
        n_steps = 2**options.n_bits - 1
        if span < DEGENERATE_RANGE:
            if abs(rmax) < DEGENERATE_RANGE:
                return cls(np.float64(1.0), int(np.rint(-rmin)), 0)
            return cls(np.float64(rmax), 0, 0)
        offset = options.offset
        low, high, width = np.float64(rmin), np.float64(rmax), np.float64(span)
        top = n_steps - offset
        if options.is_symmetric:
            return cls(max(abs(high), abs(low)) / top, 0, offset)
        zero_point = 0 if options.is_qat else int(np.round((high * -offset - low * top) / width))
        return cls(width / n_steps, zero_point, offset)

    def __eq__(self, other: object) -> bool:
        """Compare scale, zero point (arrays element by element) and offset."""
        if not isinstance(other, UniformQuantizationParameters):
            return NotImplemented
        return (
            self.scale == other.scale
            and np.array_equal(self.zero_point, other.zero_point)
            and self.offset == other.offset
        )

    def __hash__(self) -> int:
        """Hash the scalar members."""
        return hash((float(self.scale), np.shape(self.zero_point), self.offset))

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `load_dict` reads back."""
        zero_point = self.zero_point
        return {
            "scale": float(self.scale),
            "zero_point": zero_point.tolist() if isinstance(zero_point, np.ndarray) else zero_point,
            "offset": self.offset,
        }

    @classmethod
    def load_dict(cls, metadata: dict[str, Any]) -> UniformQuantizationParameters:
        """Rebuild parameters from `dump_dict`."""
        zero_point = metadata["zero_point"]
        if isinstance(zero_point, list):
            zero_point = np.asarray(zero_point, dtype=np.float64)
        return cls(np.float64(metadata["scale"]), zero_point, int(metadata["offset"]))

    def dumps(self) -> str:
        """Return the parameters as JSON text."""
        return json.dumps(self.dump_dict())

    @classmethod
    def loads(cls, text: str) -> UniformQuantizationParameters:
        """Rebuild parameters from `dumps`."""
        return cls.load_dict(json.loads(text))
