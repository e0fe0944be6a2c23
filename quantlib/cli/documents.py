"""Results as JSON documents; members are named as the library names them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from quantlib.analysis.reports import Evaluation, LayerSummary, OutputSummary
    from quantlib.analysis.search.search import Candidate, SearchResult
    from quantlib.analysis.widths.budget import Budget
    from quantlib.analysis.widths.criterion import Criterion
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.graph.model import TensorInfo
    from quantlib.questions.evaluations import Inspected


def number(value: float | None) -> float | str | None:
    """Return a number for JSON; infinities, which JSON lacks, are ``"inf"`` and ``"-inf"``."""
    return value if value is None or math.isfinite(value) else str(float(value))


def config_document(chosen: QuantizationConfig) -> dict[str, Any]:
    """Return a configuration as `QuantizationConfig.from_json` reads it."""
    document: dict[str, Any] = json.loads(chosen.to_json())
    return document


def model_document(model: Inspected) -> dict[str, Any]:
    """Return a model before anything runs."""
    return {
        "model": model.name,
        "digest": model.digest,
        "opsets": dict(model.opsets),
        "inputs": [_tensor(info) for info in model.inputs],
        "outputs": [_tensor(info) for info in model.outputs],
        "samples_per_call": model.samples_per_call,
        "mixes_samples": model.mixes_samples,
        "n_parameters": model.n_parameters,
        "notes": list(model.notes),
        "refusal": model.preflight.refusal,
        "nodes": [
            {
                "name": node.name,
                "op_type": node.op_type,
                "treatment": str(node.treatment),
                "segment": node.segment,
                "fan_in": node.fan_in,
                "macs": node.macs,
                "refusal": node.refusal,
                "carried_bits": node.carried_bits,
                "departure": node.departure,
                "unseen": node.unseen,
                "convention": node.convention,
            }
            for node in model.preflight.nodes
        ],
    }


def evaluation_document(found: Evaluation, budget: Budget, criterion: Criterion) -> dict[str, Any]:
    """Return the figures of a configuration, and whether it fits by a criterion."""
    widest = found.widest
    return {
        "config": config_document(found.config),
        "output": found.output,
        "outputs": [_output(output) for output in found.outputs],
        **_figures(found),
        "widest_bits": widest.width_bits if widest else None,
        "criterion": str(criterion),
        "counted_bits": budget.counted_bits(criterion) or None,
        "fits": budget.fits_by(criterion),
        "unseen": list(found.unseen),
        "weight_bytes": found.weight_bytes,
        "float_weight_bytes": found.float_weight_bytes,
        "layers": [_layer(layer) for layer in found.layers],
    }


def _figures(found: Evaluation | OutputSummary) -> dict[str, Any]:
    """Return how far an output is from the float model's."""
    score = found.score
    return {
        "sqnr_db": number(found.sqnr_db),
        "mse": number(found.mse),
        "max_error": number(found.max_error),
        "cosine": number(found.cosine),
        "agreement": found.agreement,
        "score": score
        and {"name": score.name, "float": score.float_value, "quantized": score.quantized_value},
    }


def _output(found: OutputSummary) -> dict[str, Any]:
    return {
        "name": found.name,
        "kind": str(found.kind),
        **_figures(found),
        "reason": found.reason,
    }


def search_document(found: SearchResult) -> dict[str, Any]:
    """Return what a search found, beside the best uniform configuration."""
    return {
        "objective": str(found.objective),
        "criterion": str(found.criterion),
        "floor_db": found.floor_db,
        "beats_uniform": found.beats_uniform,
        "gain": found.gain,
        "runs": found.runs,
        "best": _candidate(found.best),
        "uniform": found.uniform and _candidate(found.uniform),
    }


def _candidate(found: Candidate) -> dict[str, Any]:
    return {
        "widths": {
            layer: {"weight_bits": w or None, "activation_bits": a}
            for layer, (w, a) in found.widths.items()
        },
        "cost": found.cost,
        "predicted_sqnr_db": number(found.predicted_sqnr_db),
        "sqnr_db": number(found.sqnr_db),
        "agreement": found.agreement,
        "score": found.score,
        "widest_bits": found.width_bits,
        "config": config_document(found.config),
    }


def _tensor(info: TensorInfo) -> dict[str, Any]:
    return {"name": info.name, "dtype": info.dtype, "shape": list(info.shape)}


def _layer(layer: LayerSummary) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op_type": layer.op_type,
        "treatment": layer.treatment,
        "fan_in": layer.fan_in,
        "input_grid": _grid(layer.input_grid),
        "weight_grid": _grid(layer.weight_grid),
        "accumulator": layer.accumulator,
        "width_bits": layer.width_bits,
        "widest_channel": layer.widest_channel,
        "n_accumulators": layer.n_accumulators,
        "lsbs_to_remove": layer.lsbs_to_remove,
        "sqnr_db": number(layer.sqnr_db),
    }


def _grid(quantizer: UniformQuantizer | None) -> dict[str, Any] | None:
    """Return a grid; scale and zero point are lists where they differ between channels."""
    if quantizer is None:
        return None
    return {
        "n_bits": quantizer.n_bits,
        "is_signed": bool(quantizer.is_signed),
        "is_symmetric": bool(quantizer.is_symmetric),
        "is_narrow": quantizer.quant_options.is_narrow,
        "scale": np.asarray(quantizer.scale).tolist(),
        "zero_point": np.asarray(quantizer.zero_point).tolist(),
    }
