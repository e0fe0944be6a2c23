"""The steps of each integer operator, up to its accumulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import exact_integers
from quantlib.core.tensor import Tensor, as_tensor
from quantlib.errors import OptionsError
from quantlib.ops import kernels
from quantlib.ops.arithmetic import Add, Div, Mul
from quantlib.ops.conv import Conv
from quantlib.ops.conv_transpose import ConvTranspose
from quantlib.ops.linear import Gemm
from quantlib.ops.pooling import AveragePool, MaxPool
from quantlib.ops.reduction import GlobalAveragePool, ReduceMean, ReduceSum
from quantlib.ops.unfold import Unfold
from quantlib.ops.windows import Window
from quantlib.program import steps
from quantlib.program.moves import separated

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from quantlib.arrays import Codes, IntArray
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import QuantizedLayer

    class Builder(Protocol):
        """What the rules add steps to."""

        def add(self, kind: type[Any], name: str, **members: Any) -> str: ...  # noqa: D102
        def step(self, name: str) -> steps.Step: ...  # noqa: D102
        def operand(  # noqa: D102
            self, layer: QuantizedLayer, position: int, *,
            term: Callable[[Tensor], Codes] | None = None, key: tuple[Any, ...] = (),
        ) -> str: ...  # fmt: skip
        def move(  # noqa: D102
            self, name: str, layer: QuantizedLayer, parts: tuple[str, ...], index: IntArray,
            fill: IntArray | int = 0,
        ) -> str: ...  # fmt: skip


def mixed(
    builder: Builder,
    layer: QuantizedLayer,
    operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:
    """Add the steps of an integer operator.

    Parameters
    ----------
    builder : Builder
        Takes the steps.
    layer : QuantizedLayer
        The operator.
    operands : tuple
        Its operands for one sample.
    shape : tuple of int
        Of one sample's accumulator.

    Returns
    -------
    str
        The tensor with its accumulator: with the terms that two variable factors lack.

    Raises
    ------
    OptionsError
        Samples are combined with each other; the message names the layer.
    """
    rules = (_RULES[kind] for kind in type(layer.op).__mro__ if kind in _RULES)
    rule = next(rules, None)
    if rule is None:
        raise OptionsError(
            f"layer {layer.name!r} ({layer.node.op_type}) has no form in an integer program; "
            "replace the operator."
        )
    return rule(builder, layer, operands, shape)


def _zero_point(operand: Tensor) -> int:
    return int(np.asarray(operand.quantizer.zero_point))


def _title(layer: QuantizedLayer, part: str = "") -> str:
    return layer.node.outputs[0] + (f":{part}" if part else "")


def _mixes(layer: QuantizedLayer) -> OptionsError:
    return OptionsError(
        f"layer {layer.name!r} ({layer.node.op_type}) combines samples of a batch, or tensors "
        "whose axes after the samples do not agree; an integer program computes each sample by "
        "itself. Keep samples along axis 0 of both factors."
    )


def _numbers(shape: tuple[int, ...]) -> IntArray:
    return np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)


def _padded(
    builder: Builder, layer: QuantizedLayer, source: str, pads: tuple[int, ...], fill: int,
    part: str = "padded",
) -> str:  # fmt: skip
    """Add a move that pads the spatial axes of (C, *spatial); none where nothing is padded."""
    if not any(pads):
        return source
    half = len(pads) // 2
    widths = [(0, 0), *zip(pads[:half], pads[half:], strict=True)]
    index = np.pad(_numbers(builder.step(source).shape), widths, constant_values=-1)
    return builder.move(_title(layer, part), layer, (source,), index, fill)


def _shaped(
    builder: Builder, layer: QuantizedLayer, source: str, shape: tuple[int, ...], part: str
) -> str:
    """Widen a tensor to a shape, as NumPy broadcasts it."""
    own = builder.step(source).shape
    if own == shape:
        return source
    if len(own) != len(shape):
        raise _mixes(layer)
    index = np.broadcast_to(_numbers(own), shape).copy()
    return builder.move(_title(layer, part), layer, (source,), index)


def _reach(
    centred: IntArray, axes: tuple[int, ...], x: steps.Step, offset: IntArray
) -> tuple[int, int, int]:
    """Return lowest and highest sum of products, and a bound of all partial sums.

    `axes` of the weights are summed over; `offset` is added to each sum.
    """
    above = np.maximum(centred, 0).sum(axis=axes)
    below = np.minimum(centred, 0).sum(axis=axes)
    low = above * x.low + below * x.high + offset
    high = above * x.high + below * x.low + offset
    partial = int((above - below).max(initial=0)) * x.magnitude
    return int(low.min()), int(high.max()), kernels.checked(partial)


def _gemm(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    op = layer.op
    assert isinstance(op, Gemm)
    if 1 not in layer.constants or 0 in layer.constants:
        return _pair(builder, layer, operands, shape)
    w = as_tensor(layer.constants[1])
    source = builder.operand(layer, 0)
    x = builder.step(source)
    codes = exact_integers(w.codes)
    zero = np.broadcast_to(np.asarray(w.quantizer.zero_point).astype(np.int64), codes.shape)
    if op.transB:
        codes, zero = codes.T, zero.T
    if op.transA or codes.ndim > max(2, len(x.shape)):
        raise _mixes(layer)
    low, high, partial = _reach(codes - zero, (-2,), x, np.zeros((), dtype=np.int64))
    return builder.add(
        steps.MatMul, _title(layer), layer=layer.name, shape=shape, low=low, high=high,
        source=source, weights=codes, weight_zero=_thin(zero, (-2,)),
        offset=np.zeros((), dtype=np.int64), partial=partial,
    )  # fmt: skip


def _thin(zero: IntArray, axes: tuple[int, ...]) -> IntArray:
    """Return zero points without the axes along which they are equal."""
    if (zero == zero.flat[0]).all():
        return np.asarray(zero.flat[0])
    index: list[slice] = [slice(None)] * zero.ndim
    for axis in axes:
        index[axis] = slice(0, 1)
    return zero[tuple(index)].copy()


def _pair(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    """Add a product whose second factor depends on data."""
    op = layer.op
    assert isinstance(op, Gemm)
    b = as_tensor(operands[1])
    zb = _zero_point(b)
    za = _zero_point(as_tensor(operands[0]))
    constant = 0 in layer.constants
    weights = None
    left = "" if constant else builder.operand(layer, 0)
    right = builder.operand(layer, 1)
    if constant:
        codes = exact_integers(as_tensor(layer.constants[0]).codes)
        weights = codes.T if op.transA else codes
    elif op.transA:
        raise _mixes(layer)
    if op.transB:
        raise _mixes(layer)
    r = builder.step(right)
    inner = shape[:-2]
    if len(r.shape) < 2 or len(shape) < 2 or (weights is not None and weights.ndim > len(r.shape)):
        raise _mixes(layer)
    right = _shaped(builder, layer, right, (*inner, *r.shape[-2:]), "right")
    fan_in = r.shape[-2]
    if left:
        left_step = builder.step(left)
        left = _shaped(builder, layer, left, (*inner, *left_step.shape[-2:]), "left")
        ends = (left_step.low, left_step.high)
    else:
        assert weights is not None
        ends = (int(weights.min()), int(weights.max()))
    products = [a * c for a in ends for c in (r.low - zb, r.high - zb)]
    low, high = fan_in * min(products), fan_in * max(products)
    if op.factor_lsbs is not None:
        furthest = max(map(abs, ends)) + r.magnitude
        slack = sum(2**lsbs * furthest + 4**lsbs + 1 for lsbs in op.factor_lsbs)
        low, high = low - fan_in * slack, high + fan_in * slack
    kernels.checked(max(abs(low), abs(high)) * 4)
    product = builder.add(
        steps.PairMatMul, _title(layer), layer=layer.name, shape=shape, low=low, high=high,
        left=left, weights=weights, right=right, right_zero=zb,
        square_lsbs=op.factor_lsbs,
    )  # fmt: skip
    if not za:
        return product
    terms = [za * fan_in * (end - zb) for end in (r.low, r.high)]
    return builder.add(
        steps.Centre, _title(layer, "centred"), layer=layer.name, shape=shape,
        low=low - max(terms), high=high - min(terms),
        source=product, right=right, left_zero=za, right_zero=zb,
    )  # fmt: skip


def _conv(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    op = layer.op
    assert isinstance(op, Conv)
    x, w = as_tensor(operands[0]), as_tensor(operands[1])
    codes = exact_integers(w.codes)
    window = Window.from_attributes(op.attributes, codes.shape[2:])
    source = builder.operand(layer, 0)
    source = _padded(builder, layer, source, window.pads_for(x.shape[2:]), _zero_point(x))
    zero = np.broadcast_to(np.asarray(w.quantizer.zero_point).astype(np.int64), codes.shape)
    return _convolution(
        builder, layer, source, shape, codes, zero, np.zeros((), dtype=np.int64),
        strides=window.strides, dilations=window.dilations, group=op.group,
    )  # fmt: skip


def _convolution(
    builder: Builder, layer: QuantizedLayer, source: str, shape: tuple[int, ...],
    codes: IntArray, zero: IntArray, offset: IntArray, *,
    strides: tuple[int, ...], dilations: tuple[int, ...], group: int,
) -> str:  # fmt: skip
    summed = tuple(range(1, codes.ndim))
    low, high, partial = _reach(codes - zero, summed, builder.step(source), offset)
    return builder.add(
        steps.Conv, _title(layer), layer=layer.name, shape=shape, low=low, high=high,
        source=source, weights=codes, weight_zero=_thin(zero, summed), offset=offset,
        partial=partial, strides=strides, dilations=dilations, group=group,
    )  # fmt: skip


def _transposed(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    """Add a transposed convolution: codes spread `strides` apart, then a convolution.

    The kernel is turned round. Between the codes stands the zero point, which adds nothing once
    ``zero_point * sum(weights)`` is taken off.
    """
    op = layer.op
    assert isinstance(op, ConvTranspose)
    x, w = as_tensor(operands[0]), as_tensor(operands[1])
    codes = exact_integers(w.codes)
    zero = np.broadcast_to(np.asarray(w.quantizer.zero_point).astype(np.int64), codes.shape)
    window = Window.from_attributes(op.attributes, codes.shape[2:])
    start, sizes = op.frame(window, x.shape[2:])
    source = builder.operand(layer, 0)
    index = _numbers(builder.step(source).shape)
    for axis, (n, first, size, stride, reach) in enumerate(
        zip(x.shape[2:], start, sizes, window.strides, window.reach, strict=True), start=1
    ):
        at = np.arange(size + reach - 1) + first - (reach - 1)
        inside = (at >= 0) & (at <= (n - 1) * stride) & (at % stride == 0)
        taken = np.take(index, np.where(inside, at // stride, 0), axis=axis)
        keep = inside.reshape([-1 if i == axis else 1 for i in range(index.ndim)])
        index = np.where(keep, taken, -1)
    source = builder.move(_title(layer, "spread"), layer, (source,), index, _zero_point(x))
    turned, turned_zero = (_turned(part, op.group) for part in (codes, zero))
    offset = -_zero_point(x) * (turned - turned_zero).sum(axis=tuple(range(1, codes.ndim)))
    return _convolution(
        builder, layer, source, shape, turned, turned_zero, offset,
        strides=(1,) * len(window.kernel), dilations=window.dilations, group=op.group,
    )  # fmt: skip


def _turned(weights: IntArray, group: int) -> IntArray:
    """Return (C, O / group, *kernel) as (O, C / group, *kernel), the kernel turned round."""
    each = weights.reshape(group, -1, *weights.shape[1:]).swapaxes(1, 2)
    flat = each.reshape(-1, *each.shape[2:])
    return flat[(slice(None), slice(None), *(slice(None, None, -1),) * (weights.ndim - 2))].copy()


def _pool(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    op = layer.op
    assert isinstance(op, AveragePool | MaxPool)
    x, window = as_tensor(operands[0]), op.window
    spatial, zero_point = x.shape[2:], _zero_point(x)
    largest = isinstance(op, MaxPool)
    counted = largest or (isinstance(op, AveragePool) and op.count_include_pad)
    source = builder.operand(layer, 0)
    low, high = builder.step(source).low, builder.step(source).high
    fill = zero_point if counted else 0
    source = _padded(builder, layer, source, window.pads_for(spatial), fill)
    overhang = window.overhang_for(spatial)
    beyond = (*(0 for _ in overhang), *overhang)
    source = _padded(builder, layer, source, beyond, low if largest else 0, "overhang")
    made = builder.step(source)
    low, high = made.low, made.high
    if not largest:
        count = int(np.prod(window.kernel))
        low, high = count * low, count * high
    return builder.add(
        steps.Pool, _title(layer), layer=layer.name, shape=shape, low=low, high=high,
        source=source, largest=largest, kernel=window.kernel, strides=window.strides,
        dilations=window.dilations,
    )  # fmt: skip


def _reduction(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    op = layer.op
    assert isinstance(op, ReduceSum | ReduceMean | GlobalAveragePool)
    rank = len(as_tensor(operands[0]).shape)
    axes = [axis - 1 for axis in op.axes_of(operands, rank)]
    if -1 in axes:
        raise _mixes(layer)
    source = builder.operand(layer, 0)
    x = builder.step(source)
    kept = [axis for axis in range(rank - 1) if axis not in axes]
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    moved = _numbers(x.shape).transpose(kept + axes).reshape(*shape, count)
    gathered = builder.move(_title(layer, "gathered"), layer, (source,), moved)
    return builder.add(
        steps.Sum, _title(layer), layer=layer.name, shape=shape, low=count * x.low,
        high=count * x.high, source=gathered,
    )  # fmt: skip


def _unfold(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    del shape
    op, x = layer.op, as_tensor(operands[0])
    assert isinstance(op, Unfold)
    source = builder.operand(layer, 0)
    total = builder.step(source).size

    def moved(batch: int, shift: int) -> IntArray:
        samples = batch + 1
        numbers = shift + _numbers((samples, *x.shape[1:]))
        return op.accumulate(Tensor(x.quantizer, codes=numbers), output=None).astype(np.int64)

    found = separated(moved, total)
    if found is None:
        raise _mixes(layer)
    return builder.move(_title(layer), layer, (source,), *found)


def _sum(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    op, output = layer.op, layer.output_grid()
    assert isinstance(op, Add)
    a, b = (_at_zero(as_tensor(operand), len(shape) + 1) for operand in operands)
    terms = (
        lambda value: op.accumulate(value, b, output=output),
        lambda value: op.accumulate(a, value, output=output),
    )
    left, right = (
        _shaped(
            builder, layer, builder.operand(layer, i, term=term, key=("term", layer.name, i)),
            shape, f"term {i}",
        )
        for i, term in enumerate(terms)
    )  # fmt: skip
    both = builder.step(left), builder.step(right)
    return builder.add(
        steps.Add, _title(layer), layer=layer.name, shape=shape,
        low=sum(step.low for step in both), high=sum(step.high for step in both),
        left=left, right=right,
    )  # fmt: skip


def _at_zero(x: Tensor, rank: int) -> Tensor:
    """Return one real zero on the grid of `x`, with axes to broadcast."""
    code = np.full((1,) * rank, _zero_point(x), dtype=np.int64)
    return Tensor(x.quantizer, codes=code)


def _mul(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    op = layer.op
    assert isinstance(op, Mul)

    def rounded(lsbs: int) -> Callable[[Tensor], Codes]:
        return lambda value: kernels.round_low_bits(value.codes, lsbs)

    factors = [
        builder.operand(layer, i, term=rounded(lsbs) if lsbs else None, key=("rounded", lsbs))
        for i, lsbs in enumerate(op.factor_lsbs)
    ]
    za, zb = (_zero_point(as_tensor(operand)) for operand in operands)
    return _product(builder, layer, factors, (za, zb), 0, shape)


def _div(
    builder: Builder, layer: QuantizedLayer, operands: tuple[Value | None, ...],
    shape: tuple[int, ...],
) -> str:  # fmt: skip
    op, a = layer.op, as_tensor(operands[0])
    assert isinstance(op, Div) and op.inverse is not None
    za, zv = _zero_point(a), int(np.asarray(op.inverse.zero_point))

    def inverted(divisor: Tensor) -> Codes:
        ((values, grid),) = op.roundings(a, divisor, output=None)
        return grid.quant(values)

    right = builder.operand(layer, 1, term=inverted, key=("inverse", layer.name))
    left = builder.operand(layer, 0)
    return _product(builder, layer, [left, right], (za, zv), 2 * za * zv, shape)


def _product(
    builder: Builder, layer: QuantizedLayer, factors: list[str], zeros: tuple[int, int],
    offset: int, shape: tuple[int, ...],
) -> str:  # fmt: skip
    za, zb = zeros
    left, right = (
        _shaped(builder, layer, factor, shape, f"factor {i}") for i, factor in enumerate(factors)
    )
    ends = [(builder.step(f).low, builder.step(f).high) for f in (left, right)]
    corners = [(p - za) * (q - zb) - za * zb + offset for p in ends[0] for q in ends[1]]
    kernels.checked(4 * max(map(abs, corners)))
    return builder.add(
        steps.Multiply, _title(layer), layer=layer.name, shape=shape, low=min(corners),
        high=max(corners), left=left, right=right, left_zero=za, right_zero=zb, offset=offset,
    )  # fmt: skip


_RULES: dict[type, Callable[..., str]] = {
    Gemm: _gemm,
    Conv: _conv,
    ConvTranspose: _transposed,
    AveragePool: _pool,
    MaxPool: _pool,
    ReduceSum: _reduction,
    ReduceMean: _reduction,
    GlobalAveragePool: _reduction,
    Unfold: _unfold,
    Add: _sum,
    Mul: _mul,
    Div: _div,
}
"""What each integer operator becomes; a class stands for its subclasses too."""
