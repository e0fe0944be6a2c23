from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantlib as ql
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.program import assign, total
from quantlib.analysis.search.tables import CostTables, LayerTable

BASE = ql.QuantizationConfig.from_n_bits(8)


def tables_of(seed: int, layers: int = 3, widths: int = 3) -> CostTables:
    rng = np.random.default_rng(seed)
    shape = (widths, widths)
    bits = tuple(range(2, 2 + widths))
    made = [
        LayerTable(
            f"l{i}", bits, bits, rng.uniform(0, 1, shape), rng.integers(6, 14, shape),
            rng.uniform(1, 50, shape), rng.uniform(1, 900, shape), rng.uniform(1, 1e6, shape),
        )
        for i in range(layers)
    ]  # fmt: skip
    return CostTables(tuple(made), BASE, 0.01, 10.0)


def brute_force(
    tables: CostTables, objective: Objective, limit: int, most_error: float | None
) -> float | None:
    best = None
    cells = [list(itertools.product(t.weight_bits, t.activation_bits)) for t in tables.layers]
    for choice in itertools.product(*cells):
        widths = {t.name: pair for t, pair in zip(tables.layers, choice, strict=True)}
        fits = all(
            t.width_bits[t.weight_bits.index(w), t.activation_bits.index(a)] <= limit
            for t, (w, a) in zip(tables.layers, choice, strict=True)
        )
        if not fits:
            continue
        if most_error is not None and total(tables, widths, Objective.SQNR) > most_error:
            continue
        value = total(tables, widths, objective)
        best = value if best is None else min(best, value)
    return best


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from(list(Objective)), st.integers(9, 14),
    st.none() | st.floats(0.2, 2.5),
)  # fmt: skip
def test_the_program_finds_what_trying_all_finds(
    seed: int, objective: Objective, limit: int, most_error: float | None
) -> None:
    tables = tables_of(seed)
    if any(not (t.width_bits <= limit).any() for t in tables.layers):
        with pytest.raises(ql.OptionsError, match="needs at least"):
            assign(tables, objective, limit_bits=limit, most_error=most_error)
        return
    found = assign(tables, objective, limit_bits=limit, most_error=most_error)
    best = brute_force(tables, objective, limit, most_error)
    if best is None:
        assert found is None
        return
    assert found is not None
    # the nudge towards a smaller error costs at most 1e-6 of the largest entry per layer
    assert total(tables, found, objective) == pytest.approx(best, rel=1e-4)
    if most_error is not None:
        assert total(tables, found, Objective.SQNR) <= most_error * (1 + 1e-6)


def test_an_excluded_choice_is_not_taken_again() -> None:
    tables = tables_of(1)
    first = assign(tables, Objective.SIZE, limit_bits=20)
    assert first is not None
    name, pair = next(iter(first.items()))
    second = assign(tables, Objective.SIZE, limit_bits=20, excluded=[(name, pair)])
    assert second is not None
    assert second[name] != pair
    assert total(tables, second, Objective.SIZE) > total(tables, first, Objective.SIZE)


def test_a_budget_bounds_another_sum() -> None:
    tables = tables_of(2)
    free = assign(tables, Objective.SQNR, limit_bits=20)
    assert free is not None
    bound = 0.8 * total(tables, free, Objective.SIZE)
    bounded = assign(tables, Objective.SQNR, limit_bits=20, budgets={Objective.SIZE: bound})
    assert bounded is not None
    assert total(tables, bounded, Objective.SIZE) <= bound * (1 + 1e-6)
    assert total(tables, bounded, Objective.SQNR) > total(tables, free, Objective.SQNR)


def test_sqnr_and_error_are_inverse() -> None:
    tables = tables_of(3)
    assert tables.error_at(tables.sqnr_db(0.037)) == pytest.approx(0.037)
