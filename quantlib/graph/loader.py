"""The one door for models: path, bytes or ModelProto in, checked Graph out."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from quantlib.arrays import AnyArray, read_only
from quantlib.errors import ModelLoadError, UnsupportedOpError
from quantlib.graph import passes, unfold
from quantlib.graph.batch import settle_batch
from quantlib.graph.lowering import lower_quantizers
from quantlib.graph.model import Batch, Graph, Node, TensorInfo
from quantlib.graph.runtime import open_session
from quantlib.graph.shapes import infer_shapes, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MODEL_BYTES = 512 * 2**20
"""Largest model that is read, bytes."""

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or an .npz file)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"version https://git-lfs", "a git-lfs pointer; fetch the file itself"),
    (b"<", "a web page"),
    (b"\x89HDF", "an HDF5 file (Keras)"),
    (b"ir_version", "the text form of a model"),
    (b"{", "a JSON document"),
)


def load_model(
    source: str | Path | bytes | onnx.ModelProto,
    *,
    name: str | None = None,
    batch_axes: Mapping[str, int | None] | None = None,
) -> Graph:
    """Load and check an ONNX model.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        The model; at most 512 MiB, with all its tensors inside. A fixed batch size is freed
        where samples that are run together give what each gives alone.
    name : str, optional
        What messages and downloads call it; the file's stem by default.
    batch_axes : mapping of str to int or None, optional
        Which axis of an input numbers the samples, None for an input without samples; what is
        not given is found.

    Returns
    -------
    Graph
        Simplified as the reference's importer does: constants folded, MatMul + Add fused.

    Raises
    ------
    ModelLoadError
        Not an ONNX model, damaged, external data, or refused by the checker or ONNX Runtime.
    UnsupportedOpError
        An operator that ONNX Runtime does not know; every such operator is named once.

    Examples
    --------
    >>> import quantlib as ql
    >>> ql.load_model("sample_models/iris_linear.onnx").output_names
    ('output',)
    """
    folder: Path | None = None
    if isinstance(source, onnx.ModelProto):
        data, stem = source.SerializeToString(), source.graph.name or "model"
    elif isinstance(source, bytes | bytearray | memoryview):
        data, stem = bytes(source), "model"
    else:
        path = Path(source)
        if not path.is_file():
            raise ModelLoadError(f"{path.name}: there is no such file; check the path.")
        data, stem, folder = path.read_bytes(), path.stem, path.parent
    label = name or stem
    checked, originals = _checked(data, label, folder)
    settled, batch = settle_batch(checked, axes=batch_axes)
    return passes.simplify(_graph_of(settled, originals, data, label, batch))


def _checked(
    data: bytes, label: str, folder: Path | None
) -> tuple[onnx.ModelProto, dict[str, onnx.NodeProto]]:
    """Parse `data` and refuse what cannot become a graph, cheap things first.

    Tensors outside the file are read only from `folder`, where the model itself lies. The
    model comes back in ONNX's own operators, with the nodes that these stand for.
    """
    if not data:
        raise ModelLoadError(f"{label}: the file is empty; export or download it again.")
    if len(data) > MAX_MODEL_BYTES:
        raise ModelLoadError(
            f"{label}: {len(data) / 2**20:.0f} MiB is above the limit of "
            f"{MAX_MODEL_BYTES // 2**20} MiB; reduce the model."
        )
    for signature, what in _SIGNATURES:
        if data[:64].lstrip().startswith(signature):
            raise ModelLoadError(f"{label}: this is {what}, not an ONNX model; give a .onnx file.")
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise ModelLoadError(
            f"{label}: not an ONNX model, or cut short; export or download it again."
        ) from None
    if not model.HasField("graph") or not model.graph.node:
        raise ModelLoadError(f"{label}: the model has no nodes; export it again.")
    _read_outside_tensors(model, label, folder)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _normalize(model)
    model, originals = lower_quantizers(model)
    originals.update(unfold.expand(model))
    _refuse_unknown_operators(model, label)
    try:
        onnx.checker.check_model(_with_output_shapes(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelLoadError(
            f"{label}: the model breaks a rule of ONNX: {_first_line(error)} Export it again."
        ) from None
    except Exception as error:
        raise ModelLoadError(
            f"{label}: the model cannot be checked: {_first_line(error)}"
        ) from None
    try:
        open_session(model.SerializeToString())
    except Exception as error:
        raise ModelLoadError(
            f"{label}: ONNX Runtime does not load the model: {_first_line(error)}"
        ) from None
    return model, originals


def _read_outside_tensors(model: onnx.ModelProto, label: str, folder: Path | None) -> None:
    """Load tensors that lie in files beside the model; refuse all other places."""
    outside = [t for t in _tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
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
                f"{label}: the tensors beside the file cannot be read: {_first_line(error)}"
            ) from None


def _with_output_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model the checker accepts: it wants a shape for every output, runtimes do not."""
    if all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
        return model
    filled: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
    known = [v for v in filled.graph.output if v.type.tensor_type.HasField("shape")]
    del filled.graph.output[:]
    filled.graph.output.extend(known)
    return filled


