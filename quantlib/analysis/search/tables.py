"""What each width of each layer adds to error and costs, from assignments that were run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.search.objective import COSTS, Objective
from quantlib.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.analysis.search.runs import Run, Runner
    from quantlib.analysis.search.space import LayerChoices, Pair, Space
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.config import QuantizationConfig

DEFAULT_BITS = tuple(range(2, 9))


@dataclass(frozen=True, slots=True, eq=False)
class LayerTable:
    """The choices of one layer and what each costs.

    Parameters
    ----------
    name : str
        The layer.
    weight_bits, activation_bits : tuple of int
        Widths to choose from; the one entry 0 where there is nothing to choose.
    error : float array, (weight widths, activation widths)
        Mean squared error of the model's lead output that the choice adds, the others at their
        widest; measured for weights and activations apart, and added.
    width_bits : int array, same shape
        Width that counts against the limit; 0 where no such grid exists.
    weight_size_bits, bit_operations, lookup_cost : float arrays, same shape
        What the layer adds to each cost: `quantlib.analysis.widths.cost`, with all layers at the
        same pair.
    """

    name: str
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    error: FloatArray
    width_bits: AnyArray
    weight_size_bits: FloatArray
    bit_operations: FloatArray
    lookup_cost: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CostTables:
    """All layers' choices.

    Parameters
    ----------
    layers : tuple of LayerTable
        In execution order.
    base : QuantizationConfig
        Every layer at its widest choice.
    base_error, signal : float
        Mean squared error of the base, and mean square of the float output.
    """

    layers: tuple[LayerTable, ...]
    base: QuantizationConfig
    base_error: float
    signal: float

    def sqnr_db(self, error: float) -> float:
        """Return the SQNR that a mean squared error means, dB."""
        return 10.0 * float(np.log10(self.signal / error)) if error > 0 else float("inf")

    def error_at(self, sqnr_db: float) -> float:
        """Return the mean squared error that an SQNR means."""
        return float(self.signal / 10 ** (sqnr_db / 10))


def uniform_pairs(space: Space) -> tuple[Pair, ...]:
    """Return the pairs of widths that layers can share, each width that some layer offers."""
    weights = sorted({bits for layer in space.layers for bits in layer.weight_bits if bits})
    activations = sorted({bits for layer in space.layers for bits in layer.activation_bits if bits})
    return tuple((w, a) for w in weights or [0] for a in activations or [0])


def table_assignments(space: Space) -> Iterator[dict[str, Pair]]:
    """Yield the assignments that `cost_tables` needs: the widest, one layer changed, all alike."""
    base = {layer.name: layer.widest for layer in space.layers}
    yield base
    for layer in space.layers:
        for pair in _apart(layer):
            yield {**base, layer.name: pair}
    for pair in uniform_pairs(space):
        yield space.all_at(pair)


def _apart(layer: LayerChoices) -> Iterator[Pair]:
    """Yield the pairs of a layer in which only weights or only activations are not the widest."""
    top = layer.widest
    for pair in layer.pairs:
        if (pair[0] == top[0]) != (pair[1] == top[1]):
            yield pair


def cost_tables(runner: Runner) -> CostTables | None:
    """Return the tables that the runs of `table_assignments` make.

    Runs that are not there yet are run. None when the widest assignment cannot be applied.
    """
    space = runner.space
    base = {layer.name: layer.widest for layer in space.layers}
    whole = runner.run(base)
    if whole is None:
        return None
    alike = [
        run for pair in uniform_pairs(space) if (run := runner.run(space.all_at(pair))) is not None
    ]
    output = runner.bench.float_model.output().astype(np.float64)
    return CostTables(
        tuple(_table(runner, layer, base, whole, alike) for layer in space.layers),
        whole.config,
        whole.mse,
        float(np.mean(np.square(output))),
    )


def _table(
    runner: Runner, layer: LayerChoices, base: dict[str, Pair], whole: Run, alike: list[Run]
) -> LayerTable:
    shape = layer.exists.shape
    alone = {layer.widest: 0.0}
    for pair in _apart(layer):
        run = runner.run({**base, layer.name: pair})
        alone[pair] = np.inf if run is None else max(0.0, run.mse - whole.mse)
    of_weights = [alone.get((w, layer.widest[1]), np.inf) for w in layer.weight_bits]
    of_activations = [alone.get((layer.widest[0], a), np.inf) for a in layer.activation_bits]
    error = np.add.outer(of_weights, of_activations)
    # a pair without a run of its own costs what the widest does, which no search prefers
    met = {run.widths[layer.name]: run for run in [*alike, whole][::-1]}
    widths = np.zeros(shape, dtype=np.int64)
    costs = {objective: np.zeros(shape) for objective in COSTS}
    for i, w in enumerate(layer.weight_bits):
        for j, a in enumerate(layer.activation_bits):
            run = met.get((w, a), whole)
            widths[i, j] = max(1, run.outcome.counted_bits.get(layer.name, 1))
            for objective, table in costs.items():
                table[i, j] = run.outcome.by_layer[objective].get(layer.name, 0.0)
    possible = layer.exists & np.isfinite(error)
    return LayerTable(
        name=layer.name,
        weight_bits=layer.weight_bits,
        activation_bits=layer.activation_bits,
        error=np.where(possible, error, 0.0),
        width_bits=np.where(possible, widths, 0),
        weight_size_bits=costs[Objective.SIZE],
        bit_operations=costs[Objective.BIT_OPERATIONS],
        lookup_cost=costs[Objective.LOOKUPS],
    )


def check_limit(name: str, width_bits: AnyArray, limit_bits: int) -> None:
    """Raise UnreachableError when none of a layer's choices fits the limit."""
    narrowest = int(width_bits[width_bits > 0].min())
    if narrowest > limit_bits:
        raise UnreachableError(
            f"layer {name!r} needs at least {narrowest} bits with the widths offered, the limit "
            f"is {limit_bits}; offer narrower widths, raise the limit, or round."
        )
