"""One configuration in figures, small enough to collect by the thousand."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quantlib.analysis.evaluation import evaluate_module
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost

if TYPE_CHECKING:
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
    sqnr_db, mse, cosine, max_error : float
        First model output against the float model: signal over noise in dB, mean squared error,
        cosine of the angle, largest difference.
    agreement, score : float or None
        Share of samples with the float model's class; accuracy or R² against the labels.
    widest_types_bits, widest_weights_bits : int or None
        Widest accumulator that the types allow, and that the actual weights allow; None without
        accumulators, or where one of them has no bounds.
    widest_seen_bits : int or None
        Widest accumulator on calibration and evaluation data.
    needed_bits : float or None
        `widest_weights_bits` in fractions of a bit.
    weight_bytes : int
        Size of the quantized constants.
    bit_operations, table_lookups : int
        Products, each counted as input width times weight width; tables. Per sample.
    elapsed_s : float
        Time to quantize and evaluate.
    """

    config: QuantizationConfig
    sqnr_db: float
    mse: float
    cosine: float
    max_error: float
    agreement: float | None
    score: float | None
    widest_types_bits: int | None
    widest_weights_bits: int | None
    widest_seen_bits: int | None
    needed_bits: float | None
    weight_bytes: int
    bit_operations: int
    table_lookups: int
    elapsed_s: float

    @property
    def headroom_bits(self) -> float | None:
        """The configuration's limit less what the weights need; below 0 beyond the limit."""
        return None if self.needed_bits is None else self.config.limit_bits - self.needed_bits

    @property
    def fits(self) -> bool:
        """Whether every accumulator on the data is within the configuration's limit."""
        return (self.widest_seen_bits or 0) <= self.config.limit_bits

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
    found = evaluate_module(forgetful, module)
    budget = bit_width_budget(module)
    bounded = () if budget.unbounded else budget.layers
    costs = cost(module, budget)
    return SweepResult(
        config=config,
        sqnr_db=found.sqnr_db,
        mse=found.mse,
        cosine=found.cosine,
        max_error=found.max_error,
        agreement=found.agreement,
        score=found.score.quantized_value if found.score else None,
        widest_types_bits=max((layer.types.width_bits for layer in bounded), default=None),
        widest_weights_bits=max((layer.weights.width_bits for layer in bounded), default=None),
        widest_seen_bits=found.widest.width_bits if found.widest else None,
        needed_bits=max((layer.weights.needed_bits for layer in bounded), default=None),
        weight_bytes=found.weight_bytes,
        bit_operations=costs.bit_operations,
        table_lookups=costs.n_lookups,
        elapsed_s=time.perf_counter() - started,
    )
