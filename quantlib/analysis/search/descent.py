"""A local descent on measured results: run what promises most beside the best that is known."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.search.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quantlib.analysis.search.runs import Run, Runner
    from quantlib.analysis.search.space import Pair
    from quantlib.analysis.search.surrogate import Prediction, Surrogate
    from quantlib.arrays import AnyArray, FloatArray

WHOLE = 20_000
"""Spaces of up to this many assignments are looked over as a whole instead of by neighbours."""

_BATCH = 8
"""Runs between two corrections of the predictions."""

_LEAST_PROMISE = 3e-4
"""Expected gain below which nothing is run any more: share of the cost, or dB / 10."""

_DOUBTS = (1.0, 2.0, 4.0)
"""Factors on the spread of predictions, one after the other when nothing promises more."""

_PATIENCE = 40
"""Runs in vain after which the next doubt is taken."""

_LOGISTIC = 1.7
"""Makes a logistic law one of about unit deviation."""

_MOVED = 150
"""Layers' widths among which swaps are looked for, those of the mildest single moves."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a local descent may run.

    Parameters
    ----------
    runs : int
        Configurations beyond those that measured the tables.
    seconds : float or None
        Time for them, s; None for any.
    """

    runs: int = 400
    seconds: float | None = 60.0


class Ending(StrEnum):
    """Why a search ended, which is what its answer can claim."""

    ENUMERATED = "every assignment was run"
    NOTHING_PROMISED = "none a bit away from the best is better, and no other promised more"
    RUNS_SPENT = "the runs allowed were spent"
    TIME_SPENT = "the time allowed was spent"
    STOPPED = "it was stopped"


def by(objective: Objective) -> Callable[[Run], tuple[float, float]]:
    """Return what runs are compared by, smaller is better."""
    if objective is Objective.SQNR:
        return lambda run: (-run.sqnr_db, run.cost(Objective.SIZE))
    return lambda run: (run.cost(objective), -run.sqnr_db)


def best_of(runs: tuple[Run, ...], objective: Objective, floor_db: float | None) -> Run | None:
    """Return the best run that fits and keeps the floor."""
    return min((r for r in runs if r.meets(floor_db)), key=by(objective), default=None)


def descend(
    runner: Runner,
    surrogate: Surrogate,
    floor_db: float | None,
    *,
    effort: Effort,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[Ending | None]:
    """Run assignments near the best until none promises more; yield None per run, then why.

    Parameters
    ----------
    runner : Runner
        Knows what was run before; its results are where the descent starts.
    surrogate : Surrogate
        Predicts what was not run.
    floor_db : float or None
        SQNR to keep, dB.
    effort : Effort
        What it may take.
    go_on : callable
        Asked before each run.

    Notes
    -----
    Neighbours of the best run are all assignments where one width is another, or two widths are
    a bit less or more; in a small space all assignments. Each is judged by its expected gain: its
    chance to fit and to keep the floor, by the spread of the predictions, times what it would
    save (the expected improvement of Jones, Schonlau and Welch 1998, J. Global Optimization
    13:455). The most promising are run, the predictions corrected, and so on. When none promises
    more, predictions are doubted more and more, for some runs each; and at last every assignment
    in which one width of the best is a bit less or more, and which could be better, is run.
    """
    allowance = _Allowance(effort, go_on)
    every = _every(surrogate) if runner.space.n_assignments <= WHOLE else None
    level, in_vain = 0, 0
    while level < len(_DOUBTS):
        best, centre = _present(runner, surrogate, floor_db)
        if centre is None:
            break
        rows = _neighbours(surrogate, centre) if every is None else every
        promise = _promise(surrogate.predict(rows, doubt=_DOUBTS[level]), surrogate, floor_db, best)
        chosen = rows[np.argsort(-promise, kind="stable")][: np.sum(promise >= _LEAST_PROMISE)]
        improved = False
        batch = 0
        for widths in map(surrogate.widths, chosen):
            if runner.knows(widths):
                continue
            if (ending := allowance.ended()) is not None:
                yield ending
                return
            runner.run(widths)
            yield None
            batch += 1
            improved = best_of(runner.done, surrogate.objective, floor_db) is not best
            if improved or batch == _BATCH:
                break
        in_vain = 0 if improved else in_vain + batch
        if improved:
            level = 0
        elif batch == 0 or (level and in_vain >= _PATIENCE):
            level, in_vain = level + 1, 0
        if level == len(_DOUBTS):
            for widths in _steps_that_may_gain(runner, surrogate, floor_db):
                if (ending := allowance.ended()) is not None:
                    yield ending
                    return
                runner.run(widths)
                yield None
            if best_of(runner.done, surrogate.objective, floor_db) is not best:
                level = 0
    yield Ending.NOTHING_PROMISED


class _Allowance:
    """What is left of an effort."""

    def __init__(self, effort: Effort, go_on: Callable[[], bool]) -> None:
        self._effort, self._go_on = effort, go_on
        self._started, self._spent = time.monotonic(), 0

    def ended(self) -> Ending | None:
        """Take one run; return why there is none left."""
        if not self._go_on():
            return Ending.STOPPED
        if self._spent >= self._effort.runs:
            return Ending.RUNS_SPENT
        seconds = self._effort.seconds
        if seconds is not None and time.monotonic() - self._started > seconds:
            return Ending.TIME_SPENT
        self._spent += 1
        return None


def _present(
    runner: Runner, surrogate: Surrogate, floor_db: float | None
) -> tuple[Run | None, Run | None]:
    """Return the best run and the one whose neighbours are next, predictions fitted around it."""
    best = best_of(runner.done, surrogate.objective, floor_db)
    centre = best or _closest(runner, floor_db)
    if centre is not None:
        surrogate.fit(runner.done, centre.sqnr_db if floor_db is None else floor_db)
    return best, centre


def _closest(runner: Runner, floor_db: float | None) -> Run | None:
    """Return the run that misses limit and floor by least."""
    limit = runner.space.base.limit_bits

    def missing(run: Run) -> tuple[int, float]:
        below = 0.0 if floor_db is None else max(0.0, floor_db - run.sqnr_db)
        return max(0, run.width_bits - limit), below

    return min(runner.done, key=missing, default=None)


def _steps_that_may_gain(
    runner: Runner, surrogate: Surrogate, floor_db: float | None
) -> Iterator[dict[str, Pair]]:
    """Yield the assignments one bit from the best that were not run and could be better."""
    best, _ = _present(runner, surrogate, floor_db)
    if best is None:
        return
    rows = np.array([surrogate.row(widths) for _, _, widths in _singles(surrogate, best, most=1)])
    if not len(rows):
        return
    found = surrogate.predict(rows)
    could = found.excess_bits < 1.5
    if surrogate.objective is not Objective.SQNR:
        could &= found.log2_cost < _log2(best.cost(surrogate.objective))
    for row in rows[could]:
        widths = surrogate.widths(row)
        if not runner.knows(widths):
            yield widths


def _log2(cost: float) -> float:
    return float(np.log2(max(cost, 1e-9)))


def _promise(
    found: Prediction, surrogate: Surrogate, floor_db: float | None, best: Run | None
) -> FloatArray:
    """Return the expected gain of each row, float64, (rows,)."""
    # a whole number of bits fits when it is below half a bit beyond
    chance = _chance((0.5 - found.excess_bits) / found.excess_spread_bits)
    if floor_db is not None:
        chance = chance * _chance((found.sqnr_db - floor_db) / found.sqnr_spread_db)
    if best is None:
        return chance
    if surrogate.objective is Objective.SQNR:
        beyond = found.sqnr_db - best.sqnr_db
        return np.asarray(chance * _expected_gain(beyond, found.sqnr_spread_db) / 10.0)
    octaves = _log2(best.cost(surrogate.objective)) - found.log2_cost
    return np.asarray(chance * np.log(2.0) * _expected_gain(octaves, found.log2_cost_spread))


def _chance(z: FloatArray) -> FloatArray:
    """Return the chance that a value `z` deviations above a bound is above it.

    Logistic: its tails are heavier than the normal law's, as those of predictions are.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-_LOGISTIC * np.clip(z, -40.0, 40.0))))


