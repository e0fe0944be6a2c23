"""Gates in NumPy: what they compute, and between which bounds."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np

from quantlib.fhe import gates
from quantlib.ops import kernels

if TYPE_CHECKING:
    from typing import TypeAlias

    from quantlib.arrays import IntArray

    Bounds: TypeAlias = tuple[int, int]


@singledispatch
def evaluate(gate: gates.Gate, *sources: IntArray) -> IntArray:
    """Return a gate's integers, (N, *shape) int64, for those of the tensors it reads."""
    raise NotImplementedError(type(gate).__name__)


@evaluate.register(gates.Product)
def _(gate: gates.Product, x: IntArray) -> IntArray:
    return np.asarray(gate.weights @ x if gate.on_left else x @ gate.weights)


@evaluate.register(gates.Convolution)
def _(gate: gates.Convolution, x: IntArray) -> IntArray:
    bound = max(abs(gate.low), abs(gate.high), _reach_of(gate, x))
    made = kernels.convolve(
        x,
        gate.weights,
        strides=gate.strides,
        dilations=gate.dilations,
        group=gate.group,
        bound=bound,
    )
    return np.asarray(made).astype(np.int64)


def _reach_of(gate: gates.Convolution, x: IntArray) -> int:
    """Return a bound of all partial sums."""
    largest = int(np.abs(gate.weights).sum(axis=tuple(range(1, gate.weights.ndim))).max())
    return largest * int(np.abs(x).max(initial=0))


@evaluate.register(gates.Shift)
def _(gate: gates.Shift, x: IntArray) -> IntArray:
    return np.asarray(x + gate.amount)


@evaluate.register(gates.Scale)
def _(gate: gates.Scale, x: IntArray) -> IntArray:
    return np.asarray(x * gate.factor)


@evaluate.register(gates.Add)
def _(gate: gates.Add, left: IntArray, right: IntArray) -> IntArray:
    del gate
    return np.asarray(left + right)


@evaluate.register(gates.Subtract)
def _(gate: gates.Subtract, left: IntArray, right: IntArray) -> IntArray:
    del gate
    return np.asarray(left - right)


@evaluate.register(gates.Total)
def _(gate: gates.Total, x: IntArray) -> IntArray:
    return np.asarray(x.sum(axis=gate.axis, keepdims=gate.keepdims))


@evaluate.register(gates.Rounded)
def _(gate: gates.Rounded, x: IntArray) -> IntArray:
    return np.asarray(kernels.round_low_bits(x, gate.lsbs))


@evaluate.register(gates.LookUp)
def _(gate: gates.LookUp, x: IntArray) -> IntArray:
    return gate(x >> gate.lsbs)


@evaluate.register(gates.Gather)
def _(gate: gates.Gather, x: IntArray) -> IntArray:
    return np.asarray(x.reshape(len(x), -1)[:, gate.index])


@evaluate.register(gates.Join)
def _(gate: gates.Join, *parts: IntArray) -> IntArray:
    samples = len(parts[0])
    constants = np.broadcast_to(gate.constants, (samples, gate.constants.size))
    return np.concatenate([*(p.reshape(samples, -1) for p in parts), constants], axis=1)


@evaluate.register(gates.Pad)
def _(gate: gates.Pad, x: IntArray) -> IntArray:
    made = np.full((len(x), *gate.shape), gate.fill)
    made[(slice(None), *gates.box(gate.start, x.shape[1:]))] = x
    return made


@singledispatch
def bounds(gate: gates.Gate, *sources: Bounds) -> Bounds:
    """Return bounds of a gate's integers, for those of the tensors it reads."""
    raise NotImplementedError(type(gate).__name__)


@bounds.register(gates.Product)
@bounds.register(gates.Convolution)
def _(gate: gates.Product | gates.Convolution, x: Bounds) -> Bounds:
    weights = gate.weights
    if isinstance(gate, gates.Convolution):
        axes: tuple[int, ...] = tuple(range(1, weights.ndim))
    else:
        axes = (-1,) if gate.on_left else (-2,)
    above = np.maximum(weights, 0).sum(axis=axes)
    below = np.minimum(weights, 0).sum(axis=axes)
    low, high = above * x[0] + below * x[1], above * x[1] + below * x[0]
    return int(low.min()), int(high.max())


@bounds.register(gates.Shift)
def _(gate: gates.Shift, x: Bounds) -> Bounds:
    return x[0] + int(gate.amount.min()), x[1] + int(gate.amount.max())


@bounds.register(gates.Scale)
def _(gate: gates.Scale, x: Bounds) -> Bounds:
    ends = [end * gate.factor for end in x]
    return min(ends), max(ends)


@bounds.register(gates.Add)
def _(gate: gates.Add, left: Bounds, right: Bounds) -> Bounds:
    del gate
    return left[0] + right[0], left[1] + right[1]


@bounds.register(gates.Subtract)
def _(gate: gates.Subtract, left: Bounds, right: Bounds) -> Bounds:
    del gate
    return left[0] - right[1], left[1] - right[0]


@bounds.register(gates.Total)
def _(gate: gates.Total, x: Bounds) -> Bounds:
    return gate.count * x[0], gate.count * x[1]


@bounds.register(gates.Rounded)
def _(gate: gates.Rounded, x: Bounds) -> Bounds:
    half = 2 ** (gate.lsbs - 1)
    low, high = ((end + half) >> gate.lsbs << gate.lsbs for end in x)
    return low, high


@bounds.register(gates.LookUp)
def _(gate: gates.LookUp, x: Bounds) -> Bounds:
    last = gate.entries.shape[1] - 1
    start, stop = (min(max((end >> gate.lsbs) - gate.first, 0), last) for end in x)
    reached = gate.entries[:, start : stop + 1]
    return int(reached.min()), int(reached.max())


@bounds.register(gates.Gather)
def _(gate: gates.Gather, x: Bounds) -> Bounds:
    del gate
    return x


@bounds.register(gates.Join)
def _(gate: gates.Join, *parts: Bounds) -> Bounds:
    ends = [end for part in parts for end in part] + [int(c) for c in gate.constants]
    return min(ends), max(ends)


@bounds.register(gates.Pad)
def _(gate: gates.Pad, x: Bounds) -> Bounds:
    return min(x[0], int(gate.fill)), max(x[1], int(gate.fill))
