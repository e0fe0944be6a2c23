"""TensorQuantOverrides: scales and zero points for ONNX Runtime's `quantize_static`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.export.formats import Refusal
from quantlib.export.qdq import storage
from quantlib.export.tensor_grids import tensor_grids
from quantlib.ops.base import MixingOp, MovingOp

if TYPE_CHECKING:
    from quantlib.export.qdq import Storage
    from quantlib.export.tensor_grids import TensorGrid
    from quantlib.quantized_module import QuantizedModule

_NAMES = {f"{sign}int{n}": f"Q{sign.upper()}Int{n}" for sign in ("", "u") for n in (4, 8, 16)}
"""Spelling of types in `onnxruntime.quantization.QuantType`."""


HOW_TO_READ = (
    "quantlib.export.overrides.read_overrides(text) gives the value of "
    'extra_options["TensorQuantOverrides"]; to quantize no more than the module does, pass '
    "quantize_static also the arguments of Overrides.options, and the model in operator set 21."
)


@dataclass(frozen=True, slots=True, eq=False)
class Overrides:
    """What `quantize_static` is told, and what it cannot be told.

    Parameters
    ----------
    text : str
        The JSON document: tensor name to a list of one entry, or of one per channel, each with
        ``scale``, ``zero_point`` and ``quant_type`` (and ``axis``, per channel).
    losses : tuple of Refusal
        What is not in it.
    options : dict
        Arguments of `quantize_static` that keep it to the integer operators of the module.
    """

    text: str
    losses: tuple[Refusal, ...]
    options: dict[str, Any]


def overrides(module: QuantizedModule) -> Overrides:
    """Write the grids of a module as TensorQuantOverrides.

    Notes
    -----
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html and the
    docstring of `quantize_static` (ONNX Runtime 1.32): scale and zero point stand together, per
    channel with an axis. A type is the grid: a variable whose codes are not all of a 4-, 8- or
    16-bit type would not be clipped, so it is left out and named; a constant lies inside.
    """
    grids, left = tensor_grids(module)
    losses = list(left)
    document = {}
    on_integers = [x for x in module.layers if isinstance(x.op, MixingOp | MovingOp)]
    read = {name for layer in on_integers for name in layer.node.inputs}
    for grid in grids:
        if grid.name not in read:
            reason = f"no operator that quantize_static quantizes reads {grid.name!r}"
            losses.append(Refusal(grid.layer, reason, "export QDQ, which rounds it"))
            continue
        held = storage(grid.quantizer, clips=grid.clips)
        if held is None or not held.fits:
            q = grid.quantizer
            reason = (
                f"{grid.name!r} has codes {q.qmin}…{q.qmax} and zero point {grid.zero_points[0]}; "
                "no 4-, 8- or 16-bit type has these"
            )
            losses.append(Refusal(grid.layer, reason, "use 4, 8 or 16 bits, or export QDQ"))
        else:
            document[grid.name] = _entries(grid, held)
    return Overrides(json.dumps(document, indent=2) + "\n", tuple(losses), _options(module))


def read_overrides(text: str | bytes) -> dict[str, list[dict[str, Any]]]:
    """Return the value of ``extra_options["TensorQuantOverrides"]``.

    JSON has neither NumPy's numbers nor the type `onnxruntime.quantization.QuantType`, which
    `quantize_static` wants.
    """
    from onnxruntime.quantization import QuantType

    document: dict[str, list[dict[str, Any]]] = json.loads(text)
    for entries in document.values():
        for entry in entries:
            entry["quant_type"] = QuantType[entry["quant_type"]]
            entry["scale"] = np.array(entry["scale"], dtype=np.float32)
            entry["zero_point"] = np.array(entry["zero_point"])
    return document


def _entries(grid: TensorGrid, held: Storage) -> list[dict[str, Any]]:
    kind = {"quant_type": _NAMES[held.name]}
    axis = {} if grid.axis is None else {"axis": grid.axis}
    return [
        {**kind, **axis, "scale": float(np.float32(scale)), "zero_point": int(point)}
        for scale, point in zip(grid.scales, grid.zero_points, strict=True)
    ]


def _options(module: QuantizedModule) -> dict[str, Any]:
    """Return arguments that quantize what the module's integer operators read, and no more."""
    types = {x.node.op_type for x in module.layers if isinstance(x.op, MixingOp | MovingOp)}
    spelled = {"Gemm": ("Gemm", "MatMul")}  # the file may hold MatMul and Add for a Gemm
    listed = sorted({name for kind in types for name in spelled.get(kind, (kind,))})
    return {
        "op_types_to_quantize": listed,
        "extra_options": {
            "QuantizeBias": False,
            "ForceQuantizeNoInputCheck": True,
            "QDQKeepRemovableActivations": True,
            "OpTypesToExcludeOutputQuantization": listed,
        },
    }
