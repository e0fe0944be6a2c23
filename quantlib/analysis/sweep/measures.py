"""What a result of a sweep can be judged by."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.sweep.result import SweepResult


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a result.

    Parameters
    ----------
    member : str
        Attribute of `SweepResult`.
    label : str
        Name to show, with its unit.
    maximize : bool
        Whether more is better; else less is.
    explanation : str
        What it says, in a sentence.
    """

    member: str
    label: str
    maximize: bool
    explanation: str

    def of(self, result: SweepResult) -> float | None:
        """Return the figure; None where the result has none."""
        value = getattr(result, self.member)
        return None if value is None else float(value)


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        entry.member: entry
        for entry in (
            Measure(
                "sqnr_db",
                "SQNR (dB)",
                True,
                "Output signal over quantization noise; 6 dB more is one bit more.",
            ),
            Measure("score", "score", True, "Accuracy or R² against the labels."),
            Measure(
                "agreement", "agreement", True, "Share of samples with the float model's class."
            ),
            Measure(
                "cosine", "cosine", True, "Cosine of the angle between outputs; 1 is parallel."
            ),
            Measure("mse", "mean squared error", False, "Of the outputs, in their unit squared."),
            Measure(
                "max_error", "max error", False, "Largest difference of an output, in its unit."
            ),
            Measure(
                "widest_seen_bits",
                "widest seen (bits)",
                False,
                "Widest accumulator on calibration and evaluation data.",
            ),
            Measure(
                "widest_weights_bits",
                "widest by weights (bits)",
                False,
                "Widest accumulator that any input on the grid can reach with these weights.",
            ),
            Measure(
                "widest_types_bits",
                "widest by types (bits)",
                False,
                "Widest accumulator that the integer types allow with any weights.",
            ),
            Measure(
                "headroom_bits",
                "headroom (bits)",
                True,
                "Limit less the bits that the weights need; below 0 some input overflows.",
            ),
            Measure("weight_bytes", "weights (bytes)", False, "Size of the quantized constants."),
            Measure(
                "bit_operations",
                "bit operations",
                False,
                "Products per sample, each counted as input width times weight width.",
            ),
            Measure("table_lookups", "table look-ups", False, "Per sample."),
            Measure("elapsed_s", "time (s)", False, "To quantize and evaluate."),
        )
    }
)
"""Every measure by the member of `SweepResult` it reads: the only list of them."""
