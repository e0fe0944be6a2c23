"""Figures of ranges: bars hold every value, lines stand at the ends of grids."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest

import quantlib as ql
from pages.ui.charts import distributions, theme
from quantlib.analysis.distributions import (
    Distribution,
    given_choice,
    range_choices,
    weight_distributions,
)
from quantlib.calibration.sufficiency import assess_samples
from quantlib.core.options import QuantizationOptions
from quantlib.core.stats import MinMaxQuantizationStats
from tests.paths import SAMPLES

if TYPE_CHECKING:
    from quantlib.analysis.distributions import RangeChoice

OPTIONS = QuantizationOptions(4, is_signed=True, is_symmetric=True)


@functools.cache
def weights() -> tuple[Distribution, int]:
    graph = ql.load_model(SAMPLES / "digits_cnn.onnx")
    name = next(node.inputs[1] for node in graph.nodes if node.name == "/c2/Conv")
    return weight_distributions(graph)[name], graph.constants[name].size


def given(low: float, high: float) -> RangeChoice:
    stats = MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
    return given_choice(weights()[0], stats, OPTIONS)


@pytest.mark.parametrize("log", [False, True])
def test_a_histogram_holds_every_value_and_marks_what_is_clipped(log: bool) -> None:
    measured, size = weights()
    narrow = given(-0.2, 0.2)
    figure = distributions.tensor_histogram(
        measured, narrow.quantizer, log=log, unit="value of the weights"
    )
    inside, clipped = (trace for trace in figure.data if trace.type == "bar")
    assert sum(inside.y) + sum(clipped.y) == size
    assert clipped.marker.color == theme.CLIPPED
    grid = narrow.quantizer
    for trace, most in ((inside, 0.5), (clipped, np.inf)):
        codes = np.asarray(trace.x) / grid.scale
        beyond = np.maximum(codes - grid.qmax, grid.qmin - codes)
        assert (beyond <= most).all()
        assert most == 0.5 or (beyond > 0.5).all()
    assert figure.layout.yaxis.type == ("log" if log else "linear")
    assert figure.layout.xaxis.title.text == "value of the weights"
    assert figure.layout.yaxis.title.text == "values per bin"


@pytest.mark.parametrize("log", [False, True])
def test_grid_lines_stand_at_the_codes_from_the_foot_of_the_axis(log: bool) -> None:
    choice = given(-0.5, 0.5)
    figure = distributions.tensor_histogram(weights()[0], choice.quantizer, log=log, unit="v")
    [grid] = [trace for trace in figure.data if trace.name == "grid"]
    codes = np.arange(choice.quantizer.qmin, choice.quantizer.qmax + 1)
    np.testing.assert_array_equal(grid.x[::3], choice.quantizer.dequant(codes))
    foot = np.asarray(grid.y[::3])
    assert (foot > 0).all() if log else (foot == 0).all()


def test_every_estimator_has_a_bar_with_both_ends_and_the_compared_ones_have_lines() -> None:
    found = [*range_choices(weights()[0], OPTIONS), given(-0.3, 0.3)]
    own = len(found) - 1
    figure = distributions.tensor_histogram(
        weights()[0], found[0].quantizer, log=False, unit="v", choices=found, compared=[1], best=2
    )
    ends = [c.quantizer.scale * (np.array([c.quantizer.qmin, c.quantizer.qmax])
            - c.quantizer.zero_point) for c in found]  # fmt: skip
    lanes = [trace for trace in figure.data if str(trace.name).startswith("range of")]
    assert len(lanes) == len(found)
    for lane, expected in zip(lanes, ends, strict=True):
        np.testing.assert_allclose(lane.x[:2], expected)
    assert [lane.line.color == theme.WITHIN for lane in lanes] == [
        i == 2 for i in range(len(found))
    ]
    lines = [
        trace
        for trace in figure.data
        if trace.type == "scatter" and trace.mode == "lines" and "grid" not in trace.name
    ]
    for line, place in zip(lines, (1, own), strict=True):
        # a point with y for each end, or the line is not there
        drawn = [(x, y) for x, y in zip(line.x, line.y, strict=True) if x is not None]
        assert len(drawn) == 4 and all(y is not None for _, y in drawn)
        assert [x for x, _ in drawn] == pytest.approx(np.repeat(ends[place], 2))


def test_small_multiples_keep_the_order_that_is_given() -> None:
    names = ("7 b", "1 a", "3 " + "c" * 60, "4 d")
    items = [(name, "", weights()[0], given(-0.5, 0.5).quantizer) for name in names]
    figure = distributions.small_multiples(items, log=False)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["7 b", "1 a", f"3 …{'c' * 23}", "4 d"]
    assert len(figure.layout.shapes) == 2 * len(items)


def test_channels_are_bars_from_their_lowest_to_their_highest_value() -> None:
    channels = weights()[0].channels
    assert channels is not None
    figure = distributions.channel_ranges(channels, given(-0.5, 0.5).quantizer)
    bars = figure.data[0]
    np.testing.assert_array_equal(bars.base, channels.low)
    highs = np.add(bars.base, bars.y).astype(np.float64)
    np.testing.assert_allclose(highs, channels.high, rtol=1e-6)
    assert figure.layout.xaxis.title.text == "channel"


@pytest.mark.parametrize("width", [False, True])
def test_bands_hold_their_median(width: bool) -> None:
    rng = np.random.default_rng(0)
    high = rng.normal(size=80) ** 2
    found = assess_samples(-high, high, OPTIONS, rng=rng, step=0.1)
    top, low, median = distributions.sufficiency(found, unit="u", width=width).data
    assert all(np.asarray(low.y) <= np.asarray(median.y))
    assert all(np.asarray(median.y) <= np.asarray(top.y))
    assert list(median.x) == list(found.sizes)
