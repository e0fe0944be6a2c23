"""What runs although it breaks a rule of ONNX: made to keep the rule, with a note.

ONNX Runtime is the measure: it sorts nodes, ignores shapes that are out of date, takes
initializers that are no inputs from files of any age, and works out types by itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantlib.errors import ModelLoadError
from quantlib.graph.shapes import infer_shapes, shape_of, with_shapes
from quantlib.graph.walking import (
    all_graphs,
    all_nodes,
    bodies,
    given_in,
    read_by,
    topological_order,
)
from quantlib.limits import above

if TYPE_CHECKING:
    from collections.abc import Collection

    from quantlib.graph.model import Shape

_AXES_AS_INPUT = 13
"""Operator set from which Squeeze has its axes as an input."""

_FIRST_FREE_INITIALIZERS = 4
"""IR version from which initializers need not be inputs too."""


def mend(model: onnx.ModelProto, label: str) -> list[str]:
    """Mend what a runtime would pass over, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        Parsed, with all tensors inside and every node named.
    label : str
        What messages call the model.

    Returns
    -------
    list of str
        What was done, one sentence each.

    Raises
    ------
    ModelLoadError
        A node reads what nothing makes, nodes read each other in a circle, or a sparse tensor
        is damaged or too large.
    """
    notes = []
    model.graph.name = model.graph.name or label
    _name_nodes(model)
    given = given_in(model.graph) - {value.name for value in model.graph.input}
    if model.ir_version < _FIRST_FREE_INITIALIZERS and given:
        notes.append(
            f"IR version {model.ir_version} wants every initializer among the inputs; read as "
            f"version {_FIRST_FREE_INITIALIZERS}, which does not."
        )
        model.ir_version = _FIRST_FREE_INITIALIZERS
    for graph in all_graphs(model.graph):
        for i, value in reversed(list(enumerate(graph.value_info))):
            if not value.name or not value.HasField("type"):
                del graph.value_info[i]
        if graph.sparse_initializer:
            names = ", ".join(repr(t.values.name) for t in graph.sparse_initializer[:3])
            notes.append(f"sparse tensors ({names}) are read with their zeros written out.")
            graph.initializer.extend(_dense(tensor, label) for tensor in graph.sparse_initializer)
            del graph.sparse_initializer[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_value < 0:  # older converters mean a size that nobody knows
                size.ClearField("dim_value")
    early = _sort(model.graph, frozenset(), label)
    made = given_in(model.graph).union(*(node.output for node in model.graph.node))
    if not model.graph.output:
        raise ModelLoadError(f"{label}: the model has no outputs; export it again.")
    for value in model.graph.output:
        if value.name not in made:
            raise ModelLoadError(
                f"{label}: output {value.name!r} is made by no node; export the model again."
            )
    if early:
        which = f"node {early[0]!r} stands before what it reads"
        if len(early) > 1:
            which = f"{len(early)} nodes stand before what they read, the first is {early[0]!r}"
        notes.append(f"{which}; sorted.")
    return notes


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, and ONNX's domain its short spelling.

    ONNX Runtime refuses equal names, the onnx package the long spelling ``ai.onnx``.
    """
    taken: set[str] = set()
    for entry in [*model.opset_import, *all_nodes(model.graph)]:
        if entry.domain == "ai.onnx":
            entry.domain = ""
    for i, node in enumerate(model.graph.node):
        node.name = unique(node.name or f"{node.op_type}_{i}", taken)


