"""The steps of an integer program.

Every tensor is written for one sample: shapes leave the batch axis out, and no step mixes samples.
Padding is a move of its own, so that products and windows never reach over a border.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.arrays import FloatArray, IntArray
    from quantlib.program.staircase import Staircase


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step:
    """What makes one integer tensor.

    Parameters
    ----------
    name : str
        The tensor, unique within the program.
    layer : str
        The layer it belongs to; for messages.
    shape : tuple of int
        Of one sample.
    low, high : int
        Bounds of its integers, for any codes of the inputs.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    low: int
    high: int

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return ()

    @property
    def size(self) -> int:
        """How many integers one sample has."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def magnitude(self) -> int:
        """A bound of the absolute value of its integers."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Input(Step):
    """Codes of a model input.

    Parameters
    ----------
    input_name : str
        The model's name for it.
    scale : float64
        Real step between two codes.
    zero_point : int
        Code of real 0.0.
    float_dtype : str
        In which the model takes the real values, ``"float32"``: quantizing divides in it.
    rounding : str
        Rule between two codes, as in `quantlib.core.rounding.Rounding`.
    """

    input_name: str
    scale: float
    zero_point: int
    float_dtype: str
    rounding: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Unary(Step):
    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensor it reads."""
        return (self.source,)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Weighted(_Unary):
    """A sum of codes times constant weights, plus a constant per output channel.

    Parameters
    ----------
    weights : int64 array
        Codes of the weights.
    weight_zero : int64 array
        Their zero point: broadcastable to `weights`.
    offset : int64 array, () or (channels,)
        Added to each sum.
    partial : int
        Bound of the absolute value of every partial sum of ``x * (w - weight_zero)``, in any
        order.
    """

    weights: IntArray
    weight_zero: IntArray
    offset: IntArray
    partial: int

    @property
    def centred(self) -> IntArray:
        """``weights - weight_zero``."""
        return np.asarray(self.weights - self.weight_zero)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MatMul(Weighted):
    """``x @ (w - z) + offset``; x (..., K), w (K, N), or stacks of such matrices."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Conv(Weighted):
    """Convolution of (C, *spatial), not padded, with (O, C / group, *kernel)."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PairMatMul(Step):
    """``left @ (right - right_zero)`` of two tensors, or of a constant on the left.

    Parameters
    ----------
    left : str
        Tensor (..., M, K); ``""`` for a constant.
    weights : int64 array or None
        The constant on the left.
    right : str
        Tensor (..., K, N).
    right_zero : int
        Taken from `right` first.
    square_lsbs : (int, int) or None
        Each product is ``round(l + r)**2 // 4 - round(l - r)**2 // 4``, where rounding takes so
        many low bits of the sum and of the difference; ``right_zero * sum(left)`` leaves after.
    """

    left: str
    weights: IntArray | None
    right: str
    right_zero: int
    square_lsbs: tuple[int, int] | None

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return (self.left, self.right) if self.left else (self.right,)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Centre(Step):
    """``source - left_zero * sum_k(right - right_zero)``: what a `PairMatMul` lacks.

    Parameters
    ----------
    source : str
        The product (..., M, N).
    right : str
        Its right factor (..., K, N).
    left_zero, right_zero : int
        Zero points of the factors.
    """

    source: str
    right: str
    left_zero: int
    right_zero: int

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return (self.source, self.right)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sum(_Unary):
    """Sum over the last axis."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pool(_Unary):
    """Sum or largest code of each window of (C, *spatial).

    Parameters
    ----------
    largest : bool
        The largest code instead of the sum.
    kernel, strides, dilations : tuple of int
        One per spatial axis.
    """

    largest: bool
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Add(Step):
    """``left + right``, shapes equal."""

    left: str
    right: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return (self.left, self.right)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Multiply(Step):
    """``left * right - left_zero * right - right_zero * left + offset``, shapes equal."""

    left: str
    right: str
    left_zero: int
    right_zero: int
    offset: int

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return (self.left, self.right)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Round(_Unary):
    """``floor((source + offset + 2**(lsbs - 1)) / 2**lsbs)``: low bits rounded away, ties upward.

    Parameters
    ----------
    lsbs : int
        How many bits, at least 1.
    offset : int
        Added before.
    """

    lsbs: int
    offset: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Table(_Unary):
    """A function of each integer: a float segment and the quantizer of whoever reads it.

    Parameters
    ----------
    reader : str
        The layer, or the model output, that reads the codes.
    through : tuple of str
        The layers whose float operators are inside.
    axes : tuple of int
        Axes of the sample along which the function changes; none where it is the same for all.
    rows : int array, sizes of `axes`
        Which of `staircases` holds at each index.
    staircases : tuple of Staircase
        The different functions.
    source_low, source_high : int
        Integers it was made for.
    """

    reader: str
    through: tuple[str, ...]
    axes: tuple[int, ...]
    rows: IntArray
    staircases: tuple[Staircase, ...]
    source_low: int
    source_high: int

    @property
    def width(self) -> int:
        """How many integers the source can have."""
        return self.source_high - self.source_low + 1

    def entries(self) -> IntArray:
        """Return the full tables: (functions, width), for integers from `source_low` on."""
        integers = np.arange(self.source_low, self.source_high + 1, dtype=np.int64)
        return np.stack([staircase(integers) for staircase in self.staircases])

    def by_element(self) -> IntArray:
        """Return the number of the function of each element of a sample, of `shape`."""
        placed = [self.shape[i] if i in self.axes else 1 for i in range(len(self.shape))]
        return np.broadcast_to(np.reshape(self.rows, placed), self.shape)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Move(Step):
    """Each integer is one of the sources' integers, or a constant.

    Parameters
    ----------
    parts : tuple of str
        The tensors it reads; their elements are numbered through, in C order.
    index : int64 array, `shape`
        Number of the element that comes to each place, -1 for a constant.
    fill : int64 array, () or `shape`
        The constants.
    """

    parts: tuple[str, ...]
    index: IntArray
    fill: IntArray

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return self.parts


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Island(Step):
    """A float computation between integers and a reader's codes; only quantlib runs it.

    Parameters
    ----------
    parts : tuple of str
        The tensors it reads.
    function : callable
        Their integers, batch axis first, to codes.
    reader : str
        The layer, or the model output, that reads the codes.
    op_type : str
        The operator that stays in float.
    reason, remedy : str
        Why it is no table, and what to change.
    """

    parts: tuple[str, ...]
    function: Callable[..., IntArray] = field(repr=False)
    reader: str
    op_type: str
    reason: str
    remedy: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return self.parts


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A model output.

    Parameters
    ----------
    name : str
        The model's name for it.
    source : str
        The tensor: codes, or accumulators where the last operator is a product.
    scale, zero_point : float64, or float64 arrays
        ``real = scale * (integer - zero_point)``; arrays broadcast against (N, *sample).
    """

    name: str
    source: str
    scale: np.float64 | FloatArray
    zero_point: int | FloatArray | IntArray

    def dequantize(self, integers: IntArray) -> FloatArray:
        """Return the real values of the integers, float64."""
        shifted = integers.astype(np.float64) - np.asarray(self.zero_point, dtype=np.float64)
        return np.asarray(shifted * self.scale)


KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Input, MatMul, Conv, PairMatMul, Centre, Sum, Pool, Add, Multiply, Round, Table,
                 Move)
}  # fmt: skip
"""The steps that can be written to a file, by name."""
