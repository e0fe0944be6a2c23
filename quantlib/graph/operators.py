"""Which operators can be run at all, asked before any runtime sees them."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from quantlib.errors import ModelLoadError, UnsupportedOpError
from quantlib.graph.carried import QONNX_DOMAINS
from quantlib.graph.walking import all_nodes, bodies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph, Node

RUNTIME_DOMAIN = "com.microsoft"
"""ONNX Runtime's own domain."""

_RANDOM = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
     "Multinomial"]
)  # fmt: skip


@cache
def _known_to_runtime() -> dict[tuple[str, str], int]:
    """Return the operators of ONNX Runtime, with the first version of each."""
    found: dict[tuple[str, str], int] = {}
    for schema in runtime.get_all_operator_schema():
        key = schema.domain, schema.name
        found[key] = min(found.get(key, schema.since_version), schema.since_version)
    return found


def runtime_domains() -> frozenset[str]:
    """Return the domains that ONNX Runtime adds to those of ONNX."""
    return frozenset(
        domain for domain, _ in _known_to_runtime() if not domain.startswith("ai.onnx")
    )


def is_extension(node: onnx.NodeProto, opsets: Mapping[str, int]) -> bool:
    """Tell whether only ONNX Runtime knows an operator, in the operator set that is used.

    LayerNormalization is one before operator set 17.
    """
    key = node.domain, node.op_type
    version = opsets.get(node.domain, 1)
    if _known_to_runtime().get(key, version + 1) > version:
        return False
    try:
        onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return True
    return False


def refuse_unknown(model: onnx.ModelProto, label: str) -> None:
    """Raise UnsupportedOpError when nobody knows an operator; each is named once."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    unknown: Counter[str] = Counter()
    first: dict[str, str] = {}
    newer: dict[str, int] = {}
    domains = set()
    for node in all_nodes(model.graph):
        if not node.op_type:
            raise ModelLoadError(
                f"{label}: node {node.name!r} names no operator; export the model again."
            )
        key = node.domain, node.op_type
        if key in _known_to_runtime():
            since = _since(node)
            if since > opsets.get(node.domain, since) and not is_extension(node, opsets):
                newer.setdefault(node.op_type, since)
                first.setdefault(node.op_type, node.name)
            continue
        title = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        unknown[title] += 1
        first.setdefault(title, node.name)
        domains.add(node.domain)
    if unknown:
        listed = ", ".join(f"{title} ({_times(count)})" for title, count in unknown.items())
        remedy = "replace by ONNX operators and export again"
        if domains <= QONNX_DOMAINS:
            remedy = "give the model as it was before FINN's or QONNX's tools changed its layers"
        raise _unsupported(f"{label}: nobody knows how to run {listed}; {remedy}.", first)
    if newer:
        listed = ", ".join(f"{name} (from {version} on)" for name, version in newer.items())
        raise _unsupported(
            f"{label}: the model says operator set {opsets.get('', 0)}, which does not have "
            f"{listed}; export it for a newer operator set.",
            first,
        )


def _times(count: int) -> str:
    return f"{count} nodes" if count != 1 else "1 node"


def _unsupported(message: str, first: Mapping[str, str]) -> UnsupportedOpError:
    title = next(iter(first))
    return UnsupportedOpError(message, op_type=title, node_name=first[title])


@cache
def _first_version(domain: str, op_type: str) -> int:
    versions = [
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if (schema.domain, schema.name) == (domain, op_type)
    ]
    return min(versions, default=0)


def _since(node: onnx.NodeProto) -> int:
    """Return the operator set with which an operator came."""
    return _first_version(node.domain, node.op_type)


def refuse_random(graph: Graph) -> None:
    """Raise UnsupportedOpError for operators that draw numbers, or that train."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        for word in _unsteady(node, graph.constants):
            found.setdefault(word, []).append(node.name)
    if not found:
        return
    listed = ", ".join(f"{word} (node {names[0]!r}"
                       f"{f' and {len(names) - 1} more' if names[1:] else ''})"
                       for word, names in found.items())  # fmt: skip
    raise UnsupportedOpError(
        f"{graph.name}: {listed}: such a model answers differently each time, or by what else "
        "is in the batch; export it for inference (PyTorch: model.eval() first), and give "
        "random numbers as an input.",
        op_type=next(iter(found)),
        node_name=next(iter(found.values()))[0],
    )


def _unsteady(node: Node, constants: Mapping[str, AnyArray]) -> list[str]:
    """Return what is random or in training mode about a node, in words."""
    words = []
    given = {name: constants.get(name) for name in node.inputs}
    if not node.domain and (
        word := _word(node.op_type, node.inputs, node.attributes.get("training_mode", 0), given)
    ):
        words.append(word)
    for body in bodies(onnx.NodeProto.FromString(node.proto)):
        words += _in_body(all_nodes(body))
    return words + _in_body(all_nodes(onnx.GraphProto.FromString(node.body)))


def _in_body(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    words = []
    for node in nodes:
        mode = next((a.i for a in node.attribute if a.name == "training_mode"), 0)
        if not node.domain and (word := _word(node.op_type, tuple(node.input), mode, {})):
            words.append(word)
    return words


def _word(
    op_type: str, inputs: tuple[str, ...], mode: int, given: Mapping[str, AnyArray | None]
) -> str:
    if op_type in _RANDOM:
        return op_type
    if op_type == "BatchNormalization" and mode:
        return "BatchNormalization in training mode"
    if op_type == "Dropout" and len(inputs) > 2 and inputs[2]:
        training, ratio = given.get(inputs[2]), given.get(inputs[1])
        trains = training is None or bool(np.any(training))
        if trains and (not inputs[1] or ratio is None or bool(np.any(ratio))):
            return "Dropout in training mode"
    return ""
