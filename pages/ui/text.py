"""Numbers to words and tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from quantlib.analysis.search.program import Objective
from quantlib.core.estimator import MIN_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from quantlib.analysis.distributions import Channels, RangeChoice
    from quantlib.analysis.preflight import NodeReport, Preflight
    from quantlib.analysis.reports import Evaluation, Score
    from quantlib.analysis.search.search import SearchResult
    from quantlib.analysis.sensitivity import Sensitivity
    from quantlib.analysis.widths.budget import Budget, LayerBudget
    from quantlib.analysis.widths.cost import Cost
    from quantlib.analysis.widths.remedies import Remedy, VerifiedRemedy
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.scheme import LayerOverride, Scheme
    from quantlib.execution.weights import SymmetryVerdict

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


def _whole(values: Iterable[int | None]) -> pd.api.extensions.ExtensionArray:
    """Return whole numbers as a column that may have gaps."""
    return pd.array(list(values), dtype="Int64")


def budget_table(found: Budget) -> pd.DataFrame:
    """Return one row per accumulator: three widths, ranges, headroom."""
    layers = found.layers
    seen = [layer.seen for layer in layers]
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "operator": [layer.op_type for layer in layers],
            "seen (bits)": _whole(s.width_bits if s else None for s in seen),
            "weights allow (bits)": [layer.weights.width_bits for layer in layers],
            "types allow (bits)": [layer.types.width_bits for layer in layers],
            f"fits {found.limit_bits} bits": [layer.fits for layer in layers],
            "headroom (bits)": [round(layer.headroom_bits, 2) for layer in layers],
            "smallest seen": [str(s.range[0]) if s else None for s in seen],
            "largest seen": [str(s.range[1]) if s else None for s in seen],
            "smallest possible": [str(layer.weights.range[0]) for layer in layers],
            "largest possible": [str(layer.weights.range[1]) for layer in layers],
            "channel that sets it": _whole(layer.widest_channel for layer in layers),
            "widest on the way (bits)": [layer.intermediate_width_bits for layer in layers],
            "low bits rounded away": [
                layer.rounding.lsbs_to_remove if layer.rounding else 0 for layer in layers
            ],
        }
    )


def parts_table(layer: LayerBudget) -> pd.DataFrame:
    """Return one row per integer that is computed on the way, the accumulator last."""
    rows = [(part.name, part.weights, part.seen) for part in layer.parts]
    rows.append(("accumulator", layer.weights, layer.seen))
    return pd.DataFrame(
        {
            "integer": [name for name, *_ in rows],
            "allowed (bits)": [weights.width_bits for _, weights, _ in rows],
            "allowed from": [str(weights.range[0]) for _, weights, _ in rows],
            "to": [str(weights.range[1]) for _, weights, _ in rows],
            "seen (bits)": _whole(seen.width_bits if seen else None for *_, seen in rows),
        }
    )


def remedy_table(proposed: Sequence[Remedy], done: Sequence[VerifiedRemedy] | None) -> pd.DataFrame:
    """Return one row per remedy: predicted and, once run, verified."""
    table = pd.DataFrame(
        {
            "change": [remedy.title for remedy in proposed],
            "predicted width (bits)": [remedy.predicted_width_bits for remedy in proposed],
            "predicted SQNR (dB)": [round(remedy.predicted_sqnr_db, 1) for remedy in proposed],
        }
    )
    if done is not None:
        table["verified width (bits)"] = [result.width_bits for result in done]
        table["verified SQNR (dB)"] = [round(result.sqnr_db, 1) for result in done]
        table["fits"] = [result.fits for result in done]
    else:
        table["predicted to fit"] = [remedy.predicted_to_fit for remedy in proposed]
    return table


def cost_table(found: Cost) -> pd.DataFrame:
    """Return one row per integer operator: what it costs per sample."""
    tables: dict[str, int] = {}
    for entry in found.lookups:
        tables[entry.name] = tables.get(entry.name, 0) + entry.count
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in found.layers],
            "operator": [layer.op_type for layer in found.layers],
            "look-ups on its result": [tables.get(layer.name, 0) for layer in found.layers],
            "products": [layer.macs for layer in found.layers],
            "bit operations": [layer.bit_operations for layer in found.layers],
            "weights (bits)": [layer.weight_bits for layer in found.layers],
            "input codes (bits)": [layer.activation_bits for layer in found.layers],
        }
    )


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


def layer_table(found: Evaluation) -> pd.DataFrame:
    """Return one row per node: treatment, grids, SQNR."""
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in found.layers],
            "operator": [layer.op_type for layer in found.layers],
            "treatment": [layer.treatment for layer in found.layers],
            "input grid": [grid(layer.input_grid) for layer in found.layers],
            "weight grid": [grid(layer.weight_grid) for layer in found.layers],
            "SQNR (dB)": [layer.sqnr_db for layer in found.layers],
        }
    )


def interval(low: float, high: float) -> str:
    """Return a range: "[-1.2, 3.4]"."""
    return f"[{number(low)}, {number(high)}]"


def range_table(choices: Sequence[RangeChoice]) -> pd.DataFrame:
    """Return one row per range: ends, scale, and how its grid fits."""
    stats = [choice.quantizer.quant_stats for choice in choices]
    return pd.DataFrame(
        {
            "estimator": [
                choice.estimator.kind.label if choice.estimator else "own range"
                for choice in choices
            ],
            "low": [float(s.rmin) if s else None for s in stats],
            "high": [float(s.rmax) if s else None for s in stats],
            "scale": [float(np.mean(choice.quantizer.scale)) for choice in choices],
            "clipped (%)": [round(100 * choice.fit.clipped_share, 3) for choice in choices],
            "SQNR (dB)": [choice.fit.sqnr_db for choice in choices],
            "what it is": [
                choice.estimator.kind.explanation if choice.estimator else "Set by the slider."
                for choice in choices
            ],
        }
    )


def channel_table(channels: Channels) -> pd.DataFrame:
    """Return one row per channel."""
    return pd.DataFrame(
        {
            "channel": np.arange(len(channels.low)),
            "low": channels.low,
            "high": channels.high,
            "zeros (%)": np.round(100 * channels.zero_share, 2),
        }
    )


def symmetry(found: SymmetryVerdict, chosen: Scheme) -> str:
    """Return what the automatic rule finds, with the numbers that decide it."""
    verdict = "symmetric" if found.symmetric else "not symmetric"
    numbers = (
        f"3rd and 97th percentile {number(found.low)} and {number(found.high)}, ratio "
        f"{found.ratio:.2f} {'within' if 1 / 3 <= found.ratio <= 3 else 'outside'} 1/3 to 3"
    )
    used = "auto" if chosen.symmetric is None and chosen.signed is None else "auto would say"
    return f"{used} → {verdict} ({numbers})"


def sensitivity_table(found: Sensitivity) -> pd.DataFrame:
    """Return one row per layer, direction and part."""
    effects = found.effects
    return pd.DataFrame(
        {
            "layer": [e.layer for e in effects],
            "operator": [e.op_type for e in effects],
            "what": [str(e.direction) for e in effects],
            "part": [str(e.part) for e in effects],
            "SQNR (dB)": [e.sqnr_db for e in effects],
            "error (% of the whole)": [
                round(100 * e.mse / found.mse, 2) if found.mse else None for e in effects
            ],
            "agreement": [e.agreement for e in effects],
            found.score_name or "score": [e.score for e in effects],
        }
    )


def verdict_of_search(found: SearchResult) -> str:
    """Return in a sentence whether a search found better than one width for all."""
    if found.uniform is None:
        return "No uniform configuration meets the conditions; this assignment does."
    if not found.beats_uniform:
        return "No assignment of the widths offered is better than the best uniform configuration."
    if found.objective is Objective.SQNR:
        return f"{found.gain:.1f} dB better than the best uniform configuration that fits."
    before, after = decibel(found.uniform.sqnr_db), decibel(found.best.sqnr_db)
    return (
        f"{100 * found.gain:.0f} % less {_COST_WORDS[found.objective]} than the best uniform "
        f"configuration, at {after} instead of {before}."
    )


_COST_WORDS = {
    Objective.SIZE: "weight memory",
    Objective.BIT_OPERATIONS: "bit operations",
    Objective.LOOKUPS: "look-up cost",
    Objective.SQNR: "error",
}
_COST_TITLES = {
    Objective.SIZE: "weights (bits)",
    Objective.BIT_OPERATIONS: "bit operations",
    Objective.LOOKUPS: "look-up cost (Σ 2^width)",
    Objective.SQNR: "mean squared error",
}


def search_table(found: SearchResult) -> pd.DataFrame:
    """Return one row for what was found and one for the best uniform configuration."""
    rows = [("found", found.best)]
    if found.uniform is not None:
        rows.append(("best uniform", found.uniform))
    return pd.DataFrame(
        {
            "configuration": [title for title, _ in rows],
            _COST_TITLES[found.objective]: [candidate.cost for _, candidate in rows],
            "predicted SQNR (dB)": [round(c.predicted_sqnr_db, 2) for _, c in rows],
            "measured SQNR (dB)": [round(c.sqnr_db, 2) for _, c in rows],
            "agreement": [c.agreement for _, c in rows],
            "score": [c.score for _, c in rows],
            "widest accumulator (bits)": [c.width_bits for _, c in rows],
        }
    )


def assignment_table(found: SearchResult) -> pd.DataFrame:
    """Return one row per layer: the widths found and the uniform ones."""
    uniform = found.uniform.widths if found.uniform else {}
    return pd.DataFrame(
        [
            {
                "layer": layer,
                "weight bits": w or None,
                "activation bits": a,
                "uniform weight bits": uniform.get(layer, (0, 0))[0] or None,
                "uniform activation bits": uniform.get(layer, (0, 0))[1] or None,
            }
            for layer, (w, a) in found.best.widths.items()
        ]
    )


def preflight_table(found: Preflight) -> pd.DataFrame:
    """Return one row per node before anything runs."""
    nodes = found.nodes
    carried = pd.array([node.carried_bits for node in nodes], dtype="Int64")
    return pd.DataFrame(
        {
            "node": [node.name for node in nodes],
            "operator": [node.op_type for node in nodes],
            "treatment": [str(node.treatment) for node in nodes],
            **({"own bits": carried} if found.carried else {}),
            "look-up": pd.array([node.segment for node in nodes], dtype="Int64"),
            "fan-in": pd.array([node.fan_in for node in nodes], dtype="Int64"),
            "MACs per sample": pd.array([node.macs for node in nodes], dtype="Int64"),
            "Concrete ML": [_concrete_ml(node) for node in nodes],
        }
    )


def _concrete_ml(node: NodeReport) -> str:
    """Return Concrete ML's verdict; what it refuses and is quantized here is an extension."""
    if not node.refusal:
        return "accepts it"
    extended = str(node.treatment) in {"integer", "mover", "table look-up"}
    return f"extension: {node.refusal}" if extended else node.refusal


def carried(found: Preflight) -> str:
    """Return which widths a model brings with it, in a sentence; empty if none."""
    if not found.carried:
        return ""
    quantizers = {n.carried_bits for n in found.carried if n.treatment == "table look-up"}
    weights = {n.carried_bits for n in found.carried if n.treatment == "integer"}
    parts = [
        f"{what} {', '.join(map(str, sorted(filter(None, widths))))} bits"
        for what, widths in (("activations", quantizers), ("weights", weights))
        if widths
    ]
    return (
        f"**Quantized already** (quantization-aware training or QDQ): {'; '.join(parts)}. These "
        "grids are used as they are; the widths in the sidebar apply where the model brings none."
    )


def verdict(found: Preflight) -> str:
    """Return what Concrete ML would say of the model, in a sentence of Markdown."""
    refused = found.refused
    if refused:
        first = refused[0]
        return (
            f"Concrete ML would refuse {len(refused)} of {len(found.nodes)} nodes: "
            f"{plain(first.name)}, {plain(first.refusal, 120)}."
        )
    if found.refusal:
        return f"Concrete ML would take each node, but {plain(found.refusal, 120)}."
    return f"Concrete ML takes all {len(found.nodes)} nodes."


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