def _tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return every tensor of the model, those of subgraphs and local functions included."""
    found: list[onnx.TensorProto] = []
    graphs, nodes = [model.graph], [n for f in model.functions for n in f.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            found += graph.initializer
            found += (t for s in graph.sparse_initializer for t in (s.values, s.indices))
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs
    return found


def _refuse_unknown_operators(model: onnx.ModelProto, label: str) -> None:
    """Raise UnsupportedOpError when a node's operator is in no schema and no local function."""
    local = {(function.domain, function.name) for function in model.functions}
    unknown: Counter[str] = Counter()
    first: dict[str, str] = {}
    for node in model.graph.node:
        if (node.domain, node.op_type) in local or onnx.defs.has(node.op_type, node.domain):
            continue
        title = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        unknown[title] += 1
        first.setdefault(title, node.name)
    if unknown:
        listed = ", ".join(f"{title} ({count} nodes)" for title, count in unknown.items())
        title = next(iter(unknown))
        raise UnsupportedOpError(
            f"{label}: nobody knows how to run {listed}; replace by ONNX operators and export "
            "again.",
            op_type=title,
            node_name=first[title],
        )


def _first_line(error: Exception) -> str:
    """Return what a library says about a fault, on one line of bounded length."""
    text = " ".join(str(error).split())
    return text[:300].rstrip(".") + "."


def _graph_of(
    model: onnx.ModelProto,
    originals: dict[str, onnx.NodeProto],
    data: bytes,
    label: str,
    batch: Batch,
) -> Graph:
    """Convert a checked model; weights become read-only arrays.

    Groups of nodes that stand for one original become that one again.
    """
    protos = [originals.get(n.name, n) for n in model.graph.node
              if n.name not in originals or originals[n.name].name == n.name]  # fmt: skip
    constants: dict[str, AnyArray] = {}
    for tensor in model.graph.initializer:
        constants[tensor.name] = read_only(_weight(tensor, label))
    graph = Graph(
        name=label,
        inputs=tuple(_info(v) for v in model.graph.input if v.name not in constants),
        outputs=tuple(_info(v) for v in model.graph.output),
        nodes=tuple(map(_node, protos)),
        constants=constants,
        opsets={entry.domain: entry.version for entry in model.opset_import},
        shapes=infer_shapes(model),
        source=model.SerializeToString(),
        digest=hashlib.sha256(data).hexdigest(),
        batch=batch,
    )
    if not graph.inputs:
        raise ModelLoadError(f"{label}: the model has no inputs; there is nothing to calibrate.")
    return graph


def _weight(tensor: onnx.TensorProto, label: str) -> AnyArray:
    try:
        values = np.asarray(numpy_helper.to_array(tensor))
        return values.astype(np.float32) if values.dtype == np.float16 else values
    except (ValueError, TypeError) as error:
        raise ModelLoadError(
            f"{label}: weight {tensor.name!r} of shape {' x '.join(map(str, tensor.dims))} cannot "
            f"be read ({_first_line(error)}) Export or download it again."
        ) from None


def _normalize(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, and ONNX's domain its short spelling.

    ONNX Runtime refuses equal names, the onnx package the long spelling ``ai.onnx``.
    """
    taken: set[str] = set()
    for entry in [*model.opset_import, *model.graph.node]:
        if entry.domain == "ai.onnx":
            entry.domain = ""
    for i, node in enumerate(model.graph.node):
        node.name = passes.unique(node.name or f"{node.op_type}_{i}", taken)


def _node(proto: onnx.NodeProto) -> Node:
    return Node(
        name=proto.name,
        op_type=proto.op_type,
        domain=proto.domain,
        inputs=(*proto.input, *_captured(proto)),
        outputs=tuple(proto.output),
        attributes={a.name: _attribute(a) for a in proto.attribute},
        proto=proto.SerializeToString(),
    )


def _captured(node: onnx.NodeProto) -> list[str]:
    """Return the tensors that the bodies of an If, Loop or Scan read from outside."""
    found: dict[str, None] = {}
    for attribute in node.attribute:
        bodies = [attribute.g] if attribute.HasField("g") else []
        for body in [*bodies, *attribute.graphs]:
            made = {value.name for value in [*body.input, *body.initializer]}
            made.update(name for inner in body.node for name in inner.output)
            read = [n for inner in body.node for n in [*inner.input, *_captured(inner)]]
            read += [value.name for value in body.output]
            found.update(dict.fromkeys(n for n in read if n and n not in made))
    return [name for name in found if name not in node.input]


def _attribute(proto: onnx.AttributeProto) -> Any:
    """Return an attribute as a plain value: text decoded, lists as tuples, tensors as arrays."""
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if proto.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    return value


def _info(value: onnx.ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        raise ModelLoadError(
            f"{value.name!r} is no tensor of numbers; only tensors can be quantized."
        ) from None
    return TensorInfo(value.name, dtype, shape_of(tensor))
