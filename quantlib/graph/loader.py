"""The one door for models: path, bytes or ModelProto in, checked Graph out."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from quantlib.arrays import AnyArray, read_only
from quantlib.errors import ModelLoadError, UnsupportedOpError, name_file
from quantlib.graph import (
    channels_last,
    faults,
    functions,
    growth,
    lists,
    masks,
    mending,
    operators,
    passes,
    rules,
    unfold,
    weights,
)
from quantlib.graph.batch import settle_batch
from quantlib.graph.islands import NUMBERS, plain, plain_name, with_plain_tensors
from quantlib.graph.lowering import lower_quantizers
from quantlib.graph.model import Batch, Graph, Node, TensorInfo
from quantlib.graph.parsing import parse
from quantlib.graph.runtime import open_session
from quantlib.graph.shapes import infer_shapes, shape_of, with_shapes
from quantlib.graph.versions import check_versions, import_domains, modernize
from quantlib.graph.walking import read_by
from quantlib.limits import above

if TYPE_CHECKING:
    from collections.abc import Mapping


def load_model(
    source: str | Path | bytes | onnx.ModelProto,
    *,
    name: str | None = None,
    batch_axes: Mapping[str, int | None] | None = None,
    convert: bool | None = None,
) -> Graph:
    """Load and check an ONNX model.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        The model, with all its tensors inside, within `quantlib.limits`. A fixed batch size is
        freed where samples that are run together give what each gives alone.
    name : str, optional
        What messages and downloads call it; the file's stem by default.
    batch_axes : mapping of str to int or None, optional
        Which axis of an input numbers the samples, None for an input without samples; what is
        not given is found.
    convert : bool, optional
        Whether operator sets before 7 may be converted by onnx's version converter, which broken
        files can make end the process. By default paths and ModelProtos are converted, bytes,
        which may have come from anywhere, are not.

    Returns
    -------
    Graph
        Simplified as the reference's importer does: constants folded, MatMul + Add fused. Its
        `notes` say what was mended.

    Raises
    ------
    ModelLoadError
        Not an ONNX model, damaged, external data, or refused by the checker or ONNX Runtime.
    UnsupportedOpError
        Operators that nobody knows, that draw random numbers or that train; each is named once.

    Notes
    -----
    What ONNX Runtime runs loads; see `quantlib.graph.mending`.

    Examples
    --------
    >>> import quantlib as ql
    >>> ql.load_model("sample_models/iris_linear.onnx").output_names
    ('output',)
    """
    folder: Path | None = None
    trusted = True
    if isinstance(source, onnx.ModelProto):
        data, stem = source.SerializeToString(), source.graph.name or "model"
    elif isinstance(source, bytes | bytearray | memoryview):
        data, stem, trusted = bytes(source), "model", False
    else:
        path = Path(source)
        if not path.is_file():
            raise ModelLoadError(f"{path.name}: there is no such file; check the path.")
        data, stem, folder = path.read_bytes(), path.stem, path.parent
    label = name or stem
    converted = trusted if convert is None else convert
    try:
        model = parse(data, label, folder)
        return _loaded(model, data, label, convert=converted, batch_axes=batch_axes)
    except (ModelLoadError, UnsupportedOpError) as error:
        name_file(error, label)
        raise


def _loaded(
    model: onnx.ModelProto,
    data: bytes,
    label: str,
    *,
    convert: bool,
    batch_axes: Mapping[str, int | None] | None,
) -> Graph:
    """Return the graph of a parsed model."""
    check_versions(model, label)
    model = functions.inline(model, label)
    growth.check_depth([model.graph], label)
    rules.check_names(model, label)
    rules.check_types(model, label)
    notes = mending.mend(model, label)
    import_domains(model, operators.runtime_domains())
    model, converted = modernize(model, label, convert=convert)
    lowered, originals, bodies = lower_quantizers(model)
    model = channels_last.to_channels_first(lowered)
    originals.update(unfold.expand(model))
    operators.refuse_unknown(model, label)
    rules.check_nodes(model, label)
    lists.check_inputs(model, label)
    _check_sizes(model, label)
    growth.check_loops(model, label)
    growth.check_sizes(model, label)
    notes += [*converted, *_check(model, label)]
    words = _words(model, label)
    notes += lists.keep_number_outputs(model, words, label)
    notes += masks.finite_masks(model)
    model, batch = settle_batch(model, axes=batch_axes)
    notes += mending.name_squeezed_axes(model)
    graph = _graph_of(model, data, label, words, originals, batch)
    nodes = tuple(
        dataclasses.replace(node, body=bodies[node.name].SerializeToString())
        if node.name in bodies
        else node
        for node in graph.nodes
    )
    graph = dataclasses.replace(graph, nodes=nodes, notes=tuple(notes))
    graph = passes.simplify(lists.join(passes.drop_unused(graph), words))
    operators.refuse_random(graph)
    return weights.with_notes(graph)


def _check(model: onnx.ModelProto, label: str) -> list[str]:
    """Ask onnx's checker, which ends more kindly than a runtime; return notes.

    Shapes noted in the file that contradict the graph are dropped, in place.
    """
    notes: list[str] = []
    for last in (False, True):
        try:
            onnx.checker.check_model(_as_checker_wants(model), full_check=True)
        except Exception as error:  # onnx's own kinds, and ValueError for types that are none
            if not last and isinstance(error, onnx.shape_inference.InferenceError):
                notes = mending.drop_contradictions(model)
                if notes:
                    continue
            raise _broken_rule(model, label) from error
        break
    return notes


def _broken_rule(model: onnx.ModelProto, label: str) -> ModelLoadError:
    """Return the error for a model that onnx's checker refuses, with the node at fault."""
    node = faults.first_refused(model, _infers)
    if node is not None:
        return ModelLoadError(
            f"{label}: {faults.in_words(node, model)}, breaks a rule of its operator: shapes or "
            "types do not fit each other or its settings. Correct it and export again."
        )
    outputs = ", ".join(repr(value.name) for value in model.graph.output[:4])
    return ModelLoadError(
        f"{label}: what the model declares of its inputs, outputs ({outputs}) or stored tensors "
        "contradicts what its nodes make of them. Correct it and export again."
    )


