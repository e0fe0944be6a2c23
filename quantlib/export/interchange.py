"""The formats that other tools read, offered by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.export import aimet, overrides, proofs, qdq, qonnx, tensor_grids
from quantlib.export.formats import ExportFormat, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.export.formats import Files, Refusal, Subject
    from quantlib.quantized_module import QuantizedModule


@dataclass(frozen=True, slots=True)
class Remarks:
    """What is to be said of an export before it is taken.

    Parameters
    ----------
    losses : tuple of Refusal
        What the module does and the files do not say; they are written all the same.
    notes : tuple of str
        What was decided while writing, and how the files are read.
    """

    losses: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def remarks(name: str, module: QuantizedModule) -> Remarks:
    """Return what is to be said of a format's export of a module.

    Raises
    ------
    OptionsError
        The format refuses the module.
    """
    found = _REMARKS.get(name)
    return Remarks() if found is None else found(module)


def _aimet_losses(module: QuantizedModule) -> Remarks:
    first, second = aimet.encodings_1(module), aimet.encodings_2(module)
    return Remarks(tuple(dict.fromkeys((*first.losses, *second.losses))))


_REMARKS: dict[str, Callable[[QuantizedModule], Remarks]] = {
    "qdq": lambda module: Remarks(notes=qdq.qdq_model(module).notes),
    "ort-overrides": lambda module: Remarks(
        overrides.overrides(module).losses, (overrides.HOW_TO_READ,)
    ),
    "aimet": _aimet_losses,
}


def _qdq_files(subject: Subject) -> Files:
    content = qdq.qdq_model(subject.module).model.SerializeToString()
    return {f"{subject.stem}-qdq.onnx": content}


def _qonnx_files(subject: Subject) -> Files:
    content = qonnx.qonnx_model(subject.module).model.SerializeToString()
    return {f"{subject.stem}-qonnx.onnx": content}


def _override_files(subject: Subject) -> Files:
    text = overrides.overrides(subject.module).text
    return {f"{subject.stem}-overrides.json": text.encode()}


def _aimet_files(subject: Subject) -> Files:
    module = subject.module
    texts = {
        "1.0.0": aimet.encodings_1(module).text,
        "2.0.0": aimet.encodings_2(module).text,
    }
    return {f"{subject.stem}-aimet-{v}.encodings": text.encode() for v, text in texts.items()}


_LEFT_OUT = (
    "what happens inside operators (the common scale of a sum, rounded accumulators), the second "
    "grid of a tensor that two layers read on two"
)

QDQ = register(
    ExportFormat(
        name="qdq",
        title="QDQ ONNX",
        reader="ONNX Runtime, TensorRT, OpenVINO and others",
        carries="every grid, weights as integers; 4, 8 and 16 bits, other widths by a Clip",
        loses="grids that do not round to the nearest code; exact ties, where a zero point is odd",
        suffix=".onnx",
        export=_qdq_files,
        refusals=qdq.refusals,
        prove=proofs.prove_qdq,
    )
)

QONNX = register(
    ExportFormat(
        name="qonnx",
        title="QONNX",
        reader="FINN, hls4ml, qonnx, and this explorer",
        carries="every grid of any width with its rounding; weights as real numbers on their grid",
        loses="Trunc of quantization-aware training",
        suffix=".onnx",
        export=_qonnx_files,
        refusals=qonnx.refusals,
        prove=proofs.prove_qonnx,
    )
)

OVERRIDES = register(
    ExportFormat(
        name="ort-overrides",
        title="TensorQuantOverrides",
        reader="quantize_static of ONNX Runtime, beside the float model",
        carries="scale, zero point and type of each tensor",
        loses=f"{_LEFT_OUT}; variables of other than 4, 8 or 16 bits",
        suffix=".json",
        export=_override_files,
        refusals=tensor_grids.refusals,
        prove=proofs.prove_overrides,
    )
)

AIMET = register(
    ExportFormat(
        name="aimet",
        title="AIMET encodings 1.0.0 and 2.0.0",
        reader="AIMET and Qualcomm's QAIRT, beside the float model",
        carries="scale, offset and width of each tensor",
        loses=f"{_LEFT_OUT}; narrow ranges",
        suffix=".encodings",
        export=_aimet_files,
        refusals=tensor_grids.refusals,
        prove=proofs.prove_aimet,
    )
)
