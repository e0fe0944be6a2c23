"""What follows from options and statistics: scale and zero point, their only formula."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.errors import TensorError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.stats import MinMaxQuantizationStats

DEGENERATE_RANGE = 1e-6
"""Ranges narrower than this (in the tensor's unit) are treated as one constant."""


@dataclass(frozen=True, slots=True, eq=False)
class UniformQuantizationParameters:
    """Scale and zero point of a uniform grid.

    Parameters
    ----------
    scale : float64, or float64 array
        Real step between two codes, in the tensor's unit. An array has one value per channel,
        in a shape that broadcasts against the tensor.
    zero_point : int, or array
        Code of real 0.0, likewise. A layer that is a graph output returns its accumulator,
        whose zero point is a float array with one value per output channel.
    offset : int
        How far the grid reaches below 0; clipping uses it.

    Examples
    --------
    >>> import quantlib as ql
    >>> import numpy as np
    >>> stats = ql.MinMaxQuantizationStats(rmax=np.float64(6.0), rmin=np.float64(-1.0))
    >>> params = ql.UniformQuantizationParameters.from_stats(ql.QuantizationOptions(3), stats)
    >>> float(params.scale), params.zero_point
    (1.0, 1)
    """

    scale: np.float64 | FloatArray
    zero_point: int | AnyArray
    offset: int

    def __post_init__(self) -> None:
        if not isinstance(self.scale, np.ndarray):
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
        the statistics, everything after it in float64; a range too wide for that dtype is
        subtracted in float64 too.

        Raises
        ------
        OptionsError
            One signed symmetric bit, which has no scale for a range.
        TensorError
            A range too wide for float64.
        """
        rmin, rmax = stats.rmin, stats.rmax
        span = _span(rmin, rmax)
        n_steps = 2**options.n_bits - 1
        if span < DEGENERATE_RANGE:
            if abs(rmax) < DEGENERATE_RANGE:
                return cls(np.float64(1.0), int(np.rint(-rmin)), 0)
            return cls(np.float64(rmax), 0, 0)
        offset = options.offset
        low, high, width = np.float64(rmin), np.float64(rmax), np.float64(span)
        top = n_steps - offset
        if options.is_symmetric:
            options.check_spans()
            return cls(max(abs(high), abs(low)) / top, 0, offset)
        zero_point = 0 if options.is_qat else int(_zero_points(low, high, width, options))
        return cls(width / n_steps, zero_point, offset)

    @classmethod
    def per_channel(
        cls, options: QuantizationOptions, rmin: FloatArray, rmax: FloatArray
    ) -> UniformQuantizationParameters:
        """Compute one scale and zero point per channel.

        Parameters
        ----------
        options : QuantizationOptions
            Shared by all channels.
        rmin, rmax : float arrays
            Range of each channel, in a shape that broadcasts against the tensor.

        Notes
        -----
        The formulas of `from_stats`. A channel that is one constant has its range extended to
        0, so that it needs no offset of its own; a channel of zeros has scale 1.

        Raises
        ------
        OptionsError, TensorError
            As from `from_stats`; one signed symmetric bit whatever the channels hold.
        """
        rmin, rmax = np.asarray(rmin), np.asarray(rmax)
        constant = _span(rmin, rmax) < DEGENERATE_RANGE
        low = np.where(constant, np.minimum(rmin, 0), rmin)
        high = np.where(constant, np.maximum(rmax, 0), rmax)
        width = np.asarray(_span(low, high), dtype=np.float64)
        low, high = low.astype(np.float64), high.astype(np.float64)
        n_steps = 2**options.n_bits - 1
        top = n_steps - options.offset
        if options.is_symmetric:
            options.check_spans()
            scale = np.maximum(np.abs(high), np.abs(low)) / top
            return cls(np.where(scale > 0, scale, 1.0), np.zeros_like(scale), options.offset)
        span = np.where(width > 0, width, 1.0)
        zero_point = _zero_points(low, high, span, options)
        scale = np.where(width > 0, width / n_steps, 1.0)
        return cls(scale, np.where(width > 0, zero_point, 0.0), options.offset)

    @property
    def mean_scale(self) -> float:
        """The scale, or the mean of all channels' scales."""
        return float(np.mean(self.scale))

    def __eq__(self, other: object) -> bool:
        """Compare scale, zero point (arrays element by element) and offset."""
        if not isinstance(other, UniformQuantizationParameters):
            return NotImplemented
        return (
            np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and self.offset == other.offset
        )

    def __hash__(self) -> int:
        """Hash the scalar members."""
        return hash((float(np.sum(self.scale)), np.shape(self.zero_point), self.offset))

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `load_dict` reads back."""
        return {
            "scale": np.asarray(self.scale).tolist(),
            "zero_point": np.asarray(self.zero_point).tolist(),
            "offset": self.offset,
        }

    @classmethod
    def load_dict(cls, metadata: dict[str, Any]) -> UniformQuantizationParameters:
        """Rebuild parameters from `dump_dict`."""
        scale, zero_point = (
            np.asarray(value, dtype=np.float64) if isinstance(value, list) else value
            for value in (metadata["scale"], metadata["zero_point"])
        )
        return cls(scale, zero_point, int(metadata["offset"]))

    def dumps(self) -> str:
        """Return the parameters as JSON text."""
        return json.dumps(self.dump_dict())

    @classmethod
    def loads(cls, text: str) -> UniformQuantizationParameters:
        """Rebuild parameters from `dumps`."""
        return cls.load_dict(json.loads(text))


def _span(rmin: AnyArray | np.floating[Any], rmax: AnyArray | np.floating[Any]) -> Any:
    """Return ``rmax - rmin`` in the dtype of the two, in float64 where that overflows."""
    with np.errstate(over="ignore"):
        span = rmax - rmin
        if not np.all(np.isfinite(span)):
            span = np.subtract(rmax, rmin, dtype=np.float64)
    if not np.all(np.isfinite(span)):
        raise TensorError(
            f"the range [{np.min(rmin):g}, {np.max(rmax):g}] is wider than a float64 can tell; "
            "scale the values down."
        )
    return span


def _zero_points(
    low: np.float64 | FloatArray,
    high: np.float64 | FloatArray,
    width: np.float64 | FloatArray,
    options: QuantizationOptions,
) -> Any:
    """Return the rounded zero points of affine grids; all arguments are float64."""
    offset = options.offset
    top = 2**options.n_bits - 1 - offset
    with np.errstate(over="ignore", invalid="ignore"):
        exact = (high * -offset - low * top) / width
    if not np.all(np.isfinite(exact)):  # the products left float64, their quotient does not
        exact = high / width * -offset - low / width * top
    return np.round(exact)
