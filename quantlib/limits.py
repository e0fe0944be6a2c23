"""Every limit on what is read and run, in one place: its default, and how it is raised.

A limit is read from the environment each time it is asked for, so that whoever starts a server or
a notebook sets it: ``QUANTLIB_MAX_NODES=500000``. Nothing else changes one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from quantlib.errors import OptionsError

PREFIX = "QUANTLIB_MAX_"
"""What the variables of the environment begin with; the limit's name follows in capitals."""

SAMPLES_ONLY = "QUANTLIB_SAMPLES_ONLY"
"""Variable that, where it is 1, makes the screens take no files."""

MIB = 2**20
"""Bytes of what the limits call MB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused when there is more of it.

    Parameters
    ----------
    upload_model_mb, upload_data_mb : int
        Size of a file that a browser hands over, MB (2^20 bytes).
    model_mb : int
        Size of a model file that is read, MB.
    data_mb : int
        What the arrays of a data file take once unpacked and in the precision they are computed
        in, MB.
    spill_mb : int
        What may wait on disk while a model is calibrated, MB.
    nodes : int
        Nodes of a model, those inside its functions counted wherever they are called.
    function_depth : int
        Functions that call one another in a row.
    graph_depth : int
        Graphs inside one another: branches of If, bodies of Loop and Scan.
    loop_steps : int
        Steps of a Loop whose number is written into the model, inner loops multiplied.
    weight_values : int
        Numbers in all stored tensors together.
    tensor_values : int
        Numbers in one tensor, stored or computed, as far as shapes tell.
    call_values : int
        Numbers in all tensors of one call of one sample together, as far as shapes tell.
    tensor_axes : int
        Axes of a tensor.
    rows, columns : int
        Rows and columns of a table.
    """

    upload_model_mb: int = 64
    upload_data_mb: int = 64
    model_mb: int = 512
    data_mb: int = 1024
    spill_mb: int = 4096
    nodes: int = 200_000
    function_depth: int = 64
    graph_depth: int = 16
    loop_steps: int = 100_000
    weight_values: int = 2**28
    tensor_values: int = 2**28
    call_values: int = 2**29
    tensor_axes: int = 64
    rows: int = 5_000_000
    columns: int = 100_000


_DEFAULTS = Limits()


def limits() -> Limits:
    """Return the limits that hold now.

    Raises
    ------
    OptionsError
        A variable of the environment is no whole number above 0.
    """
    return Limits(**{field.name: limit(field.name) for field in fields(Limits)})


def limit(name: str) -> int:
    """Return one limit as it holds now; raises as `limits` does."""
    word = os.environ.get(variable(name), "")
    if not word:
        default: int = getattr(_DEFAULTS, name)
        return default
    if not (word.isascii() and word.isdigit() and int(word) > 0):
        raise OptionsError(
            f"{variable(name)} is {word!r}; give a whole number above 0, or leave it out."
        )
    return int(word)


def samples_only() -> bool:
    """Tell whether the screens take no files.

    Raises
    ------
    OptionsError
        The variable is neither 0 nor 1.
    """
    word = os.environ.get(SAMPLES_ONLY, "0")
    if word not in ("", "0", "1"):
        raise OptionsError(f"{SAMPLES_ONLY} is {word!r}; give 1 for samples only, 0 for uploads.")
    return word == "1"


def variable(name: str) -> str:
    """Return which variable of the environment sets a limit."""
    return PREFIX + name.upper()


def above(name: str, number: float) -> str:
    """Return the words for what is too much; empty where the limit is kept.

    Parameters
    ----------
    name : str
        A field of `Limits`.
    number : float
        How much there is, in the limit's unit.

    Examples
    --------
    >>> above("nodes", 200_001)
    'more than the limit of 200000 (QUANTLIB_MAX_NODES sets it)'
    >>> above("nodes", 3)
    ''
    """
    most = limit(name)
    if number <= most:
        return ""
    unit = " MB" if name.endswith("_mb") else ""
    return f"more than the limit of {most}{unit} ({variable(name)} sets it)"
