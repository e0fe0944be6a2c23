"""One configuration in figures, small enough to collect by the thousand."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quantlib.analysis.evaluation import evaluate_module
from quantlib.analysis.sweep.measures import KEPT, MEASURES, Measured
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig

_ANY_LIMIT = 16


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The figures of one configuration.

    Parameters
    ----------
    config : QuantizationConfig
        Which.
    figures : mapping of str to number or None
        By the members of `quantlib.analysis.sweep.measures.KEPT`, in their units.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> [found] = ql.sweep(bench, [ql.QuantizationConfig.from_n_bits(4)])
    >>> found["widest_seen_bits"], found.fits
    (7, True)
    """

    config: QuantizationConfig
    figures: Mapping[str, float | None]

    def __getitem__(self, member: str) -> float | None:
        """Return a measure's figure, in its unit; None where the result has none."""
        return MEASURES[member].of(self)

    @property
    def fits(self) -> bool:
        """Whether what was seen on the data is within the limit, and no product is unseen."""
        return self.fits_by(Criterion.SEEN)

    def counted_bits(self, criterion: Criterion) -> float | None:
        """Return the widest that counts against the limit, bits; None where nothing is bounded.

        Results of earlier releases do not hold what rounding leaves; their accumulators count.
        """
        counted, whole = (
            ("counted_seen_bits", "widest_seen_bits")
            if criterion is Criterion.SEEN
            else ("counted_any_bits", "widest_weights_bits")
        )
        return self[whole] if self[counted] is None else self[counted]

    def fits_by(self, criterion: Criterion) -> bool:
        """Tell whether what counts is within the limit; what nobody bounds promises nothing."""
        bits = self.counted_bits(criterion)
        unknown = bits is None and criterion is Criterion.ANY_INPUT
        return not self["n_unseen"] and not unknown and (bits or 0) <= self.config.limit_bits

    def under(self, config: QuantizationConfig) -> SweepResult:
        """Return the result for a configuration of the same numbers; see `same_numbers`."""
        return self if config == self.config else replace(self, config=config)

    def under_limit(self, limit_bits: int) -> SweepResult:
        """Return the result with another accumulator limit, bits."""
        return self.under(self.config.replace(limit_bits=limit_bits))


def same_numbers(config: QuantizationConfig) -> QuantizationConfig:
    """Return what two configurations share exactly if all their figures are the same.

    The limit marks results and changes none.
    """
    return config.replace(limit_bits=_ANY_LIMIT)


def measure(bench: Workbench, config: QuantizationConfig) -> SweepResult:
    """Quantize, evaluate and bound one configuration.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        What is chosen.

    Raises
    ------
    QuantlibError
        The configuration cannot be applied to the model, or the data do not fit it.

    Notes
    -----
    Nothing is remembered between configurations: widths reach every layer, so that results of
    layers are hardly ever shared within a grid, and a memo only costs memory.
    """
    started = time.perf_counter()
    forgetful = bench.without_memory()
    module = forgetful.module(config)
    evaluation = evaluate_module(forgetful, module)
    budget = bit_width_budget(module, seen=evaluation.seen)
    costs = cost(module, budget)
    found = Measured(evaluation, budget, costs, time.perf_counter() - started)
    figures = {
        member: entry.compute(found) for member, entry in KEPT.items() if entry.compute is not None
    }
    return SweepResult(config, figures)