def _infers(model: onnx.ModelProto) -> None:
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _as_checker_wants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without what the checker refuses and a runtime does not.

    It wants type and shape of every output, and knows no operators of ONNX Runtime's in ONNX's
    own domain (LayerNormalization before operator set 17).
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    typed = all(value.type.tensor_type.HasField("shape") for value in model.graph.output)
    foreign = [
        i
        for i, node in enumerate(model.graph.node)
        if not node.domain and operators.is_extension(node, opsets)
    ]
    if typed and not foreign:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for i in foreign:
        copy.graph.node[i].domain = operators.RUNTIME_DOMAIN
    import_domains(copy, operators.runtime_domains())
    filled = with_shapes(copy)
    known = [v for v in filled.graph.output if v.type.tensor_type.HasField("shape")]
    del filled.graph.output[:]
    filled.graph.output.extend(known)
    return filled


def _check_sizes(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for inputs without a type, or of sizes that cannot be meant."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in stored:
            continue
        if not value.name or not value.type.WhichOneof("value"):
            raise ModelLoadError(
                f"{label}: input {value.name!r} has no {'type' if value.name else 'name'}; say "
                "what it holds and export the model again."
            )
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            raise ModelLoadError(
                f"{label}: input {value.name!r} does not say how many axes it has; write its "
                "shape into the model (sizes may stay free)."
            )
        sizes = [d.dim_value for d in tensor.shape.dim if d.HasField("dim_value")]
        if too_much := above("tensor_values", math.prod(sizes)):
            raise ModelLoadError(
                f"{label}: input {value.name!r} has the shape {' x '.join(map(str, sizes))}, "
                f"{too_much}; export the model for smaller data."
            )
        if 0 in sizes:
            raise ModelLoadError(
                f"{label}: input {value.name!r} has the shape {' x '.join(map(str, sizes))} and "
                "thus no values; write the right sizes into the model, or leave them free."
            )


_NOT_IMPLEMENTED = re.compile(
    r"(?:implementation|kernel) for (?P<op>[\w.]+)\((?P<version>\d+)\)"
    r"(?: node with name '(?P<name>[^']*)'| \(node:'(?P<node>[^']*)')"
)


def _words(model: onnx.ModelProto, label: str) -> dict[str, str]:
    """Open the model in ONNX Runtime; return its word for the type of each tensor."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    for name in dict.fromkeys(name for node in model.graph.node for name in node.output if name):
        if name not in outputs:
            probe.graph.output.append(onnx.ValueInfoProto(name=name))
    try:
        session = open_session(probe.SerializeToString())
    except Exception as error:
        found = _NOT_IMPLEMENTED.search(str(error))
        if found:
            where = found["name"] or found["node"] or ""
            raise UnsupportedOpError(
                f"{label}: node {where!r}: ONNX Runtime cannot run {found['op']} of "
                f"operator set {found['version']} in the element types it has here; use float32, "
                "or another operator.",
                op_type=found["op"],
                node_name=where,
            ) from None
        raise _not_loaded(model, label) from error
    words = {v.name: v.type for v in (*session.get_inputs(), *session.get_outputs())}
    for tensor in model.graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        words[tensor.name] = f"tensor({kind})"
    return words


def _not_loaded(model: onnx.ModelProto, label: str) -> ModelLoadError:
    """Return the error for a model that ONNX Runtime refuses, with the node at fault."""
    node = faults.first_refused(model, lambda part: open_session(part.SerializeToString()))
    if node is not None:
        return ModelLoadError(
            f"{label}: ONNX Runtime refuses {faults.in_words(node, model)}: its settings do not "
            "fit its inputs, or are none that it knows. Correct it and export again."
        )
    outputs = ", ".join(repr(value.name) for value in model.graph.output[:4])
    return ModelLoadError(
        f"{label}: ONNX Runtime refuses the model, though each of its nodes alone is right: what "
        f"it declares of its outputs ({outputs}) contradicts what its nodes make. Correct it and "
        "export again."
    )


def _graph_of(
    model: onnx.ModelProto,
    data: bytes,
    label: str,
    words: Mapping[str, str],
    originals: Mapping[str, onnx.NodeProto],
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
    kinds = {name: NUMBERS[word] for name, word in words.items() if word in NUMBERS}
    graph = Graph(
        name=label,
        inputs=tuple(_info(v, kinds) for v in model.graph.input if v.name not in constants),
        outputs=tuple(_info(v, kinds) for v in model.graph.output),
        nodes=tuple(_node(proto, kinds) for proto in protos),
        constants=constants,
        opsets={entry.domain: entry.version for entry in model.opset_import},
        shapes=infer_shapes(model),
        source=with_plain_tensors(model, kinds).SerializeToString(),
        digest=hashlib.sha256(data).hexdigest(),
        batch=batch,
    )
    if not graph.inputs:
        raise ModelLoadError(f"{label}: the model has no inputs; there is nothing to calibrate.")
    return graph


def _weight(tensor: onnx.TensorProto, label: str) -> AnyArray:
    """Return a stored tensor; floats below 32 bits are widened, small integers stay."""
    try:
        values = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise ModelLoadError(
            f"{label}: weight {tensor.name!r} of shape {' x '.join(map(str, tensor.dims))} cannot "
            "be read; export or download it again."
        ) from error
    return values if "int" in values.dtype.name else plain(values)


def _node(proto: onnx.NodeProto, kinds: Mapping[str, int]) -> Node:
    inputs = (*proto.input, *(name for name in read_by(proto) if name not in proto.input))
    return Node(
        name=proto.name,
        op_type=proto.op_type,
        domain=proto.domain,
        inputs=inputs,
        outputs=tuple(proto.output),
        attributes={a.name: _attribute(a) for a in proto.attribute},
        proto=proto.SerializeToString(),
        kinds={name: kinds[name] for name in (*inputs, *proto.output) if name in kinds},
    )


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


def _info(value: onnx.ValueInfoProto, kinds: Mapping[str, int]) -> TensorInfo:
    tensor = value.type.tensor_type
    kind = tensor.elem_type or kinds[value.name]
    return TensorInfo(value.name, plain_name(kind), shape_of(tensor))
