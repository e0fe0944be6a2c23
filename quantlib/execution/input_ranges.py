"""The range that a layer gives a variable input: from what was measured to what its grid covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.calibration.estimators import estimate_range
from quantlib.core.estimator import MIN_MAX
from quantlib.core.ranges import fitted

if TYPE_CHECKING:
    from quantlib.calibration.statistics import TensorStatistics
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.scheme import Scheme
    from quantlib.core.stats import MinMaxQuantizationStats


@dataclass(frozen=True, slots=True, eq=False)
class InputMeasure:
    """What a tensor was measured to hold on the calibration data.

    Parameters
    ----------
    extremes : MinMaxQuantizationStats
        Its smallest and largest value, as its producer was calibrated.
    statistics : TensorStatistics or None
        Its distribution, where estimators are in use.
    """

    extremes: MinMaxQuantizationStats
    statistics: TensorStatistics | None = None

    def range(self, scheme: Scheme, options: QuantizationOptions) -> MinMaxQuantizationStats | None:
        """Return the range that a scheme covers with a grid; None for the extremes as they are.

        Raises
        ------
        OptionsError
            The grid contradicts the scheme, or is too wide for the estimator.
        """
        if scheme.keeps_range:
            return None
        stats = self.extremes
        if self.statistics is not None and scheme.estimator != MIN_MAX:
            stats = estimate_range(scheme.estimator, self.statistics, options)
        return fitted(stats, options, power_of_two=scheme.power_of_two)
