"""Figures of table look-ups: what they draw is what the module does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pages.ui.bitwidths.tables import rounding_table
from pages.ui.charts import staircases
from quantlib.core.tensor import Tensor
from quantlib.program.cost import TableCost
from quantlib.program.view import RoundedSteps
from quantlib.questions import bitwidths
from quantlib.questions.bitwidths import Function
from tests.integer_programs import configuration
from tests.sample_data import sample

if TYPE_CHECKING:
    import plotly.graph_objects as go

BY_HAND = Function(channels=(), thresholds=(-2, 3), values=(0, 4, 1), seen=(-1, 6))
ROUNDED = (
    RoundedSteps(4, 0, 3, 0, TableCost(16, 6, relative=False)),
    RoundedSteps(3, 1, 2, 1, TableCost(9, 5, relative=True)),
)


def drawn_codes(figure: go.Figure, accumulators: Any) -> Any:
    """Return the height of the drawn line at accumulators: that of the last corner before."""
    line = figure.data[0]
    assert line.line.shape == "hv", "it goes right, then up"
    corners = np.searchsorted(line.x[:-1], accumulators, side="right") - 1
    return np.asarray(line.y)[corners]


def test_each_step_is_drawn_from_its_first_integer_and_told_to_its_last() -> None:
    figure = staircases.staircase(BY_HAND, -8, 7, reader="/c2/Conv")
    line = figure.data[0]
    assert list(line.x) == [-8, -2, 3, 7]
    assert list(line.y) == [0, 4, 1, 1]
    assert [tuple(ends) for ends in line.customdata] == [(-8, -3), (-2, 2), (3, 7), (3, 7)]
    assert figure.layout.xaxis.title.text == "accumulator (integer)"
    assert figure.layout.yaxis.title.text == "code read by /c2/Conv"


def test_the_range_seen_is_shaded_with_both_its_ends() -> None:
    figure = staircases.staircase(BY_HAND, -8, 7, reader="x")
    [shade] = figure.layout.shapes
    assert (shade.x0, shade.x1) == (-1.5, 6.5)
    assert figure.data[1].name == "seen on data: -1 to 6"
    unseen = Function((), (), (7,), seen=None)
    assert not staircases.staircase(unseen, 0, 1, reader="x").layout.shapes


def test_a_reader_s_name_is_no_markup() -> None:
    figure = staircases.staircase(BY_HAND, -8, 7, reader="<b>%{y}")
    assert "<b>" not in figure.layout.yaxis.title.text


def test_memory_is_drawn_and_told_by_the_width_that_rounding_leaves() -> None:
    whole, thresholds = staircases.memory(ROUNDED).data
    assert (list(whole.x), list(whole.y)) == ([4, 3], [16, 9])
    assert (list(thresholds.x), list(thresholds.y)) == ([4, 3], [6, 5])
    assert whole.marker.symbol != thresholds.marker.symbol
    table = rounding_table(ROUNDED)
    assert list(table["steps lost"]) == [0, 1]
    assert list(table["low bits lost"]) == [0, 1]
    assert list(table["codes left"]) == [3, 2]
    assert list(table["whole table (bytes)"]) == [16, 9]
    assert list(table["thresholds (bytes)"]) == [6, 5]


@pytest.mark.parametrize(
    ("name", "kind", "layer", "reader"),
    [("digits_cnn", "plain", "/c2/Conv", "/AveragePool_1"),
     ("digits_cnn", "round6", "/c1/Conv", "/AveragePool"),
     ("digits_mlp", "channels", "/f1/Gemm", "/f2/Gemm"),
     ("digits_resnet", "plain", "/stem/Conv", "/block1/c1/Conv"),
     ("digits_resnet", "plain", "/block1/Add", "/AveragePool")],
)  # fmt: skip
def test_the_line_goes_through_what_the_module_computes(
    name: str, kind: str, layer: str, reader: str
) -> None:
    bench, config = sample(name).bench, configuration(kind, 4)
    found = bitwidths.tables(bench, config, layer)
    assert not found.why_none
    [table] = [entry for entry in found.tables if entry.view.reader == reader]
    entered: list[Any] = []
    left: list[Any] = []

    def note(made: Any, run: Any) -> None:
        if made.name == layer:
            entered.append(run.accumulator)
        elif made.name == reader:
            assert isinstance(run.operands[0], Tensor)
            left.append(run.operands[0].codes)

    for data in (bench.data.calibration, bench.data.evaluation):
        bench.module(config).run(*data, observe=note)
    accumulators, codes = (np.concatenate(part) for part in (entered, left))
    assert len(np.unique(codes)) > 8
    assert table.by_channel or len(table.functions) == 1
    for function in table.functions:
        channels = list(function.channels) if function.channels else slice(None)
        came, went = accumulators[:, channels], codes[:, channels]
        figure = staircases.staircase(function, table.view.low, table.view.high, reader=reader)
        np.testing.assert_array_equal(drawn_codes(figure, came), went)
        assert function.seen == (came.min(), came.max())


def test_every_channel_of_a_table_has_one_function() -> None:
    found = bitwidths.tables(sample("digits_mlp").bench, configuration("plain", 4), "/f1/Gemm")
    [table] = found.tables
    assert len(table.functions) < len(table.view.rows)
    assert sorted(sum((f.channels for f in table.functions), ())) == list(range(48))
