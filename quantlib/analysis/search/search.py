"""The search: assign by integer program, measure, correct, assign again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.search.program import Objective, Pair, assign, total
from quantlib.analysis.search.tables import DEFAULT_BITS, CostTables, cost_tables, with_widths
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.errors import OptionsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig

ROUNDS = 8
"""Most times that a measurement corrects the program."""

CLOSE_DB = 0.05
"""A measured SQNR this close above the wanted one ends the search, dB."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An assignment that was run.

    Parameters
    ----------
    config : QuantizationConfig
        The whole configuration.
    widths : dict of str to (int, int)
        Weight and activation width by layer; 0 for layers without weights.
    cost : float
        The objective: bits, bit operations or look-up cost; for SQNR the mean squared error.
    predicted_sqnr_db, sqnr_db : float
        By the sum of single errors, and measured on the evaluation data.
    agreement, score : float or None
        Same class as float; accuracy or R².
    width_bits : int
        Widest accumulator, for all inputs on the grid.
    """

    config: QuantizationConfig
    widths: dict[str, Pair]
    cost: float
    predicted_sqnr_db: float
    sqnr_db: float
    agreement: float | None
    score: float | None
    width_bits: int


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """What a search found, beside the best uniform configuration.

    Parameters
    ----------
    objective : Objective
        What was wanted.
    floor_db : float or None
        SQNR that was asked for, dB.
    best : Candidate
        The assignment found.
    uniform : Candidate or None
        The best configuration with one weight and one activation width for all layers under the
        same conditions; None if no such configuration meets them.
    runs : int
        Configurations that were run.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> config = ql.QuantizationConfig.from_n_bits(4)
    >>> *_, found = ql.search(bench, config, weight_bits=(3, 4), activation_bits=(4,))
    >>> isinstance(found, ql.SearchResult), found.best.width_bits <= 16
    (True, True)
    """

    objective: Objective
    floor_db: float | None
    best: Candidate
    uniform: Candidate | None
    runs: int

    @property
    def beats_uniform(self) -> bool:
        """Whether the assignment is better than the best uniform configuration."""
        if self.uniform is None:
            return True
        if self.objective is Objective.SQNR:
            return self.best.sqnr_db > self.uniform.sqnr_db
        return self.best.cost < self.uniform.cost

    @property
    def gain(self) -> float:
        """Share of the uniform cost that is saved; for SQNR the gain in dB."""
        if self.uniform is None:
            return 0.0
        if self.objective is Objective.SQNR:
            return self.best.sqnr_db - self.uniform.sqnr_db
        return 1.0 - self.best.cost / self.uniform.cost if self.uniform.cost else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is: what it does, and runs done of those known so far."""

    stage: str
    done: int
    total: int


def search(
    bench: Workbench,
    config: QuantizationConfig,
    *,
    objective: Objective = Objective.SIZE,
    floor_db: float | None = None,
    weight_bits: Sequence[int] = DEFAULT_BITS,
    activation_bits: Sequence[int] = DEFAULT_BITS,
) -> Iterator[Progress | SearchResult]:
    """Search widths per layer so that every accumulator fits ``config.limit_bits``.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        Signs, ranges, rounding and limit; its widths and overrides are replaced.
    objective : Objective
        What is made as small as possible; `Objective.SQNR` is made as large as possible.
    floor_db : float, optional
        SQNR that must be kept, dB. By default, for objectives other than SQNR, that of the
        uniform configuration with the highest SQNR that fits the limit, less 1 dB.
    weight_bits, activation_bits : sequence of int
        Widths to choose from.

    Yields
    ------
    Progress, and at the end one SearchResult

    Raises
    ------
    UnreachableError
        Nothing can meet limit and floor; the message says what is closest.
    OptionsError
        No layer has widths to choose.

    Notes
    -----
    Errors of single layers are taken to add, which the measurement corrects: when the measured
    SQNR of an assignment misses the floor, or leaves room above it, the program is solved again
    with a bound moved by the gap. An assignment whose real widths exceed the limit, because
    ranges move with the widths of the layers before, is excluded and the program solved again.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> config = ql.QuantizationConfig.from_n_bits(4)
    >>> *progress, found = ql.search(bench, config, weight_bits=(3, 4), activation_bits=(4, 5))
    >>> found.best.sqnr_db >= found.floor_db
    True
    """
    tables: CostTables | None = None
    for done, count, found in cost_tables(
        bench, config, weight_bits=weight_bits, activation_bits=activation_bits
    ):  # fmt: skip
        tables = found
        yield Progress("measuring each layer at each width", done, count)
    assert tables is not None
    if not tables.layers:
        raise OptionsError("no layer of this model has widths to choose; nothing to search.")
    runner = _Runner(bench, tables, objective, config.limit_bits)
    uniforms: list[Candidate] = []
    pairs = [(w, a) for w in weight_bits for a in activation_bits]
    for i, pair in enumerate(pairs):
        candidate = runner.uniform(pair)
        if candidate is not None and candidate.width_bits <= config.limit_bits:
            uniforms.append(candidate)
        yield Progress("running uniform configurations", i + 1, len(pairs))
    if floor_db is None and objective is not Objective.SQNR and uniforms:
        floor_db = max(c.sqnr_db for c in uniforms) - 1.0
    kept = [c for c in uniforms if floor_db is None or c.sqnr_db >= floor_db]
    best_uniform = min(kept, key=_by(objective), default=None)
    best: Candidate | None = None
    for i, candidate in enumerate(_refined(runner, floor_db)):
        good = floor_db is None or candidate.sqnr_db >= floor_db
        if good and (best is None or _by(objective)(candidate) < _by(objective)(best)):
            best = candidate
        yield Progress("assigning and measuring", i + 1, ROUNDS)
    best = min((c for c in (best, best_uniform) if c is not None), key=_by(objective), default=None)
    if best is None:
        closest = max(uniforms, key=lambda c: c.sqnr_db, default=None)
        reached = (
            "" if closest is None else f"; the best that fits reaches {closest.sqnr_db:.1f} dB"
        )
        kept_words = "" if floor_db is None else f"keeps {floor_db:.1f} dB and "
        raise UnreachableError(
            f"no assignment of the widths offered {kept_words}fits {config.limit_bits} "
            f"bits{reached}; lower the floor, raise the limit or offer more widths."
        )
    yield SearchResult(objective, floor_db, best, best_uniform, runner.runs)


