"""From bytes to a parsed model with all its tensors inside, cheap checks first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from quantlib.errors import ModelLoadError
from quantlib.graph import stored
from quantlib.graph.growth import check_depth
from quantlib.graph.walking import bodies, everything
from quantlib.limits import MIB, above

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or an .npz file)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"version https://git-lfs", "a git-lfs pointer; fetch the file itself"),
    (b"ir_version", "the text form of a model"),
    (b"<ir_version", "the text form of a model"),
    (b"<", "a web page"),
    (b"\x89HDF", "an HDF5 file (Keras)"),
    (b"{", "a JSON document"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GGUF", "a GGUF file"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
)


def parse(data: bytes, label: str, folder: Path | None) -> onnx.ModelProto:
    """Return the model that `data` holds, or raise ModelLoadError.

    Parameters
    ----------
    data : bytes
        A serialized model.
    label : str
        What messages call it.
    folder : Path, optional
        Where the model lies: tensors outside the file are read from there only.
    """
    if not data:
        raise ModelLoadError(f"{label}: the file is empty; export or download it again.")
    if too_much := above("model_mb", len(data) / MIB):
        raise ModelLoadError(
            f"{label}: the file has {len(data) / MIB:.1f} MB, {too_much}; give a smaller model."
        )
    if data[4:8] == b"TFL3":
        raise ModelLoadError(f"{label}: this is a TFLite model, not an ONNX model; convert it.")
    start = b"".join(data[:64].split(None)) if data[:64].lstrip()[:1] == b"<" else data[:64]
    for signature, what in _SIGNATURES:
        if start.lstrip().startswith(signature):
            raise ModelLoadError(f"{label}: this is {what}, not an ONNX model; give a .onnx file.")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise ModelLoadError(
            f"{label}: not an ONNX model, or cut short; export or download it again."
        ) from None
    if not model.HasField("graph") or not model.graph.node:
        raise ModelLoadError(f"{label}: the model has no nodes; export it again.")
    if too_much := above("nodes", len(model.graph.node)):
        raise ModelLoadError(
            f"{label}: the model has {len(model.graph.node)} nodes, {too_much}; give a part of it."
        )
    inner = (b for function in model.functions for node in function.node for b in bodies(node))
    check_depth([model.graph, *inner], label)
    _check_text(model, label)
    _read_outside_tensors(model, label, folder)
    stored.check(model, label)
    return model


def _check_text(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for names that are no text: protobuf hands such over as bytes."""
    for word in _words_of(model):
        if not isinstance(word, str):
            raise ModelLoadError(
                f"{label}: a name inside the model is no text ({bytes(word)[:40]!r} is not UTF-8); "
                "export it with plain names."
            )


def _words_of(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Yield every name in a model."""
    graphs, nodes = everything(model)
    for entry in model.opset_import:
        yield entry.domain
    for function in model.functions:
        yield from (function.domain, function.name, function.overload)
        yield from (*function.input, *function.output, *function.attribute)
        for entry in function.opset_import:
            yield entry.domain
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, node.overload)
        yield from (*node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
    for graph in graphs:
        yield graph.name
        for tensor in graph.initializer:
            yield tensor.name
        for sparse in graph.sparse_initializer:
            yield sparse.values.name
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            for size in value.type.tensor_type.shape.dim:
                yield size.dim_param


def _read_outside_tensors(model: onnx.ModelProto, label: str, folder: Path | None) -> None:
    """Load tensors that lie in files beside the model; refuse all other places."""
    outside = [t for t in stored.tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in outside:
        place = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if folder is None:
            raise ModelLoadError(
                f"{label}: tensor {tensor.name!r} is stored outside the file; save the model as "
                "one file (onnx.save_model(..., save_as_external_data=False))."
            )
        file = folder / place
        beside = bool(place) and Path(place).name == place and not file.is_symlink()
        if not (beside and file.is_file()):
            raise ModelLoadError(
                f"{label}: tensor {tensor.name!r} is stored in {place!r}, which is no file beside "
                "the model; put it there, or save the model as one file."
            )
    if outside and folder is not None:
        try:
            onnx.load_external_data_for_model(model, str(folder))
        except Exception as error:
            raise ModelLoadError(
                f"{label}: the tensors beside the file cannot be read; save the model as one file."
            ) from error
