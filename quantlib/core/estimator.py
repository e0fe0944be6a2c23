"""Which range a grid is given: the choice, not the computation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    parameter : Parameter or None
        Its number, if it has one.
    uses_width : bool
        Whether the range depends on the width of the grid (then 1 to 16 bits).
    needs_samples : bool
        Whether it works on the extremes of single samples, which weights do not have.
    """

    label: str
    explanation: str
    source: str
    parameter: Parameter | None = None
    uses_width: bool = False
    needs_samples: bool = False


ESTIMATORS: Mapping[str, EstimatorKind] = MappingProxyType(
    {
        "min-max": EstimatorKind(
            "Min-max",
            "The smallest and the largest value: nothing lies more than half a step beyond the "
            "grid, which rounding moves.",
            "Jacob et al. 2018, arXiv:1712.05877",
        ),
        "moving-average": EstimatorKind(
            "Moving average",
            "Extremes of the samples, averaged with weight 0.01 for each new sample.",
            "Jacob et al. 2018, arXiv:1712.05877, section 3.1",
            needs_samples=True,
        ),
        "sample-mean": EstimatorKind(
            "Mean of sample extremes",
            "The mean of the samples' minima and of their maxima.",
            "NNCF, RangeEstimatorParameters (MIN, MAX; MEAN)",
            needs_samples=True,
        ),
        "percentile": EstimatorKind(
            "Percentile",
            "A given share of the values lies inside, half of the rest beyond each end.",
            "Wu et al. 2020, arXiv:2004.09602",
            Parameter("share of values inside the range, %", 99.999, 50.0, 100.0),
        ),
        "entropy": EstimatorKind(
            "Entropy (KL)",
            "The window whose grid diverges least from the whole distribution.",
            "Migacz 2017, 8-bit inference with TensorRT",
            uses_width=True,
        ),
        "mse": EstimatorKind(
            "Mean squared error",
            "The range whose grid has the smallest mean squared error.",
            "Choukroun et al. 2019, arXiv:1902.06822",
            uses_width=True,
        ),
        "lp-norm": EstimatorKind(
            "L^p norm",
            "The range whose grid has the smallest mean of |error| to the power p.",
            "Nahshan et al. 2019, arXiv:1911.07190",
            Parameter("exponent p", 2.4, 1.0, 8.0),
            uses_width=True,
        ),
        "mean-std": EstimatorKind(
            "Mean ± k σ",
            "The mean and k standard deviations to each side.",
            "Nagel et al. 2019, arXiv:1906.04721",
            Parameter("number k of standard deviations", 3.0, 0.1, 100.0),
        ),
        "aciq-gauss": EstimatorKind(
            "ACIQ, Gaussian",
            "The threshold of least squared error if the values were Gaussian.",
            "Banner et al. 2018, arXiv:1810.05723",
            uses_width=True,
        ),
        "aciq-laplace": EstimatorKind(
            "ACIQ, Laplacian",
            "The threshold of least squared error if the values were Laplacian.",
            "Banner et al. 2018, arXiv:1810.05723",
            uses_width=True,
        ),
    }
)
"""Every estimator by name: the only list of them."""

WEIGHT_ESTIMATORS = tuple(name for name, kind in ESTIMATORS.items() if not kind.needs_samples)
"""Names of those that constants can have."""


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

    Examples
    --------
    >>> import quantlib as ql
    >>> ql.Estimator("percentile", 99.9).words
    'percentile:99.9'
    >>> ql.Estimator.parse("mse").name
    'mse'
    """

    name: str = "min-max"
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

    @property
    def words(self) -> str:
        """Return the name, with the parameter behind a colon where it is not the default."""
        wanted = self.kind.parameter
        if wanted is None or self.parameter == wanted.default:
            return self.name
        return f"{self.name}:{self.parameter:g}"

    @classmethod
    def parse(cls, words: str) -> Estimator:
        """Read what `words` says: ``NAME`` or ``NAME:PARAMETER``.

        Raises
        ------
        OptionsError
            An unknown name, or a parameter that is no number, out of range or not taken.
        """
        name, colon, parameter = words.strip().partition(":")
        try:
            value = float(parameter) if colon else None
        except ValueError:
            raise OptionsError(
                f"{words!r}: the parameter is {parameter!r}; give a number, as in percentile:99.9."
            ) from None
        return cls(name, value)

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


MIN_MAX = Estimator()
"""The reference's range."""
