"""Which node is at fault, in the project's own words, where a library refuses a model.

What a library says stays with the exception it raised, as the cause: its words name source files,
types and rules that mean nothing to whoever made the model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto

from quantlib.graph.shapes import shape_of, without_values, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_LISTED = 6
"""Most attributes, and most inputs, that a description of a node lists."""

_RUNNING = re.compile(r"running \S+ node\. Name:'(?P<name>.*?)' Status Message", re.DOTALL)
_MEMORY = re.compile(r"bad.?alloc|allocat|exceeds the supported maximum|out of memory", re.I)


def first_refused(
    model: onnx.ModelProto, opens: Callable[[onnx.ModelProto], object]
) -> onnx.NodeProto | None:
    """Return the node with which a model becomes one that `opens` refuses.

    Parameters
    ----------
    model : onnx.ModelProto
        Nodes sorted; `opens` raises for it.
    opens : callable
        Raises for a model that it refuses. It is called about log2(number of nodes) times.

    Returns
    -------
    NodeProto or None
        None where all nodes are taken, so that the fault lies in what the model declares.
    """
    if not _refuses(opens, _beginning(model, len(model.graph.node))):
        return None
    good, bad = 0, len(model.graph.node)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _refuses(opens, _beginning(model, middle)):
            bad = middle
        else:
            good = middle
    found: onnx.NodeProto = model.graph.node[bad - 1]
    return found


def _beginning(model: onnx.ModelProto, count: int) -> onnx.ModelProto:
    """Return a copy with the first nodes only, which declares nothing about results."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[count:], part.graph.value_info[:], part.graph.output[:]
    names = [name for name in part.graph.node[count - 1].output if name]
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return part


def _refuses(opens: Callable[[onnx.ModelProto], object], model: onnx.ModelProto) -> bool:
    try:
        opens(model)
    except Exception:  # whatever kind of fault a library raises
        return True
    return False


def in_words(node: onnx.NodeProto, model: onnx.ModelProto | None = None) -> str:
    """Return a node with what decides whether it fits: attributes, and shapes and types read.

    Parameters
    ----------
    node : NodeProto
        The node.
    model : onnx.ModelProto, optional
        The model it is in, for shapes and types; without it inputs are not described.
    """
    words = f"node {node.name!r} ({node.op_type})"
    settings = [f"{a.name} {value}" for a in node.attribute if (value := _value(a))]
    if settings:
        words += f" with {_listed(settings)}"
    if model is None:
        return words
    known = _types(model)
    read = [f"{name!r}{known.get(name, '')}" for name in node.input if name]
    return words + (f", which reads {_listed(read)}" if read else "")


def _listed(parts: list[str]) -> str:
    rest = len(parts) - MAX_LISTED
    return ", ".join(parts[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _value(attribute: onnx.AttributeProto) -> str:
    """Return a short attribute in words; nothing for graphs and tensors."""
    kinds = onnx.AttributeProto
    if attribute.type == kinds.INT:
        return str(attribute.i)
    if attribute.type == kinds.FLOAT:
        return f"{attribute.f:g}"
    if attribute.type == kinds.STRING:
        text: str = attribute.s.decode("utf-8", "replace")
        return repr(text[:40])
    if attribute.type == kinds.INTS:
        return " ".join(map(str, attribute.ints[:8]))
    if attribute.type == kinds.FLOATS:
        return " ".join(f"{number:g}" for number in attribute.floats[:8])
    return ""


def _types(model: onnx.ModelProto) -> dict[str, str]:
    """Return shape and element type of each tensor, as far as they can be told."""
    found: dict[str, str] = {}
    graph = without_values(model).graph
    for value in [*graph.input, *graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        shape = words_of(shape_of(tensor)) if tensor.HasField("shape") else "of unknown shape"
        found[value.name] = f" ({shape}, {type_in_words(tensor.elem_type)})"
    for stored in graph.initializer:
        shape = words_of(tuple(stored.dims))
        found[stored.name] = f" ({shape}, {type_in_words(stored.data_type)})"
    return found


def type_in_words(kind: int) -> str:
    """Return an ONNX element type in words."""
    special: dict[int, str] = {TensorProto.STRING: "text", TensorProto.UNDEFINED: "of unknown type"}
    if kind in special:
        return special[kind]
    if kind not in TensorProto.DataType.values():
        return f"of type number {kind}"
    name: str = TensorProto.DataType.Name(kind).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def is_about_memory(error: BaseException) -> bool:
    """Tell whether a library or Python ran out of memory."""
    return isinstance(error, MemoryError) or bool(_MEMORY.search(str(error)))


def failing(error: BaseException, nodes: Iterable[onnx.NodeProto]) -> onnx.NodeProto | None:
    """Return the node that ONNX Runtime was running when it failed; None where it does not say."""
    found = _RUNNING.search(str(error))
    name = found["name"] if found else ""
    return next((node for node in nodes if name and node.name == name), None)


def why(error: BaseException, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return why a computation failed, with the shapes of what it was given."""
    given = ", ".join(f"{name!r} {words_of(shape)}" for name, shape in list(shapes.items())[:4])
    if not shapes:
        return "what it reads and its settings do not fit each other, on no data at all"
    if is_about_memory(error):
        return f"it takes more memory than there is on data of this size ({given})"
    return f"its settings do not fit what it reads ({given})"
