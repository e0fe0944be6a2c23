"""What every export has in common: its files, what it cannot carry, and how it is proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.data import Dataset
    from quantlib.quantized_module import QuantizedModule


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


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is exported.

    Parameters
    ----------
    module : QuantizedModule
        The quantized model.
    data : Dataset
        What proofs run on: its evaluation part.
    stem : str
        Names of files begin with it.
    """

    module: QuantizedModule
    data: Dataset
    stem: str


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A module in one format.

    Parameters
    ----------
    files : mapping of str to bytes
        Content by file name.
    losses : tuple of Refusal
        What these files do not say, though the module does it.
    notes : tuple of str
        What was decided while writing.
    prove : callable
        Runs or reads the files again and compares.
    """

    files: Mapping[str, bytes]
    losses: tuple[Refusal, ...]
    notes: tuple[str, ...]
    prove: Callable[[], Proof]


@dataclass(frozen=True, slots=True, eq=False)
class Format:
    """A form that others read.

    Parameters
    ----------
    name, title : str
        As the command line and a screen call it.
    readers, carries, leaves : str
        Who reads it, what is in it, and what is not, in words.
    refusals : callable
        Says what of a module the format cannot carry; where it says nothing, `write` writes.
    write : callable
        Writes it; raises OptionsError with the refusals where there are any.
    """

    name: str
    title: str
    readers: str
    carries: str
    leaves: str
    refusals: Callable[[QuantizedModule], tuple[Refusal, ...]]
    write: Callable[[Subject], Export]
