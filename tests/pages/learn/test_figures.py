"""Figures of lessons: what they draw is what the library computed, in colours that can be read."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import quantlib as ql
from pages.ui.charts import (
    lessons,
    lessons_integers,
    lessons_line,
    lessons_product,
    lessons_ranges,
    lessons_tables,
    lessons_tools,
    lessons_width,
)
from pages.ui.learn import texts
from quantlib.analysis.widths.table_costs import look_up_complexity
from quantlib.conventions import CONVENTIONS, Scheme, convert
from quantlib.lessons.fan_in import Types, growth, widest_fan_in
from quantlib.lessons.products import example
from quantlib.lessons.ranges import few_samples, race, shrinking
from quantlib.lessons.tables import example_table

if TYPE_CHECKING:
    import plotly.graph_objects as go


def look(number: int, *, large: bool = False) -> lessons.Look:
    return lessons.Look(lessons.LIGHT, texts.lesson("en", number).figure, large)


def grid(low: float, high: float, n_bits: int, **options: bool) -> ql.UniformQuantizer:
    stats = ql.MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
    return ql.UniformQuantizer.from_stats(ql.QuantizationOptions(n_bits, **options), stats)


def named(figure: go.Figure, name: str) -> Any:
    return next(trace for trace in figure.data if trace.name == name)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [lessons.LIGHT, lessons.DARK], ids=["light", "dark"])
def test_digits_in_every_colour_have_a_contrast_of_four_and_a_half(
    palette: lessons.Palette,
) -> None:
    for field in fields(palette):
        if field.name not in ("ground", "quiet"):
            light, dark = sorted(
                (luminance(getattr(palette, field.name)), luminance(palette.ground)), reverse=True
            )
            assert (light + 0.05) / (dark + 0.05) >= 4.5, field.name


@pytest.mark.parametrize("n_bits", range(1, 9))
@pytest.mark.parametrize("always", [0, 77, 255])
def test_numbers_of_codes_never_touch(n_bits: int, always: int) -> None:
    code = min(always, 2**n_bits - 1)
    for signed in (0, 2 ** (n_bits - 1)):
        found = lessons.labelled_codes(-signed, 2**n_bits - 1 - signed, 9, always=code - signed)
        assert code - signed in found
        assert len(found) <= 12
        span = max(1, 2**n_bits - 1)
        assert np.all(np.diff(found) >= min(1, span) * 0.75 * max(1, span / 16))


@pytest.mark.parametrize("n_bits", [1, 3, 8])
def test_the_staircase_is_the_quantizer_s(n_bits: int) -> None:
    quantizer = grid(-2, 3, n_bits)
    figure = lessons_line.number_line(quantizer, value=1.3, look=look(1))
    staircase = named(figure, "value of the code")
    x = np.asarray(staircase.x)
    np.testing.assert_array_equal(staircase.y, quantizer.dequant(quantizer.quant(x)))
    error = named(figure, "error")
    np.testing.assert_allclose(error.y, quantizer.dequant(quantizer.quant(x)) - x)
    assert len(set(named(figure, "codes").customdata)) == 2**n_bits


def test_the_close_view_shows_six_steps_to_each_side() -> None:
    quantizer = grid(-2, 3, 8)
    figure = lessons_line.number_line(quantizer, value=1.3, look=look(1), around=True)
    x = np.asarray(named(figure, "value of the code").x)
    assert np.ptp(x) == pytest.approx(12 * float(quantizer.scale))


def test_wasted_codes_are_those_that_no_value_of_the_range_gets() -> None:
    quantizer = grid(0, 3, 4, is_signed=True, is_symmetric=True)
    figure = lessons_line.schemes(
        {"symmetric": quantizer}, chosen="symmetric", ends=(0, 3), look=look(2)
    )
    hit = set(quantizer.quant(np.linspace(0, 3, 10_001)).tolist())
    assert set(named(figure, "codes used").customdata) == hit
    assert set(named(figure, "codes wasted").customdata) == set(range(-8, 8)) - hit


def test_ties_part_both_orders_only_when_the_zero_point_is_odd() -> None:
    for low, odd in ((-1.3, True), (-1.0, False)):
        quantizer = grid(low, 3, 4)
        assert int(quantizer.zero_point) % 2 == odd
        figure = lessons_line.ties(quantizer, look=look(2))
        after = named(figure, "rint(x/S + Z): Concrete ML").y
        before = named(figure, "rint(x/S) + Z: ONNX").y
        assert np.all(np.abs(np.subtract(after, before)) == int(odd))


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_waterfall_ends_at_the_product(symmetric: bool) -> None:
    product = example(9, x_bits=3, w_bits=4, symmetric=symmetric)
    figure = lessons_product.four_terms(product, look=look(4))
    bars = [trace for trace in figure.data if trace.type == "bar"]
    z1, z2 = product.zero_points
    direct = sum(int((a - z1) * (b - z2)) for a, b in zip(product.q1, product.q2, strict=True))
    assert bars[-1].y[0] == direct
    assert sum(bar.y[0] for bar in bars[:-1]) == direct
    assert (product.terms[2] == 0) == symmetric


def test_the_growing_accumulator_ends_at_the_sum_and_names_its_width() -> None:
    product = example(20, x_bits=4, w_bits=4, symmetric=False)
    raw = lessons_product.growing(product, look=look(4)).data[0]
    total = int(product.q1 @ product.q2)
    assert raw.y[-1] == total
    assert raw.name.endswith(f"{total.bit_length()} bits")


def test_the_largest_fan_in_is_where_the_types_cross_the_limit() -> None:
    types = Types(4, 4, symmetric=True)
    largest = widest_fan_in(16, types)
    assert largest == (2**15 - 1) // (15 * 7)
    found = growth(types)
    figure = lessons_width.by_fan_in(
        found, limit=16, largest=largest, layers=[("a", 9, 10)], look=look(5)
    )
    assert named(figure, "largest fan-in by types").x[0] == largest
    assert np.all(found.weights <= found.types)
    assert np.all(found.data <= found.weights)


def test_bits_that_are_rounded_away_are_hatched() -> None:
    figure = lessons_width.rounded_away(12, 7, 2498, look=look(5))
    gone = named(figure, "rounded away")
    assert len(gone.x) == 5
    assert gone.marker.pattern.shape == "/"
    kept = "".join(text[3] for text in (*named(figure, "enter the table").text, *gone.text))
    assert int(kept, 2) == 2498


def test_a_table_s_steps_are_where_its_code_changes() -> None:
    table = example_table("Sigmoid", n_bits=3, removed=0)
    cut = example_table("Sigmoid", n_bits=3, removed=5)
    figure = lessons_tables.table(
        table.integers, table.reals, table.codes, cut.codes, cut.grid, look=look(6)
    )
    steps = named(figure, "where the code steps")
    assert len(steps.x) == np.count_nonzero(np.diff(cut.codes))
    assert len(steps.x) < np.count_nonzero(np.diff(table.codes)) + 1
    assert named(figure, "table, no bits removed") is not None


def test_the_winner_of_the_race_has_the_smallest_error_of_all() -> None:
    found = race(20.0, 4)
    errors = [-choice.fit.sqnr_db for choice in found.choices]
    assert errors == sorted(errors, reverse=True)
    assert {c.estimator.name for c in found.choices if c.estimator} >= {"min-max", "mse", "entropy"}
    figure = lessons_ranges.race(found.counts, found.edges, found.choices, look=look(7))
    assert len(figure.layout.yaxis2.ticktext) == len(found.choices)


def test_rounding_and_clipping_add_up_and_have_a_minimum_inside() -> None:
    found = shrinking(3)
    assert 1.5 < found.best < 3.0
    assert found.clipping[-1] == 0.0 or found.clipping[-1] < 1e-6
    assert found.rounding[0] < found.rounding[-1]
    assert found.clipping[0] > found.rounding[0]


def test_more_samples_reach_farther() -> None:
    found = few_samples()
    assert np.all(np.diff(found.middle) > 0)
    assert np.all(found.low < found.high)
    # the maximum of n Laplacians: P(max <= m) = (1 - exp(-m) / 2)**n
    n = 16 * found.samples
    exact = -np.log(2 * (1 - 0.5 ** (1 / n)))
    np.testing.assert_allclose(found.middle, exact, rtol=0.06)


def test_the_lower_panel_is_the_difference_of_both_results() -> None:
    accumulators = np.arange(-5, 6)
    fixed, exact = np.arange(11), np.arange(11) - (np.arange(11) % 2)
    figure = lessons_integers.against_exact(accumulators, exact, fixed, at=0, look=look(9))
    shown = dict(zip(figure.data[-1].x.tolist(), figure.data[-1].y.tolist(), strict=True))
    differ = fixed != exact
    assert shown == dict(
        zip(accumulators[differ].tolist(), (fixed - exact)[differ].tolist(), strict=True)
    )


def test_every_tool_has_a_row_with_its_codes() -> None:
    values = np.array([1.0, 1.5, 4.0])
    made = {tool: convert(tool, values, n_bits=3, scheme=Scheme.AFFINE) for tool in CONVENTIONS}
    figure = lessons_tools.conventions(values, made, look=look(10))
    shown = [trace for trace in figure.data if trace.customdata is not None]
    assert [trace.customdata.tolist() for trace in shown] == [
        made[tool].codes.tolist() for tool in reversed(list(made))
    ]


def test_a_projector_gets_larger_type_and_a_lower_figure() -> None:
    quantizer = grid(-2, 3, 3)
    normal, large = (
        lessons_line.number_line(quantizer, value=1.0, look=look(1, large=large))
        for large in (False, True)
    )
    assert large.layout.font.size > normal.layout.font.size
    assert large.layout.height < normal.layout.height


def test_the_sentence_about_the_cost_of_a_bit_is_true() -> None:
    ratios = [look_up_complexity(w + 1) / look_up_complexity(w) for w in range(1, 16)]
    assert min(ratios[:8]) >= 1.35
    assert max(ratios[:8]) <= 3.35
    assert max(ratios[8:]) <= 1.25
    assert "1.4 to 3.3" in texts.lesson("en", 6).story
