"""Exact integer products: the bound of the result picks the arithmetic.

Every partial sum of a product of integers is bounded by the sum of the absolute values. Below
2^24 a float32 kernel is therefore exact in any order of summation, below 2^53 a float64 one;
beyond, int64 is used.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from quantlib.arrays import carrier
from quantlib.core import affine
from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError
from quantlib.graph.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnxruntime as ort

    from quantlib.arrays import AnyArray, Codes, FloatArray

_INT64_MAX = 2**63 - 1

_COLUMNS = 1 << 17
"""Values that a convolution lays side by side at a time: 1 MiB of float64."""

_FEWEST = 512
"""Places of the output that one matrix product has at least: weights are read again for each."""


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
    pads: tuple[int, ...] = (),
) -> Codes:
    """Return the convolution of `x` with `w` exactly.

    Parameters
    ----------
    x : integer-valued array, (N, C, *spatial)
        Input; padded already, unless `pads` says what is still to be padded.
    w : integer-valued array, (O, C / group, *kernel)
        Weights.
    strides, dilations : tuple of int
        One per spatial axis.
    group : int
        Number of channel groups.
    bound : int
        Bound of the result and of every partial sum.
    pads : tuple of int
        Zeros around `x`, in ONNX order; none when not given.
    """
    kind = carrier(bound)
    x, w = x.astype(kind, copy=False), w.astype(kind, copy=False)
    if kind is not np.float32:
        x = pad_spatial(x, pads, 0)
    else:
        session = _conv_session("Conv", x.ndim, strides, dilations, group, pads)
        result: Codes = session.run(None, {"x": np.ascontiguousarray(x), "w": w})[0]
        return result
    return convolve_numpy(x, w, strides=strides, dilations=dilations, group=group)


def convolve_numpy(
    x: AnyArray, w: AnyArray, *, strides: tuple[int, ...], dilations: tuple[int, ...], group: int
) -> AnyArray:
    """Return the convolution of padded `x` with `w` in their common dtype, by matrix products.

    Shapes as in `convolve`. What the kernel's places see is laid side by side for a piece of the
    output at a time, so that it is still in the cache when it is multiplied.
    """
    kernel = w.shape[2:]
    n, places = x.shape[0], math.prod(kernel)
    depth = w.shape[1] * places
    kind = np.result_type(x, w)
    rows = w.reshape(group, w.shape[0] // group, depth).astype(kind, copy=False)
    if places == 1:
        columns = unfold(x, kernel=kernel, strides=strides, dilations=dilations)
        products = np.matmul(rows, columns.reshape(n, group, depth, -1).astype(kind, copy=False))
        return np.asarray(products.reshape(n, w.shape[0], *columns.shape[3:]))
    windows = _windows(x, kernel, strides, dilations)
    spatial = windows.shape[2 : 2 + len(kernel)]
    result = np.empty((n, w.shape[0], *spatial), dtype=kind)
    outputs = result.reshape(n, group, w.shape[0] // group, -1)
    line = math.prod(spatial[1:])  # places of the output in one step along its first axis
    wide = max(_FEWEST, _COLUMNS // (x.shape[1] * places or 1))  # places of the output in a piece
    samples = max(1, min(n, wide // max(1, line * spatial[0])))
    steps = spatial[0] if samples > 1 else max(1, min(spatial[0], wide // max(1, line)))
    for first in range(0, n, samples):
        for start in range(0, spatial[0], steps):
            part = windows[first : first + samples, :, start : start + steps]
            count, height = part.shape[0], part.shape[2]
            columns = np.empty((count, x.shape[1], places, *part.shape[2 : 2 + len(kernel)]), kind)
            for i, place in enumerate(np.ndindex(*kernel)):
                columns[:, :, i] = part[(..., *place)]
            outputs[first : first + samples, ..., start * line : (start + height) * line] = (
                np.matmul(rows, columns.reshape(count, group, depth, -1))
            )
    return result


def unfold(
    x: AnyArray, *, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> AnyArray:
    """Return what each place in the kernel sees of padded `x`: (N, C, places, *out).

    Places are in C order; `x` is (N, C, *spatial).
    """
    windows = _windows(x, kernel, strides, dilations)
    spatial = len(kernel)
    order = (0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))
    moved = windows.transpose(order)
    return moved.reshape(*x.shape[:2], int(np.prod(kernel)), *windows.shape[2 : 2 + spatial])


def convolve_transposed(
    x: Codes,
    w: Codes,
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    group: int,
    bound: int,
) -> Codes:
    """Return the whole transposed convolution of `x` with `w` exactly, nothing cut off.

    Parameters
    ----------
    x : integer-valued array, (N, C, *spatial)
        Input.
    w : integer-valued array, (C, O / group, *kernel)
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
    if kind is np.float32 and x.size:
        session = _conv_session("ConvTranspose", x.ndim, strides, dilations, group)
        feeds = {"x": np.ascontiguousarray(x), "w": np.ascontiguousarray(w)}
        result: Codes = session.run(None, feeds)[0]
        return result
    return convolve_transposed_numpy(x, w, strides=strides, dilations=dilations, group=group)


