"""The formats that others read, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.export import aimet, overrides, proofs, qdq, qonnx
from quantlib.export.formats import Export, Format

if TYPE_CHECKING:
    from quantlib.export.formats import Refusal, Subject
    from quantlib.quantized_module import QuantizedModule


def _write_qdq(subject: Subject) -> Export:
    written = qdq.qdq_model(subject.module)
    return Export(
        {f"{subject.stem}-qdq.onnx": written.model.SerializeToString()},
        (),
        written.notes,
        lambda: proofs.prove_qdq(subject.module, written, subject.data.evaluation),
    )


def _write_qonnx(subject: Subject) -> Export:
    written = qonnx.qonnx_model(subject.module)
    return Export(
        {f"{subject.stem}-qonnx.onnx": written.model.SerializeToString()},
        (),
        (),
        lambda: proofs.prove_qonnx(subject.module, written, subject.data.evaluation),
    )


def _write_overrides(subject: Subject) -> Export:
    written = overrides.overrides(subject.module)
    return Export(
        {f"{subject.stem}-overrides.json": written.text.encode()},
        written.losses,
        (overrides.HOW_TO_READ,),
        lambda: proofs.prove_overrides(subject.module, written),
    )


def _write_aimet(subject: Subject) -> Export:
    module = subject.module
    first, second = aimet.encodings_1(module), aimet.encodings_2(module)
    texts = {"1.0.0": first.text, "2.0.0": second.text}
    files = {f"{subject.stem}-aimet-{v}.encodings": t.encode() for v, t in texts.items()}
    losses = tuple(dict.fromkeys((*first.losses, *second.losses)))
    return Export(files, losses, (), lambda: proofs.prove_aimet(module, list(texts.values())))


def _none(module: QuantizedModule) -> tuple[Refusal, ...]:
    """Refuse nothing: what a list of grids leaves out is said with the list."""
    del module
    return ()


_LEFT_BY_LISTS = (
    "what happens inside operators: the common scale of a sum, rounded accumulators; a tensor that "
    "two layers read on two grids; real biases"
)

FORMATS = {
    found.name: found
    for found in (
        Format(
            "qdq",
            "QDQ ONNX",
            "ONNX Runtime, TensorRT, OpenVINO and others",
            "every grid, weights as integers; 4, 8 and 16 bits, other widths by a Clip",
            "grids that round otherwise than to the nearest code",
            qdq.refusals,
            _write_qdq,
        ),
        Format(
            "qonnx",
            "QONNX",
            "FINN, hls4ml, qonnx, and this explorer",
            "every grid of any width with its rounding, weights as real numbers on their grid",
            "Trunc of quantization-aware training",
            qonnx.refusals,
            _write_qonnx,
        ),
        Format(
            "ort-overrides",
            "TensorQuantOverrides",
            "quantize_static of ONNX Runtime, beside the float model",
            "scale, zero point and type of each tensor",
            f"{_LEFT_BY_LISTS}; variables of other than 4, 8 or 16 bits",
            _none,
            _write_overrides,
        ),
        Format(
            "aimet",
            "AIMET encodings 1.0.0 and 2.0.0",
            "AIMET and Qualcomm's QAIRT, beside the float model",
            "scale, offset and width of each tensor",
            f"{_LEFT_BY_LISTS}; narrow ranges",
            _none,
            _write_aimet,
        ),
    )
}
"""In the order in which a screen shows them."""
