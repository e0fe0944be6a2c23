"""The search: measure single choices, assign by integer program, descend on what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.search.descent import Effort, Ending, best_of, by, descend
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.program import assign, total
from quantlib.analysis.search.runs import Run, Runner
from quantlib.analysis.search.space import Space, space_of, widest
from quantlib.analysis.search.surrogate import Surrogate
from quantlib.analysis.search.tables import (
    DEFAULT_BITS,
    CostTables,
    check_limit,
    cost_tables,
    table_assignments,
    uniform_pairs,
)
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import feasible_region
from quantlib.errors import OptionsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from quantlib.analysis.search.space import Pair
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.quantized_module import QuantizedModule

ROUNDS = 8
"""Most times that a measurement corrects the program."""

CLOSE_DB = 0.05
"""A measured SQNR this close above the wanted one ends the program's rounds, dB."""

ENUMERATED = 300
"""Spaces of up to this many assignments are run as a whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An assignment that was run.

    Parameters
    ----------
    config : QuantizationConfig
        The whole configuration.
    widths : dict of str to (int, int)
        Weight and activation width by layer; 0 where there is none to choose.
    cost : float
        The objective: bits, bit operations or look-up cost; for SQNR the mean squared error.
    predicted_sqnr_db, sqnr_db : float
        By the sum of single errors, and measured on the evaluation data.
    agreement, score : float or None
        Same class as float; accuracy or R².
    width_bits : int
        Widest that counts against the limit, by the search's criterion.
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
    """What a search found, beside the best uniform configuration at the same floor.

    Parameters
    ----------
    objective : Objective
        What was wanted.
    floor_db : float or None
        SQNR that both keep, dB.
    best : Candidate
        The assignment found.
    uniform : Candidate or None
        The best configuration with one weight and one activation width for all layers under the
        same conditions; None if no such configuration meets them.
    runs : int
        Configurations that were run.
    n_assignments : int
        Assignments of the widths offered.
    ending : Ending
        Why the search ended.
    criterion : Criterion
        Which integers count against the limit.

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
    n_assignments: int
    ending: Ending
    criterion: Criterion = Criterion.ANY_INPUT

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
            return self.gain_db
        return 1.0 - self.best.cost / self.uniform.cost if self.uniform.cost else 0.0

    @property
    def gain_db(self) -> float:
        """SQNR beyond that of the best uniform configuration, dB; below 0 for less."""
        if self.uniform is None or self.best.sqnr_db == self.uniform.sqnr_db:
            return 0.0
        return self.best.sqnr_db - self.uniform.sqnr_db

    @property
    def is_optimal(self) -> bool:
        """Whether no assignment of the widths offered is better: all were run."""
        return self.ending is Ending.ENUMERATED

    @property
    def tried(self) -> str:
        """What was tried, in a sentence that claims no more."""
        if self.is_optimal:
            return f"All {self.n_assignments} assignments of the widths offered were run."
        of = f"{self.runs} of {_count(self.n_assignments)} assignments were run"
        return f"{of}; {self.ending}. One that was not run may be better."


