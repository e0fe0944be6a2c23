"""Operator sets and file versions: what is too new, and what is too old to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx.version_converter

from quantlib.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Collection

OLDEST = 7
"""Oldest operator set of ONNX's own domain that ONNX Runtime runs."""

_IR_WITH_FREE_INITIALIZERS = 4
"""The converter writes initializers that are no inputs."""

CONVERTED_TO = 13
"""Operator set that older models are converted to."""


def check_versions(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for a file version or an operator set that nobody here reads."""
    if model.ir_version > onnx.IR_VERSION:
        raise ModelLoadError(
            f"{label}: the file has IR version {model.ir_version}, the newest that is read is "
            f"{onnx.IR_VERSION}; export it with an older exporter, or update onnx and onnxruntime."
        )
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if model.ir_version < 3 and not versions:
        versions[""] = 1
        model.opset_import.append(onnx.helper.make_opsetid("", 1))
    if "" not in versions and any(not node.domain for node in model.graph.node):
        raise ModelLoadError(
            f"{label}: the model does not say which operator set of ONNX it uses; export it again."
        )
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= versions.get("", 1) <= newest:
        raise ModelLoadError(
            f"{label}: the model uses operator set {versions['']}, read are 1 to {newest}; export "
            f"it for one of these, or update onnx and onnxruntime."
        )


def import_domains(model: onnx.ModelProto, known: Collection[str]) -> None:
    """Enter domains of a runtime that the nodes use and the file does not list, in place."""
    listed = {entry.domain for entry in model.opset_import}
    for domain in sorted({node.domain for node in model.graph.node} - listed):
        if domain in known:
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


def modernize(
    model: onnx.ModelProto, label: str, *, convert: bool
) -> tuple[onnx.ModelProto, list[str]]:
    """Return a model in an operator set that runs, and a note if it had to be converted.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    label : str
        What messages call it.
    convert : bool
        Whether onnx's version converter may work on it; broken files can end its process.

    Raises
    ------
    ModelLoadError
        The operator set is older than 7 and must not be, or cannot be converted; the message
        says how to convert it.
    """
    version = next((e.version for e in model.opset_import if not e.domain), OLDEST)
    if version >= OLDEST:
        return model, []
    remedy = (
        f"convert it with onnx.version_converter.convert_version(model, {CONVERTED_TO}), or "
        f"export it for operator set {CONVERTED_TO} or newer"
    )
    if not convert:
        raise ModelLoadError(
            f"{label}: the model uses operator set {version}, and ONNX Runtime runs {OLDEST} and "
            f"newer; {remedy}. load_model(..., convert=True) converts files that you trust."
        )
    try:
        converted = onnx.version_converter.convert_version(model, CONVERTED_TO)
    except Exception as error:
        raise ModelLoadError(
            f"{label}: the model uses operator set {version}, older than {OLDEST}, and cannot be "
            f"converted ({' '.join(str(error).split())[:200]}); export it for operator set "
            f"{CONVERTED_TO} or newer."
        ) from None
    converted.ir_version = max(converted.ir_version, _IR_WITH_FREE_INITIALIZERS)
    return converted, [f"operator set {version} was converted to {CONVERTED_TO}."]
