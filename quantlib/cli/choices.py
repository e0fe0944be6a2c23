"""The configuration that the options of a command make."""

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from quantlib.cli.options import width
from quantlib.core.config import QuantizationConfig
from quantlib.core.estimator import ESTIMATORS, Estimator
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


class Choice(StrEnum):
    """A choice that no rule makes."""

    YES = "yes"
    NO = "no"


class CalibrateOn(StrEnum):
    """What ranges are measured on."""

    QUANTIZED = "quantized"
    FLOAT = "float"


class Conventions(StrEnum):
    """Whose rules MaxPool and BatchNormalization follow."""

    CONCRETE_ML = "concrete-ml"
    ONNX = "onnx"


Signed = Annotated[Tristate | None, typer.Option(help="Codes below 0.")]
Symmetric = Annotated[Tristate | None, typer.Option(help="Zero point 0, range symmetric.")]
Narrow = Annotated[bool | None, typer.Option(help="Leave the lowest code out.")]
PowerOfTwo = Annotated[bool | None, typer.Option(help="Scales are powers of two.")]
PerChannel = Annotated[bool | None, typer.Option(help="A grid per output channel.")]
RangeEstimator = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:PARAMETER]",
        help=f"Which range the grid covers: {', '.join(ESTIMATORS)}.",
    ),
]
LayerBits = Annotated[
    list[str] | None,
    typer.Option(metavar="LAYER=BITS", help="Another width in one layer; may be repeated."),
]


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given, as members of `Scheme` and `QuantizationConfig`."""
    return {
        name: value.choice if isinstance(value, Tristate) else value
        for name, value in options.items()
        if value is not None
    }


def estimator(words: str | None) -> Estimator | None:
    """Return what ``NAME`` or ``NAME:PARAMETER`` says; None when nothing is said."""
    return None if words is None else Estimator.parse(words)


def rounding_bits(words: str) -> int | None:
    """Return what ``--rounding`` says: a width, None for ``off``.

    Raises
    ------
    OptionsError
        Neither.
    """
    return None if words.lower() == "off" else width(words, option="--rounding")


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
        weights=base.weights.replace(**weights),
        activations=base.activations.replace(**activations),
        **edges,
    )


def with_layer_bits(
    config: QuantizationConfig,
    *,
    weights: Iterable[str] | None,
    activations: Iterable[str] | None,
) -> QuantizationConfig:
    """Return a configuration in which some layers have widths of their own.

    Parameters
    ----------
    config : QuantizationConfig
        Where to start; a layer's other choices stay.
    weights, activations : iterable of str, optional
        ``LAYER=BITS`` each; the name may hold ``=`` itself.

    Raises
    ------
    OptionsError
        Not of this form, or a width out of range.
    """
    for word in weights or ():
        layer, bits = _layer_bits(word, option="--layer-weight-bits")
        scheme = config.weights_of(layer).replace(n_bits=bits)
        config = config.with_override(layer, replace(config.override(layer), weights=scheme))
    for word in activations or ():
        layer, bits = _layer_bits(word, option="--layer-activation-bits")
        scheme = config.activations_of(layer).replace(n_bits=bits)
        config = config.with_override(layer, replace(config.override(layer), activations=scheme))
    return config


def _layer_bits(word: str, *, option: str) -> tuple[str, int]:
    layer, equals, bits = word.rpartition("=")
    if not equals or not layer:
        raise OptionsError(f"{option} is {word!r}; give LAYER=BITS, as in /c1/Conv=3.")
    return layer, width(bits, option=f"{option} {layer}")
