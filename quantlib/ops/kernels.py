"""Exact integer products: the bound of the result picks the arithmetic.

Every partial sum of a product of integers is bounded by the sum of the absolute values. Below
2^24 a float32 kernel is therefore exact in any order of summation, below 2^53 a float64 one;
beyond, int64 is used.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from quantlib.arrays import carrier
from quantlib.errors import OptionsError
from quantlib.graph.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnxruntime as ort

    from quantlib.arrays import AnyArray, Codes, FloatArray

_INT64_MAX = 2**63 - 1


def absolute_sum(weights: Codes, *, axis: int | tuple[int, ...]) -> int:
    """Return the largest sum of absolute values over `axis`."""
    return int(np.abs(weights).sum(axis=axis, dtype=np.float64).max(initial=0))


def product_bound(magnitude: int, largest_sum: int) -> int:
    """Return a bound of ``sum(x * w)`` for any ``abs(x) <= magnitude``.

    `largest_sum` is `absolute_sum` of the weights; the bound holds for every partial sum.
    """
    return checked(largest_sum * magnitude)


def checked(bound: int) -> int:
    """Return a bound that 64 bits hold, or raise OptionsError."""
    if bound > _INT64_MAX:
        raise OptionsError(
            f"an accumulator could reach {bound}, beyond 64 bits; use fewer weight or activation "
            "bits."
        )
    return bound


def matmul(a: Codes, b: Codes, *, bound: int) -> Codes:
    """Return ``a @ b`` exactly, given a bound of its entries and partial sums."""
    kind = carrier(bound)
    product: Codes = np.matmul(a.astype(kind, copy=False), b.astype(kind, copy=False))
    return product


def convolve(
    x: Codes,
    w: Codes,
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    group: int,
    bound: int,
) -> Codes:
    """Return the convolution of padded `x` with `w` exactly.

    Parameters
    ----------
    x : integer-valued array, (N, C, *spatial)
        Input, padded already.
    w : integer-valued array, (O, C / group, *kernel)
        Weights.
    strides, dilations : tuple of int
        One per spatial axis.
    group : int
        Number of channel groups.
    bound : int
        Bound of the result and of every partial sum.
    """
    kind = carrier(bound)
    x, w = x.astype(kind, copy=False), w.astype(kind, copy=False)
    if kind is np.float32:
        session = _conv_session(x.ndim, strides, dilations, group)
        result: Codes = session.run(None, {"x": np.ascontiguousarray(x), "w": w})[0]
        return result
    return convolve_numpy(x, w, strides=strides, dilations=dilations, group=group)


def convolve_numpy(
    x: AnyArray, w: AnyArray, *, strides: tuple[int, ...], dilations: tuple[int, ...], group: int
) -> AnyArray:
    """Return the convolution of padded `x` with `w` in their common dtype, by one matrix product.

    Shapes as in `convolve`.
    """
    kernel = w.shape[2:]
    spatial = len(kernel)
    windows = _windows(x, kernel, strides, dilations)
    n, out_spatial = x.shape[0], windows.shape[2 : 2 + spatial]
    depth = w.shape[1] * int(np.prod(kernel))
    # (N, C, *out, *kernel) -> (N, group, C/group * kernel, out)
    order = (0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))
    columns = windows.transpose(order).reshape(n, group, depth, -1)
    rows = w.reshape(group, w.shape[0] // group, depth)
    return np.asarray(np.matmul(rows, columns).reshape(n, w.shape[0], *out_spatial))


def max_pool(
    x: AnyArray, *, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> AnyArray:
    """Return the largest value of each window of padded `x`, (N, C, *spatial)."""
    taps = _taps(x, kernel, strides, dilations)
    largest = next(taps).copy()
    for tap in taps:
        np.maximum(largest, tap, out=largest)
    return largest


def sum_pool(
    x: AnyArray, *, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> AnyArray:
    """Return the sum of each window of padded `x`, (N, C, *spatial), added tap after tap."""
    taps = _taps(x, kernel, strides, dilations)
    total = next(taps).copy()
    for tap in taps:
        total += tap
    return total


def pad_spatial(x: AnyArray, pads: tuple[int, ...], value: float) -> AnyArray:
    """Pad the spatial axes of (N, C, *spatial); `pads` in ONNX order: begins, then ends."""
    if not any(pads):
        return x
    half = len(pads) // 2
    widths = [(0, 0), (0, 0), *zip(pads[:half], pads[half:], strict=True)]
    return np.pad(x, widths, constant_values=value)


def exact_sum(x: Codes, *, axis: tuple[int, ...], keepdims: bool, magnitude: int) -> Codes:
    """Return the sum over `axis` exactly, for entries of at most `magnitude`."""
    count = int(np.prod([x.shape[i] for i in axis]))
    kind = carrier(checked(count * magnitude))
    return np.asarray(x.astype(kind, copy=False).sum(axis=axis, keepdims=keepdims, dtype=kind))


def dequantize_affine(
    accumulator: Codes, *, constant: FloatArray | float, scale: np.float64 | FloatArray
) -> FloatArray:
    """Return ``scale * (accumulator + constant)`` in float64, in this order."""
    values = accumulator.astype(np.float64)
    values += constant
    values *= scale
    return values


def _windows(
    x: AnyArray, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> AnyArray:
    """Return a view (N, C, *out, *kernel) of the windows of (N, C, *spatial)."""
    axes = tuple(range(2, x.ndim))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=axes)
    steps = [slice(None, None, s) for s in strides]
    taps = [slice(None, None, d) for d in dilations]
    return np.asarray(view[(slice(None), slice(None), *steps, *taps)])


def _taps(
    x: AnyArray, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> Iterator[AnyArray]:
    """Yield, for each position in the kernel, the view of `x` that all windows see there."""
    windows = _windows(x, kernel, strides, dilations)
    for position in np.ndindex(*kernel):
        yield windows[(..., *position)]


@lru_cache(maxsize=256)
def _conv_session(
    ndim: int, strides: tuple[int, ...], dilations: tuple[int, ...], group: int
) -> ort.InferenceSession:
    """Open an ONNX Runtime convolution whose weights are an input."""
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=strides, dilations=dilations, group=group
    )
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * ndim) for name in "xwy"
    ]
    graph = helper.make_graph([node], "conv", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return open_session(model.SerializeToString())