def unique(name: str, taken: set[str]) -> str:
    """Return `name`, with a number if it is taken, and mark it as taken."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _sort(graph: onnx.GraphProto, outside: Collection[str], label: str) -> list[str]:
    """Sort nodes after what they read, keeping the file's order elsewhere.

    Returned are the names of those that stood too early.
    """
    given = given_in(graph).union(outside)
    made = {name for node in graph.node for name in node.output if name}
    reads = [read_by(node) for node in graph.node]
    for node, names in zip(graph.node, reads, strict=True):
        for name in names:
            if name not in made and name not in given:
                raise ModelLoadError(
                    f"{label}: node {node.name!r} ({node.op_type}) reads {name!r}, which is no "
                    "input, no stored tensor and no node's result; the file lacks a part of the "
                    "model: export it again."
                )
    order, misplaced = topological_order(reads, [node.output for node in graph.node])
    if len(order) < len(reads):
        stuck = sorted(set(range(len(reads))).difference(order))
        some = ", ".join(repr(graph.node[i].name) for i in stuck[:5])
        raise ModelLoadError(
            f"{label}: nodes read each other's results in a circle, or wait for such nodes "
            f"({some}); export the model again."
        )
    early = [graph.node[i].name for i in misplaced]
    if early:
        copies = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in order]
        del graph.node[:]
        graph.node.extend(copies)
    inside = given.union(made)
    for node in graph.node:
        for body in bodies(node):
            early += _sort(body, inside, label)
    return early


def _dense(tensor: onnx.SparseTensorProto, label: str) -> onnx.TensorProto:
    """Return a sparse tensor with its zeros written out."""
    name = tensor.values.name
    dims = list(tensor.dims)
    fault = ""
    if min(dims, default=0) < 0:
        fault = f"has the shape {' x '.join(map(str, dims))}, and no size is below 0"
    elif too_much := above("tensor_values", math.prod(dims)):
        fault = f"takes {' x '.join(map(str, dims))} numbers, {too_much}"
    else:
        try:
            values = numpy_helper.to_array(tensor.values).ravel()
            indices = numpy_helper.to_array(tensor.indices)
            dense = np.zeros(dims, dtype=values.dtype)
            places = tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, dims)
            if values.size and indices.min() < 0:
                raise IndexError("negative indices")
            dense[places] = values
            return numpy_helper.from_array(dense, name)
        except (ValueError, IndexError, TypeError):
            fault = "has indices that do not fit its shape or its values"
    raise ModelLoadError(
        f"{label}: sparse tensor {name!r} {fault}; store it as an ordinary tensor."
    )


def name_squeezed_axes(model: onnx.ModelProto) -> list[str]:
    """Write down which axes a Squeeze without axes removes, in place; return notes.

    Left as it is, it would remove the samples' axis too when there is one sample. Axes are
    written down where all sizes but the first are known.
    """
    nodes = [n for n in model.graph.node if n.op_type == "Squeeze" and not n.domain]
    nodes = [n for n in nodes if not n.attribute and not any(n.input[1:])]
    if not nodes:
        return []
    shapes = infer_shapes(model)
    version = next((e.version for e in model.opset_import if not e.domain), 0)
    notes = []
    for node in nodes:
        first, *sizes = shapes.get(node.input[0], (0,))
        if isinstance(first, int) or not all(isinstance(size, int) for size in sizes):
            continue
        axes = [i for i, size in enumerate(sizes, 1) if size == 1]
        if version < _AXES_AS_INPUT:
            node.attribute.append(helper.make_attribute("axes", axes))
        else:
            name = f"{node.name}/axes"
            array = np.array(axes, dtype=np.int64)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
            node.input[1:] = [name]
        notes.append(
            f"node {node.name!r} (Squeeze) names no axes and would remove that of the samples "
            f"when there is one; read as axes {axes}."
        )
    return notes


def drop_contradictions(model: onnx.ModelProto) -> list[str]:
    """Drop shapes that the file notes and that do not follow from its graph, in place.

    Shapes of tensors inside are only notes, and so are those of outputs: a runtime warns and
    goes by what it computes. Element types are not touched. Returned is a note per tensor.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = with_shapes(bare).graph
    right = {
        value.name: shape_of(value.type.tensor_type)
        for value in [*inferred.value_info, *inferred.output]
        if value.type.tensor_type.HasField("shape")
    }
    notes = []
    for i, value in reversed(list(enumerate(model.graph.value_info))):
        if _contradicts(value, right):
            notes.append(_stale(value, right))
            del model.graph.value_info[i]
    for value in model.graph.output:
        if _contradicts(value, right):
            notes.append(_stale(value, right))
            value.type.tensor_type.ClearField("shape")
    return notes[::-1]


def _contradicts(value: onnx.ValueInfoProto, right: dict[str, Shape]) -> bool:
    if value.name not in right or not value.type.tensor_type.HasField("shape"):
        return False
    noted, known = shape_of(value.type.tensor_type), right[value.name]
    return len(noted) != len(known) or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(noted, known, strict=True)
    )


def _stale(value: onnx.ValueInfoProto, right: dict[str, Shape]) -> str:
    noted, known = (
        " x ".join("?" if size is None else str(size) for size in shape) or "a single number"
        for shape in (shape_of(value.type.tensor_type), right[value.name])
    )
    return f"tensor {value.name!r} is noted as {noted} and is {known}; the note is dropped."
