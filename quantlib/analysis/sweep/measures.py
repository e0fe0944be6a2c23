"""What a configuration of a sweep is judged by: each measure with how it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from quantlib.analysis.widths.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.analysis.reports import Evaluation
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.analysis.widths.budget import Budget, LayerBudget
    from quantlib.analysis.widths.cost import Cost


class Kind(StrEnum):
    """What sort of number a measure is; it decides how it is written and read."""

    DECIBEL = "decibel"
    SHARE = "share"
    SCORE = "score"
    NUMBER = "number"
    WIDTH = "whole bits"
    BITS = "bits"
    BYTES = "bytes"
    COUNT = "count"
    SECONDS = "seconds"

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self in (Kind.WIDTH, Kind.BYTES, Kind.COUNT)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a configuration was measured to do; the source of all figures.

    Parameters
    ----------
    evaluation : Evaluation
        Outputs, accumulators, sizes.
    budget : Budget
        Bounds of the accumulators.
    cost : Cost
        Products and tables.
    elapsed_s : float
        Time to quantize and evaluate.
    """

    evaluation: Evaluation
    budget: Budget
    cost: Cost
    elapsed_s: float

    def widest(self, figure: Callable[[LayerBudget], float]) -> float | None:
        """Return the largest figure of all accumulators; None if one of them has no bounds."""
        layers = () if self.budget.unbounded else self.budget.layers
        return max(map(figure, layers), default=None)


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a result.

    Parameters
    ----------
    member : str
        Its name in results files.
    label : str
        Name to show, with its unit.
    kind : Kind
        What sort of number it is.
    maximize : bool
        Whether more is better; else less is.
    explanation : str
        What it says, in a sentence.
    compute : callable or None
        Its value from what was measured; None for a figure that `derive` makes of others.
    optional : bool
        Whether a result may lack it.
    derive : callable or None
        Its value from a result, where it is not kept.
    """

    member: str
    label: str
    kind: Kind
    maximize: bool
    explanation: str
    compute: Callable[[Measured], float | None] | None = None
    optional: bool = False
    derive: Callable[[SweepResult], float | None] | None = None

    def of(self, result: SweepResult) -> float | None:
        """Return the figure; None where the result has none."""
        return self.derive(result) if self.derive else result.figures.get(self.member)


def _score(found: Measured) -> float | None:
    return found.evaluation.score.quantized_value if found.evaluation.score else None


def _seen(found: Measured) -> float | None:
    return found.evaluation.widest.width_bits if found.evaluation.widest else None


def _headroom(result: SweepResult) -> float | None:
    needed = result.figures["needed_bits"]
    return None if needed is None else result.config.limit_bits - needed


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        entry.member: entry
        for entry in (
            Measure(
                "sqnr_db", "SQNR (dB)", Kind.DECIBEL, True,
                "Output signal over quantization noise; 6 dB more is one bit more.",
                lambda found: found.evaluation.sqnr_db,
            ),
            Measure(
                "score", "score", Kind.SCORE, True, "Accuracy or R² against the labels.",
                _score, optional=True,
            ),
            Measure(
                "agreement", "agreement", Kind.SHARE, True,
                "Share of samples with the float model's class.",
                lambda found: found.evaluation.agreement, optional=True,
            ),
            Measure(
                "cosine", "cosine", Kind.NUMBER, True,
                "Cosine of the angle between outputs; 1 is parallel.",
                lambda found: found.evaluation.cosine,
            ),
            Measure(
                "mse", "mean squared error", Kind.NUMBER, False,
                "Of the outputs, in their unit squared.", lambda found: found.evaluation.mse,
            ),
            Measure(
                "max_error", "max error", Kind.NUMBER, False,
                "Largest difference of an output, in its unit.",
                lambda found: found.evaluation.max_error,
            ),
            Measure(
                "widest_seen_bits", "widest seen (bits)", Kind.WIDTH, False,
                "Widest accumulator on calibration and evaluation data.", _seen, optional=True,
            ),
            Measure(
                "widest_weights_bits", "widest by weights (bits)", Kind.WIDTH, False,
                "Widest accumulator that any input on the grid can reach with these weights.",
                lambda found: found.widest(lambda layer: layer.weights.width_bits), optional=True,
            ),
            Measure(
                "widest_types_bits", "widest by types (bits)", Kind.WIDTH, False,
                "Widest accumulator that the integer types allow with any weights.",
                lambda found: found.widest(lambda layer: layer.types.width_bits), optional=True,
            ),
            Measure(
                "needed_bits", "needed (bits)", Kind.BITS, False,
                "What the weights let the widest accumulator need, in fractions of a bit.",
                lambda found: found.widest(lambda layer: layer.weights.needed_bits), optional=True,
            ),
            Measure(
                "headroom_bits", "headroom (bits)", Kind.BITS, True,
                "Limit less the bits that the weights need; below 0 some input overflows.",
                optional=True, derive=_headroom,
            ),
            Measure(
                "counted_seen_bits", "counts, seen on the data (bits)", Kind.WIDTH, False,
                "Widest that counts against the limit on calibration and evaluation data: an "
                "accumulator, or what rounding leaves of it.",
                lambda found: found.budget.counted_bits(Criterion.SEEN), optional=True,
            ),
            Measure(
                "counted_any_bits", "counts, any input (bits)", Kind.WIDTH, False,
                "Widest that counts against the limit for any input on the grid: an accumulator, "
                "or what rounding leaves of it.",
                lambda found: found.widest(lambda x: x.counted_bits(Criterion.ANY_INPUT)),
                optional=True,
            ),
            Measure(
                "weight_bytes", "weights (bytes)", Kind.BYTES, False,
                "Size of the quantized constants.", lambda found: found.evaluation.weight_bytes,
            ),
            Measure(
                "bit_operations", "bit operations", Kind.COUNT, False,
                "Products per sample, each counted as input width times weight width.",
                lambda found: found.cost.bit_operations,
            ),
            Measure(
                "table_lookups", "table look-ups", Kind.COUNT, False, "Per sample.",
                lambda found: found.cost.n_lookups,
            ),
            Measure(
                "n_unseen", "nodes not looked into", Kind.COUNT, False,
                "Nodes whose products have no bounds: no limit is confirmed over them.",
                lambda found: len(found.evaluation.unseen), optional=True,
            ),
            Measure(
                "elapsed_s", "time (s)", Kind.SECONDS, False, "To quantize and evaluate.",
                lambda found: found.elapsed_s,
            ),
        )
    }
)  # fmt: skip
"""Every measure by its member: the only list of them."""

KEPT: Mapping[str, Measure] = MappingProxyType(
    {member: entry for member, entry in MEASURES.items() if entry.compute is not None}
)
"""The measures whose values a result keeps; the others follow from them."""