def _count(number: int) -> str:
    """Return a number of assignments in words that stay short."""
    return (
        f"{number:,}"
        if number < 10**6
        else f"{float(number):.0e}".replace("e+0", "e").replace("e+", "e")
    )


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
    below_uniform_db: float = 0.0,
    weight_bits: Sequence[int] = DEFAULT_BITS,
    activation_bits: Sequence[int] = DEFAULT_BITS,
    criterion: Criterion = Criterion.ANY_INPUT,
    effort: Effort | None = None,
    go_on: Callable[[], bool] = lambda: True,
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
        uniform configuration with the highest SQNR that fits the limit.
    below_uniform_db : float
        How far below that default the floor lies, dB.
    weight_bits, activation_bits : sequence of int
        Widths to choose from.
    criterion : Criterion
        Which integers must fit the limit.
    effort : Effort, optional
        What the local descent may take; `Effort()` when not given.
    go_on : callable
        Asked before each run; after False nothing new starts, and the best of what was run is
        the result, if anything meets limit and floor.

    Yields
    ------
    Progress, and at the end one SearchResult; none if it was stopped before anything was found

    Raises
    ------
    UnreachableError
        Nothing that was run meets limit and floor; the message says what is closest.
    OptionsError
        No layer has widths to choose.

    Notes
    -----
    A space of up to `ENUMERATED` assignments is run as a whole. In a larger one every layer is
    measured at each width alone and all layers alike; an integer program over sums of these
    effects proposes assignments, corrected by the measured gap to the floor; and a local descent
    (`quantlib.analysis.search.descent.descend`) goes on from whatever was best. The answer is
    the best of all runs, uniform ones included, so it is never worse than those.

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
    >>> found.tried
    'All 4 assignments of the widths offered were run.'
    """
    if not weight_bits or not activation_bits:
        raise OptionsError("offer at least one weight width and one activation width.")
    base = widest(config, weight_bits, activation_bits)
    module = bench.module(base)
    space = space_of(module, lambda _: weight_bits, lambda _: activation_bits)
    if all(layer.pairs == ((0, 0),) for layer in space.layers):
        raise OptionsError("no layer of this model has widths to choose; nothing to search.")
    if criterion is Criterion.ANY_INPUT:
        check_reachable(module, weight_bits, activation_bits)
    runner = Runner(bench, space, criterion)
    question = Question(objective, floor_db, below_uniform_db)
    ending = Ending.STOPPED
    for step in explore(runner, question, effort=effort or Effort(), go_on=go_on):
        if isinstance(step, Progress):
            yield step
        else:
            ending = step
    yield from _answer(runner, question, ending)


@dataclass(frozen=True, slots=True)
class Question:
    """What a search is for; see `search`."""

    objective: Objective
    floor_db: float | None = None
    below_uniform_db: float = 0.0

    def floor(self, runner: Runner) -> float | None:
        """Return the SQNR to keep, dB, as soon as uniform configurations were run."""
        if self.floor_db is not None or self.objective is Objective.SQNR:
            return self.floor_db
        fitting = [run.sqnr_db for run in uniform_runs(runner) if run.fits]
        return max(fitting) - self.below_uniform_db if fitting else None


def explore(
    runner: Runner, question: Question, *, effort: Effort, go_on: Callable[[], bool]
) -> Iterator[Progress | Ending]:
    """Run what answers a question; yield progress and at last why it ended."""
    space = runner.space
    small = space.n_assignments <= ENUMERATED
    planned = list(space.assignments() if small else table_assignments(space))
    stage = "running every assignment" if small else "measuring each layer at each width"
    for i, widths in enumerate(planned):
        if not go_on():
            yield Ending.STOPPED
            return
        runner.run(widths)
        yield Progress(stage, i + 1, len(planned))
    if small:
        yield Ending.ENUMERATED
        return
    tables = cost_tables(runner)
    if tables is None:
        raise OptionsError(
            "the widest widths offered cannot be applied to this model; offer others."
        )
    floor_db = question.floor(runner)
    for i, _ in enumerate(_refined(runner, tables, question.objective, floor_db)):
        yield Progress("assigning and measuring", i + 1, ROUNDS)
        if not go_on():
            yield Ending.STOPPED
            return
    surrogate = Surrogate(space, tables, question.objective)
    steps = descend(runner, surrogate, floor_db, effort=effort, go_on=go_on)
    for i, step in enumerate(steps):
        if step is not None:
            yield step
            return
        yield Progress("running neighbours of the best", i + 1, effort.runs)


def check_reachable(
    module: QuantizedModule, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> None:
    """Raise UnreachableError when some layer cannot fit, before anything is measured."""
    for facts in layer_facts(module):
        region = feasible_region(
            facts,
            module.config.limit_bits,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
        )
        rounds = facts.config.rounding_threshold_bits is not None
        if region is not None and (region.width_bits > 0).any() and not rounds:
            check_limit(facts.layer.name, region.width_bits, module.config.limit_bits)


def uniform_runs(runner: Runner) -> list[Run]:
    """Return the uniform configurations that were run."""
    space: Space = runner.space
    every = (space.uniform(pair) for pair in uniform_pairs(space))
    return [
        run
        for widths in every
        if widths is not None and runner.knows(widths) and (run := runner.run(widths)) is not None
    ]


def _answer(runner: Runner, question: Question, ending: Ending) -> Iterator[SearchResult]:
    """Yield the best of what was run, or raise UnreachableError."""
    objective, floor_db = question.objective, question.floor(runner)
    uniforms = tuple(uniform_runs(runner))
    uniform = best_of(uniforms, objective, floor_db)
    best = best_of(runner.done, objective, floor_db)
    if uniform is not None and best is not None and by(objective)(uniform) <= by(objective)(best):
        best = uniform  # of equals the one without exceptions
    limit = runner.space.base.limit_bits
    if best is None:
        if ending is Ending.STOPPED:
            return
        fitting = [run for run in runner.done if run.fits]
        closest = max((run.sqnr_db for run in fitting), default=None)
        reached = "" if closest is None else f"; the best that fits reaches {closest:.1f} dB"
        kept = "" if floor_db is None else f"keeps {floor_db:.1f} dB and "
        raise UnreachableError(
            f"no assignment of the {runner.runs} that were run {kept}fits {limit} bits{reached}; "
            "lower the floor, raise the limit or offer more widths."
        )
    tables = None if ending is Ending.STOPPED else cost_tables(runner)
    yield SearchResult(
        objective=objective,
        floor_db=floor_db,
        best=_candidate(best, objective, tables),
        uniform=None if uniform is None else _candidate(uniform, objective, tables),
        runs=runner.runs,
        n_assignments=runner.space.n_assignments,
        ending=ending,
        criterion=runner.criterion,
    )


def _candidate(run: Run, objective: Objective, tables: CostTables | None) -> Candidate:
    widths = dict(run.widths)
    predicted = float("nan")
    if tables is not None:
        added = total(tables, widths, Objective.SQNR)
        predicted = tables.sqnr_db(tables.base_error + added)
    return Candidate(
        config=run.config,
        widths=widths,
        cost=run.cost(objective),
        predicted_sqnr_db=predicted,
        sqnr_db=run.sqnr_db,
        agreement=run.outcome.agreement,
        score=run.outcome.score,
        width_bits=run.width_bits,
    )


def _refined(
    runner: Runner, tables: CostTables, objective: Objective, floor_db: float | None
) -> Iterator[Run]:
    """Yield runs of the program's assignments that fit, each corrected by the one before."""
    wanted, limit = floor_db, runner.space.base.limit_bits
    excluded: set[tuple[str, Pair]] = set()
    tried: set[tuple[Pair, ...]] = set()
    for _ in range(ROUNDS):
        most = None if wanted is None else max(0.0, tables.error_at(wanted) - tables.base_error)
        try:
            widths = assign(tables, objective, limit_bits=limit, most_error=most, excluded=excluded)
        except UnreachableError:  # by the tables; runs may say otherwise
            return
        if widths is None:
            if wanted is None or floor_db is None or wanted <= floor_db:
                return
            wanted = (wanted + floor_db) / 2  # the correction asked for too much
            continue
        key = runner.key(widths)
        if key in tried:
            return
        tried.add(key)
        run = runner.run(widths)
        beyond = (
            set(widths.items())
            if run is None
            else {
                (name, widths[name])
                for name, bits in run.outcome.counted_bits.items()
                if bits > limit and name in widths
            }
        )
        if beyond:
            excluded |= beyond
            continue
        assert run is not None
        yield run
        if floor_db is None or wanted is None:
            return
        gap = run.sqnr_db - floor_db
        if 0 <= gap <= CLOSE_DB:
            return
        wanted -= gap if gap < 0 else 0.7 * gap
