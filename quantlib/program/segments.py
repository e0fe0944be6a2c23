"""Float segments: from integers to a reader's codes, by the code that runs the module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.ops.base import FloatOp, IslandOp, Treatment
from quantlib.program.staircase import CHUNK, bisect, tabulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import AnyArray, Codes, IntArray
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.program.staircase import Staircase

TABLE_LIMIT = 2**16
"""Most entries of a table that is not monotone."""

TABLES_LIMIT = 2**20
"""Most entries, or thresholds, of all tables that one segment needs."""

_TABULATED = 2**18
"""Up to so many entries a monotone segment is evaluated at every integer too."""

_MONOTONE = frozenset({
    "Add", "BatchNormalization", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "HardSigmoid",
    "Identity", "LeakyRelu", "Max", "Min", "Mul", "Neg", "PRelu", "Quant", "IntQuant",
    "BipolarQuant", "QuantizeDequantize", "onnx.brevitas.Quant", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Softplus", "Sub", "Tanh",
})  # fmt: skip
"""Operators that only rise or only fall in their one input, for parameters of the usual sign."""

_ELEMENTWISE = frozenset({
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Gelu", "HardSwish",
    "IsInf", "IsNaN", "Mish", "Mod", "Reciprocal", "Scaler", "Shrink", "Sin", "Sinh", "Softsign",
    "Sqrt", "Swish", "Tan", "ThresholdedRelu",
})  # fmt: skip
"""Operators that nobody quantizes and that compute each value from one value all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An integer tensor of the program, as the module's next operators see it.

    Parameters
    ----------
    tensor : str
        The program's name for it.
    name : str
        The graph's name for the tensor that its integers stand for.
    shape : tuple of int
        Of one sample.
    low, high : int
        Bounds of its integers.
    value : callable
        Integers, batch axis first, to the module's tensor.
    on_grid : bool
        Whether the integers are the codes of that tensor.
    """

    tensor: str
    name: str
    shape: tuple[int, ...]
    low: int
    high: int
    value: Callable[[IntArray], Value]
    on_grid: bool


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """What happens between integer tensors and one reader.

    Parameters
    ----------
    sources : tuple of Source
        Where it begins.
    layers : tuple of QuantizedLayer
        The float operators inside, in order.
    raw : mapping of str to array
        Shapes and truth values they read.
    name : str
        The tensor that the reader takes.
    codes : callable
        The reader's quantizer: a tensor to its codes.
    """

    sources: tuple[Source, ...]
    layers: tuple[QuantizedLayer, ...]
    raw: Mapping[str, AnyArray]
    name: str
    codes: Callable[[Tensor], Codes]

    def __call__(self, *integers: IntArray) -> IntArray:
        """Return the reader's codes, int64, for the sources' integers, batch axis first."""
        values: dict[str, Value] = dict(self.raw)
        for source, given in zip(self.sources, integers, strict=True):
            values[source.name] = source.value(given)
        for layer in self.layers:
            results = layer.run(values).results
            named = zip(layer.node.outputs, results, strict=True)
            values.update((name, value) for name, value in named if value is not None)
        value = values[self.name]
        if not isinstance(value, Tensor):
            return np.asarray(value)
        return np.asarray(self.codes(value)).astype(np.int64)

    @property
    def is_monotone(self) -> bool:
        """Whether the operators inside are known to keep the order, or to reverse it."""
        return all(_keeps_order(layer) for layer in self.layers)


def is_elementwise(layer: QuantizedLayer) -> bool:
    """Tell whether a float operator computes each value from one value of its only variable."""
    if layer.treatment is not Treatment.FLOAT and not isinstance(layer.op, IslandOp):
        return True
    return layer.node.op_type in _ELEMENTWISE and len(layer.variables) == 1


def _keeps_order(layer: QuantizedLayer) -> bool:
    op_type, variables = layer.node.op_type, layer.variables
    if not isinstance(layer.op, FloatOp) or op_type not in _MONOTONE or len(variables) != 1:
        return False
    if op_type in ("Div", "PRelu", "Clip", "BatchNormalization") and variables[0][0] != 0:
        return False
    slopes = [layer.node.attributes.get(key, 1.0) for key in ("alpha", "gamma")]
    if op_type == "PRelu":
        slopes.append(np.min(np.asarray(layer.constants[1], dtype=np.float64)))
    return bool(min(slopes) >= 0)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The tables of a segment with one source.

    Parameters
    ----------
    axes : tuple of int
        Axes of the sample along which they differ.
    rows : int array
        Which one holds at each index of `axes`.
    staircases : tuple of Staircase
        The different ones.
    """

    axes: tuple[int, ...]
    rows: IntArray
    staircases: tuple[Staircase, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a segment has no tables, and what to change."""

    reason: str
    remedy: str


def tables_of(segment: Segment, shape: tuple[int, ...], low: int, high: int) -> Found | Refused:
    """Return the tables of a segment.

    Parameters
    ----------
    segment : Segment
        With one source.
    shape : tuple of int
        Of one sample where the reader takes its codes.
    low, high : int
        Integers at which it is evaluated.
    """
    axes = _varying_axes(segment, shape, low)
    if axes is None:
        return Refused(
            "its result depends on where a value stands, not on the value alone",
            "leave it in float, or replace the operator",
        )
    unit = tuple(size if i in axes else 1 for i, size in enumerate(shape))
    rows, width = int(np.prod(unit, dtype=np.int64)), high - low + 1

    def evaluate(integers: IntArray) -> IntArray:
        parts = [
            segment(np.reshape(part, (len(part), *unit))).reshape(len(part), rows)
            for part in np.array_split(integers, -(-integers.size // CHUNK) or 1)
            if len(part)
        ]
        return np.concatenate(parts)

    large = width > TABLE_LIMIT or width * rows > _TABULATED
    if large and segment.is_monotone:
        made = bisect(evaluate, low=low, high=high, rows=rows)
    elif width > TABLE_LIMIT:
        return Refused(
            f"its table would have {width} entries, more than {TABLE_LIMIT}, and the function is "
            "not monotone",
            "use fewer weight or activation bits, or rounding_threshold_bits of 16 or less",
        )
    elif width * rows > 64 * TABLES_LIMIT:
        return _too_many(rows, width * rows)
    else:
        made = tabulate(evaluate, low=low, high=high, rows=rows)
    kinds, places = unique(made)
    size = sum(len(kind.values) for kind in kinds)
    if size > TABLES_LIMIT:
        return _too_many(len(kinds), size)
    if len(kinds) == 1:
        return Found((), np.zeros((), dtype=np.int64), kinds)
    return Found(axes, places.reshape([shape[i] for i in axes]), kinds)


def _too_many(tables: int, size: int) -> Refused:
    return Refused(
        f"it needs {tables} different tables with {size} entries together, more than "
        f"{TABLES_LIMIT}",
        "use constants that differ by channel instead of by position, or fewer bits",
    )


def _varying_axes(segment: Segment, shape: tuple[int, ...], low: int) -> tuple[int, ...] | None:
    """Return the axes of the sample along which the constants of a segment differ.

    A segment that is evaluated with all other axes of size 1 and keeps that shape depends on
    nothing there: NumPy would have widened the result.
    """
    rank = len(shape)
    candidates = [(), (0,), (rank - 1,), tuple(range(rank))] if rank else [()]
    for axes in dict.fromkeys(candidates):
        unit = (2, *(size if i in axes else 1 for i, size in enumerate(shape)))
        try:
            made = segment(np.full(unit, low, dtype=np.int64))
        except Exception:  # the operator itself refuses the smaller shape
            if axes == tuple(range(rank)):
                raise
            continue
        if made.shape == unit:
            return axes
    return None


def unique(made: tuple[Staircase, ...]) -> tuple[tuple[Staircase, ...], IntArray]:
    """Return the different staircases, and which of them each one is."""
    numbers: dict[bytes, int] = {}
    kinds: list[Staircase] = []
    places = []
    for staircase in made:
        key = staircase.thresholds.tobytes() + b"|" + staircase.values.tobytes()
        if key not in numbers:
            numbers[key] = len(kinds)
            kinds.append(staircase)
        places.append(numbers[key])
    return tuple(kinds), np.array(places, dtype=np.int64)
