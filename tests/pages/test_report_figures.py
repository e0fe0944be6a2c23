from __future__ import annotations

import pytest

import quantlib as ql
from pages.ui.export.report_figures import report_figures, report_scripts
from quantlib.export.report import MAX_BYTES, fetches
from quantlib.export.report_content import configuration_report
from tests.sample_data import NAMES, sample

CONFIG = ql.QuantizationConfig.from_n_bits(4)


@pytest.mark.parametrize("name", NAMES)
def test_a_report_holds_the_screens_charts_and_fetches_nothing(name: str) -> None:
    bench = sample(name).bench
    figures = report_figures(bench, CONFIG)
    assert set(figures) == {"outputs", "errors", "sqnr", "widths", "look_ups", "graph"}
    page = configuration_report(bench, CONFIG, figures=figures, scripts=report_scripts())
    assert fetches(page) == ()
    assert len(page.encode()) < MAX_BYTES
    assert page.count("Plotly.newPlot(") >= len(figures)
    for slot in figures:
        assert f'id="figure-{slot}"' in page
    assert page.count("plotly.js v") == 1


def test_points_are_drawn_as_vectors() -> None:
    figure = report_figures(sample("digits_mlp").bench, CONFIG)["outputs"]
    assert '"type":"scatter"' in figure.markup
    assert "scattergl" not in figure.markup
