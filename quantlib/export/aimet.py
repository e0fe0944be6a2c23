"""AIMET encodings, which AIMET and Qualcomm's QAIRT read beside the float model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.core.estimator import MIN_MAX
from quantlib.export.formats import Refusal
from quantlib.export.qdq import storage
from quantlib.export.tensor_grids import tensor_grids
from quantlib.ops.base import Treatment

if TYPE_CHECKING:
    from quantlib.export.tensor_grids import TensorGrid
    from quantlib.quantized_module import QuantizedModule

VERSIONS = ("1.0.0", "2.0.0")


@dataclass(frozen=True, slots=True, eq=False)
class Encodings:
    """An encodings file.

    Parameters
    ----------
    text : str
        The JSON document.
    losses : tuple of Refusal
        What is not in it.
    """

    text: str
    losses: tuple[Refusal, ...]


def encodings_1(module: QuantizedModule) -> Encodings:
    """Write a module's grids as encodings of version 1.0.0.

    Notes
    -----
    Fields after the section "Version 1.0.0" of AIMET's Encoding Format Specification
    (https://github.com/qualcomm/aimet/blob/develop/Docs/techniques/encoding_spec.rst): the lists
    ``activation_encodings`` and ``param_encodings`` of dictionaries with ``name``, ``enc_type``
    (PER_TENSOR, PER_CHANNEL), ``dtype`` (INT), ``bw`` (2 to 32), ``is_sym``, and arrays ``scale``
    and ``offset`` of one number or one per output channel; ``quantizer_args``; and
    ``excluded_layers``. AIMET counts codes from 0, so that a real value is ``scale * (code +
    offset)`` and the lowest one ``scale * offset``: the offset is the lowest code less the zero
    point, and ``-2**(bw - 1)`` for a symmetric grid.
    """
    grids, left = tensor_grids(module)
    losses = list(left)
    lists: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for grid in grids:
        q = grid.quantizer
        n_bits = (q.qmax - q.qmin).bit_length()
        if q.qmax - q.qmin + 1 != 2**n_bits or not 2 <= n_bits <= 32:
            losses.append(_no_width(grid))
            continue
        offsets = q.qmin - grid.zero_points
        lists[grid.is_constant].append(
            {
                "name": grid.name,
                "enc_type": "PER_TENSOR" if grid.axis is None else "PER_CHANNEL",
                "dtype": "INT",
                "bw": n_bits,
                "is_sym": bool((offsets == -(2 ** (n_bits - 1))).all()),
                "scale": [float(np.float32(scale)) for scale in grid.scales],
                "offset": [int(offset) for offset in offsets],
            }
        )
    config = module.config
    document = {
        "version": VERSIONS[0],
        "activation_encodings": lists[False],
        "param_encodings": lists[True],
        "quantizer_args": {
            "activation_bitwidth": config.activations.n_bits,
            "dtype": "int",
            "is_symmetric": all(entry["is_sym"] for entry in lists[True]),
            "param_bitwidth": config.weights.n_bits,
            "per_channel_quantization": config.weights.per_channel,
            "quant_scheme": "post_training_tf"
            if config.weights.estimator == MIN_MAX == config.activations.estimator
            else "post_training_tf_enhanced",
        },
        "excluded_layers": [x.name for x in module.layers if x.treatment is Treatment.FLOAT],
    }
    return Encodings(json.dumps(document, indent=2) + "\n", tuple(losses))


def encodings_2(module: QuantizedModule) -> Encodings:
    """Write a module's grids as encodings of version 2.0.0.

    Notes
    -----
    Fields after the section "Version 2.0.0" of the same specification, those of ONNX's
    QuantizeLinear: a list ``encodings`` of dictionaries with ``name``, ``output_dtype`` (int2 to
    uint16), ``y_scale``, ``y_zero_point`` (left out where all are 0) and, per channel, ``axis``.
    """
    grids, left = tensor_grids(module)
    losses = list(left)
    encodings = []
    for grid in grids:
        held = storage(grid.quantizer, clips=grid.clips, narrowest=2)
        if held is None or not held.fits:
            losses.append(_no_type(grid))
            continue
        scales = [float(np.float32(scale)) for scale in grid.scales]
        points = [int(point) for point in grid.zero_points]
        one = grid.axis is None
        entry: dict[str, Any] = {
            "name": grid.name,
            "output_dtype": held.name,
            "y_scale": scales[0] if one else scales,
        }
        if any(points):
            entry["y_zero_point"] = points[0] if one else points
        if not one:
            entry["axis"] = grid.axis
        encodings.append(entry)
    document = {"version": VERSIONS[1], "encodings": encodings}
    return Encodings(json.dumps(document, indent=2) + "\n", tuple(losses))


def _no_width(grid: TensorGrid) -> Refusal:
    q = grid.quantizer
    reason = f"{grid.name!r} has codes {q.qmin}…{q.qmax}, not all of a width of 2 to 32 bits"
    return Refusal(grid.layer, reason, "set narrow range to no and use 2 bits or more")


def _no_type(grid: TensorGrid) -> Refusal:
    q = grid.quantizer
    reason = (
        f"version 2.0.0: {grid.name!r} has codes {q.qmin}…{q.qmax} and zero point "
        f"{grid.zero_points[0]}; no type of 2, 4, 8 or 16 bits has these"
    )
    return Refusal(grid.layer, reason, "use such a width, or version 1.0.0")
