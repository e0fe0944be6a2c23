"""The assignments a search chooses from: which widths each layer can have."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import (
    has_weight_width,
    has_width,
    operand_at,
    weights_at,
)
from quantlib.core.scheme import LayerOverride
from quantlib.errors import OptionsError
from quantlib.ops.base import FloatOp, MixingOp, MovingOp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.arrays import AnyArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.quantized_module import QuantizedModule

Pair: TypeAlias = "tuple[int, int]"
"""Weight and activation width of a layer; 0 where there is none to choose."""

Widths: TypeAlias = "Mapping[str, Pair]"
"""An assignment: a pair by layer."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerChoices:
    """The widths that one layer can have.

    Parameters
    ----------
    name : str
        The layer.
    weight_bits, activation_bits : tuple of int
        Widths to choose from; the one entry 0 where there is nothing to choose: no weights, or
        a grid that came with the model.
    exists : bool array, (weight widths, activation widths)
        Whether there are such grids (one symmetric bit is none).
    """

    name: str
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    exists: AnyArray

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that exist."""
        rows, columns = np.nonzero(self.exists)
        return tuple(
            (self.weight_bits[i], self.activation_bits[j])
            for i, j in zip(rows, columns, strict=True)
        )

    @property
    def widest(self) -> Pair:
        """The existing pair of the most bits."""
        return max(self.pairs, key=lambda pair: (sum(pair), pair))

    def nearest(self, pair: Pair) -> Pair:
        """Return a pair where it exists and is to choose; else the widest one."""
        wanted = (
            pair[0] if self.weight_bits != (0,) else 0,
            pair[1] if self.activation_bits != (0,) else 0,
        )
        return wanted if wanted in self.pairs else self.widest


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """All assignments.

    Parameters
    ----------
    base : QuantizationConfig
        Signs, ranges, rounding and limit; its widths are replaced.
    layers : tuple of LayerChoices
        Integer operators, in execution order.
    followers : tuple of (str, tuple of str)
        Nodes that put what they read on a grid without being integer operators (movers), each
        with the layers that read it in the end: it takes the widest of their grids.
    """

    base: QuantizationConfig
    layers: tuple[LayerChoices, ...]
    followers: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def n_assignments(self) -> int:
        """How many assignments there are."""
        return math.prod(len(layer.pairs) for layer in self.layers)

    def assignments(self) -> Iterator[dict[str, Pair]]:
        """Yield every assignment."""
        names = [layer.name for layer in self.layers]
        for pairs in itertools.product(*(layer.pairs for layer in self.layers)):
            yield dict(zip(names, pairs, strict=True))

    def uniform(self, pair: Pair) -> dict[str, Pair] | None:
        """Return one pair for all layers; None where a layer has no such grid."""
        found = {layer.name: layer.nearest(pair) for layer in self.layers}
        for layer in self.layers:
            if any(b not in (0, want) for b, want in zip(found[layer.name], pair, strict=True)):
                return None
        return found

    def all_at(self, pair: Pair) -> dict[str, Pair]:
        """Return one pair for all layers that have it; the others at their widest."""
        return {layer.name: layer.nearest(pair) for layer in self.layers}

    def config(self, widths: Widths) -> QuantizationConfig:
        """Return the configuration of an assignment.

        The commonest widths are those of the whole configuration and the others overrides, so
        that one pair for all layers is a configuration without overrides for widths.
        """
        every = dict(widths)
        for name, readers in self.followers:
            bits = max((widths[reader][1] for reader in readers), default=0)
            every[name] = (0, bits)
        common = [
            Counter(pair[part] for pair in widths.values() if pair[part]).most_common(1)
            for part in (0, 1)
        ]
        config = self.base
        if common[0]:
            config = config.replace(weights=config.weights.replace(n_bits=common[0][0][0]))
        if common[1]:
            config = config.replace(activations=config.activations.replace(n_bits=common[1][0][0]))
        return with_widths(config, every)


def with_widths(config: QuantizationConfig, widths: Widths) -> QuantizationConfig:
    """Return `config` with weight and activation widths by layer; 0 keeps what it has.

    Other members of a layer's schemes stay; what equals the whole configuration's is no override.
    """
    overrides = dict(config.overrides)
    for layer, (weight, activation) in widths.items():
        given = config.override(layer)
        weights = config.weights_of(layer).replace(n_bits=weight) if weight else given.weights
        activations = (
            config.activations_of(layer).replace(n_bits=activation)
            if activation
            else given.activations
        )
        overrides[layer] = LayerOverride(
            None if weights == config.weights else weights,
            None if activations == config.activations else activations,
        )
    return config.replace(overrides=overrides)


def widest(
    config: QuantizationConfig, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> QuantizationConfig:
    """Return `config` with every layer at the widest choice and no overrides."""
    top = max(activation_bits)
    return config.replace(
        weights=config.weights.replace(n_bits=max(weight_bits)),
        activations=config.activations.replace(n_bits=top),
        input_bits=max(config.input_bits, top),
        output_bits=max(config.output_bits, top),
        overrides=(),
    )


def space_of(
    module: QuantizedModule,
    weight_bits: Callable[[str], Sequence[int]],
    activation_bits: Callable[[str], Sequence[int]],
) -> Space:
    """Return the assignments of a module's layers.

    Parameters
    ----------
    module : QuantizedModule
        The model under the base configuration.
    weight_bits, activation_bits : callable
        Widths offered to the layer of a name.
    """
    layers = []
    for facts in layer_facts(module):
        name = facts.layer.name
        rows = tuple(weight_bits(name)) if has_weight_width(facts) else (0,)
        columns = tuple(activation_bits(name)) if has_width(facts) else (0,)
        exists = np.outer(
            [_has_weights_at(facts, n_bits) for n_bits in rows],
            [_has_operands_at(facts, n_bits) for n_bits in columns],
        )
        if exists.any():
            layers.append(LayerChoices(name, rows, columns, exists))
    chosen = {layer.name for layer in layers if layer.activation_bits != (0,)}
    return Space(module.config, tuple(layers), _followers(module, chosen))


def _has_weights_at(facts: LayerFacts, n_bits: int) -> bool:
    try:
        return n_bits == 0 or bool(weights_at(facts, n_bits))
    except OptionsError:
        return False


def _has_operands_at(facts: LayerFacts, n_bits: int) -> bool:
    try:
        return n_bits == 0 or all(operand_at(facts, i, n_bits) for i, _ in facts.variables())
    except OptionsError:
        return False


def _followers(
    module: QuantizedModule, layers: set[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the nodes that read on a grid of activations, with the layers behind them."""
    inputs = {info.name for info in module.graph.inputs}
    readers: dict[str, set[str]] = {}
    found = []
    for layer in reversed(module.layers):
        op, node = layer.op, layer.node
        behind = {name for output in node.outputs for name in readers.get(output, ())}
        if isinstance(op, MixingOp):
            behind = {layer.name} & layers
        on_grid = isinstance(op, MovingOp) and not op.uses_output_bits
        # what first reads a model input is calibrated on the grid of its reader
        first = isinstance(op, FloatOp) and op.keeps_grid and bool(inputs & set(node.inputs[:1]))
        if (on_grid or first) and behind:
            found.append((layer.name, tuple(sorted(behind))))
        for name in node.inputs:
            readers.setdefault(name, set()).update(behind)
    return tuple(reversed(found))