def _by(objective: Objective) -> Callable[[Candidate], tuple[float, float]]:
    """Return what candidates are compared by, smaller is better."""
    if objective is Objective.SQNR:
        return lambda candidate: (-candidate.sqnr_db, candidate.cost)
    return lambda candidate: (candidate.cost, -candidate.sqnr_db)


class _Runner:
    """Runs assignments and remembers what did not fit."""

    def __init__(
        self,
        bench: Workbench,
        tables: CostTables,
        objective: Objective,
        limit_bits: int,
    ) -> None:
        self.bench = bench
        self.tables, self.objective, self.limit_bits = tables, objective, limit_bits
        self.excluded: set[tuple[str, Pair]] = set()
        self.runs = 0

    def uniform(self, pair: Pair) -> Candidate | None:
        """Run one pair of widths for all layers; None where a layer has no such grid."""
        widths = {
            table.name: (pair[0] if table.weight_bits != (0,) else 0, pair[1])
            for table in self.tables.layers
        }
        for table in self.tables.layers:
            w, a = widths[table.name]
            if not table.width_bits[table.weight_bits.index(w), table.activation_bits.index(a)]:
                return None
        return self.run(widths)

    def run(self, widths: dict[str, Pair]) -> Candidate:
        """Quantize, bound and evaluate an assignment."""
        config = with_widths(self.tables.base, widths)
        self.runs += 1
        first = self.bench.graph.lead_output  # which the tables predict
        measured = evaluate(self.bench, config, output=first)
        budget = bit_width_budget(self.bench.module(config))
        for layer in budget.layers:
            if layer.weights.width_bits > self.limit_bits and layer.name in widths:
                self.excluded.add((layer.name, widths[layer.name]))
        added = total(self.tables, widths, Objective.SQNR)
        sizes = total(self.tables, widths, self.objective)
        return Candidate(
            config=config,
            widths=widths,
            cost=measured.mse if self.objective is Objective.SQNR else sizes,
            predicted_sqnr_db=self.tables.sqnr_db(self.tables.base_error + added),
            sqnr_db=measured.sqnr_db,
            agreement=measured.agreement,
            score=measured.score.quantized_value if measured.score else None,
            width_bits=budget.widest.weights.width_bits if budget.widest else 0,
        )


def _refined(runner: _Runner, floor_db: float | None) -> Iterator[Candidate]:
    """Yield assignments that fit the limit, each corrected by the one before."""
    tables, objective = runner.tables, runner.objective
    wanted = floor_db
    tried: set[tuple[tuple[str, Pair], ...]] = set()
    for _ in range(ROUNDS):
        most = None if wanted is None else max(0.0, tables.error_at(wanted) - tables.base_error)
        widths = assign(
            tables, objective, limit_bits=runner.limit_bits, most_error=most,
            excluded=runner.excluded,
        )  # fmt: skip
        if widths is None:
            if wanted is None or floor_db is None or wanted <= floor_db:
                return
            wanted = (wanted + floor_db) / 2  # the correction asked for too much
            continue
        key = tuple(sorted(widths.items()))
        before = len(runner.excluded)
        if key in tried:
            return
        tried.add(key)
        candidate = runner.run(widths)
        if len(runner.excluded) > before:
            continue
        yield candidate
        if floor_db is None or wanted is None:
            return
        gap = candidate.sqnr_db - floor_db
        if 0 <= gap <= CLOSE_DB:
            return
        wanted -= gap if gap < 0 else 0.7 * gap
