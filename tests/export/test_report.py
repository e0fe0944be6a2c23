from __future__ import annotations

import re

import pytest

import quantlib as ql
from quantlib.export.formats import Proof
from quantlib.export.report import (
    MAX_BYTES,
    Figure,
    Section,
    Table,
    fetches,
    report_html,
)
from quantlib.export.report_content import configuration_report
from tests.sample_data import sample

HOSTILE = '<script>alert(1)</script> & "quotes" <img src="https://example.org/x.png">'


def test_text_from_outside_is_escaped_everywhere() -> None:
    table = Table((HOSTILE,), ((HOSTILE,),))
    section = Section(HOSTILE, (HOSTILE,), (table,), (Figure("<svg></svg>", HOSTILE),), HOSTILE)
    page = report_html(HOSTILE, [section])
    assert "alert(1)</script>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 9
    assert fetches(page) == ()


@pytest.mark.parametrize(
    "markup",
    ['<img src="https://example.org/x.png">', '<link rel="stylesheet" href="x.css">',
     '<script src="plotly.js"></script>', '<p style="background: url(x.png)">'],
)  # fmt: skip
def test_what_a_browser_would_fetch_is_found(markup: str) -> None:
    page = report_html("t", [Section("s", figures=(Figure(markup, "c"),))])
    assert fetches(page)
    assert fetches(page.replace(markup, "")) == ()


def test_a_script_is_written_once_and_only_where_a_figure_needs_it() -> None:
    script = "var drawn = '</script>';"
    figures = (Figure("<div id='a'></div>", "a"), Figure("<div id='b'></div>", "b"))
    page = report_html("t", [Section("s", figures=figures)], scripts=[script])
    assert page.count("var drawn = '<\\/script>'") == 1
    assert "var drawn" not in report_html("t", [Section("s")], scripts=[script])


def test_a_page_follows_light_and_dark_ground_and_prints_on_white() -> None:
    page = report_html("t", [])
    assert "color-scheme: light dark" in page
    assert "prefers-color-scheme: dark" in page
    assert re.search(r"@media print \{ :root \{[^}]*--ground: #fff", page)
    assert "default-src 'none'" in page


def test_a_report_says_configuration_versions_fingerprints_and_proofs() -> None:
    found = sample("digits_cnn")
    config = ql.QuantizationConfig.from_n_bits(4)
    proof = Proof("machine 1.0", True, 9, 7, 2, 0, "samples", ("7 of 9 samples.",), 0.25)
    page = configuration_report(found.bench, config, proofs={"QDQ ONNX": proof})
    for said in (
        found.graph.digest, found.data.digest, ql.__version__, "QDQ ONNX", "7 of 9 samples",
        "&quot;n_bits&quot;", *(f">{layer.name}<" for layer in found.bench.module(config).layers),
    ):  # fmt: skip
        assert said in page, said
    evaluated = ql.evaluate(found.bench, config)
    assert evaluated.score is not None
    assert f"{100 * evaluated.score.quantized_value:.1f} %" in page
    assert fetches(page) == ()
    assert len(page.encode()) < MAX_BYTES


def test_a_report_tells_choices_that_are_rarely_made() -> None:
    found = sample("iris_linear")
    config = ql.QuantizationConfig.from_n_bits(4).replace(
        calibrate_on="float", conventions="onnx", quantize_rest=False
    )
    page = configuration_report(found.bench, config)
    for name, value in (
        ("calibrated on", "float"), ("pools and normalizations", "as ONNX"),
        ("without own grids", "in float"), ("rounding", "off"), ("limit", "16 bits"),
    ):  # fmt: skip
        row = page[page.index(f">{name}<") :].partition("</tr>")[0]
        assert value in row, name
