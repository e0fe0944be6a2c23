"""Lists, dictionaries, optional values and text: nothing that has a grid.

Nodes that hand such values to one another become one float operator, whose inputs and outputs
are tensors of numbers; outputs that are none are read before, or left out with a note.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import onnx
from onnx import helper

from quantlib.errors import ModelLoadError
from quantlib.graph.carried import OWN_DOMAIN
from quantlib.graph.islands import NUMBERS, plain_name, runtime_word
from quantlib.graph.model import Node
from quantlib.graph.walking import topological_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from quantlib.graph.model import Graph

_MOST_TITLES = 3


def in_words(word: str) -> str:
    """Return what ONNX Runtime's word for a type means to people."""
    if word == "tensor(string)":
        return "text"
    for start, what in (("seq(map", "a list of dictionaries"), ("seq(", "a list of tensors"),
                        ("map(", "a dictionary"), ("optional(", "an optional value"),
                        ("sparse_tensor(", "a sparse tensor"),
                        ("tensor(complex", "complex numbers")):  # fmt: skip
        if word.startswith(start):
            return what
    return f"of type {word}"


def check_inputs(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError when inputs are no tensors of numbers; all are named in one message."""
    stored = {tensor.name for tensor in model.graph.initializer}
    lists, narrow = [], []
    for value in model.graph.input:
        if value.name in stored:
            continue
        word = _word_of(value.type)
        if word and word not in NUMBERS:
            lists.append(f"{value.name!r} ({in_words(word)})")
        elif word in NUMBERS and plain_name(NUMBERS[word]) != _numpy_name(NUMBERS[word]):
            narrow.append(f"{value.name!r} ({word[7:-1]})")
    if lists:
        raise ModelLoadError(
            f"{label}: inputs that are no tensors of numbers cannot be quantized: "
            f"{', '.join(lists)}; turn them into numbers outside the model and export the rest."
        )
    if narrow:
        raise ModelLoadError(
            f"{label}: data of these types cannot be given: {', '.join(narrow)}; let the inputs "
            "be float32 or int8, with a Cast behind them."
        )


def _numpy_name(kind: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(kind))


def _word_of(kind: onnx.TypeProto) -> str:
    """Return ONNX Runtime's word for a type; empty where the file does not say one."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        element = kind.tensor_type.elem_type
        return runtime_word(element) if element in onnx.TensorProto.DataType.values() else ""
    inner = {"sequence_type": "seq", "map_type": "map", "optional_type": "optional",
             "sparse_tensor_type": "sparse_tensor"}.get(which or "", which or "")  # fmt: skip
    if which == "sequence_type" and kind.sequence_type.elem_type.HasField("map_type"):
        return "seq(map)"
    return f"{inner}()" if inner else ""


TEXTS = "tensor(string)"
"""Labels as text: they are compared as classes."""


def keep_number_outputs(model: onnx.ModelProto, words: Mapping[str, str], label: str) -> list[str]:
    """Leave only tensors of numbers or texts among the outputs, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    words : mapping of str to str
        ONNX Runtime's word for each tensor's type.
    label : str
        What messages call the model.

    Returns
    -------
    list of str
        A note per output that changed. Dictionaries of a ZipMap are read as the tensor they
        are made of, whose columns are their entries.

    Raises
    ------
    ModelLoadError
        No output is left; the message names each.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    kept: list[onnx.ValueInfoProto] = []
    notes, lost = [], []
    for value in model.graph.output:
        word, maker = words[value.name], makers.get(value.name)
        if word in NUMBERS or word == TEXTS:
            kept.append(value)
        elif maker is not None and maker.op_type == "ZipMap":
            (source,) = maker.input
            kind = NUMBERS[words[source]]
            kept.append(helper.make_tensor_value_info(source, kind, None))
            columns = ", ".join(_labels(maker))
            notes.append(
                f"output {value.name!r} is read before ZipMap makes dictionaries of it, as tensor "
                f"{source!r} with the columns {columns[:200]}."
            )
        else:
            by = f" from node {maker.name!r} ({maker.op_type})" if maker is not None else ""
            lost.append(f"{value.name!r}, {in_words(word)}{by}")
    unique = {value.name: value for value in reversed(kept)}
    if not unique:
        raise ModelLoadError(
            f"{label}: no output is a tensor ({'; '.join(lost)}); let the model end "
            "with an operator that makes one (SequenceAt, ConcatFromSequence), or with the "
            "scores instead of the labels."
        )
    notes += [f"output {what} is left out: it has no numbers to compare." for what in lost]
    copies = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in unique.values()]
    del model.graph.output[:]
    model.graph.output.extend(reversed(copies))
    return notes


def _labels(node: onnx.NodeProto) -> list[str]:
    found = []
    for attribute in node.attribute:
        found += [label.decode("utf-8", "replace") for label in attribute.strings]
        found += map(str, attribute.ints)
    return found


def join(graph: Graph, words: Mapping[str, str]) -> Graph:
    """Make one node of all nodes that hand each other what is no tensor of numbers.

    Nodes between them, which read from one and are read by another, go with them.
    """
    opaque = {name for name, word in words.items() if word not in NUMBERS}
    nodes = graph.nodes
    if not any(opaque.intersection(node.outputs) for node in nodes):
        return graph
    group = list(range(len(nodes)))
    makers = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    sources = [{makers[name] for name in node.inputs if name in makers} for node in nodes]
    for i, node in enumerate(nodes):
        for name in opaque.intersection(node.inputs):
            _unite(group, makers.get(name, i), i)
    while _close(group, sources):
        pass
    members: dict[int, list[int]] = {}
    for i in range(len(nodes)):
        members.setdefault(_root(group, i), []).append(i)
    needed = _needed(nodes, graph.output_names, group)
    hidden = opaque.difference(graph.output_names)
    joined, notes = [], list(graph.notes)
    for places in members.values():
        found = [nodes[i] for i in places]
        if len(found) == 1:
            kept = tuple("" if name in hidden else name for name in found[0].outputs)
            joined.append(dataclasses.replace(found[0], outputs=kept))
            continue
        joined.append(_composite(found, needed))
        listed = ", ".join(dict.fromkeys(node.op_type for node in found))
        notes.append(
            f"{len(found)} nodes that hand each other lists, optional values or text run as one "
            f"float operator, {joined[-1].name!r} ({listed[:200]})."
        )
    order, _ = topological_order([n.inputs for n in joined], [n.outputs for n in joined])
    return dataclasses.replace(graph, nodes=tuple(joined[i] for i in order), notes=tuple(notes))


def _root(group: list[int], i: int) -> int:
    while group[i] != i:
        group[i] = group[group[i]]
        i = group[i]
    return i


def _unite(group: list[int], a: int, b: int) -> None:
    a, b = _root(group, a), _root(group, b)
    group[max(a, b)] = min(a, b)


def _close(group: list[int], sources: Sequence[Iterable[int]]) -> bool:
    """Unite each group with the nodes on paths that leave it and come back; tell whether any."""
    sizes: dict[int, list[int]] = {}
    for i in range(len(group)):
        sizes.setdefault(_root(group, i), []).append(i)
    changed = False
    for root, members in sizes.items():
        if len(members) < 2:
            continue
        inside = set(members)
        after = set(inside)
        for i in range(members[0], members[-1] + 1):
            if any(source in after for source in sources[i]):
                after.add(i)
        before = set(inside)
        for i in range(members[-1], members[0] - 1, -1):
            if i in before:
                before.update(sources[i])
        for i in after & before - inside:
            _unite(group, root, i)
            changed = True
    return changed


def _needed(nodes: Sequence[Node], outputs: Iterable[str], group: list[int]) -> set[str]:
    """Return the names that are read by another group than the one that makes them."""
    makers = {name: _root(group, i) for i, node in enumerate(nodes) for name in node.outputs}
    needed = set(outputs)
    for i, node in enumerate(nodes):
        needed.update(n for n in node.inputs if n in makers and makers[n] != _root(group, i))
    return needed


def _composite(nodes: Sequence[Node], needed: set[str]) -> Node:
    """Return one node that does what several do."""
    made = [name for node in nodes for name in node.outputs if name]
    inputs = dict.fromkeys(n for node in nodes for n in node.inputs if n and n not in set(made))
    outputs = tuple(name for name in made if name in needed)
    titles = list(dict.fromkeys(node.op_type for node in nodes))
    title = " + ".join(titles[:_MOST_TITLES])
    if len(titles) > _MOST_TITLES:
        title += f" + {len(titles) - _MOST_TITLES} more"
    body = onnx.GraphProto()
    kinds: dict[str, int] = {}
    for node in nodes:
        if node.body:
            body.MergeFromString(node.body)
        else:
            body.node.append(onnx.NodeProto.FromString(node.proto))
        kinds.update(node.kinds)
    return Node(
        name=nodes[0].name,
        op_type=title,
        domain=OWN_DOMAIN,
        inputs=tuple(inputs),
        outputs=outputs,
        attributes={},
        proto=helper.make_node(
            title, list(inputs), list(outputs), domain=OWN_DOMAIN
        ).SerializeToString(),
        body=body.SerializeToString(),
        kinds={name: kinds[name] for name in (*inputs, *outputs) if name in kinds},
    )
