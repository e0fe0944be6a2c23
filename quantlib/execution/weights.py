"""Constants on their grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.calibration.estimators import estimate_channel_ranges, estimate_range
from quantlib.calibration.statistics import measure
from quantlib.core.estimator import MIN_MAX
from quantlib.core.options import QuantizationOptions
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.ranges import fitted, fitted_channels
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.symmetry import SymmetryVerdict, symmetry
from quantlib.core.tensor import Tensor
from quantlib.errors import TensorError
from quantlib.execution.memo import key_of
from quantlib.ops.base import MixingOp, WeightedOp
from quantlib.ops.movers import Concat

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.core.scheme import Scheme
    from quantlib.core.tensor import Value
    from quantlib.execution.memo import Memo
    from quantlib.graph.model import Graph, Node
    from quantlib.ops.base import QuantizedOp


def layer_constants(
    graph: Graph, node: Node, op: QuantizedOp, scheme: Scheme, *, memo: Memo | None = None
) -> dict[int, Value]:
    """Return a node's constants by position, quantized where the operator uses integers.

    Once per scheme where a memo is given, whatever else a configuration says. Only the weights of
    a product, its second input, have output channels.
    """
    on_integers = isinstance(op, MixingOp | Concat)
    constants: dict[int, Value] = {}
    for i, name in enumerate(node.inputs):
        if name not in graph.constants:
            continue
        value = graph.constants[name]
        if on_integers and value.dtype.kind in "fb":
            weighted = i == 1 and isinstance(op, WeightedOp)
            axis = op.channel_axis(value.shape) if weighted else None  # type: ignore[attr-defined]
            constants[i] = _remembered(graph, name, scheme, axis, memo)
        else:
            constants[i] = value
    return constants


def _remembered(
    graph: Graph, name: str, scheme: Scheme, axis: int | None, memo: Memo | None
) -> Tensor:
    def compute() -> Tensor:
        return quantized_weight(graph, name, scheme, channel_axis=axis)

    if memo is None:
        return compute()
    key = key_of("weight", graph.identity, name, scheme, axis)
    return memo.get(key, compute, lambda made: 512 + 3 * made.values.nbytes, part=True)


def quantized_weight(
    graph: Graph, name: str, scheme: Scheme, *, channel_axis: int | None
) -> Tensor:
    """Quantize a constant of a graph.

    Parameters
    ----------
    graph : Graph
        Holds the constant, and what is known of it.
    name : str
        Which.
    scheme : Scheme
        What is chosen; truth values take one unsigned bit whatever it says, and a constant
        that lies on a grid of its own keeps it.
    channel_axis : int or None
        Axis of the output channels, where the operator has such.

    Raises
    ------
    TensorError
        The constant holds NaN or infinite values.
    """
    values = graph.constants[name]
    if values.dtype.kind == "b":
        values = values.astype(np.float64)
        stats = MinMaxQuantizationStats.from_values(values)
        return Tensor(UniformQuantizer.from_stats(QuantizationOptions(1), stats), values=values)
    carried = graph.grids.get(name)
    if carried is not None and _usable(carried, channel_axis):
        return Tensor(carried, values=values)
    options = weight_options(graph, name, scheme)
    if scheme.per_channel and channel_axis is not None:
        return Tensor(_channel_grid(graph, name, scheme, options, channel_axis), values=values)
    stats = _range(graph, name)
    if scheme.estimator != MIN_MAX:
        stats = graph.fact(
            ("estimate", name, scheme.estimator, options),
            lambda: estimate_range(scheme.estimator, measure(values), options),
        )
    stats = fitted(stats, options, power_of_two=scheme.power_of_two)
    return Tensor(UniformQuantizer.from_stats(options, stats), values=values)


def _usable(grid: UniformQuantizer, channel_axis: int | None) -> bool:
    """Tell whether a grid that came with the model is one per tensor or output channel."""
    varying = [i for i, size in enumerate(np.shape(grid.scale)) if size > 1]
    return not varying or varying == [channel_axis]


def weight_options(graph: Graph, name: str, scheme: Scheme) -> QuantizationOptions:
    """Resolve a scheme's automatic members for a constant."""
    symmetric = weight_symmetry(graph, name).symmetric
    return scheme.options(auto_signed=symmetric, auto_symmetric=symmetric)


def weight_symmetry(graph: Graph, name: str) -> SymmetryVerdict:
    """Return what the automatic rule finds about a constant."""
    return graph.fact(("symmetry", name), lambda: symmetry(graph.constants[name]))


def _range(graph: Graph, name: str) -> MinMaxQuantizationStats:
    def extremes() -> MinMaxQuantizationStats:
        try:
            return MinMaxQuantizationStats.from_values(graph.constants[name])
        except TensorError as error:
            raise TensorError(f"weight {name!r}: {error}") from None

    return graph.fact(("range", name), extremes)


def _channel_grid(
    graph: Graph, name: str, scheme: Scheme, options: QuantizationOptions, axis: int
) -> UniformQuantizer:
    """Return one grid per index of `axis`."""
    _range(graph, name)  # refuses what is not finite
    values = graph.constants[name]
    others = tuple(i for i in range(values.ndim) if i != axis)

    def extremes() -> tuple[AnyArray, AnyArray]:
        return values.min(axis=others, keepdims=True), values.max(axis=others, keepdims=True)

    def estimates() -> tuple[AnyArray, AnyArray]:
        found = estimate_channel_ranges(scheme.estimator, values, options, axis)
        shape = [1 if i in others else -1 for i in range(values.ndim)]
        low, high = ([getattr(stats, end) for stats in found] for end in ("rmin", "rmax"))
        return np.reshape(low, shape), np.reshape(high, shape)

    if scheme.estimator == MIN_MAX:
        low, high = graph.fact(("channel ranges", name, axis), extremes)
    else:
        low, high = graph.fact(("estimates", name, axis, scheme.estimator, options), estimates)
    low, high = fitted_channels(low, high, options, power_of_two=scheme.power_of_two)
    return UniformQuantizer.from_channels(options, low, high)
