"""What assignments that were not run may measure: sums of single effects, corrected by the runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.program import cost_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.analysis.search.runs import Run
    from quantlib.analysis.search.space import Pair, Space
    from quantlib.analysis.search.tables import CostTables
    from quantlib.arrays import AnyArray, FloatArray

_PRIOR = 0.1
"""Weight of the tables' effects against the runs'; both as relative errors."""

_NEAR_DB = 6.0
"""Runs this close to the SQNR in question tell how far predictions are off, dB."""

_REACH_BITS = 2.5
"""Distance over which a run corrects the predictions beside it, bits."""

_ROUGH = 0.1
"""Part of the residuals' variance that does not carry over to neighbours."""

_LEAST_SPREAD_DB = 0.5
_LEAST_SPREAD_BITS = 0.3
_LEAST_SPREAD_COST = 1e-9
"""Predictions are never taken to be surer than this."""

_KEPT = 400
"""Most runs that correct predictions, those nearest to the SQNR in question."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What assignments may measure: expected values and standard deviations, float64, (rows,).

    Parameters
    ----------
    sqnr_db, sqnr_spread_db
        SQNR, dB.
    log2_cost, log2_cost_spread
        Binary logarithm of the objective's cost; 0 for the SQNR.
    excess_bits, excess_spread_bits
        Widest that counts, less the limit, bits.
    """

    sqnr_db: FloatArray
    sqnr_spread_db: FloatArray
    log2_cost: FloatArray
    log2_cost_spread: FloatArray
    excess_bits: FloatArray
    excess_spread_bits: FloatArray


