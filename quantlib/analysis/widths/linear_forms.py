"""Matrix products and convolutions as weighted sums of independent codes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.ranges import ChannelRange
from quantlib.arrays import exact_integers, exact_kind
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.tensor import Tensor
from quantlib.ops.windows import Window

if TYPE_CHECKING:
    from quantlib.analysis.widths.sizes import Sizes
    from quantlib.arrays import AnyArray, Codes
    from quantlib.ops.conv import Conv
    from quantlib.ops.conv_transpose import ConvTranspose
    from quantlib.ops.linear import Gemm


ONE = np.float64(1.0)


@dataclass(frozen=True, slots=True, eq=False)
class LinearForm:
    """Sums ``sum_i w_ci * x_i`` of codes that are free of each other.

    Parameters
    ----------
    positive, negative : int64 or object arrays, (placements, channels)
        Sum of the positive and of the negative weights that meet codes of the input. A placement
        is a way in which a kernel lies over the border; a matrix product has one, or one per
        matrix of a stack.
    padded : array, (placements, channels)
        Sum of the weights that meet padding.
    """

    positive: AnyArray
    negative: AnyArray
    padded: AnyArray

    def extremes(self, low: int, high: int, fill: int) -> ChannelRange:
        """Return the exact extremes for codes in ``[low, high]`` and padding `fill`.

        Notes
        -----
        Codes are chosen one by one, so the maximum of a placement takes `high` under every
        positive weight and `low` under every negative one; the minimum the other way round.
        """
        lows, highs = self.over(np.array([low]), np.array([high]), np.array([fill]))
        return ChannelRange(lows[0], highs[0])

    def over(self, low: AnyArray, high: AnyArray, fill: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Return lows and highs, (grids, channels), for one range of codes per grid."""
        reach = max(int(np.abs(part).max(initial=0)) for part in (low, high, fill))
        weight = int((self.positive - self.negative + abs(self.padded)).max(initial=0))
        kind = exact_kind(reach * weight)
        up: AnyArray = self.positive.astype(kind)
        down: AnyArray = self.negative.astype(kind)
        lo, hi, z = (_column(part, kind) for part in (low, high, fill))
        constant: AnyArray = self.padded.astype(kind) * z
        highest = np.max(up * hi + down * lo + constant, axis=1)
        lowest = np.min(up * lo + down * hi + constant, axis=1)
        return lowest, highest


def of_matrix(op: Gemm, weights: Codes, *, first: bool) -> LinearForm:
    """Return the form of a matrix product with constant `weights`.

    Parameters
    ----------
    op : Gemm
        Its transposition.
    weights : integer-valued array
        The constant factor as the node reads it.
    first : bool
        Whether it is the first factor; channels are then its rows, else its columns.
    """
    transposed = op.transA if first else op.transB
    axis = -1 if first != bool(transposed) else -2
    positive, negative = _split_sums(weights, axis)
    shape = (-1, positive.shape[-1])
    up, down = positive.reshape(shape), negative.reshape(shape)
    return LinearForm(up, down, np.zeros_like(up))


def of_convolution(op: Conv, weights: Codes, spatial: Sizes) -> LinearForm:
    """Return the form of a convolution over an input of this spatial shape.

    Parameters
    ----------
    op : Conv
        Window and groups.
    weights : integer-valued array, (O, C / group, *kernel)
        Weights.
    spatial : tuple of int
        Sizes of the input's spatial axes.
    """
    positive, negative = (part.reshape(len(weights), -1).T for part in _split_sums(weights, 1))
    inside = placements(Window.from_attributes(op.attributes, weights.shape[2:]), spatial)
    return LinearForm(inside @ positive, inside @ negative, (1 - inside) @ (positive + negative))


def of_transposed(op: ConvTranspose, weights: Codes, spatial: Sizes) -> LinearForm:
    """Return the form of a transposed convolution over an input of this spatial shape.

    Parameters
    ----------
    op : ConvTranspose
        Window and groups.
    weights : integer-valued array, (C, O / group, *kernel)
        Weights less their zero points.
    spatial : tuple of int
        Sizes of the input's spatial axes.

    Notes
    -----
    An image of ones brings to each place the sum of the weights that meet it.
    """
    one = UniformQuantizer(QuantizationOptions(1), None, UniformQuantizationParameters(ONE, 0, 0))
    image = Tensor(one, codes=np.ones((1, len(weights), *(int(size or 1) for size in spatial))))

    def sums(part: Codes) -> AnyArray:
        placed = op.accumulate(image, Tensor(one, codes=part), output=None)
        return exact_integers(placed[0].reshape(placed.shape[1], -1).T)

    up, down = sums(np.maximum(weights, 0)), sums(np.minimum(weights, 0))
    return LinearForm(up, down, np.zeros_like(up))


def placements(window: Window, spatial: Sizes) -> AnyArray:
    """Return which taps of a kernel meet the input, for every different position.

    Returns
    -------
    int64 array, (placements, taps)
        1 where the tap lies on the input, 0 on padding; taps in C order.
    """
    sizes = tuple(int(size or 1) for size in spatial)
    pads, half = window.pads_for(sizes), len(window.kernel)
    masks = [
        _axis_masks(size, window, axis, (pads[axis], pads[half + axis]))
        for axis, size in enumerate(sizes)
    ]
    rows = []
    for combination in itertools.product(*masks):
        mask = np.ones((), dtype=np.int64)
        for part in combination:
            mask = np.multiply.outer(mask, part)
        rows.append(mask.ravel())
    return np.stack(rows)


def _axis_masks(size: int, window: Window, axis: int, pads: tuple[int, int]) -> AnyArray:
    """Return the different (taps,) masks of one axis."""
    stride, reach = window.strides[axis], window.reach[axis]
    starts = np.arange(0, size + sum(pads) - reach + 1, stride) - pads[0]
    taps = starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
    return np.unique(((taps >= 0) & (taps < size)).astype(np.int64), axis=0)


def _column(values: AnyArray, kind: type) -> AnyArray:
    """Shape one value per grid for broadcasting over (grids, placements, channels)."""
    return values.astype(kind)[:, None, None]


def _split_sums(weights: Codes, axis: int) -> tuple[AnyArray, AnyArray]:
    """Return the sums of the positive and of the negative weights over `axis`, exactly."""
    count = weights.shape[axis]
    largest = float(np.abs(weights).max(initial=0))
    if count * largest >= 2**53:
        whole = exact_integers(weights).astype(object)
        return np.maximum(whole, 0).sum(axis=axis), np.minimum(whole, 0).sum(axis=axis)
    positive = np.maximum(weights, 0).sum(axis=axis, dtype=np.float64)
    total = weights.sum(axis=axis, dtype=np.float64)
    return positive.astype(np.int64), (total - positive).astype(np.int64)
