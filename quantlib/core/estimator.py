"""Which range a grid is given: the choice, not the computation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantlib.errors import OptionsError


@dataclass(frozen=True, slots=True)
class EstimatorKind:
    """What is known of a range estimator before it runs.

    Parameters
    ----------
    title, explanation, source : str
        Its name on screens, one sentence, and where its definition comes from.
    parameter : str
        What its parameter means; ``""`` without one.
    default, low, high : float
        The parameter's default and allowed interval, both ends included.
    """

    title: str
    explanation: str
    source: str
    parameter: str = ""
    default: float = 0.0
    low: float = 0.0
    high: float = 0.0


ESTIMATORS: dict[str, EstimatorKind] = {
    "min_max": EstimatorKind(
        "min-max", "Smallest to largest value: nothing is clipped.", "Concrete ML 1.9"
    ),
    "moving_average": EstimatorKind(
        "moving average",
        "Exponential average of each sample's extremes; single outliers fade.",
        "Jacob et al. 2018, arXiv:1712.05877, section 3.1",
        "averaging constant",
        0.01,
        1e-4,
        1.0,
    ),
    "percentile": EstimatorKind(
        "percentile",
        "Keeps this share of the values and clips the rest.",
        "McKinstry et al. 2018, arXiv:1809.04191",
        "share kept (%)",
        99.999,
        50.0,
        100.0,
    ),
    "entropy": EstimatorKind(
        "entropy (KL)",
        "The threshold whose quantized histogram diverges least from the original.",
        "Migacz 2017, 8-bit inference with TensorRT",
    ),
    "mse": EstimatorKind(
        "least squares",
        "The range of least mean squared error at this width.",
        "Sung et al. 2015, arXiv:1511.06488",
    ),
    "lp": EstimatorKind(
        "L^p",
        "The range of least mean |error|^p; a larger p fears clipping more.",
        "Nahshan et al. 2019, arXiv:1911.07190",
        "exponent p",
        2.4,
        1.0,
        8.0,
    ),
    "mean_extremes": EstimatorKind(
        "mean of extremes",
        "Average of each sample's smallest and largest value.",
        "Banner et al. 2018, arXiv:1810.05723",
    ),
    "mean_std": EstimatorKind(
        "mean ± k·std",
        "Mean plus and minus k standard deviations, within the extremes.",
        "Park et al. 2018, arXiv:1804.07802",
        "k",
        3.0,
        0.5,
        20.0,
    ),
    "aciq_gauss": EstimatorKind(
        "ACIQ, Gauss",
        "Least squares in closed form if the values were normal.",
        "Banner et al. 2018, arXiv:1810.05723",
    ),
    "aciq_laplace": EstimatorKind(
        "ACIQ, Laplace",
        "Least squares in closed form if the values had Laplace's distribution.",
        "Banner et al. 2018, arXiv:1810.05723",
    ),
}
"""Every range estimator by name."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """A chosen range estimator.

    Parameters
    ----------
    name : str
        One of `ESTIMATORS`.
    parameter : float, optional
        Its parameter; the default of the kind when left out.

    Raises
    ------
    OptionsError
        An unknown name, a parameter for an estimator without one, or one out of range.
    """

    name: str = "min_max"
    parameter: float | None = None

    def __post_init__(self) -> None:
        if self.name not in ESTIMATORS:
            raise OptionsError(
                f"there is no range estimator {self.name!r}; known: {', '.join(ESTIMATORS)}."
            )
        kind = self.kind
        if not kind.parameter:
            if self.parameter is not None:
                raise OptionsError(f"{self.name} takes no parameter; leave it out.")
            return
        value = kind.default if self.parameter is None else float(self.parameter)
        if not (math.isfinite(value) and kind.low <= value <= kind.high):
            raise OptionsError(
                f"{self.name}: the {kind.parameter} is {value}; give {kind.low} to {kind.high}."
            )
        object.__setattr__(self, "parameter", value)

    @property
    def kind(self) -> EstimatorKind:
        """What is known of it."""
        return ESTIMATORS[self.name]


MIN_MAX = Estimator()
"""The reference's range."""