class Surrogate:
    """Predictions of error, cost and width for assignments of a space.

    Parameters
    ----------
    space : Space
        The assignments.
    tables : CostTables
        Effects of single choices.
    objective : Objective
        Whose cost is predicted.

    Notes
    -----
    An assignment is a row of one choice number per layer (of `LayerChoices.pairs`). The error is
    a constant and one term per width of each layer's weights and activations, fitted to all
    runs by least squares of the relative error, with the tables' terms as the prior (ridge
    regression); costs and widths are the tables'. What the runs differ from that is carried over
    to their neighbours by a Gaussian process whose covariance falls with the distance in bits
    (Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, eq. 2.25 and 2.26); its
    variance is that of predicting each run from the others (eq. 5.10 to 5.12).
    """

    def __init__(self, space: Space, tables: CostTables, objective: Objective) -> None:
        self.space, self.tables, self.objective = space, tables, objective
        self._pairs = [layer.pairs for layer in space.layers]
        self._places: list[dict[Pair, int]] = [
            {pair: i for i, pair in enumerate(pairs)} for pairs in self._pairs
        ]
        self._bits = [np.array(pairs, dtype=np.float64) for pairs in self._pairs]
        self._cells = [
            (
                np.array([table.weight_bits.index(w) for w, _ in pairs]),
                np.array([table.activation_bits.index(a) for _, a in pairs]),
            )
            for table, pairs in zip(tables.layers, self._pairs, strict=True)
        ]
        self._columns, effects = self._terms()
        self._prior = np.array([max(tables.base_error, 1e-300), *effects])
        self._effects = self._prior
        self._limit = space.base.limit_bits
        self._points: FloatArray = np.zeros((0, 2 * len(self._pairs)))
        self._factor: FloatArray = np.zeros((0, 0))
        self._carried: FloatArray = np.zeros((0, 3))
        self._spreads = np.array([1.0, 0.5, 0.5])

    def row(self, widths: Mapping[str, Pair]) -> AnyArray:
        """Return an assignment as choice numbers, int64, (layers,)."""
        named = zip(self.space.layers, self._places, strict=True)
        return np.array([places[widths[layer.name]] for layer, places in named], dtype=np.int64)

    def widths(self, row: AnyArray) -> dict[str, Pair]:
        """Return the assignment of a row."""
        return {
            layer.name: pairs[int(i)]
            for layer, pairs, i in zip(self.space.layers, self._pairs, row, strict=True)
        }

    def fit(self, runs: Sequence[Run], near_db: float) -> None:
        """Correct the predictions by what was measured, above all near an SQNR."""
        used = [run for run in runs if np.isfinite(run.sqnr_db) and run.mse > 0]
        if not used:
            return
        used.sort(key=lambda run: abs(run.sqnr_db - near_db))
        rows = np.array([self.row(run.widths) for run in used])
        measured = np.array([run.sqnr_db for run in used])
        self._fit_effects(rows, np.array([run.mse for run in used]), measured - near_db)
        used, rows, measured = used[:_KEPT], rows[:_KEPT], measured[:_KEPT]
        expected = np.stack(self._plain(rows), axis=1)
        seen = np.stack(
            [
                measured,
                *zip(
                    *((self._log2_cost(r), r.width_bits - self._limit) for r in used), strict=True
                ),
            ],
            axis=1,
        )
        residual = seen - expected
        self._points = self._place(rows)
        covariance = _covariance(self._points, self._points) + _ROUGH * np.eye(len(rows))
        self._factor = np.linalg.inv(covariance)
        self._carried = self._factor @ residual
        # squared errors of predicting each run from the others, over their variance
        left_out = np.square(self._carried) / np.diag(self._factor)[:, None]
        close = np.abs(measured - near_db) <= _NEAR_DB
        judged = left_out[close] if np.count_nonzero(close) > 4 else left_out
        least = np.array([_LEAST_SPREAD_DB, _LEAST_SPREAD_COST, _LEAST_SPREAD_BITS])
        self._spreads = np.maximum(least, np.sqrt(np.mean(judged, axis=0)))

    def predict(self, rows: AnyArray, *, doubt: float = 1.0) -> Prediction:
        """Return what assignments may measure; `doubt` widens the spreads."""
        expected = np.stack(self._plain(rows), axis=1)
        left = np.ones(len(rows))
        if len(self._points):
            near = _covariance(self._place(rows), self._points)
            expected = expected + near @ self._carried
            left = 1.0 + _ROUGH - np.einsum("ij,jk,ik->i", near, self._factor, near, optimize=True)
        spread = doubt * np.sqrt(np.clip(left, _ROUGH, None))[:, None] * self._spreads
        return Prediction(
            expected[:, 0], spread[:, 0], expected[:, 1], spread[:, 1], expected[:, 2], spread[:, 2]
        )

    def _log2_cost(self, run: Run) -> float:
        """Return the logarithm of what a run costs; 0 for the SQNR."""
        if self.objective is Objective.SQNR:
            return 0.0
        return float(np.log2(max(run.cost(self.objective), 1e-9)))

    def _plain(self, rows: AnyArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return SQNR, logarithm of the cost, and bits beyond the limit, without corrections."""
        floor = 1e-3 * self._prior[0]
        error = np.maximum(self._design(rows) @ self._effects, floor)
        sqnr = 10.0 * np.log10(self.tables.signal / error)
        excess = np.full(len(rows), -float(self._limit))
        cost = np.zeros(len(rows))
        for k, (table, cells) in enumerate(zip(self.tables.layers, self._cells, strict=True)):
            np.maximum(excess, table.width_bits[cells][rows[:, k]] - self._limit, out=excess)
            cost += cost_of(table, self.objective)[cells][rows[:, k]]
        if self.objective is Objective.SQNR:
            return sqnr, np.zeros(len(rows)), excess
        return sqnr, np.log2(np.maximum(cost, 1e-9)), excess

    def _fit_effects(self, rows: AnyArray, errors: FloatArray, distance_db: FloatArray) -> None:
        """Fit the error's terms; runs near the SQNR in question count most."""
        weight = 1.0 / (1.0 + np.square(distance_db / _NEAR_DB))
        spread = np.maximum(self._prior, 1e-3 * self._prior[0])
        left = np.vstack(
            [
                self._design(rows) * (weight / errors)[:, None] * spread,
                _PRIOR * np.eye(len(spread)),  # columns of like size
            ]
        )
        right = np.concatenate([weight, _PRIOR * self._prior / spread])
        self._effects = np.linalg.lstsq(left, right, rcond=None)[0] * spread

    def _terms(self) -> tuple[list[AnyArray], list[float]]:
        """Return per layer the columns of each choice's two terms, and the tables' effects."""
        columns, effects, start = [], [], 1
        for table, (rows, places) in zip(self.tables.layers, self._cells, strict=True):
            error = table.error
            of_weights = error.min(axis=1)
            of_activations = error.min(axis=0) - error.min()
            columns.append(np.stack([start + rows, start + len(of_weights) + places], axis=1))
            effects += [*of_weights, *of_activations]
            start += len(of_weights) + len(of_activations)
        return columns, effects

    def _design(self, rows: AnyArray) -> FloatArray:
        """Return which terms each assignment has, float64, (rows, terms)."""
        design = np.zeros((len(rows), len(self._prior)))
        design[:, 0] = 1.0
        for k, columns in enumerate(self._columns):
            for part in (0, 1):
                design[np.arange(len(rows)), columns[rows[:, k], part]] = 1.0
        return design

    def _place(self, rows: AnyArray) -> FloatArray:
        """Return assignments as points whose coordinates are bits, float64, (rows, 2 layers)."""
        return np.concatenate([bits[rows[:, k]] for k, bits in enumerate(self._bits)], axis=1)


def _covariance(points: FloatArray, others: FloatArray) -> FloatArray:
    """Return the covariance of residuals, in units of their variance, (points, others)."""
    squares = np.square(points).sum(axis=1)[:, None] + np.square(others).sum(axis=1)
    distance = np.maximum(squares - 2.0 * points @ others.T, 0.0)
    return np.asarray(np.exp(-0.5 * distance / _REACH_BITS**2))
