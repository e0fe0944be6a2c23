"""Figures in words: the same on the command line, on screens and in reports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.search.objective import Objective
from quantlib.analysis.sweep.measures import Kind
from quantlib.core.estimator import MIN_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.reports import Evaluation, Score
    from quantlib.analysis.search.search import SearchResult
    from quantlib.analysis.sweep.measures import Measure
    from quantlib.analysis.ties import Ties
    from quantlib.analysis.widths.budget import Budget
    from quantlib.analysis.widths.criterion import Criterion
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.metrics import Divergence
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.scheme import Scheme

NOTHING = "–"
TRISTATE = {None: "auto", True: "yes", False: "no"}


def decibel(value: float | None) -> str:
    """Return an SQNR: ``38.2 dB``, ``exact`` without noise, ``no signal`` without signal."""
    if value is None:
        return NOTHING
    if math.isinf(value):
        return "exact" if value > 0 else "no signal"
    return f"{value:.1f} dB"


def decibel_difference(value: float, other: float) -> str | None:
    """Return how far an SQNR is from that of B; None where one of them is exact."""
    both = math.isfinite(value) and math.isfinite(other)
    return f"{value - other:.1f} dB to B" if both else None


def size(n_bytes: int) -> str:
    """Return a size in B, KiB or MiB."""
    for unit, scale in (("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.1f} {unit}"
    return f"{n_bytes} B"


def share(value: float | None) -> str:
    """Return a share in per cent."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def share_interval(ends: tuple[float, float]) -> str:
    """Return the interval of a share in per cent: ``94.4 % to 97.7 %``."""
    return " to ".join(map(share, ends))


def divergence(found: Divergence) -> str:
    """Return how far class distributions are apart: ``0.0123 nats``."""
    return f"{number(found.nats)} nats"


def ties(found: Ties) -> str:
    """Return in a sentence how many integers inside a model hang on the last bit."""
    decided, samples = found.decided_inside, found.samples
    if found.zero_point_decided:
        return "A zero point hangs on the last bit, and with it all integers of its grid."
    if not decided:
        return f"None of {found.integers_inside:,} rounded integers hangs on the last bit."
    return (
        f"{decided:,} of {found.integers_inside:,} rounded integers hang on the last bit, in "
        f"{int(samples.sum()):,} of {len(samples):,} samples."
    )


def score(value: float | None, *, name: str) -> str:
    """Return an accuracy in per cent, anything else as a number."""
    if value is None:
        return NOTHING
    return share(value) if name == "accuracy" else f"{value:.3f}"


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def raised(exponent: int) -> str:
    """Return an exponent as it is written above a base: ``⁻⁴⁰``."""
    return str(exponent).translate(_SUPERSCRIPTS)


def magnitude(value: float) -> str:
    """Return a large number by its power of ten."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × 10{raised(int(exponent))}" if abs(value) >= 1e6 else f"{value:,.0f}"


def scores(found: Score | None) -> str:
    """Return an accuracy or another score beside the float model's: ``96.4 % (float 98.4 %)``."""
    if found is None:
        return NOTHING
    value, in_float = (
        score(part, name=found.name) for part in (found.quantized_value, found.float_value)
    )
    return f"{value} (float {in_float})"


def sizes(found: Evaluation) -> str:
    """Return the size of the weights beside that in float32: ``3.1 KiB (float32 22.9 KiB)``."""
    return f"{size(found.weight_bytes)} (float32 {size(found.float_weight_bytes)})"


def number(value: float | None) -> str:
    """Return a real number with about four significant digits."""
    return NOTHING if value is None else f"{value:.4g}"


def seconds(value: float) -> str:
    """Return how long something took."""
    return f"{value:.1f} s"


def interval(low: float, high: float) -> str:
    """Return a real range: ``[-1.2, 3.4]``."""
    return f"[{number(low)}, {number(high)}]"


def figure(measure: Measure, value: float | None, score_name: str = "accuracy") -> str:
    """Return a figure of a sweep's result with its unit; `score_name` says what its score is."""
    if value is None:
        return NOTHING
    match measure.kind:
        case Kind.DECIBEL:
            return decibel(value)
        case Kind.SHARE:
            return share(value)
        case Kind.SCORE:
            return score(value, name=score_name)
        case Kind.BYTES:
            return size(int(value))
        case Kind.COUNT:
            return f"{int(value):,}"
        case Kind.WIDTH:
            return f"{int(value)} bits"
        case Kind.BITS:
            return f"{value:.1f} bits"
        case Kind.SECONDS:
            return f"{value:.2f} s"
        case Kind.NUMBER:
            return number(value)


def whole(value: int | None) -> str:
    """Return a whole number."""
    return NOTHING if value is None else str(value)


def span(bounds: tuple[int, int] | None) -> str:
    """Return an integer range: ``-12…30``."""
    return NOTHING if bounds is None else f"{bounds[0]}…{bounds[1]}"


def grid(quantizer: UniformQuantizer | None) -> str:
    """Return a grid as a type: ``uint4``, ``int4 sym``, one per channel with their number."""
    if quantizer is None:
        return NOTHING
    kind = f"{'int' if quantizer.is_signed else 'uint'}{quantizer.n_bits}"
    shape = " sym" if quantizer.is_symmetric else ""
    return f"{kind}{shape}{f' ×{np.size(quantizer.scale)}' if quantizer.is_per_channel else ''}"


