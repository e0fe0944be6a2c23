"""Distiller's clip modes: which part of a tensor the grid shall cover."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from quantlib.arrays import FloatArray


class ClipMode(StrEnum):
    """Distiller's ``ClipMode``."""

    NONE = "NONE"
    """The extremes."""

    AVG = "AVG"
    """The mean of the samples' extremes; samples lie along axis 0."""

    N_STD = "N_STD"
    """Mean plus and minus a number of standard deviations, within the extremes."""


def distiller_range(
    values: FloatArray, mode: ClipMode, *, n_stds: float = 2.0
) -> tuple[float, float]:
    """Return the range that Distiller covers.

    Parameters
    ----------
    values : float array, samples along axis 0
        The tensor.
    mode : ClipMode
        Which part of it.
    n_stds : float
        Standard deviations of `ClipMode.N_STD`, above 0.

    Raises
    ------
    OptionsError
        `n_stds` is not above 0.

    Notes
    -----
    IntelLabs Distiller, ``distiller/quantization/q_utils.py`` and ``range_linear.py``
    (``_get_saturation_fn``): the standard deviation is torch's, which divides by count - 1.
    """
    exact = np.asarray(values, dtype=np.float64)
    low, high = float(exact.min()), float(exact.max())
    if mode is ClipMode.NONE:
        return low, high
    if mode is ClipMode.AVG:
        rows = exact.reshape(len(exact), -1)
        return float(rows.min(axis=1).mean()), float(rows.max(axis=1).mean())
    if not n_stds > 0:
        raise OptionsError(f"the number of standard deviations is {n_stds!r}; give one above 0.")
    if exact.size < 2:
        raise OptionsError("one value has no standard deviation; give a tensor of two or more.")
    reach = n_stds * float(exact.std(ddof=1))
    mean = float(exact.mean())
    return max(low, mean - reach), min(high, mean + reach)