def convolve_transposed_numpy(
    x: AnyArray, w: AnyArray, *, strides: tuple[int, ...], dilations: tuple[int, ...], group: int
) -> AnyArray:
    """Return the whole transposed convolution in the common dtype, by one matrix product.

    Shapes as in `convolve_transposed`; the result has ``(size - 1) * stride + (kernel - 1) *
    dilation + 1`` places along each spatial axis.
    """
    n, channels, *spatial = x.shape
    kernel = w.shape[2:]
    each = channels // group
    rows = w.reshape(group, each, -1).transpose(0, 2, 1)
    seen = np.matmul(rows, x.reshape(n, group, each, -1))
    taps = seen.reshape(n, w.shape[1] * group, int(np.prod(kernel)), *spatial)
    full = [
        (size - 1) * s + (k - 1) * d + 1
        for size, s, k, d in zip(spatial, strides, kernel, dilations, strict=True)
    ]
    result = np.zeros((n, w.shape[1] * group, *full), dtype=taps.dtype)
    for i, tap in enumerate(np.ndindex(*kernel)):
        places = [
            slice(t * d, t * d + (size - 1) * s + 1, s)
            for t, d, size, s in zip(tap, dilations, spatial, strides, strict=True)
        ]
        result[(slice(None), slice(None), *places)] += taps[:, :, i]
    return result


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
    ends = [size + a + b for size, a, b in zip(x.shape[2:], pads[:half], pads[half:], strict=True)]
    padded = np.empty((*x.shape[:2], *ends), dtype=x.dtype)
    inside: list[slice] = [slice(None), slice(None)]
    for begin, size in zip(pads[:half], x.shape[2:], strict=True):
        padded[(*inside, slice(None, begin))] = value
        padded[(*inside, slice(begin + size, None))] = value
        inside.append(slice(begin, begin + size))
    padded[tuple(inside)] = x
    return padded


def exact_sum(x: Codes, *, axis: tuple[int, ...], keepdims: bool, magnitude: int) -> Codes:
    """Return the sum over `axis` exactly, for entries of at most `magnitude`."""
    count = int(np.prod([x.shape[i] for i in axis]))
    kind = carrier(checked(count * magnitude))
    return np.asarray(x.astype(kind, copy=False).sum(axis=axis, keepdims=keepdims, dtype=kind))


def dequantize_affine(
    accumulator: Codes, *, constant: FloatArray | float, scale: np.float64 | FloatArray
) -> FloatArray:
    """Return ``scale * (accumulator + constant)`` in float64, in this order."""
    return affine.scaled(accumulator, np.asarray(constant), np.asarray(scale))


def round_low_bits(accumulator: Codes, lsbs_to_remove: int) -> Codes:
    """Round integers to multiples of ``2**lsbs_to_remove``, to nearest, ties upward."""
    if lsbs_to_remove == 0:
        return accumulator
    step = 2**lsbs_to_remove
    if accumulator.dtype.kind == "i":
        return np.asarray((accumulator + step // 2) // step * step)
    rounded: Codes = accumulator.astype(np.float64)
    rounded += step // 2
    rounded /= step
    np.floor(rounded, out=rounded)
    rounded *= step
    return rounded


def excess_bits(codes: Codes, threshold_bits: int) -> int:
    """Return by how many bits the integers are wider than a threshold, at least 0."""
    if codes.size == 0:
        return 0
    return max(0, bit_width(int(codes.min()), int(codes.max())) - threshold_bits)


def excess_bits_of_sums(a: Codes, b: Codes, threshold_bits: int) -> tuple[int, int]:
    """Return the `excess_bits` of ``a + b`` and ``a - b`` over all pairs that ``a @ b`` multiplies.

    Matrices of a stack are measured one by one, the widest counts.
    """
    low_a, high_a = a.min(axis=-2), a.max(axis=-2)  # of each column, which meets one row of b
    low_b, high_b = b.min(axis=-1), b.max(axis=-1)

    def excess(low: Codes, high: Codes) -> int:
        ranges = zip(low.min(axis=-1).flat, high.max(axis=-1).flat, strict=True)
        widths = (bit_width(int(least), int(largest)) for least, largest in ranges)
        return max(0, max(widths, default=0) - threshold_bits)

    return excess(low_a + low_b, high_a + high_b), excess(low_a - high_b, high_a - low_b)


def product_of_squares(a: Codes, b: Codes, *, sum_lsbs: int, difference_lsbs: int) -> Codes:
    """Return ``a @ b`` with each product made of two rounded squares.

    Parameters
    ----------
    a, b : integer-valued arrays, (..., M, K) and (..., K, N)
        Factors.
    sum_lsbs, difference_lsbs : int
        Low bits that rounding takes from ``a + b`` and from ``a - b``.

    Returns
    -------
    int64 array, (..., M, N)

    Notes
    -----
    ``4ab = (a + b)**2 - (a - b)**2``: under encryption a product of two encrypted integers is two
    table look-ups, whose inputs are rounded. Concrete ML 1.9 multiplies matrices that way; each
    quarter square is truncated. Without rounding the result is ``a @ b``.
    """
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    result = np.zeros((*shape, a.shape[-2], b.shape[-1]), dtype=np.int64)
    for k in range(a.shape[-1]):
        left, right = a[..., :, k, None].astype(np.int64), b[..., None, k, :].astype(np.int64)
        result += round_low_bits(left + right, sum_lsbs) ** 2 // 4
        result -= round_low_bits(left - right, difference_lsbs) ** 2 // 4
    return result


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
    op_type: str,
    ndim: int,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    group: int,
    pads: tuple[int, ...] = (),
) -> ort.InferenceSession:
    """Open an ONNX Runtime (transposed) convolution whose weights are an input."""
    padding: dict[str, Any] = {"pads": pads} if any(pads) else {}
    node = helper.make_node(
        op_type, ["x", "w"], ["y"], strides=strides, dilations=dilations, group=group, **padding
    )
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * ndim) for name in "xwy"
    ]
    graph = helper.make_graph([node], "conv", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return open_session(model.SerializeToString())
