"""What each width of each layer costs: error measured, all else in closed form."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import feasible_region, has_weights
from quantlib.core.scheme import LayerOverride
from quantlib.errors import OptionsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quantlib.analysis.widths.cost import Cost
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.analysis.workbench import Workbench
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
        Widths to choose from; a layer without weights has one entry, 0.
    error : float array, (weight widths, activation widths)
        Mean squared error of the model's first output that the choice adds, the others at their
        widest; measured for weights and activations apart, and added.
    width_bits : int array, same shape
        Width the weights let the accumulator reach; 0 where no such grid exists.
    weight_size_bits, bit_operations, lookup_cost : float arrays, same shape
        Memory of the layer's constants; products times both widths; look-ups on its result,
        each counted as ``2**width``.
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


def with_widths(
    config: QuantizationConfig, widths: Mapping[str, tuple[int, int]]
) -> QuantizationConfig:
    """Return `config` with weight and activation widths by layer; 0 keeps the weights'."""
    overrides = dict(config.overrides)
    for layer, (weight, activation) in widths.items():
        weights = config.weights.replace(n_bits=weight) if weight else None
        activations = config.activations.replace(n_bits=activation)
        overrides[layer] = LayerOverride(
            None if weights == config.weights else weights,
            None if activations == config.activations else activations,
        )
    return config.replace(overrides=overrides)


def cost_tables(
    bench: Workbench,
    config: QuantizationConfig,
    *,
    weight_bits: Sequence[int] = DEFAULT_BITS,
    activation_bits: Sequence[int] = DEFAULT_BITS,
) -> Iterator[tuple[int, int, CostTables | None]]:
    """Measure every layer's choices; yield runs done, runs in all, and at the end the tables.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        Signs, ranges, rounding and limit; its widths and overrides are replaced.
    weight_bits, activation_bits : sequence of int
        Widths to choose from, the same for every layer.

    Raises
    ------
    OptionsError
        No choice of some layer fits ``config.limit_bits``; raised before anything is measured.
    """
    if not weight_bits or not activation_bits:
        raise OptionsError("offer at least one weight width and one activation width.")
    base = widest(config, weight_bits, activation_bits)
    top = (max(weight_bits), max(activation_bits))

    def error_of(changed: QuantizationConfig) -> float:
        return evaluate(bench, changed).mse

    module = bench.module(base)
    facts = []
    exists: dict[str, AnyArray] = {}
    for fact in layer_facts(module):
        region = feasible_region(
            fact, base.limit_bits, weight_bits=weight_bits, activation_bits=activation_bits
        )
        if region is not None and (region.width_bits > 0).any():
            check_limit(fact.layer.name, region.width_bits, base.limit_bits)
            facts.append(fact)
            exists[fact.layer.name] = region.width_bits > 0
    total = 1 + sum(
        (len(weight_bits) - 1) * has_weights(f) + len(activation_bits) - 1 for f in facts
    )
    base_error, done = error_of(base), 1
    yield done, total, None
    measured: dict[str, tuple[list[float], list[float]]] = {}
    for fact in facts:
        name = fact.layer.name
        columns: tuple[list[float], list[float]] = ([], [])
        possible = [np.any(exists[name], axis=axis).tolist() for axis in (1, 0)]
        for part, widths in enumerate(
            (weight_bits if has_weights(fact) else (0,), activation_bits)
        ):
            for i, n_bits in enumerate(widths):
                pair = (n_bits, top[1]) if part == 0 else (top[0] * has_weights(fact), n_bits)
                if n_bits in (0, top[part]) or not possible[part][i]:
                    columns[part].append(0.0)
                    continue
                error = error_of(with_widths(base, {name: pair})) - base_error
                columns[part].append(max(0.0, error))
                done += 1
                yield done, total, None
        measured[name] = columns
    output = bench.float_model.output().astype(np.float64)
    tables = CostTables(
        tuple(_tables(facts, measured, cost(module), weight_bits, activation_bits)),
        base,
        base_error,
        float(np.mean(np.square(output))),
    )
    yield total, total, tables


def check_limit(name: str, width_bits: AnyArray, limit_bits: int) -> None:
    """Raise UnreachableError when none of a layer's choices fits the limit."""
    narrowest = int(width_bits[width_bits > 0].min())
    if narrowest > limit_bits:
        raise UnreachableError(
            f"layer {name!r} needs at least {narrowest} bits with the widths offered, the limit "
            f"is {limit_bits}; offer narrower widths, raise the limit, or round."
        )


def _tables(
    facts: Sequence[LayerFacts],
    measured: Mapping[str, tuple[list[float], list[float]]],
    costs: Cost,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
) -> Iterator[LayerTable]:
    """Yield the closed-form costs with the measured errors."""
    products = {layer.name: layer.macs for layer in costs.layers}
    tables: Counter[str] = Counter()
    for entry in costs.lookups:
        tables[entry.name] += entry.count
    for fact in facts:
        name, weighted = fact.layer.name, has_weights(fact)
        region = feasible_region(fact, 32, weight_bits=weight_bits, activation_bits=activation_bits)
        assert region is not None
        widths = region.width_bits if weighted else region.width_bits[:1]
        rows = tuple(weight_bits) if weighted else (0,)
        w = np.asarray(rows, dtype=np.float64)[:, None]
        a = np.asarray(activation_bits, dtype=np.float64)[None, :]
        position = fact.layer.weight_position
        numbers = int(np.prod(fact.shapes[position])) if position is not None else 0  # type: ignore[arg-type]
        of_weights, of_activations = (np.asarray(part) for part in measured[name])
        yield LayerTable(
            name=name,
            weight_bits=rows,
            activation_bits=tuple(activation_bits),
            error=of_weights[:, None] + of_activations[None, :],
            width_bits=widths,
            weight_size_bits=np.broadcast_to(numbers * w, widths.shape),
            bit_operations=products.get(name, 0) * w * a,
            lookup_cost=tables[name] * np.exp2(widths.astype(np.float64)),
        )
