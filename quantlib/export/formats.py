"""What every export has in common: its files, what it cannot carry, and how it is proved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something a format cannot say.

    Parameters
    ----------
    layer : str
        The node, model input or model output.
    reason, remedy : str
        What the format lacks, and what to change; ``remedy`` ends a sentence.
    """

    layer: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A format that was run, or read, again and compared with the module.

    Parameters
    ----------
    machine : str
        What ran it, with its version.
    holds : bool
        Whether nothing differs that has no stated reason.
    samples, equal, ties, different : int
        Of the things compared (`what`): all integers equal; off by one first where the module's
        value lies between two codes; the rest. The last three add up to the first.
    what : str
        What is counted, ``"samples"`` or ``"grids"``.
    lines : tuple of str
        Everything found, in sentences.
    elapsed_s : float
        How long it took, seconds.
    """

    machine: str
    holds: bool
    samples: int
    equal: int
    ties: int
    different: int
    what: str
    lines: tuple[str, ...]
    elapsed_s: float
