"""Model-local functions: bounded first, then written out where they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import onnx.inliner

from quantlib.errors import ModelLoadError
from quantlib.graph.walking import all_nodes, bodies
from quantlib.limits import above, limit, variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Key: TypeAlias = tuple[str, str, str]


def inline(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """Return the model without functions of its own.

    Raises
    ------
    ModelLoadError
        A function calls itself, directly or through others, functions nest too deep, or the
        model is too large once they are written out. This is found by counting, before
        anything grows.
    """
    functions = {_key(function): function for function in model.functions}
    sizes: dict[_Key, int] = {}
    for key in functions:
        _count(key, functions, sizes, label)
    total = _size(all_nodes(model.graph), sizes)
    if too_much := above("nodes", total):
        spelled = " once its functions are written out" if functions else ""
        raise ModelLoadError(
            f"{label}: the model has {total} nodes{spelled}, {too_much}; give a part of it."
        )
    if not functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        raise ModelLoadError(
            f"{label}: the functions inside the model cannot be written out: one is called with "
            "inputs or attributes that it does not have; export the model without functions of "
            "its own (PyTorch: dynamo=False)."
        ) from error


def _key(function: onnx.FunctionProto) -> _Key:
    return function.domain, function.name, function.overload


def _called(node: onnx.NodeProto) -> _Key:
    return node.domain, node.op_type, node.overload


def _inside(function: onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    for node in function.node:
        yield node
        for body in bodies(node):
            yield from all_nodes(body)


def _count(
    start: _Key, functions: dict[_Key, onnx.FunctionProto], sizes: dict[_Key, int], label: str
) -> None:
    """Enter the sizes of a function and of all it calls, in nodes; no recursion."""
    path = [start]
    while path:
        key = path[-1]
        called = {_called(node) for node in _inside(functions[key])} & functions.keys()
        missing = sorted(called - sizes.keys())
        if key in sizes or not missing:
            sizes[key] = _size(_inside(functions[key]), sizes)
            path.pop()
            continue
        if missing[0] in path:
            raise ModelLoadError(
                f"{label}: function {missing[0][1]!r} calls itself, directly or through others; "
                "such a model has no end: export it again."
            )
        if above("function_depth", len(path) + 1):
            raise ModelLoadError(
                f"{label}: more than {limit('function_depth')} functions call one another in a "
                f"row, down to {key[1]!r}; export the model without functions of its own, or set "
                f"{variable('function_depth')}."
            )
        path.append(missing[0])


def _size(nodes: Iterable[onnx.NodeProto], sizes: dict[_Key, int]) -> int:
    return sum(sizes.get(_called(node), 1) for node in nodes)
