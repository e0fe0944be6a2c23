"""What a module costs to run: table look-ups, products, memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.budget import Budget, LayerBudget, bit_width_budget
from quantlib.analysis.widths.facts import walk
from quantlib.analysis.widths.table_costs import look_up_complexity
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.ops.base import MixingOp, WeightedOp
from quantlib.ops.registry import ONNX_OPS_TO_QUANTIZED_IMPL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.widths.facts import LayerFacts, Walked
    from quantlib.analysis.widths.sizes import Sizes
    from quantlib.quantized_module import QuantizedModule

BIAS_BITS = 32
"""Biases keep their float32 values, as in the reference."""


class RoundingMethod(StrEnum):
    """How an encrypted accumulator loses its low bits."""

    EXACT = "exact"
    """Bit by bit: one bootstrap for each low bit of each element. Concrete ML's default."""

    APPROXIMATE = "approximate"
    """Within the table look-up that follows, which may then err by one step: no bootstrap."""


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
        encrypted integers: two squares), ``"maximum"``, ``"offset"`` (a rounded product of two
        tensors before its constant term is added), ``"rounding"`` (low bits taken one by one;
        only exact rounding needs these).
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
        """All table look-ups, the low bits that exact rounding takes one by one included."""
        return self.bootstraps(RoundingMethod.EXACT)

    @property
    def n_lookups_approximate(self) -> int:
        """All table look-ups with approximate rounding."""
        return self.bootstraps(RoundingMethod.APPROXIMATE)

    @property
    def lookups_by_width(self) -> dict[int, int]:
        """Table look-ups by the width of what enters, narrow first, with exact rounding."""
        return self.bootstraps_by_width(RoundingMethod.EXACT)

    def bootstraps(self, method: RoundingMethod) -> int:
        """Return a circuit's number of programmable bootstraps with a method of rounding."""
        return sum(entry.count for entry in self.lookups_with(method))

    def bootstraps_by_width(self, method: RoundingMethod) -> dict[int, int]:
        """Return the bootstraps by the width of what enters, narrow first."""
        counted: Counter[int] = Counter()
        for entry in self.lookups_with(method):
            counted[entry.width_bits] += entry.count
        return dict(sorted(counted.items()))

    def complexity(self, method: RoundingMethod) -> int:
        """Return what all bootstraps cost, floating-point operations.

        See `quantlib.analysis.widths.table_costs` for where it comes from.
        """
        return sum(
            entry.count * look_up_complexity(entry.width_bits)
            for entry in self.lookups_with(method)
        )

    def lookups_with(self, method: RoundingMethod) -> tuple[LookUps, ...]:
        """Return the look-ups that a method of rounding needs."""
        exact = method is RoundingMethod.EXACT
        return tuple(entry for entry in self.lookups if exact or entry.reason != "rounding")

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
    tensor on one grid share it as long as they hold its result in integers of one width, and a
    table behind a table is one. Two encrypted integers are multiplied as
    ``((x + y)**2 - (x - y)**2) / 4``, two look-ups behind a copy of each factor, and a maximum
    of k integers is taken by k look-ups of differences. Rounding takes each low bit by a look-up
    when it is exact. All are what circuits of Concrete ML 1.9 hold. Bit operations are those of
    Baskin et al. 2018 (arXiv:1804.10969) without the accumulator's.
    """
    walked = walk(module)
    counted: set[str] = set()
    layers = tuple(_layer(entry, counted) for entry in walked.facts)
    found = {layer.name: layer for layer in (budget or bit_width_budget(module)).layers}
    held = _held_widths(walked, found)
    makers = {name: layer.name for layer in module.layers for name in layer.node.outputs}
    lookups = [inner for entry in walked.facts for inner in _inside(entry, found.get(entry.name))]
    for table in walked.tables:
        name = makers.get(table.source, table.source)
        if table.codes is not None:
            width = bit_width(*table.codes)
        else:
            width = _table_width(found[name]) if name in found else 0
        copies = len({held.get(reader, 0) for reader in table.readers}) or 1
        lookups.append(LookUps(name, "function", table.elements * copies, width))
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
    return _elements(facts.output_shape) if op.multiplies else 0


def _elements(sizes: Sizes) -> int:
    """Return how many elements one sample has."""
    return int(np.prod([size or 1 for size in sizes], dtype=np.int64))


def _held_widths(walked: Walked, budgets: Mapping[str, LayerBudget]) -> dict[str, int]:
    """Return the width of the integers in which each layer holds what it reads, bits.

    One width for a layer's inputs, steps and accumulator, and for layers that share codes.
    """
    widths: dict[str, int] = dict(walked.moved_bits)
    for entry in walked.facts:
        layer = budgets.get(entry.name)
        steps: list[int] = []
        if layer is not None:
            steps = [(layer.seen or layer.weights).width_bits]
            steps += [(p.seen or p.weights).width_bits for p in layer.parts if p.name != "rounded"]
        widths[entry.name] = max([*steps, *(x.n_bits for _, x in entry.variables())])
    for _ in walked.joined:  # a width travels through as many groups as there are, at most
        for group in walked.joined:
            widest = max(widths.get(name, 0) for name in group)
            widths.update(dict.fromkeys(group, widest))
    return widths


_ENTERS = ("whole product", "shifted sum")
"""Steps behind the accumulator: what enters the table where there is one."""


def _table_width(layer: LayerBudget) -> int:
    """Return the width of what enters the tables behind an accumulator, bits."""
    behind = [part for part in layer.parts if part.name in _ENTERS]
    if layer.rounding is not None:
        if _adds_offset_last(layer) and behind:
            return (behind[0].seen or behind[0].weights).width_bits
        return _rounded_width(layer)
    if behind:
        return (behind[0].seen or behind[0].weights).width_bits
    return (layer.seen or layer.weights).width_bits


def _rounded_width(layer: LayerBudget) -> int:
    """Return the width of an accumulator's high bits, bits."""
    assert layer.rounding is not None
    if layer.seen is None:
        return layer.rounding.width_bits
    behind = [part.seen for part in layer.parts if part.name in _ENTERS and part.seen is not None]
    offset_first = not _adds_offset_last(layer)
    before = behind[0] if behind and offset_first else layer.seen
    return max(1, before.width_bits - layer.rounding.lsbs_to_remove)


def _adds_offset_last(layer: LayerBudget) -> bool:
    """Tell whether a constant term is added to the accumulator after it was rounded."""
    op_class = ONNX_OPS_TO_QUANTIZED_IMPL[layer.op_type]
    return issubclass(op_class, MixingOp) and op_class.adds_offset_last


def _inside(facts: LayerFacts, budget: LayerBudget | None) -> list[LookUps]:
    """Return the look-ups that an operator itself is made of."""
    op, name = facts.op, facts.name
    variables = [x for _, x in facts.variables()]
    accumulators = _elements(facts.output_shape)
    sizes = [_elements(shape) for shape in facts.shapes]
    lsbs = facts.layer.lsbs_to_remove
    found = [LookUps(name, "rounding", accumulators * lsbs, 1)] if lsbs else []
    inner = op.inner_look_ups(variables, sizes=sizes, outputs=accumulators, products=_macs(facts))
    found += [LookUps(name, *entry) for entry in inner if entry.elements]
    if lsbs and len(variables) > 1 and op.last_offset(variables):
        entering = _rounded_width(budget) if budget is not None and budget.rounding else 0
        found.append(LookUps(name, "offset", accumulators, entering))
    return found
