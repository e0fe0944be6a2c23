"""The plainest way to run an integer program: NumPy, int64, one function per step."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np

from quantlib.ops import kernels
from quantlib.program import steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import IntArray


@singledispatch
def run_step(step: steps.Step, values: Mapping[str, IntArray]) -> IntArray:
    """Return a step's integers, (N, *shape); `values` holds those of the tensors it reads."""
    raise NotImplementedError(type(step).__name__)


@run_step.register(steps.MatMul)
def _(step: steps.MatMul, values: Mapping[str, IntArray]) -> IntArray:
    x = values[step.source]
    return np.asarray(kernels.matmul(x, step.centred, bound=step.partial) + step.offset).astype(
        np.int64
    )


@run_step.register(steps.Conv)
def _(step: steps.Conv, values: Mapping[str, IntArray]) -> IntArray:
    sums = kernels.convolve(
        values[step.source],
        step.centred,
        strides=step.strides,
        dilations=step.dilations,
        group=step.group,
        bound=step.partial,
    ).astype(np.int64)
    offset = np.broadcast_to(step.offset, step.shape[:1])
    return np.asarray(sums + offset.reshape(-1, *(1,) * (len(step.shape) - 1)))


@run_step.register(steps.PairMatMul)
def _(step: steps.PairMatMul, values: Mapping[str, IntArray]) -> IntArray:
    left = values[step.left] if step.weights is None else step.weights
    right = values[step.right]
    if step.square_lsbs is None:
        return np.asarray(np.matmul(left, right - step.right_zero))
    sums, differences = step.square_lsbs
    product = kernels.product_of_squares(left, right, sum_lsbs=sums, difference_lsbs=differences)
    return np.asarray(product - step.right_zero * left.sum(axis=-1, keepdims=True)).astype(np.int64)


@run_step.register(steps.Centre)
def _(step: steps.Centre, values: Mapping[str, IntArray]) -> IntArray:
    centred = values[step.right] - step.right_zero
    sums = centred.sum(axis=-2, keepdims=True)
    return np.asarray(values[step.source] - step.left_zero * sums)


@run_step.register(steps.Sum)
def _(step: steps.Sum, values: Mapping[str, IntArray]) -> IntArray:
    return np.asarray(values[step.source].sum(axis=-1))


@run_step.register(steps.Pool)
def _(step: steps.Pool, values: Mapping[str, IntArray]) -> IntArray:
    pool = kernels.max_pool if step.largest else kernels.sum_pool
    x = values[step.source]
    made = pool(x, kernel=step.kernel, strides=step.strides, dilations=step.dilations)
    return np.asarray(made)


@run_step.register(steps.Add)
def _(step: steps.Add, values: Mapping[str, IntArray]) -> IntArray:
    return np.asarray(values[step.left] + values[step.right])


@run_step.register(steps.Multiply)
def _(step: steps.Multiply, values: Mapping[str, IntArray]) -> IntArray:
    left, right = values[step.left], values[step.right]
    return np.asarray(left * right - step.left_zero * right - step.right_zero * left + step.offset)


@run_step.register(steps.Round)
def _(step: steps.Round, values: Mapping[str, IntArray]) -> IntArray:
    shifted = values[step.source] + step.offset + 2 ** (step.lsbs - 1)
    return np.asarray(shifted >> step.lsbs)


@run_step.register(steps.Table)
def _(step: steps.Table, values: Mapping[str, IntArray]) -> IntArray:
    x = values[step.source]
    if not step.axes:
        return step.staircases[0](x)
    flat = x.reshape(len(x), -1)
    kind = step.by_element().ravel()
    result = np.empty_like(flat)
    for i, staircase in enumerate(step.staircases):
        here = kind == i
        result[:, here] = staircase(flat[:, here])
    return result.reshape(x.shape)


@run_step.register(steps.Move)
def _(step: steps.Move, values: Mapping[str, IntArray]) -> IntArray:
    samples = len(values[step.parts[0]])
    every = np.concatenate([values[p].reshape(samples, -1) for p in step.parts], axis=1)
    taken = every[:, step.index.ravel()].reshape(samples, *step.shape)
    return np.where(step.index < 0, step.fill, taken)


@run_step.register(steps.Island)
def _(step: steps.Island, values: Mapping[str, IntArray]) -> IntArray:
    return step.function(*(values[p] for p in step.parts))
