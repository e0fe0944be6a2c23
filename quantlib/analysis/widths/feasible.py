"""Which weight and activation widths keep an accumulator within a limit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.product_bounds import linear_form
from quantlib.arrays import read_only
from quantlib.core.options import check_n_bits
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError
from quantlib.execution.weights import quantized_weight
from quantlib.ops.base import MixingOp, WeightedOp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.arrays import AnyArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class FeasibleRegion:
    """Accumulator widths of one layer over weight and activation widths.

    Parameters
    ----------
    name : str
        The layer.
    limit_bits : int
        Widest accumulator allowed.
    weight_bits, activation_bits : tuple of int
        Axes of the grid.
    width_bits : int64 array, (weight widths, activation widths)
        Width that the actual weights, quantized anew at each width, let the accumulator reach; 0
        where no such grid exists (one symmetric bit).
    """

    name: str
    limit_bits: int
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    width_bits: IntArray

    @property
    def fits(self) -> AnyArray:
        """Whether the accumulator stays within the limit, bool, shape of `width_bits`."""
        return np.asarray((self.width_bits > 0) & (self.width_bits <= self.limit_bits))


def feasible_region(
    facts: LayerFacts,
    limit_bits: int,
    *,
    weight_bits: Sequence[int] = range(2, 13),
    activation_bits: Sequence[int] = range(2, 13),
) -> FeasibleRegion | None:
    """Return which widths keep a layer's accumulator within a limit, without data.

    Parameters
    ----------
    facts : LayerFacts
        The layer, from `quantlib.analysis.widths.facts.layer_facts`.
    limit_bits : int
        Widest accumulator allowed.
    weight_bits, activation_bits : sequence of int
        Widths to try, each 1 to 32.

    Returns
    -------
    FeasibleRegion or None
        None for an operator without a rule, and where a rounding threshold rounds what the
        operator multiplies by bits that it learns from data; operators without weights have
        equal rows.

    Raises
    ------
    OptionsError
        A width out of range.

    Notes
    -----
    Only this layer changes, as under a `LayerOverride`. Its float weights are quantized at each
    width by its own scheme, the range of its input is chosen anew from what was measured, and
    the extremes over all inputs on the grid follow in closed form: each cell is what
    `quantlib.analysis.widths.budget.bit_width_budget` says of the model quantized there. What a
    layer reads does not depend on its own widths, so nothing is left to calibrate.
    """
    for n_bits in (*weight_bits, *activation_bits):
        check_n_bits(n_bits)
    if rounds_by_data(facts):
        return None
    made = _products(facts, weight_bits, activation_bits)
    if made is None:
        made = _without_weights(facts, weight_bits, activation_bits)
    if made is None:
        return None
    return FeasibleRegion(
        name=facts.layer.name,
        limit_bits=limit_bits,
        weight_bits=tuple(weight_bits),
        activation_bits=tuple(activation_bits),
        width_bits=read_only(made),
    )


def weights_at(facts: LayerFacts, n_bits: int, *, symmetric: bool | None = None) -> Tensor:
    """Return a layer's float weights quantized at another width, or symmetrically.

    Raises
    ------
    OptionsError
        There is no such grid.
    """
    layer = facts.layer
    position = layer.weight_position
    assert position is not None
    name = layer.node.inputs[position]
    scheme = facts.config.weights_of(layer.name).replace(n_bits=n_bits)
    if symmetric is not None:
        scheme = scheme.replace(symmetric=symmetric, signed=None)
    axis = None
    if position == 1 and isinstance(facts.op, WeightedOp):
        axis = facts.op.channel_axis(facts.graph.constants[name].shape)
    return quantized_weight(facts.graph, name, scheme, channel_axis=axis)


def operand_at(facts: LayerFacts, position: int, n_bits: int) -> Tensor:
    """Return the extreme codes of a variable input on the grid it has at another width.

    Raises
    ------
    OptionsError
        There is no such grid.

    Notes
    -----
    The grid is chosen anew, as calibration does: the range follows from what the input was
    measured to hold, by the layer's own estimator and rules at that width. A model input whose
    grid is the layer's enters on it, so that all its codes can arrive; whatever else arrives is
    put on it. A grid that came with the model stays.
    """
    layer, arriving = facts.layer, facts.arguments[position]
    assert isinstance(arriving, Tensor)
    measure = layer.input_measures.get(position)
    if arriving.quantizer.is_carried or measure is None:
        return arriving.requantized(layer.input_options)
    scheme = facts.config.activations_of(layer.name).replace(n_bits=n_bits)
    options = dataclasses.replace(layer.input_options, n_bits=n_bits)
    stats = measure.range(scheme, options)
    if position in facts.decides:
        grid = UniformQuantizer.from_stats(options, stats or measure.extremes)
        return Tensor(grid, codes=np.array([grid.qmin, grid.qmax]))
    return arriving.requantized(options, stats)


def has_weights(facts: LayerFacts) -> bool:
    """Tell whether a layer is a product or convolution with constant weights."""
    return facts.layer.weight_position is not None


def has_width(facts: LayerFacts) -> bool:
    """Tell whether a layer reads an input on a grid whose width is to choose."""
    return any(not x.quantizer.is_carried for _, x in facts.variables())


def has_weight_width(facts: LayerFacts) -> bool:
    """Tell whether a layer has weights on a grid whose width is to choose."""
    if not has_weights(facts):
        return False
    position = facts.layer.weight_position
    assert position is not None
    weights = facts.layer.constants[position]
    return isinstance(weights, Tensor) and not weights.quantizer.is_carried


def rounds_by_data(facts: LayerFacts) -> bool:
    """Tell whether a layer's operands lose low bits that depend on data."""
    rounds = type(facts.op).with_rounded_operands is not MixingOp.with_rounded_operands
    return (
        rounds and facts.config.rounding_threshold_bits is not None and len(facts.variables()) > 1
    )


