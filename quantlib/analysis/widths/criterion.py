"""What an accumulator is held to: one word each for the two meanings of "fits"."""

from __future__ import annotations

from enum import StrEnum


class Criterion(StrEnum):
    """Which integers of an accumulator count against the limit.

    What counts is what enters a table look-up: the accumulator, or the high bits that a rounding
    threshold leaves of it. An accumulator that leaves the graph enters none here and is held to
    the limit all the same, as its reader is not known.
    """

    SEEN = "seen on the data"
    """Those that occurred on calibration and evaluation data, as a compiled circuit counts."""

    ANY_INPUT = "any input"
    """Those that some input on the grid can reach with these weights."""

    @property
    def explanation(self) -> str:
        """What fitting means, in a sentence."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Criterion.SEEN: "On calibration and evaluation data every accumulator stayed within the "
    "limit; other data can leave it.",
    Criterion.ANY_INPUT: "No input on the grid can take an accumulator beyond the limit.",
}
