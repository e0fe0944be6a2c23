"""Assignments that were run: what each costs and what is left of the signal, measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.table_costs import look_up_complexity
from quantlib.errors import OptionsError, TensorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.search.space import Pair, Space, Widths
    from quantlib.analysis.widths.cost import Cost, LookUps
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig


def costs_by_layer(found: Cost) -> dict[Objective, dict[str, float]]:
    """Return what each layer adds to each cost; look-ups count where their integers are made."""
    tables: dict[str, float] = {}
    for entry in found.lookups:
        tables[entry.name] = tables.get(entry.name, 0.0) + _weight(entry)
    return {
        Objective.SIZE: {layer.name: float(layer.weight_bits) for layer in found.layers},
        Objective.BIT_OPERATIONS: {
            layer.name: float(layer.bit_operations) for layer in found.layers
        },
        Objective.LOOKUPS: tables,
    }


def _weight(entry: LookUps) -> float:
    """Return what the look-ups of one kind cost, floating-point operations."""
    return float(entry.count * look_up_complexity(entry.width_bits))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A configuration that was run.

    Parameters
    ----------
    config : QuantizationConfig
        Which.
    mse, sqnr_db : float
        Of the model's lead output against the float model, on the evaluation data.
    agreement, score : float or None
        Same class as float; accuracy or R².
    counted_bits : mapping of str to int
        Width of each layer that counts against the limit.
    by_layer : mapping of Objective to mapping of str to float
        What each layer adds to each cost.
    """

    config: QuantizationConfig
    mse: float
    sqnr_db: float
    agreement: float | None
    score: float | None
    counted_bits: Mapping[str, int]
    by_layer: Mapping[Objective, Mapping[str, float]]

    @property
    def widest(self) -> str:
        """The layer of which most counts against the limit; empty without accumulators."""
        return max(self.counted_bits, key=self.counted_bits.__getitem__, default="")

    @property
    def width_bits(self) -> int:
        """The widest that counts against the limit, bits; 0 without accumulators."""
        return max(self.counted_bits.values(), default=0)

    @property
    def fits(self) -> bool:
        """Whether what counts is within the limit."""
        return self.width_bits <= self.config.limit_bits

    def cost(self, objective: Objective) -> float:
        """Return the objective: bits, bit operations or look-up cost; for SQNR the error."""
        if objective is Objective.SQNR:
            return self.mse
        return sum(self.by_layer[objective].values())

    def meets(self, floor_db: float | None) -> bool:
        """Tell whether the configuration fits and keeps an SQNR."""
        return self.fits and (floor_db is None or self.sqnr_db >= floor_db)


def outcome_of(
    bench: Workbench, config: QuantizationConfig, criterion: Criterion
) -> Outcome | None:
    """Quantize, evaluate, bound and cost a configuration; None where it cannot be applied.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        What is chosen.
    criterion : Criterion
        Which integers count against the limit.
    """
    try:
        module = bench.module(config)
        found = evaluate(bench, config, output=bench.graph.lead_output)
    except (OptionsError, TensorError):  # a divisor of 0 on this grid, for one
        return None
    seen = found.seen if criterion is Criterion.SEEN else None
    budget = bit_width_budget(module, seen=seen)
    return Outcome(
        config=config,
        mse=found.mse,
        sqnr_db=found.sqnr_db,
        agreement=found.agreement,
        score=found.score.quantized_value if found.score else None,
        counted_bits={layer.name: layer.counted_bits(criterion) for layer in budget.layers},
        by_layer=costs_by_layer(cost(module, budget)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """An assignment of a space that was run; its figures are those of `outcome_of`."""

    widths: Widths
    outcome: Outcome

    @property
    def config(self) -> QuantizationConfig:
        """The whole configuration."""
        return self.outcome.config

    @property
    def mse(self) -> float:
        """Mean squared error."""
        return self.outcome.mse

    @property
    def sqnr_db(self) -> float:
        """Output signal over noise, dB."""
        return self.outcome.sqnr_db

    @property
    def width_bits(self) -> int:
        """The widest that counts against the limit, bits."""
        return self.outcome.width_bits

    @property
    def fits(self) -> bool:
        """Whether what counts is within the limit."""
        return self.outcome.fits

    def cost(self, objective: Objective) -> float:
        """Return the objective; see `Outcome.cost`."""
        return self.outcome.cost(objective)

    def meets(self, floor_db: float | None) -> bool:
        """Tell whether the run fits and keeps an SQNR."""
        return self.outcome.meets(floor_db)


class Runner:
    """Runs assignments of a space, each once.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    space : Space
        What assignments mean.
    criterion : Criterion
        Which integers count against the limit.
    """

    def __init__(self, bench: Workbench, space: Space, criterion: Criterion) -> None:
        self.bench, self.space, self.criterion = bench, space, criterion
        self._known: dict[tuple[Pair, ...], Run | None] = {}

    @property
    def runs(self) -> int:
        """Configurations that were run."""
        return len(self._known)

    @property
    def done(self) -> tuple[Run, ...]:
        """What was run, in order."""
        return tuple(run for run in self._known.values() if run is not None)

    def key(self, widths: Widths) -> tuple[Pair, ...]:
        """Return an assignment as a value that can be compared."""
        return tuple(widths[layer.name] for layer in self.space.layers)

    def knows(self, widths: Widths) -> bool:
        """Tell whether an assignment was run."""
        return self.key(widths) in self._known

    def run(self, widths: Widths) -> Run | None:
        """Measure an assignment; None where it cannot be applied."""
        key = self.key(widths)
        if key not in self._known:
            found = outcome_of(self.bench, self.space.config(widths), self.criterion)
            self._known[key] = None if found is None else Run(dict(widths), found)
        return self._known[key]
