"""How one kind of tensor is quantized, and what one layer does differently."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from quantlib.core.estimator import MIN_MAX, WEIGHT_ESTIMATORS, Estimator
from quantlib.core.options import QuantizationOptions, check_n_bits
from quantlib.errors import OptionsError


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one kind of tensor is quantized.

    Parameters
    ----------
    n_bits : int
        Width, bits.
    signed, symmetric : bool or None
        None is the reference's rule, decided per tensor from its values.
    narrow : bool
        The lowest code is left out, so that a signed grid has as many codes on each side.
    power_of_two : bool
        Scales are rounded up to powers of two: rescaling becomes a shift.
    per_channel : bool
        One grid per output channel of a matrix product's or convolution's weights; of
        activations it is not defined.
    estimator : Estimator
        Which part of the values the range covers.

    Raises
    ------
    OptionsError
        A width out of range, or members that contradict each other.

    Examples
    --------
    >>> import quantlib as ql
    >>> scheme = ql.Scheme(4, symmetric=True, per_channel=True).replace(n_bits=3)
    >>> scheme.n_bits, scheme.signed, scheme.symmetric
    (3, None, True)
    """

    n_bits: int
    signed: bool | None = None
    symmetric: bool | None = None
    narrow: bool = False
    power_of_two: bool = False
    per_channel: bool = False
    estimator: Estimator = MIN_MAX

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_bits", check_n_bits(self.n_bits))
        if self.symmetric and self.signed is False:
            raise OptionsError("symmetric needs signed codes; set signed to auto or yes.")
        if self.symmetric and self.n_bits == 1:
            raise OptionsError("a symmetric grid needs 2 bits or more.")
        if self.narrow and self.n_bits == 1:
            raise OptionsError("a narrow grid needs 2 bits or more.")

    @property
    def is_reference(self) -> bool:
        """Whether only the width differs from Concrete ML's rules."""
        return not self.departures

    @property
    def departures(self) -> tuple[str, ...]:
        """The choices beside the width that Concrete ML's rules do not leave open, in words."""
        chosen = {
            "signs": self.signed is not None,
            "symmetry": self.symmetric is not None,
            "narrow range": self.narrow,
            "power-of-two scales": self.power_of_two,
            "grids per channel": self.per_channel,
            f"{self.estimator.words} range": self.estimator != MIN_MAX,
        }
        return tuple(name for name, departs in chosen.items() if departs)

    @property
    def keeps_range(self) -> bool:
        """Whether the grid covers the measured range as it is."""
        return self.estimator == MIN_MAX and not (self.narrow or self.power_of_two)

    def replace(self, **changes: Any) -> Scheme:
        """Return a copy with some members changed."""
        return dataclasses.replace(self, **changes)

    def options(self, *, auto_signed: bool, auto_symmetric: bool) -> QuantizationOptions:
        """Resolve what is automatic.

        A scheme that fixes symmetric makes signed follow, and unsigned makes affine follow.
        """
        symmetric = auto_symmetric if self.symmetric is None else self.symmetric
        if self.signed is False:
            symmetric = False
        signed = (auto_signed if self.signed is None else self.signed) or symmetric
        return QuantizationOptions(
            self.n_bits, is_signed=signed, is_symmetric=symmetric, is_narrow=self.narrow
        )


def check_weights(scheme: Scheme) -> None:
    """Raise OptionsError if a scheme for weights has an estimator that works on samples."""
    if scheme.estimator.kind.needs_samples:
        raise OptionsError(
            f"{scheme.estimator.name} averages the extremes of samples, and weights have none; "
            f"give their range by one of {', '.join(WEIGHT_ESTIMATORS)}."
        )


@dataclass(frozen=True, slots=True)
class LayerOverride:
    """What one layer does differently; None keeps the configuration's choice.

    Parameters
    ----------
    weights, activations : Scheme or None
        Grid of the layer's weights, and of the variable inputs it reads.

    Raises
    ------
    OptionsError
        The weights' range would need samples.

    Examples
    --------
    >>> import quantlib as ql
    >>> config = ql.QuantizationConfig.from_n_bits(6)
    >>> narrow = config.with_override("/c1/Conv", ql.LayerOverride(weights=ql.Scheme(3)))
    >>> narrow.weights_of("/c1/Conv").n_bits, narrow.weights_of("/f/Gemm").n_bits
    (3, 6)
    """

    weights: Scheme | None = None
    activations: Scheme | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            check_weights(self.weights)

    def replace(self, **changes: Any) -> LayerOverride:
        """Return a copy with some members changed."""
        return dataclasses.replace(self, **changes)


NO_OVERRIDE = LayerOverride()