def _expected_gain(mean: FloatArray, spread: FloatArray) -> FloatArray:
    """Return the mean of what is above 0 of a logistic value."""
    steep = _LOGISTIC / spread
    return np.asarray(np.logaddexp(0.0, steep * mean) / steep)


def _every(surrogate: Surrogate) -> AnyArray:
    """Return all assignments as rows."""
    sizes = [len(layer.pairs) for layer in surrogate.space.layers]
    return np.stack([axis.ravel() for axis in np.indices(sizes)], axis=1)


def _singles(
    surrogate: Surrogate, centre: Run, *, most: int | None = None
) -> list[tuple[str, int, dict[str, Pair]]]:
    """Return the assignments in which one width of a run is another: layer, bits more, widths."""
    here = dict(centre.widths)
    found = []
    for layer in surrogate.space.layers:
        w, a = here[layer.name]
        for pair in layer.pairs:
            change = pair[0] - w + pair[1] - a
            is_single = (pair[0] == w) != (pair[1] == a)
            if is_single and (most is None or abs(change) <= most):
                found.append((layer.name, change, {**here, layer.name: pair}))
    return found


def _neighbours(surrogate: Surrogate, centre: Run) -> AnyArray:
    """Return the assignments near a run as rows."""
    here = dict(centre.widths)
    singles = _singles(surrogate, centre)
    found = [widths for _, _, widths in singles]
    steps = [(name, bits, widths[name]) for name, bits, widths in singles if abs(bits) == 1]
    if len(steps) > _MOVED:
        rows = np.array([surrogate.row({**here, name: pair}) for name, _, pair in steps])
        order = np.argsort(-surrogate.predict(rows).sqnr_db, kind="stable")
        ups = [int(i) for i in order if steps[i][1] > 0][: _MOVED // 2]
        downs = [int(i) for i in order if steps[i][1] < 0][: _MOVED // 2]
        steps = [steps[i] for i in (*ups, *downs)]
    for one, other in itertools.combinations(steps, 2):
        if one[0] != other[0]:
            found.append({**here, one[0]: one[2], other[0]: other[2]})
    for layer in surrogate.space.layers:  # both widths of one layer
        w, a = here[layer.name]
        found += [
            {**here, layer.name: pair}
            for pair in layer.pairs
            if abs(pair[0] - w) == 1 and abs(pair[1] - a) == 1
        ]
    return np.array([surrogate.row(widths) for widths in found]).reshape(len(found), -1)