def _products(
    facts: LayerFacts, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> IntArray | None:
    """Return the widths of weighted sums; None for other operators."""
    if not has_weights(facts):
        return None
    op = facts.op
    assert isinstance(op, WeightedOp)
    (position, _), *_ = facts.variables()
    found = np.zeros((len(weight_bits), len(activation_bits)), dtype=np.int64)
    columns, ranges = [], []
    for j, n_bits in enumerate(activation_bits):
        try:
            operand = operand_at(facts, position, n_bits)
        except OptionsError:
            continue
        zero_point = int(np.asarray(operand.quantizer.zero_point))
        shift = zero_point if op.enters_centred(position) else 0
        low, high = int(operand.codes.min()) - shift, int(operand.codes.max()) - shift
        columns.append(j)
        ranges.append((low, high, zero_point))
    lowest, highest, fill = np.array(ranges, dtype=np.int64).reshape(-1, 3).T
    for i, n_bits in enumerate(weight_bits):
        try:
            form = linear_form(facts, weights_at(facts, n_bits))
        except OptionsError:
            continue
        lows, highs = form.over(lowest, highest, fill)
        for j, a, b in zip(columns, lows.min(axis=1), highs.max(axis=1), strict=True):
            found[i, j] = bit_width(int(a), int(b))
    return found


def _without_weights(
    facts: LayerFacts, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> IntArray | None:
    """Return the widths of operators without weights, the same for all weight widths."""
    variables = [position for position, _ in facts.variables()]
    row = np.zeros(len(activation_bits), dtype=np.int64)
    for j, n_bits in enumerate(activation_bits):
        try:
            changed = {i: operand_at(facts, i, n_bits) for i in variables}
        except OptionsError:
            continue
        found = bounds(facts.with_operands(changed))
        if found is None:
            return None
        row[j] = found.weights.width_bits
    return np.tile(row, (len(weight_bits), 1))
