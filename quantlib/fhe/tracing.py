"""Gates as the function that Concrete traces, with the types that their bounds give."""

from __future__ import annotations

import importlib
from copy import deepcopy
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.fhe import gates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import IntArray
    from quantlib.fhe.plan import Plan
    from quantlib.fhe.widths import Width


def traced(
    plan: Plan, widths: Mapping[str, Width], tags: Mapping[str, str]
) -> tuple[Callable[..., Any], dict[str, Any], tuple[int, ...]]:
    """Return what ``fhe.Compiler.assemble`` takes.

    Parameters
    ----------
    plan : Plan
        The gates.
    widths : mapping of str to Width
        How each tensor is held.
    tags : mapping of str to str
        By layer, the tag of its nodes.

    Returns
    -------
    function : callable
        Takes the inputs that are read, each with a batch axis of size 1; returns one result for
        each different output.
    parameters : dict
        Their descriptions.
    used : tuple of int
        Numbers of these inputs.
    """
    fhe = importlib.import_module("concrete.fhe")
    integer = importlib.import_module("concrete.fhe.dtypes").Integer
    description = importlib.import_module("concrete.fhe.values").ValueDescription
    read = {name for gate in plan.gates for name in gate.sources} | set(plan.outputs)
    used = tuple(i for i, entry in enumerate(plan.entries) if entry.name in read)
    entries = [plan.entries[i] for i in used]

    def typed(name: str) -> Any:
        return integer(is_signed=widths[name].signed, bit_width=widths[name].needed_bits)

    def compute(*inputs: Any) -> Any:
        found = dict(zip((entry.name for entry in entries), inputs, strict=True))
        for gate in plan.gates:
            if isinstance(gate, gates.Entry):
                continue
            sources = [found[name] for name in gate.sources]
            with fhe.tag(tags[gate.layer]):
                made = trace(gate, fhe, [widths[name] for name in gate.sources], *sources)
            made.output.dtype = typed(gate.name)
            found[gate.name] = made
        results = tuple(found[name] for name in dict.fromkeys(plan.outputs))
        return results if len(results) > 1 else results[0]

    names = [f"input{i}" for i in used]
    scope: dict[str, Any] = {"compute": compute}
    parameters = {
        name: description(typed(entry.name), (1, *entry.shape), True)
        for name, entry in zip(names, entries, strict=True)
    }
    return _with_names(compute, names, scope), parameters, used


def _with_names(
    compute: Callable[..., Any], names: list[str], scope: dict[str, Any]
) -> Callable[..., Any]:
    """Return a function of these parameters: Concrete goes by their names."""
    del compute
    listed = ", ".join(names)
    exec(f"def circuit({listed}):\n    return compute({listed})\n", scope)
    made: Callable[..., Any] = scope["circuit"]
    return made


@singledispatch
def trace(gate: gates.Gate, fhe: Any, widths: list[Width], *sources: Any) -> Any:
    """Return a gate's tracer, (1, *shape), for those of the tensors it reads."""
    raise NotImplementedError(type(gate).__name__)


@trace.register(gates.Product)
def _(gate: gates.Product, fhe: Any, widths: list[Width], x: Any) -> Any:
    del fhe, widths
    return gate.weights @ x if gate.on_left else x @ gate.weights


@trace.register(gates.Convolution)
def _(gate: gates.Convolution, fhe: Any, widths: list[Width], x: Any) -> Any:
    del widths
    return fhe.conv(
        x, gate.weights, strides=gate.strides, dilations=gate.dilations, group=gate.group
    )


@trace.register(gates.Shift)
def _(gate: gates.Shift, fhe: Any, widths: list[Width], x: Any) -> Any:
    del fhe, widths
    return x + gate.amount


@trace.register(gates.Scale)
def _(gate: gates.Scale, fhe: Any, widths: list[Width], x: Any) -> Any:
    del fhe, widths
    return x * gate.factor


@trace.register(gates.Add)
def _(gate: gates.Add, fhe: Any, widths: list[Width], left: Any, right: Any) -> Any:
    del gate, fhe, widths
    return left + right


@trace.register(gates.Subtract)
def _(gate: gates.Subtract, fhe: Any, widths: list[Width], left: Any, right: Any) -> Any:
    del gate, fhe, widths
    return left - right


@trace.register(gates.Total)
def _(gate: gates.Total, fhe: Any, widths: list[Width], x: Any) -> Any:
    del fhe, widths
    return np.sum(x, axis=gate.axis, keepdims=gate.keepdims)


@trace.register(gates.Rounded)
def _(gate: gates.Rounded, fhe: Any, widths: list[Width], x: Any) -> Any:
    del widths
    return fhe.round_bit_pattern(x, lsbs_to_remove=gate.lsbs)


