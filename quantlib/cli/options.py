"""Arguments that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from quantlib.analysis.widths.criterion import Criterion
from quantlib.core.options import check_n_bits
from quantlib.errors import OptionsError


class Counted(StrEnum):
    """Which integers of an accumulator count against the limit."""

    SEEN = "seen"
    ANY_INPUT = "any-input"

    @property
    def criterion(self) -> Criterion:
        """The criterion as the library takes it."""
        return Criterion[self.name]


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX model.")]
Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA", help="Samples: .npz, .npy or .csv.", show_default="none with --synthetic"
    ),
]
Synthetic = Annotated[
    bool, typer.Option("--synthetic", help="Generate data instead of reading DATA.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Configuration from Export or --save-config.")
]
Rounding = Annotated[
    str | None,
    typer.Option(
        help="Accumulators wider than this many bits lose their lowest ones, or 'off'.",
        metavar="BITS|off",
    ),
]
Limit = Annotated[int | None, typer.Option(help="Widest accumulator allowed.", metavar="BITS")]
CountedOption = Annotated[
    Counted,
    typer.Option(
        "--criterion",
        help="What counts against the limit: integers seen on calibration and evaluation data, or "
        "those that any input on the grid can reach.",
    ),
]

Output = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The output to judge by; the worst when not given."),
]


def widths(words: list[str], *, option: str) -> tuple[int, ...]:
    """Return the widths that a repeated option names, ascending, each once.

    Parameters
    ----------
    words : list of str
        Widths, ranges and lists of them: ``4``, ``2-8``, ``2,4-6``.
    option : str
        For messages.

    Raises
    ------
    OptionsError
        Not of this form, out of range or descending.
    """
    found: set[int] = set()
    for part in ",".join(words).split(","):
        first, dash, last = part.partition("-")
        low = width(first, option=option)
        high = width(last, option=option) if dash else low
        if high < low:
            raise OptionsError(f"{option} is {part!r}; write the range as {high}-{low}.")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def width(words: str, *, option: str) -> int:
    """Return a width that was written as a number, or raise OptionsError."""
    try:
        value = int(words)
    except ValueError:
        raise OptionsError(f"{option} is {words!r}; give bits, as in 4 or 2-8.") from None
    return check_n_bits(value, what=option)
