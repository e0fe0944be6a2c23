"""What is measured about a tensor: its real range."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantlib.core.arguments import as_numbers
from quantlib.errors import TensorError


def check_finite(values: npt.NDArray[Any], *, what: str = "values") -> None:
    """Raise TensorError when `values` is empty or holds NaN or infinity."""
    if values.size == 0:
        raise TensorError(f"{what} has no elements (shape {values.shape}); give at least one.")
    if values.dtype.kind == "f":
        bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        if bad:
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise TensorError(
                f"{what} holds {bad} NaN or infinite of {values.size} values, the first at "
                f"index {first}; remove or replace them."
            )


@dataclass(frozen=True, slots=True)
class MinMaxQuantizationStats:
    """The real range of a tensor, in the dtype of the data it was measured on.

    Parameters
    ----------
    rmax, rmin : float32 or float64 scalar
        Largest and smallest value. The dtype is part of the result: the reference subtracts
        the two in it (float32 data keep float32 statistics). Python floats count as float64.

    Raises
    ------
    TensorError
        Not finite, no number, or ``rmin > rmax``.

    Examples
    --------
    >>> import quantlib as ql
    >>> import numpy as np
    >>> x = np.linspace(-1, 2, 7)
    >>> stats = ql.MinMaxQuantizationStats.from_values(x)
    >>> float(stats.rmin), float(stats.rmax)
    (-1.0, 2.0)
    """

    rmax: np.floating[Any]
    rmin: np.floating[Any]

    def __post_init__(self) -> None:
        for name in ("rmax", "rmin"):
            value = getattr(self, name)
            if not isinstance(value, np.floating):
                number = as_numbers(value, what=name)
                if number.ndim:
                    raise TensorError(f"{name} has shape {number.shape}; give one number.")
                kept = number[()] if number.dtype.kind == "f" else np.float64(number)
                object.__setattr__(self, name, kept)
        if not (np.isfinite(self.rmax) and np.isfinite(self.rmin)):
            raise TensorError(f"a range must be finite; got [{self.rmin}, {self.rmax}].")
        if self.rmin > self.rmax:
            raise TensorError(f"rmin {self.rmin} is above rmax {self.rmax}; exchange them.")

    @classmethod
    def from_values(cls, values: npt.NDArray[Any]) -> MinMaxQuantizationStats:
        """Measure an array of any shape; integers count as float64."""
        array = as_numbers(values)
        if array.dtype.kind != "f":
            array = array.astype(np.float64)
        if not array.size:
            check_finite(array)
        low, high = array.min(), array.max()  # NaN and infinity reach an end
        if not (np.isfinite(low) and np.isfinite(high)):
            check_finite(array)
        return cls(rmax=high, rmin=low)

    def merge(self, other: MinMaxQuantizationStats) -> MinMaxQuantizationStats:
        """Return the range of both tensors together."""
        return MinMaxQuantizationStats(
            rmax=max(self.rmax, other.rmax), rmin=min(self.rmin, other.rmin)
        )

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `load_dict` reads back."""
        return {
            "rmax": float(self.rmax),
            "rmin": float(self.rmin),
            "dtype": str(np.result_type(self.rmax, self.rmin)),
        }

    @classmethod
    def load_dict(cls, metadata: dict[str, Any]) -> MinMaxQuantizationStats:
        """Rebuild statistics from `dump_dict`; without a dtype they are float64."""
        kind = np.dtype(metadata.get("dtype") or "float64").type
        return cls(rmax=kind(metadata["rmax"]), rmin=kind(metadata["rmin"]))

    def dumps(self) -> str:
        """Return the statistics as JSON text."""
        return json.dumps(self.dump_dict())

    @classmethod
    def loads(cls, text: str) -> MinMaxQuantizationStats:
        """Rebuild statistics from `dumps`."""
        return cls.load_dict(json.loads(text))