def grid_in_full(quantizer: UniformQuantizer | None) -> str:
    """Return a grid: ``4 bits, signed symmetric, scale 0.0123, zero point 0``."""
    if quantizer is None:
        return NOTHING
    sign = "signed" if quantizer.is_signed else "unsigned"
    shape = "symmetric" if quantizer.is_symmetric else "affine"
    zero = quantizer.zero_point
    point = f"zero point {zero}" if isinstance(zero, int) else "a zero point per channel"
    step = number(quantizer.quant_params.mean_scale)
    scale = f"{np.size(quantizer.scale)} scales, mean {step}" if quantizer.is_per_channel else step
    return f"{quantizer.n_bits} bits, {sign} {shape}, scale {scale}, {point}"


def scheme(chosen: Scheme) -> str:
    """Return a scheme: ``4 bits``, with what differs from Concrete ML's rules after it."""
    fixed = [
        f"{name} {TRISTATE[value]}"
        for name, value in (("signed", chosen.signed), ("symmetric", chosen.symmetric))
        if value is not None
    ]
    flags = [
        name.replace("_", " ")
        for name in ("narrow", "power_of_two", "per_channel")
        if getattr(chosen, name)
    ]
    ranges = [] if chosen.estimator == MIN_MAX else [chosen.estimator.words]
    return ", ".join([f"{chosen.n_bits} bits", *fixed, *flags, *ranges])


def choices(chosen: QuantizationConfig) -> tuple[tuple[str, str], ...]:
    """Return what a configuration chooses and how; of the rare choices those that were made."""
    rounding = chosen.rounding_threshold_bits
    found = [
        ("weights", scheme(chosen.weights)),
        ("activations", scheme(chosen.activations)),
        ("inputs", f"{chosen.input_bits} bits"),
        ("outputs", f"{chosen.output_bits} bits"),
        ("rounding", "off" if rounding is None else f"to {rounding} bits"),
    ]
    if chosen.calibrate_on != "quantized":
        found.append(("calibrated on", chosen.calibrate_on))
    if chosen.quantize_rest is not None:
        found.append(("without own grids", "quantized" if chosen.quantize_rest else "in float"))
    if chosen.conventions != "concrete-ml":
        found.append(("pools and normalizations", "as ONNX"))
    for layer, override in chosen.overrides:
        if override.weights is not None:
            found.append((f"{layer} weights", scheme(override.weights)))
        if override.activations is not None:
            found.append((f"{layer} activations", scheme(override.activations)))
    return tuple(found)


def config(chosen: QuantizationConfig) -> str:
    """Return a configuration in a line."""
    return "; ".join(f"{name} {value}" for name, value in choices(chosen))


def widest(found: Budget, criterion: Criterion) -> str:
    """Return the widest that counts: ``14 of 16 bits in /c1/Conv, seen on the data``."""
    left_out = (*found.unbounded, *found.unseen)
    if found.layers:
        counted = f"{widest_layer(found, criterion)}, {criterion}"
    else:
        counted = "none looked at" if left_out else "no accumulators"
    return f"{counted}; not looked into: {names(left_out)}" if left_out else counted


def widest_layer(found: Budget, criterion: Criterion) -> str:
    """Return the layer of which most counts, against the limit: ``14 of 16 bits in /c1/Conv``."""
    layer = max(found.layers, key=lambda layer: layer.counted_bits(criterion))
    return f"{layer.counted_bits(criterion)} of {found.limit_bits} bits in {layer.name}"


def names(found: Sequence[str], *, most: int = 6) -> str:
    """Return names in a line; of many the first and how many more there are."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def unseen(found: Sequence[str]) -> str:
    """Return a sentence on nodes whose products nobody looks into; empty if there are none."""
    if not found:
        return ""
    return (
        f"Products inside {names(found)} are not looked into: they run in float, and no limit can "
        "be confirmed over them."
    )


def fits(value: bool | None) -> str:
    """Return whether a limit holds: ``yes``, ``no``, ``not known`` over unseen products."""
    return {True: "yes", False: "no", None: "not known"}[value]


def width(value: int | None, *, limit_bits: int) -> str:
    """Return a width that counts, bits; above the limit also that: ``14 > 13``."""
    if value is None or value <= limit_bits:
        return whole(value)
    return f"{value} > {limit_bits}"


OBJECTIVES = {
    Objective.SIZE: "memory of weights and biases",
    Objective.BIT_OPERATIONS: "bit operations",
    Objective.LOOKUPS: "cost of table look-ups",
    Objective.SQNR: "mean squared error",
}
"""What each objective of a search makes as small as possible."""


def verdict_of_search(found: SearchResult) -> str:
    """Return in a sentence whether a search found better than one width for all layers.

    Both gains are told: what is saved, and the SQNR beside it.
    """
    if found.uniform is None:
        return "No uniform configuration meets limit and floor; this assignment does."
    if not found.beats_uniform:
        return f"Nothing better than the best uniform configuration was found. {found.tried}"
    if found.objective is Objective.SQNR:
        return f"{found.gain:.1f} dB better than the best uniform configuration that fits."
    before, after = decibel(found.uniform.sqnr_db), decibel(found.best.sqnr_db)
    return (
        f"{100 * found.gain:.1f} % less {OBJECTIVES[found.objective]} than the best uniform "
        f"configuration, at {after} beside its {before}."
    )