@trace.register(gates.LookUp)
def _(gate: gates.LookUp, fhe: Any, widths: list[Width], x: Any) -> Any:
    (width,) = widths
    integers = np.arange(2**width.needed_bits)
    if width.signed:  # negative integers index from the end
        integers = np.where(
            integers >= 2 ** (width.needed_bits - 1), integers - 2**width.needed_bits, integers
        )
    place = np.clip((integers >> gate.lsbs) - gate.first, 0, gate.entries.shape[1] - 1)
    tables = [fhe.LookupTable(entries[place]) for entries in gate.entries]
    if len(tables) == 1:
        return tables[0][x]
    which = np.reshape(
        gate.which, (1, *(1,) * (len(gate.shape) - gate.which.ndim), *gate.which.shape)
    )
    placed = np.empty(which.shape, dtype=object)
    placed[...] = np.array([*tables, None], dtype=object)[which]
    return fhe.LookupTable(placed)[x]


@trace.register(gates.Gather)
def _(gate: gates.Gather, fhe: Any, widths: list[Width], x: Any) -> Any:
    del fhe, widths
    return _gathered(x, gate.index, deepcopy(x.output.dtype))


def _gathered(x: Any, index: IntArray, dtype: Any) -> Any:
    """Return elements of (1, *shape) by their numbers, as (1, *index.shape).

    By reshaping, slicing, transposing and joining: Concrete 2.11 cannot index by arrays in
    circuits that split wide integers.
    """
    shape = (1, *index.shape)
    if index.size == x.size and np.array_equal(index.ravel(), np.arange(x.size)):
        return _typed(x.reshape(shape), dtype)
    found = _slices(index, x.shape[1:])
    if found is not None:
        cut, order = found
        made = _typed(x[(slice(None), *cut)], dtype)
        if order != tuple(range(len(order))):
            made = _typed(np.transpose(made, (0, *(axis + 1 for axis in order))), dtype)
        return made if made.shape == shape else _typed(made.reshape(shape), dtype)
    if index.ndim > 1 and 1 < index.shape[-1] <= JOINED:
        parts = [
            _gathered(x, index[..., i], dtype).reshape((*shape[:-1], 1))
            for i in range(index.shape[-1])
        ]
        parts = [_typed(part, dtype) for part in parts]
        return _typed(np.concatenate(tuple(parts), axis=len(shape) - 1), dtype)
    return _typed(x.reshape((x.size,)), dtype)[index[None]]


JOINED = 64
"""Most slices that a move is made of; beyond it the elements are indexed one by one."""


def _typed(made: Any, dtype: Any) -> Any:
    made.output.dtype = deepcopy(dtype)
    return made


def _slices(
    index: IntArray, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[int, ...]] | None:
    """Return a move as one slice of each axis and an order of the axes, if it is that.

    Axes of size 1 are left to a reshape.
    """
    places = np.unravel_index(index, shape)
    axes = [i for i, size in enumerate(index.shape) if size > 1]
    cut: list[slice] = []
    owner: dict[int, int] = {}
    for own, place in enumerate(places):
        first = int(place.flat[0])
        moving = [axis for axis in axes if np.take(place, 1, axis=axis).flat[0] != place.flat[0]]
        if not moving:
            cut.append(slice(first, first + 1))
            continue
        (axis, *others) = moving
        if others or axis in owner:
            return None
        step = int(np.take(place, 1, axis=axis).flat[0]) - first
        if step < 1:
            return None
        owner[axis] = own
        cut.append(slice(first, first + step * (index.shape[axis] - 1) + 1, step))
    if len(owner) != len(axes):
        return None
    kept = [own for own in range(len(shape)) if own not in owner.values()]
    order = (*(owner[axis] for axis in axes), *kept)
    numbers = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    made = numbers[tuple(cut)].transpose(order).reshape(index.shape)
    return (tuple(cut), order) if np.array_equal(made, index) else None


@trace.register(gates.Join)
def _(gate: gates.Join, fhe: Any, widths: list[Width], *parts: Any) -> Any:
    del widths
    flat = [part.reshape((part.size,)) for part in parts]
    if gate.constants.size:
        zeros = fhe.zeros(gate.constants.shape)
        zeros.output.dtype.bit_width = 1
        shifted = zeros + gate.constants
        integer = type(zeros.output.dtype)
        shifted.output.dtype = integer.that_can_represent(gate.constants)
        flat.append(shifted)
    joined = np.concatenate(tuple(flat)) if len(flat) > 1 else flat[0]
    return joined.reshape((1, *gate.shape))


@trace.register(gates.Pad)
def _(gate: gates.Pad, fhe: Any, widths: list[Width], x: Any) -> Any:
    del widths
    made = fhe.zeros((1, *gate.shape))
    dtype = type(x.output.dtype)
    made.output.dtype = dtype.that_can_represent([0])
    if gate.fill.any():
        made = _typed(made + gate.fill, dtype.that_can_represent(gate.fill))
    made[(slice(None), *gates.box(gate.start, x.shape[1:]))] = x
    return made.last_version
