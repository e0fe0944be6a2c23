"""Plans against integer programs, step by step, in NumPy; no compiler is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.widths.cost import RoundingMethod
from quantlib.errors import OptionsError
from quantlib.fhe import gates
from quantlib.fhe.lowering import plan_of
from quantlib.fhe.noise import run_with_errors
from quantlib.fhe.plan import Plan, plain
from quantlib.fhe.refusals import too_wide
from quantlib.fhe.widths import predict, widths_of
from quantlib.program import steps
from quantlib.program.program import IntegerProgram
from tests.integer_programs import (
    IN_INTEGERS,
    MIXES_SAMPLES,
    codes_of,
    extreme_codes,
    module,
    operator_cases,
    operator_module,
    random_codes,
    several,
)


def assert_equal_within_bounds(program: IntegerProgram, plan: Plan, codes: tuple[Any, ...]) -> None:
    expected = several(program.run(*codes))
    for ours, theirs in zip(plan.run(*codes), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name, made in plan.values(codes, plain, keep=True).items():
        gate = plan.gate(name)
        assert made.shape[1:] == gate.shape
        assert gate.low <= made.min()
        assert made.max() <= gate.high


@pytest.mark.parametrize("kind", ["plain", "round6", "channels"])
@pytest.mark.parametrize("name", IN_INTEGERS)
def test_a_sample_s_plan_gives_its_integers(name: str, kind: str) -> None:
    made = module(name, kind, 4)
    program = made.program()
    plan = plan_of(program)
    for codes in (random_codes(made, 8), extreme_codes(made)):
        assert_equal_within_bounds(program, plan, codes)


@pytest.mark.parametrize("key", [key for key in operator_cases() if key not in MIXES_SAMPLES])
def test_a_plan_of_each_operator_gives_its_integers(key: str) -> None:
    made, data = operator_module(key)
    program = made.program()
    assert_equal_within_bounds(program, plan_of(program), codes_of(made, data))


def constant(values: Any) -> Any:
    return np.asarray(values, dtype=np.int64)


def entry(name: str, shape: tuple[int, ...]) -> steps.Input:
    return steps.Input(
        name=name, layer=name, shape=shape, low=0, high=15, input_name=name, scale=1.0,
        zero_point=0, float_dtype="float32", rounding="half_even",
    )  # fmt: skip


@pytest.mark.parametrize("lsbs", [None, (0, 0), (2, 1)])
@pytest.mark.parametrize("constant_left", [False, True])
def test_products_of_two_tensors_are_those_of_the_program(
    lsbs: tuple[int, int] | None, constant_left: bool
) -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 16, (2, 3)) if constant_left else None
    inputs = [entry("b", (3, 4))] if constant_left else [entry("a", (2, 3)), entry("b", (3, 4))]
    pair = steps.PairMatMul(
        name="p", layer="p", shape=(2, 4), low=-2000, high=2000, weights=weights,
        left="" if constant_left else "a", right="b", right_zero=5, square_lsbs=lsbs,
    )  # fmt: skip
    centre = steps.Centre(
        name="c", layer="p", shape=(2, 4), low=-3000, high=3000, source="p", right="b",
        left_zero=3, right_zero=5,
    )  # fmt: skip
    program = IntegerProgram(
        "two", (*inputs, pair, centre), (steps.Output("y", "c", np.float64(1), 0),)
    )
    codes = tuple(rng.integers(0, 16, (20, *step.shape)) for step in inputs)
    assert_equal_within_bounds(program, plan_of(program), codes)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_a_convolution_of_any_dimension_is_the_program_s(spatial: int) -> None:
    rng = np.random.default_rng(spatial)
    weights = rng.integers(-4, 4, (4, 1, *(2,) * spatial))
    conv = steps.Conv(
        name="y", layer="conv", shape=(4, *(2,) * spatial), low=-2000, high=2000, source="x",
        weights=weights, weight_zero=constant(1), offset=constant([1, 2, 3, 4]), partial=4000,
        strides=(2,) * spatial, dilations=(2,) * spatial, group=2,
    )  # fmt: skip
    program = IntegerProgram(
        "conv", (entry("x", (2, *(5,) * spatial)), conv),
        (steps.Output("y", "y", np.float64(1), 0),),
    )  # fmt: skip
    codes = (rng.integers(0, 16, (6, 2, *(5,) * spatial)),)
    assert_equal_within_bounds(program, plan_of(program), codes)


def test_rounding_counts_a_bootstrap_for_each_low_bit_only_when_it_is_exact() -> None:
    plan = plan_of(module("digits_mlp", "round6", 4).program())
    rounded = [gate for gate in plan.gates if isinstance(gate, gates.Rounded)]
    bits = sum(gate.size * gate.lsbs for gate in rounded)
    assert bits > 0
    exact, approximate = (predict(plan, method) for method in RoundingMethod)
    assert exact.n_bootstraps == approximate.n_bootstraps + bits
    assert approximate.n_bootstraps == sum(gate.size for gate in plan.lookups)


def test_a_table_without_a_step_costs_nothing_nor_does_what_only_it_reads() -> None:
    source = gates.Entry(
        name="x", layer="x", shape=(3,), low=0, high=15, sources=(), input_name="x"
    )
    stepping, flat = (
        gates.LookUp(
            name=name, layer=name, shape=(3,), low=0, high=15, sources=(read,),
            entries=entries[None], first=0, lsbs=0, which=constant(0),
        )
        for name, read, entries in (
            ("a", "x", np.arange(16)),
            ("b", "a", np.full(16, 7)),
        )
    )  # fmt: skip
    program = IntegerProgram("t", (entry("x", (3,)),), ())
    assert predict(Plan(program, (source, stepping, flat), ("b",))).n_bootstraps == 0
    assert predict(Plan(program, (source, stepping, flat), ("a", "b"))).n_bootstraps == 3


def test_linked_tensors_are_held_in_the_width_of_the_widest() -> None:
    """By another method: widths are raised until no link is broken."""
    for name in IN_INTEGERS:
        plan = plan_of(module(name, "plain", 3).program())
        found = widths_of(plan)
        held = {name: width.needed_bits for name, width in found.items()}
        for gate in plan.gates:
            if gate.constant is not None:
                ends = int(gate.constant.min()), int(gate.constant.max())
                bits = max((-ends[0] - 1).bit_length(), ends[1].bit_length()) + (ends[0] < 0)
                held[gate.name] = max(held[gate.name], bits)
        changed = True
        while changed:
            changed = False
            for gate in plan.gates:
                if isinstance(gate, gates.LookUp | gates.Entry):
                    continue
                group = [gate.name, *gate.sources]
                widest = max(held[n] for n in group)
                changed |= any(held[n] != widest for n in group)
                held.update(dict.fromkeys(group, widest))
        assert held == {name: width.held_bits for name, width in found.items()}


def test_bounds_seen_on_data_are_those_of_the_data_and_never_wider() -> None:
    made = module("diabetes_mlp", "plain", 4)
    plan = plan_of(made.program())
    codes = codes_of(made, made.calibration)
    seen = plan.seen_on(*codes)
    for wide, narrow in zip(plan.gates, seen.gates, strict=True):
        assert wide.low <= narrow.low <= narrow.high <= wide.high
    for name, values in plan.values(codes, plain, keep=True).items():
        gate = seen.gate(name)
        assert (gate.low, gate.high) == (values.min(), values.max())


def test_a_softmax_is_refused_by_name_with_a_remedy() -> None:
    program = module("wine_sklearn", "plain", 4).program()
    with pytest.raises(OptionsError, match=r"Softmax stays in float.*; take it out"):
        plan_of(program)


def test_an_integer_beyond_a_table_is_refused_with_a_rounding_that_mends_it() -> None:
    config = ql.QuantizationConfig.from_n_bits(8)
    sample_module = module("digits_mlp", "plain", 8)
    found = too_wide(plan_of(sample_module.program()), RoundingMethod.EXACT)
    assert found
    assert found[0].rounding_bits is not None
    mended = config.replace(rounding_threshold_bits=found[0].rounding_bits)
    rounded = ql.quantize(sample_module.graph, sample_module.calibration, mended)
    assert not too_wide(plan_of(rounded.program()), RoundingMethod.EXACT)


def test_errors_are_as_frequent_as_they_may_be() -> None:
    """A table that tells every step apart shows each error."""
    table = gates.LookUp(
        name="t", layer="t", shape=(), low=0, high=63, sources=("x",),
        entries=np.arange(64)[None], first=0, lsbs=0, which=constant(0),
    )  # fmt: skip
    program = IntegerProgram("t", (entry("x", ()),), ())
    source = gates.Entry(name="x", layer="x", shape=(), low=0, high=63, sources=(), input_name="x")
    plan = Plan(program, (source, table), ("t",))
    codes = np.random.default_rng(0).integers(8, 56, 200_000)
    (made,) = run_with_errors(plan, codes, p_error=0.01)
    wrong = np.mean(made != codes)
    assert abs(wrong - 0.01) < 5 * np.sqrt(0.01 / len(codes))
    assert np.abs(made - codes).max() == 1
    (again,) = run_with_errors(plan, codes, p_error=0.01)
    np.testing.assert_array_equal(made, again)


def test_without_errors_rounding_approximately_is_at_most_a_step_off_in_the_table() -> None:
    made = module("digits_mlp", "round6", 4)
    plan = plan_of(made.program())
    codes = random_codes(made, 32)
    (expected,) = plan.run(*codes)
    (exact,) = run_with_errors(plan, *codes, p_error=2.0**-40)
    np.testing.assert_array_equal(exact, expected)
    lone = replace(plan, outputs=(plan.lookups[0].name,))
    (near,) = run_with_errors(lone, *codes, p_error=2.0**-40, rounding=RoundingMethod.APPROXIMATE)
    (true,) = lone.run(*codes)
    assert np.any(near != true)
    assert np.abs(near - true).max() <= 1
