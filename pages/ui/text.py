"""Numbers to words and tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from quantlib.core.estimator import MIN_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from quantlib.analysis.reports import Evaluation, Score
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.scheme import LayerOverride, Scheme

_ESCAPED = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]()<>#+-.!|~$:"})


def plain(name: str, limit: int = 60) -> str:
    """Return a name from outside as Markdown that shows it as typed, cut to `limit`."""
    clean = "".join(c if c.isprintable() else "�" for c in name)
    short = clean if len(clean) <= limit else clean[: limit - 1] + "…"
    return short.translate(_ESCAPED)


def decibel(value: float | None) -> str:
    """Return an SQNR in words: "38.2 dB", "exact"."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "exact" if value > 0 else "no signal"
    return f"{value:.1f} dB"


def decibel_difference(value: float, other: float) -> str | None:
    """Return how far an SQNR is from that of B; None where one of them is exact."""
    both = math.isfinite(value) and math.isfinite(other)
    return f"{value - other:.1f} dB to B" if both else None


def size(n_bytes: int) -> str:
    """Return a size in bytes, KiB or MiB."""
    if n_bytes < 1024:
        return f"{n_bytes} B"
    if n_bytes < 1024**2:
        return f"{n_bytes / 1024:.1f} KiB"
    return f"{n_bytes / 1024**2:.1f} MiB"


def share(value: float | None) -> str:
    """Return a share in per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def score(found: Score | None, *, value: float | None = None) -> str:
    """Return an accuracy in per cent or an R² as a number."""
    if found is None:
        return "–"
    shown = found.quantized_value if value is None else value
    return f"{100 * shown:.1f} %" if found.name == "accuracy" else f"{shown:.3f}"


def number(value: float) -> str:
    """Return a real number with about four significant digits."""
    return f"{value:.4g}"


def scheme(chosen: Scheme) -> str:
    """Return a scheme in words: "4 bits, signed auto, symmetric yes, percentile range"."""
    words = {None: "auto", True: "yes", False: "no"}
    more = {
        "per channel": chosen.per_channel,
        "narrow": chosen.narrow,
        "power-of-two scales": chosen.power_of_two,
        f"range {chosen.estimator.words}": chosen.estimator != MIN_MAX,
    }
    return ", ".join(
        [
            f"{chosen.n_bits} bits",
            f"signed {words[chosen.signed]}",
            f"symmetric {words[chosen.symmetric]}",
            *(word for word, holds in more.items() if holds),
        ]
    )


def config(chosen: QuantizationConfig) -> str:
    """Return a configuration in words."""
    rounding, count = chosen.rounding_threshold_bits, len(chosen.overrides)
    parts = [
        f"weights {scheme(chosen.weights)}",
        f"activations {scheme(chosen.activations)}",
        f"inputs {chosen.input_bits}, outputs {chosen.output_bits} bits",
        f"rounding {'off' if rounding is None else f'to {rounding} bits'}",
    ]
    if chosen.calibrate_on == "float":
        parts.append("ranges of the float model")
    if count:
        parts.append(f"{count} layer{'s' if count > 1 else ''} with an override")
    return "; ".join(parts)


def file_tag(chosen: QuantizationConfig) -> str:
    """Return what downloads add to their names: "w4a8"."""
    return f"w{chosen.weights.n_bits}a{chosen.activations.n_bits}"


def grid(quantizer: UniformQuantizer | None) -> str:
    """Return a grid in words: "4 bits, signed symmetric, scale 0.0123, zero point 0"."""
    if quantizer is None:
        return "–"
    sign = "signed" if quantizer.is_signed else "unsigned"
    shape = "symmetric" if quantizer.is_symmetric else "affine"
    zero = quantizer.zero_point
    point = f"zero point {zero}" if isinstance(zero, int) else "a zero point per channel"
    step = number(quantizer.quant_params.mean_scale)
    scale = f"{np.size(quantizer.scale)} scales, mean {step}" if quantizer.is_per_channel else step
    return f"{quantizer.n_bits} bits, {sign} {shape}, scale {scale}, {point}"


MAX_NAMED = 4


def overrides(found: Sequence[tuple[str, LayerOverride]]) -> str:
    """Return which layers differ, in Markdown: "2 layers differ: c1 (W 3), c2 (A 5)"."""
    parts = []
    for layer, override in found[:MAX_NAMED]:
        schemes = (("W", override.weights), ("A", override.activations))
        bits = ", ".join(f"{letter} {s.n_bits}" for letter, s in schemes if s is not None)
        parts.append(f"{plain(layer, 24)} ({bits})")
    rest = len(found) - len(parts)
    named = ", ".join(parts) + (f" and {rest} more" if rest else "")
    return f"{len(found)} {'layer differs' if len(found) == 1 else 'layers differ'}: {named}"


def places(found: Evaluation) -> dict[str, int]:
    """Return each layer's place in the model, counted from 1; all screens number by it."""
    return {layer.name: i + 1 for i, layer in enumerate(found.layers)}


def interval(low: float, high: float) -> str:
    """Return a range: "[-1.2, 3.4]"."""
    return f"[{number(low)}, {number(high)}]"


def safe_name(name: str) -> str:
    """Return a name from outside as part of a file name: letters, digits, dot, dash, underscore."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return kept.strip("._")[:60] or "model"


def grey_image(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Return a 2-D array as a grey image, 16 pixels per value, smallest value black."""
    low, high = float(values.min()), float(values.max())
    grey = (values - low) / ((high - low) or 1.0) * 255
    return np.asarray(grey.astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1))


def csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8; text that a spreadsheet would run is quoted with '."""
    safe = table.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = [
                f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" else cell
                for cell in safe[column]
            ]
    return safe.to_csv(index=False).encode()
