"""From what is measured to a range: which estimators there are, and how they are applied."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.calibration import rules
from quantlib.calibration.statistics import measure
from quantlib.core.params import DEGENERATE_RANGE
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import OptionsError, TensorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.calibration.statistics import TensorStatistics
    from quantlib.core.options import QuantizationOptions

MAX_BITS = 16
"""Widest grid for which an error can be told from a histogram."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """The one number of an estimator.

    Parameters
    ----------
    meaning : str
        What it is, with its unit.
    default, low, high : float
        Default, and the allowed interval, ends included.
    """

    meaning: str
    default: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class EstimatorKind:
    """A row of the table of estimators.

    Parameters
    ----------
    label, explanation, source : str
        Name to show, one sentence, and where it is from.
    rule : callable
        Computes both ends; they may lie outside the extremes.
    parameter : Parameter or None
        Its number, if it has one.
    uses_width : bool
        Whether the range depends on the width of the grid (then 1 to 16 bits).
    """

    label: str
    explanation: str
    source: str
    rule: Callable[[rules.Measured, float], rules.Ends]
    parameter: Parameter | None = None
    uses_width: bool = False


ESTIMATORS: Mapping[str, EstimatorKind] = MappingProxyType(
    {
        "min-max": EstimatorKind(
            "Min-max",
            "The smallest and the largest value: nothing is clipped.",
            "Jacob et al. 2018, arXiv:1712.05877",
            rules.min_max,
        ),
        "moving-average": EstimatorKind(
            "Moving average",
            "Extremes of the samples, averaged with weight 0.01 for each new sample.",
            "Jacob et al. 2018, arXiv:1712.05877, section 3.1",
            rules.moving_average,
        ),
        "sample-mean": EstimatorKind(
            "Mean of sample extremes",
            "The mean of the samples' minima and of their maxima.",
            "NNCF, RangeEstimatorParameters (MIN, MAX; MEAN)",
            rules.sample_mean,
        ),
        "percentile": EstimatorKind(
            "Percentile",
            "A given share of the values lies inside, half of the rest beyond each end.",
            "Wu et al. 2020, arXiv:2004.09602",
            rules.percentile,
            Parameter("share of values inside the range, %", 99.999, 50.0, 100.0),
        ),
        "entropy": EstimatorKind(
            "Entropy (KL)",
            "The window whose grid diverges least from the whole distribution.",
            "Migacz 2017, 8-bit inference with TensorRT",
            rules.entropy,
            uses_width=True,
        ),
        "mse": EstimatorKind(
            "Mean squared error",
            "The range whose grid has the smallest mean squared error.",
            "Choukroun et al. 2019, arXiv:1902.06822",
            rules.squared_error,
            uses_width=True,
        ),
        "lp-norm": EstimatorKind(
            "L^p norm",
            "The range whose grid has the smallest mean of |error| to the power p.",
            "Nahshan et al. 2019, arXiv:1911.07190",
            rules.lp_norm,
            Parameter("exponent p", 2.4, 1.0, 8.0),
            uses_width=True,
        ),
        "mean-std": EstimatorKind(
            "Mean ± k σ",
            "The mean and k standard deviations to each side.",
            "Nagel et al. 2019, arXiv:1906.04721",
            rules.mean_std,
            Parameter("number k of standard deviations", 3.0, 0.1, 100.0),
        ),
        "aciq-gauss": EstimatorKind(
            "ACIQ, Gaussian",
            "The threshold of least squared error if the values were Gaussian.",
            "Banner et al. 2018, arXiv:1810.05723",
            rules.aciq_gauss,
            uses_width=True,
        ),
        "aciq-laplace": EstimatorKind(
            "ACIQ, Laplacian",
            "The threshold of least squared error if the values were Laplacian.",
            "Banner et al. 2018, arXiv:1810.05723",
            rules.aciq_laplace,
            uses_width=True,
        ),
    }
)
"""Every estimator by name: the only list of them."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """A chosen estimator.

    Parameters
    ----------
    name : str
        A key of `ESTIMATORS`.
    parameter : float or None
        Its number; None is the default, and the only choice for estimators without one.

    Raises
    ------
    OptionsError
        Unknown name; a number out of its interval, or where none is wanted.
    """

    name: str
    parameter: float | None = None

    def __post_init__(self) -> None:
        if self.name not in tuple(ESTIMATORS):
            raise OptionsError(
                f"there is no estimator {self.name!r}; give one of {', '.join(ESTIMATORS)}."
            )
        wanted = self.kind.parameter
        if wanted is None:
            if self.parameter is not None:
                raise OptionsError(
                    f"{self.name} has no parameter; got {self.parameter!r}, leave it out."
                )
            return
        value = wanted.default if self.parameter is None else self.parameter
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            value = math.nan
        if not wanted.low <= value <= wanted.high:
            raise OptionsError(
                f"the parameter of {self.name} ({wanted.meaning}) is {self.parameter!r}; give a "
                f"number from {wanted.low:g} to {wanted.high:g}."
            )
        object.__setattr__(self, "parameter", float(value))

    @property
    def kind(self) -> EstimatorKind:
        """Its row of the table."""
        return ESTIMATORS[self.name]

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `load_dict` reads back."""
        return {"name": self.name, "parameter": self.parameter}

    @classmethod
    def load_dict(cls, metadata: dict[str, Any]) -> Estimator:
        """Rebuild an estimator from `dump_dict`; without a parameter it has its default."""
        known = isinstance(metadata, dict) and {"name"} <= set(metadata) <= {"name", "parameter"}
        if not known:
            raise OptionsError(
                f"an estimator is a name and a parameter, not {metadata!r:.80}; leave the rest out."
            )
        return cls(metadata["name"], metadata.get("parameter"))

    def dumps(self) -> str:
        """Return the estimator as JSON text."""
        return json.dumps(self.dump_dict())

    @classmethod
    def loads(cls, text: str) -> Estimator:
        """Rebuild an estimator from `dumps`."""
        try:
            metadata = json.loads(text)
        except ValueError as error:
            raise OptionsError(f"the estimator is no JSON ({error}); write it again.") from error
        return cls.load_dict(metadata)


