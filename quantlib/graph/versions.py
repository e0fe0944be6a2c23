"""Operator sets and file versions: what is too new, and what is too old to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx.version_converter

from quantlib.errors import ModelLoadError
from quantlib.graph.shapes import infer_shapes
from quantlib.graph.walking import all_nodes

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
    if model.ir_version < 1:
        raise ModelLoadError(
            f"{label}: the file has IR version {model.ir_version}, and the first one is 1; the "
            "file is damaged, or no model: export or download it again."
        )
    short = {"ai.onnx": ""}
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = short.get(entry.domain, entry.domain)
        if versions.setdefault(domain, entry.version) != entry.version:
            raise ModelLoadError(
                f"{label}: the model lists the operator set of {domain or 'ONNX'} twice, as "
                f"{versions[domain]} and {entry.version}; leave one and export again."
            )
    if model.ir_version < 3 and not versions:
        versions[""] = 1
        model.opset_import.append(onnx.helper.make_opsetid("", 1))
    if "" not in versions and any(node.domain in ("", "ai.onnx") for node in model.graph.node):
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
    for domain in sorted({node.domain for node in all_nodes(model.graph)} - listed):
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
        converted = _converted(model)
    except Exception as error:
        raise ModelLoadError(
            f"{label}: the model uses operator set {version}, older than {OLDEST}, and holds what "
            f"cannot be converted; export it for operator set {CONVERTED_TO} or newer."
        ) from error
    converted.ir_version = max(converted.ir_version, _IR_WITH_FREE_INITIALIZERS)
    return converted, [f"operator set {version} was converted to {CONVERTED_TO}."]


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a model whose free sizes may stay free: the converter itself wants numbers."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in [*fixed.graph.input, *fixed.graph.output]:
        for size in value.type.tensor_type.shape.dim:
            if not size.HasField("dim_value"):
                size.dim_value = 1
    _spell_broadcasts(fixed)
    converted: onnx.ModelProto = onnx.version_converter.convert_version(fixed, CONVERTED_TO)
    del converted.graph.value_info[:]
    for before, after in (
        (model.graph.input, converted.graph.input),
        (model.graph.output, converted.graph.output),
    ):
        declared = {value.name: value for value in before}
        for value in after:
            if value.name in declared:
                value.CopyFrom(declared[value.name])
    return converted


def _spell_broadcasts(model: onnx.ModelProto) -> None:
    """Give second operands that broadcast from an `axis` on the axes that follow, in place.

    Before operator set 7 the second operand's first axis meets the first one's `axis`; the
    converter counts the axes wrongly.
    """
    nodes = [
        node
        for node in model.graph.node
        if {"broadcast", "axis"} <= {attribute.name for attribute in node.attribute}
    ]
    if not nodes:
        return
    shapes = infer_shapes(model)
    wider: dict[str, onnx.NodeProto] = {}
    for node in nodes:
        ranks = [len(shapes.get(name, ())) for name in node.input]
        (axis,) = (attribute.i for attribute in node.attribute if attribute.name == "axis")
        if not ranks[0] or ranks[1] != len(shapes.get(node.input[1], (None,))):
            raise ValueError(f"the axes of {node.input[0]!r} or {node.input[1]!r} are not known")
        missing = ranks[0] - axis % ranks[0] - ranks[1]
        kept = [attribute for attribute in node.attribute if attribute.name != "axis"]
        copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
        del node.attribute[:]
        node.attribute.extend(copies)
        if missing > 0:
            name = f"{node.name}/aligned"
            axes = list(range(ranks[1], ranks[1] + missing))
            wider[node.name] = onnx.helper.make_node(
                "Unsqueeze", [node.input[1]], [name], name, axes=axes
            )
            node.input[1] = name
    ordered: list[onnx.NodeProto] = []
    for node in model.graph.node:
        ordered += [wider[node.name]] if node.name in wider else []
        ordered.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del model.graph.node[:]
    model.graph.node.extend(ordered)
