"""The Calibration screen: its verdict, its worst tensor, a range by hand, one for a tensor."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import quantlib as ql
from quantlib.core.config_json import read_overrides
from tests.float_tensors import float_tensors
from tests.models import residual
from tests.paths import ROOT
from tests.sample_data import sample

WIDE = "percentile:99"


def open_calibration(config: dict[str, str] | None = None, **own: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages/calibration.py"), default_timeout=60)
    for member, value in (config or {}).items():
        at.query_params[f"config.{member}"] = value
    for member, value in own.items():
        at.query_params[f"calibration.{member}"] = value
    return at.run()


def clipped_by_hand(config: ql.QuantizationConfig) -> dict[str, float]:
    """Share of each integer operator's float inputs beyond its grid, value by value."""
    bench = sample("digits_cnn").bench
    found = ql.evaluate(bench, config)
    real = float_tensors(
        bench.graph, bench.data.calibration, [layer.input_name for layer in found.layers]
    )
    shares = {}
    for place, layer in enumerate(found.layers, 1):
        if layer.input_grid is None:
            continue
        values = np.ravel(real[layer.input_name]).astype(np.float64)
        codes = values / layer.input_grid.scale + layer.input_grid.zero_point
        low, high = layer.input_grid.qmin, layer.input_grid.qmax
        shares[f"{place} {layer.name}"] = float(np.mean((codes < low - 0.5) | (codes > high + 0.5)))
    return shares


def test_the_verdict_counts_and_names_what_is_clipped() -> None:
    config = ql.QuantizationConfig.from_n_bits(4)
    scheme = config.activations.replace(estimator=ql.Estimator("percentile", 99.0))
    shares = clipped_by_hand(config.replace(activations=scheme))
    bad = {name: share for name, share in shares.items() if share > 1e-3}
    at = open_calibration({"activations_range": WIDE})
    [said] = [text.value for text in at.markdown if "ranges of activations" in text.value]
    assert said.startswith(f"**{len(shares) - len(bad)} of {len(shares)} ranges")
    named = [name for name in bad if name.replace("_", "\\_") in said]
    assert len(named) == min(3, len(bad))
    for name in named:
        assert f"clips {100 * bad[name]:.2g} %" in said
    assert at.selectbox(key="calibration.layer").value in bad


def test_the_screen_opens_with_logarithmic_counts() -> None:
    at = open_calibration()
    assert at.toggle(key="calibration.log").value is True
    figure: dict[str, Any] = json.loads(at.get("plotly_chart")[1].proto.spec)
    assert figure["layout"]["yaxis"]["type"] == "log"


def test_handles_show_what_a_range_by_hand_does() -> None:
    at = open_calibration({}, kind="weights", layer="5 /c2/Conv")
    graph = sample("digits_cnn").graph
    values = graph.constants[next(n.inputs[1] for n in graph.nodes if n.name == "/c2/Conv")]
    values = values.astype(np.float64)
    [slider] = [s for s in at.slider if str(s.key).startswith("calibration.own")]
    alpha, beta = -0.2, 0.2
    slider.set_value((alpha, beta)).run()
    assert not at.exception
    # symmetric, signed 4 bits: codes of -8 to 7
    scale = beta / 7
    codes = np.clip(np.rint(values / scale), -8, 7)
    noise = np.sum((values - scale * codes) ** 2)
    beyond = np.mean((values / scale < -8.5) | (values / scale > 7.5))
    figures = {metric.label: metric.value for metric in at.metric}
    table = at.dataframe[0].value.iloc[-1]
    assert table["estimator"] == "own range"
    assert table["scale"] == pytest.approx(scale, rel=1e-6)
    assert table["clipped (%)"] == pytest.approx(100 * beyond, abs=1e-2)
    sqnr = 10 * np.log10(np.sum(values**2) / noise)
    assert table["SQNR (dB)"] == pytest.approx(sqnr, abs=0.1)
    assert figures["Scale"] == f"{table['scale']:.4g}"


def test_the_best_range_is_marked_and_adopted_for_one_tensor() -> None:
    at = open_calibration({"activations_range": WIDE}, layer="8 /AveragePool_1")
    table = at.dataframe[0].value
    estimators = table[~table["estimator"].isin(["current", "now", "own range"])]
    best = estimators.loc[table["best"] == "best"]
    assert len(best) == 1
    sqnr = table["SQNR (dB)"].iloc[: len(table) - 1]
    assert best["SQNR (dB)"].iloc[0] == sqnr.max()
    at.button(key="calibration.adopt_here").click().run()
    assert not at.exception and not at.error
    overrides = dict(read_overrides(at.session_state["config.overrides"]))
    assert list(overrides) == ["/AveragePool_1"]
    scheme = overrides["/AveragePool_1"].activations
    assert scheme is not None
    assert scheme.estimator.kind.label == best["estimator"].iloc[0]
    assert at.session_state["config.activations_range"] == WIDE


def test_two_estimators_are_told_apart() -> None:
    at = open_calibration({}, layer="8 /AveragePool_1")
    chosen = at.multiselect(key="calibration.compare.activations")
    chosen.set_value([chosen.options[0], chosen.options[2]]).run()
    assert any(
        text.value.startswith(f"**{chosen.options[0]}** against **{chosen.options[2]}**")
        for text in at.markdown
    )


def test_a_model_of_many_layers_shows_its_worst_and_the_rest_on_demand() -> None:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    at.switch_page("pages/home.py").run()
    model = residual(60).SerializeToString()
    at.file_uploader[0].upload("deep.onnx", model, "application/octet-stream").run()
    at.switch_page("pages/calibration.py").run()
    at = at.run()
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert len(figure["layout"]["annotations"]) == 9
    at.toggle(key="calibration.all").set_value(True).run()
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert len(figure["layout"]["annotations"]) == 48