def estimate_range(
    estimator: Estimator, statistics: TensorStatistics, options: QuantizationOptions
) -> MinMaxQuantizationStats:
    """Return the range an estimator chooses.

    Parameters
    ----------
    estimator : Estimator
        Which.
    statistics : TensorStatistics
        What was measured.
    options : QuantizationOptions
        The grid; symmetric grids get ranges that are symmetric until they meet an extreme.

    Returns
    -------
    MinMaxQuantizationStats
        Within the exact extremes, in the dtype of the data. The exact extremes themselves if the
        estimate is one constant (below 1e-6 wide) and the data are not: a grid needs a range.

    Raises
    ------
    OptionsError
        The grid is wider than 16 bits and the estimator depends on its width.

    Notes
    -----
    Zero need not be inside: the affine grid of `UniformQuantizationParameters` does not ask for
    it. Formulas and sources: `quantlib.calibration.rules`.
    """
    return _estimate(estimator, rules.Measured(statistics, options))


def estimate_channel_ranges(
    estimator: Estimator, values: AnyArray, options: QuantizationOptions, axis: int
) -> tuple[MinMaxQuantizationStats, ...]:
    """Return one range per channel of a constant.

    Parameters
    ----------
    estimator, options
        As for `estimate_range`.
    values : array
        All values, so that percentiles, errors and deviations are those of the values and not of
        a histogram (the entropy estimator is one of histograms by definition).
    axis : int
        Axis of the channels; of weights, that of the outputs.

    Raises
    ------
    TensorError
        No values, NaN or infinity, or no such axis.
    OptionsError
        As for `estimate_range`.
    """
    array = np.asarray(values)
    if not -array.ndim <= axis < array.ndim:
        raise TensorError(
            f"there is no axis {axis} in values of shape {array.shape}; give one from "
            f"{-array.ndim} to {array.ndim - 1}."
        )
    statistics = measure(array, axis)
    return tuple(
        _estimate(estimator, rules.Measured(channel, options, part))
        for channel, part in zip(statistics.channels, np.moveaxis(array, axis, 0), strict=True)
    )


def _estimate(estimator: Estimator, tensor: rules.Measured) -> MinMaxQuantizationStats:
    kind, extremes = estimator.kind, tensor.statistics.extremes
    if kind.uses_width and tensor.options.n_bits > MAX_BITS:
        raise OptionsError(
            f"{estimator.name} judges grids of 1 to {MAX_BITS} bits, this one has "
            f"{tensor.options.n_bits}; use min-max."
        )
    if extremes.rmax - extremes.rmin < DEGENERATE_RANGE:
        return extremes
    ends = kind.rule(tensor, 0.0 if estimator.parameter is None else estimator.parameter)
    bounded = np.clip(np.array(ends), float(extremes.rmin), float(extremes.rmax))
    low, high = bounded.astype(extremes.rmin.dtype)
    if high - low < DEGENERATE_RANGE:
        return extremes
    return MinMaxQuantizationStats(rmax=high, rmin=low)
