"""Options that several commands share, and the configuration they make."""

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from quantlib.core.config import QuantizationConfig
from quantlib.core.options import check_n_bits
from quantlib.errors import OptionsError

DEFAULT_BITS = 4
"""Width of weights and activations when nothing is said, as on the screens."""


class Tristate(StrEnum):
    """A choice that can be left to Concrete ML's rule."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"

    @property
    def choice(self) -> bool | None:
        """The choice as `Scheme` takes it."""
        return {"auto": None, "yes": True, "no": False}[self.value]


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
WeightsSigned = Annotated[Tristate | None, typer.Option(help="Codes below 0 for weights.")]
WeightsSymmetric = Annotated[Tristate | None, typer.Option(help="Zero point 0 for weights.")]
ActivationsSigned = Annotated[Tristate | None, typer.Option(help="Codes below 0 for activations.")]
ActivationsSymmetric = Annotated[
    Tristate | None, typer.Option(help="Zero point 0 for activations.")
]


def rounding_bits(words: str) -> int | None:
    """Return what ``--rounding`` says: a width, None for ``off``.

    Raises
    ------
    OptionsError
        Neither.
    """
    return None if words.lower() == "off" else _width(words, option="--rounding")


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
        low = _width(first, option=option)
        high = _width(last, option=option) if dash else low
        if high < low:
            raise OptionsError(f"{option} is {part!r}; write the range as {high}-{low}.")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given, as members of `Scheme` and `QuantizationConfig`."""
    return {
        name: value.choice if isinstance(value, Tristate) else value
        for name, value in options.items()
        if value is not None
    }


def configuration(
    base: QuantizationConfig | None,
    *,
    bits: int | None = None,
    weights: dict[str, Any],
    activations: dict[str, Any],
    edges: dict[str, Any],
    rounding: str | None = None,
) -> QuantizationConfig:
    """Return a configuration with some members chosen.

    Parameters
    ----------
    base : QuantizationConfig or None
        Where to start; None starts from Concrete ML's `n_bits` = `bits`.
    bits : int, optional
        Width of weights and activations that name no width of their own.
    weights, activations : dict
        Chosen members of either scheme.
    edges : dict
        Chosen members of the configuration itself: input, output and limit bits.
    rounding : str, optional
        A width or ``off``.

    Raises
    ------
    OptionsError
        `base` and `bits` together, a width out of range, or choices that contradict.
    """
    if base is not None and bits is not None:
        raise OptionsError("got --config and --bits; give one of them.")
    if base is None:
        width = DEFAULT_BITS if bits is None else bits
        activation_bits = activations.get("n_bits", width)
        base = QuantizationConfig.from_n_bits(activation_bits)
        weights = {"n_bits": width, **weights}
    if rounding is not None:
        edges = {**edges, "rounding_threshold_bits": rounding_bits(rounding)}
    return base.replace(
        weights=dataclasses.replace(base.weights, **weights),
        activations=dataclasses.replace(base.activations, **activations),
        **edges,
    )


def _width(words: str, *, option: str) -> int:
    try:
        value = int(words)
    except ValueError:
        raise OptionsError(f"{option} is {words!r}; give bits, as in 4 or 2-8.") from None
    return check_n_bits(value, what=option)
