"""What a module costs to run: table look-ups, products, memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.budget import Budget, LayerBudget, bit_width_budget
from quantlib.analysis.widths.facts import walk
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.ops.arithmetic import Mul
from quantlib.ops.base import WeightedOp
from quantlib.ops.linear import Gemm
from quantlib.ops.pooling import MaxPool

if TYPE_CHECKING:
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.analysis.widths.sizes import Sizes
    from quantlib.quantized_module import QuantizedModule

BIAS_BITS = 32
"""Biases keep their float32 values, as in the reference."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one integer operator costs per sample.

    Parameters
    ----------
    name, op_type : str
        Which.
    macs : int
        Products of two integers, each added to an accumulator.
    bit_operations : int
        Each product counted as its input width times its weight width, bits squared.
    weight_bits : int
        Memory of the constants it reads, bits.
    activation_bits : int
        Memory of the codes it reads, bits.
    """

    name: str
    op_type: str
    macs: int
    bit_operations: int
    weight_bits: int
    activation_bits: int


@dataclass(frozen=True, slots=True)
class LookUps:
    """Table look-ups on the elements of one integer tensor, per sample.

    Parameters
    ----------
    name : str
        The operator that makes the integers, or the graph input.
    reason : str
        ``"function"`` (float operators and requantization, fused), ``"product"`` (of two
        encrypted integers: two squares), ``"maximum"``.
    count : int
        Elements that enter a table.
    width_bits : int
        Width of what enters; 0 where the operator has no bounds.
    """

    name: str
    reason: str
    count: int
    width_bits: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a module costs per sample.

    Parameters
    ----------
    layers : tuple of LayerCost
        Integer operators in topological order.
    lookups : tuple of LookUps
        In the order in which the tables are met.
    """

    layers: tuple[LayerCost, ...]
    lookups: tuple[LookUps, ...]

    @property
    def n_lookups(self) -> int:
        """All table look-ups."""
        return sum(entry.count for entry in self.lookups)

    @property
    def lookups_by_width(self) -> dict[int, int]:
        """Table look-ups by the width of what enters, narrow first."""
        counted: Counter[int] = Counter()
        for entry in self.lookups:
            counted[entry.width_bits] += entry.count
        return dict(sorted(counted.items()))

    @property
    def macs(self) -> int:
        """All products."""
        return sum(layer.macs for layer in self.layers)

    @property
    def bit_operations(self) -> int:
        """All products, each counted as input width times weight width."""
        return sum(layer.bit_operations for layer in self.layers)

    @property
    def weight_bits(self) -> int:
        """Memory of all constants; one that several layers read counts once."""
        return sum(layer.weight_bits for layer in self.layers)

    @property
    def peak_activation_bits(self) -> int:
        """Memory of the codes that the largest layer reads."""
        return max((layer.activation_bits for layer in self.layers), default=0)


def cost(module: QuantizedModule, budget: Budget | None = None) -> Cost:
    """Return what a module costs to run on one sample.

    Parameters
    ----------
    module : QuantizedModule
        The model.
    budget : Budget, optional
        The module's. Where it holds ranges seen on data, their widths are those that enter the
        tables, as in a circuit compiled for these data; else the widths that the weights allow.

    Returns
    -------
    Cost

    Notes
    -----
    A table is applied to each element of an integer tensor for each reader that wants other
    codes than it holds; the float operators between are part of the table, readers of one
    tensor on one grid share it, and a table behind a table is one. Two encrypted integers are
    multiplied as ``((x + y)**2 - (x - y)**2) / 4``, two look-ups, and a maximum of k integers is
    taken by k look-ups of differences; both are what circuits of Concrete ML 1.9 hold. Bit
    operations are those of Baskin et al. 2018 (arXiv:1804.10969) without the accumulator's.
    """
    facts, tables = walk(module)
    counted: set[str] = set()
    layers = tuple(_layer(entry, counted) for entry in facts)
    widths = {
        layer.name: _table_width(layer) for layer in (budget or bit_width_budget(module)).layers
    }
    makers = {name: layer.name for layer in module.layers for name in layer.node.outputs}
    lookups = [found for entry in facts for found in _inside(entry)]
    for table in tables:
        name = makers.get(table.source, table.source)
        width = widths.get(name, 0) if table.codes is None else bit_width(*table.codes)
        lookups.append(LookUps(name, "function", table.elements, width))
    order = {layer.name: i for i, layer in enumerate(module.layers)}
    return Cost(layers, tuple(sorted(lookups, key=lambda entry: order.get(entry.name, -1))))


def _layer(facts: LayerFacts, counted: set[str]) -> LayerCost:
    layer, op = facts.layer, facts.op
    weight_bits = 0
    for i, constant in layer.constants.items():
        name = layer.node.inputs[i]
        if isinstance(constant, Tensor) and name not in counted:
            counted.add(name)
            is_bias = isinstance(op, WeightedOp) and i == 2
            width = BIAS_BITS if is_bias else constant.n_bits
            weight_bits += int(np.prod(constant.shape, dtype=np.int64)) * width
    grids = [o.n_bits for o in facts.operands[:2] if isinstance(o, Tensor)]
    macs = _macs(facts)
    return LayerCost(
        name=layer.name,
        op_type=layer.node.op_type,
        macs=macs,
        bit_operations=macs * int(np.prod(grids)) if macs else 0,
        weight_bits=weight_bits,
        activation_bits=sum(_elements(facts.shapes[i]) * x.n_bits for i, x in facts.variables()),
    )


def _macs(facts: LayerFacts) -> int:
    op = facts.op
    if isinstance(op, WeightedOp):
        x, w, output = (
            tuple(size or 1 for size in sizes)
            for sizes in (facts.shapes[0], facts.shapes[1], facts.output_shape)
        )
        return op.macs(w, x, output) or 0
    return _elements(facts.output_shape) if isinstance(op, Mul) else 0


def _elements(sizes: Sizes) -> int:
    """Return how many elements one sample has."""
    return int(np.prod([size or 1 for size in sizes], dtype=np.int64))


def _table_width(layer: LayerBudget) -> int:
    """Return the width of what enters the tables behind an accumulator, bits."""
    if layer.rounding is not None:
        return layer.rounding.width_bits
    return (layer.seen or layer.weights).width_bits


def _inside(facts: LayerFacts) -> list[LookUps]:
    """Return the look-ups that an operator itself is made of."""
    op, name = facts.op, facts.layer.name
    widths = [x.n_bits for _, x in facts.variables()]
    accumulators = _elements(facts.output_shape)
    if isinstance(op, MaxPool):
        count = accumulators * int(np.prod(op.window.kernel))
        return [LookUps(name, "maximum", count, widths[0] + 1)]
    if isinstance(op, Mul | Gemm) and len(widths) == 2:
        return [LookUps(name, "product", 2 * _macs(facts), max(widths) + 1)]
    return []
