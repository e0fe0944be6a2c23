"""Where a configuration can be taken: what each target carries of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.scheme import Scheme

CONCRETE_ML_ROUNDING = (2, 8)
"""Narrowest and widest rounding threshold that Concrete ML 1.9 takes, bits."""

QDQ_BITS = 16
"""Widest integers of QuantizeLinear (ONNX operator set 21)."""


class Target(StrEnum):
    """Where a configuration is to run."""

    LIBRARY = "this library"
    CONCRETE_ML = "Concrete ML"
    QDQ = "QDQ model"


def targets_of(config: QuantizationConfig) -> frozenset[Target]:
    """Return the targets that carry a configuration.

    Notes
    -----
    Concrete ML has one n_bits for all weights and one for all activations, min-max grids whose
    signs it decides itself, and rounds to 2 to 8 bits. A QDQ model holds any grid of up to 16
    bits, each layer its own, and cannot round accumulators.
    """
    found = {Target.LIBRARY}
    threshold = config.rounding_threshold_bits
    low, high = CONCRETE_ML_ROUNDING
    if config.is_reference and (threshold is None or low <= threshold <= high):
        found.add(Target.CONCRETE_ML)
    if threshold is None and max(_widths(config)) <= QDQ_BITS:
        found.add(Target.QDQ)
    return frozenset(found)


def _widths(config: QuantizationConfig) -> list[int]:
    """Return all widths of a configuration."""
    schemes: list[Scheme | None] = [config.weights, config.activations]
    for _, override in config.overrides:
        schemes += [override.weights, override.activations]
    chosen = [scheme.n_bits for scheme in schemes if scheme is not None]
    return [*chosen, config.input_bits, config.output_bits]
