"""The integer program that assigns widths to layers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.tables import check_limit
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from quantlib.analysis.search.space import Pair
    from quantlib.analysis.search.tables import CostTables, LayerTable
    from quantlib.arrays import AnyArray, FloatArray


def cost_of(table: LayerTable, objective: Objective) -> FloatArray:
    """Return what each choice of a layer adds to an objective."""
    return {
        Objective.SIZE: table.weight_size_bits,
        Objective.BIT_OPERATIONS: table.bit_operations,
        Objective.LOOKUPS: table.lookup_cost,
        Objective.SQNR: table.error,
    }[objective]


def total(tables: CostTables, widths: Mapping[str, Pair], objective: Objective) -> float:
    """Return an objective's sum over an assignment; for SQNR the added error."""
    return sum(
        float(cost_of(table, objective)[_place(table, widths[table.name])])
        for table in tables.layers
    )


def _place(table: LayerTable, pair: Pair) -> tuple[int, int]:
    return table.weight_bits.index(pair[0]), table.activation_bits.index(pair[1])


def assign(
    tables: CostTables,
    objective: Objective,
    *,
    limit_bits: int,
    most_error: float | None = None,
    budgets: Mapping[Objective, float] | None = None,
    excluded: Collection[tuple[str, Pair]] = (),
) -> dict[str, Pair] | None:
    """Return the best widths by layer, or None if the bounds leave no assignment.

    Parameters
    ----------
    tables : CostTables
        Choices and costs.
    objective : Objective
        What is minimised.
    limit_bits : int
        Every accumulator fits it, for all inputs on the grid.
    most_error : float, optional
        Bound on the added mean squared error.
    budgets : mapping of Objective to float, optional
        Bounds on other sums.
    excluded : collection of (layer, pair)
        Choices that turned out not to fit.

    Raises
    ------
    OptionsError
        A layer has no choice that fits the limit; the message names the narrowest it has. Or
        SciPy is not installed.

    Notes
    -----
    One binary variable per choice, one choice per layer: a multiple-choice knapsack, solved by
    HiGHS (SciPy's `milp`). Costs are scaled so that the solver's tolerances are relative.
    """
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError:
        raise OptionsError(
            "the search needs SciPy; install quantization-explorer[search]."
        ) from None
    allowed = [_allowed(table, limit_bits, excluded) for table in tables.layers]
    if not tables.layers:
        return {}
    sizes = [table.width_bits.size for table in tables.layers]
    ends = np.cumsum([0, *sizes])

    def joined(of: Objective) -> FloatArray:
        return np.concatenate([cost_of(table, of).ravel() for table in tables.layers])

    one_each = np.zeros((len(sizes), int(ends[-1])))
    for i, (start, end) in enumerate(pairwise(ends)):
        one_each[i, start:end] = 1
    constraints = [LinearConstraint(one_each, 1, 1)]
    bounds = dict(budgets or {})
    if most_error is not None:
        bounds[Objective.SQNR] = most_error
    for of, bound in bounds.items():
        sums = joined(of)
        scale = float(np.max(np.abs(sums))) or 1.0
        constraints.append(LinearConstraint(sums / scale, -np.inf, bound / scale))
    costs = joined(objective)
    # among equally good assignments the one with the smaller error, by a nudge
    error = joined(Objective.SQNR)
    costs = costs / (float(costs.max()) or 1.0) + 1e-6 * error / (float(error.max()) or 1.0)
    upper = np.concatenate([ok.ravel() for ok in allowed]).astype(np.float64)
    found = milp(
        costs, constraints=constraints, integrality=np.ones(len(costs)), bounds=Bounds(0, upper)
    )
    if found.x is None:
        return None
    chosen = {}
    for table, (start, end) in zip(tables.layers, pairwise(ends), strict=True):
        row, column = divmod(int(np.argmax(found.x[start:end])), len(table.activation_bits))
        chosen[table.name] = (table.weight_bits[row], table.activation_bits[column])
    return chosen


def _allowed(
    table: LayerTable, limit_bits: int, excluded: Collection[tuple[str, Pair]]
) -> AnyArray:
    """Return which choices of a layer fit the limit; raise OptionsError if none does."""
    check_limit(table.name, table.width_bits, limit_bits)
    fits = (table.width_bits > 0) & (table.width_bits <= limit_bits)
    for layer, pair in excluded:
        if layer == table.name:
            fits[_place(table, pair)] = False
    return fits
