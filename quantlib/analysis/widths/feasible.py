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
from quantlib.core.ranges import fitted
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError
from quantlib.execution.weights import quantized_weight
from quantlib.ops.base import WeightedOp
from quantlib.ops.conv_transpose import ConvTranspose

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

    def most_activation_bits(self, weight_bits: int) -> int | None:
        """Return the most activation bits that fit beside these weights; None if none do."""
        row = self.fits[self.weight_bits.index(weight_bits)]
        return max(
            (a for a, fits in zip(self.activation_bits, row, strict=True) if fits), default=None
        )

    def most_weight_bits(self, activation_bits: int) -> int | None:
        """Return the most weight bits that fit beside these activations; None if none do."""
        column = self.fits[:, self.activation_bits.index(activation_bits)]
        return max(
            (w for w, fits in zip(self.weight_bits, column, strict=True) if fits), default=None
        )


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
        None for an operator without a rule; operators without weights have equal rows.

    Raises
    ------
    OptionsError
        A width out of range.

    Notes
    -----
    Only this layer changes, as under a `LayerOverride`. Its float weights are quantized at each
    width by its own scheme and the extremes over all inputs on the grid follow in closed form.
    The measured range and the sign of the input are those of the module, and a sum's output
    keeps its grid: calibration at another width would move them a little.
    """
    for n_bits in (*weight_bits, *activation_bits):
        check_n_bits(n_bits)
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
    """Return the extreme codes of a variable input on a grid of another width.

    Raises
    ------
    OptionsError
        There is no such grid.
    """
    layer, arriving = facts.layer, facts.arguments[position]
    assert isinstance(arriving, Tensor)
    stats = layer.input_ranges.get(position)
    own = arriving.quantizer.quant_stats
    options = dataclasses.replace(layer.input_options, n_bits=n_bits)
    if stats is not None:
        scheme = facts.config.activations_of(layer.name)
        stats = fitted(stats, options, power_of_two=scheme.power_of_two)
    is_input = layer.node.inputs[position] in {info.name for info in facts.graph.inputs}
    if is_input and own is not None:  # its grid follows the layer's
        grid = UniformQuantizer.from_stats(options, stats or own)
        return Tensor(grid, values=np.array([-np.inf, np.inf]))
    return arriving.requantized(options, stats)


def has_weights(facts: LayerFacts) -> bool:
    """Tell whether a layer is a product or convolution with constant weights."""
    return facts.layer.weight_position is not None


def _products(
    facts: LayerFacts, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> IntArray | None:
    """Return the widths of weighted sums; None for other operators."""
    if not has_weights(facts):
        return None
    (position, _), *_ = facts.variables()
    found = np.zeros((len(weight_bits), len(activation_bits)), dtype=np.int64)
    columns, ranges = [], []
    for j, n_bits in enumerate(activation_bits):
        try:
            operand = operand_at(facts, position, n_bits)
        except OptionsError:
            continue
        zero_point = int(np.asarray(operand.quantizer.zero_point))
        # the second factor, and what is convolved transposed, enter without it
        centred = position == 1 or isinstance(facts.op, ConvTranspose)
        shift = zero_point if centred else 0
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
