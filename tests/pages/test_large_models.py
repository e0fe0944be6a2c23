"""Screens of a model with many layers: the worst first, the rest on demand, long work asked for."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest

import quantlib as ql
from quantlib.data import synthetic_data
from tests.models import residual

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.pages.conftest import OpenScreen

LAYERS = 60


@cache
def budget() -> ql.Budget:
    graph = ql.load_model(residual(LAYERS).SerializeToString(), name="deep.onnx")
    bench = ql.Workbench(graph, synthetic_data(graph))
    config = ql.QuantizationConfig.from_n_bits(4)
    seen = ql.evaluate(bench, config).seen
    return ql.bit_width_budget(bench.module(config), seen=seen)


def upload(open_screen: OpenScreen, stem: str) -> AppTest:
    at = open_screen("app.py")
    at.switch_page("pages/home.py").run()
    model = residual(LAYERS).SerializeToString()
    at.file_uploader[0].upload("deep.onnx", model, "application/octet-stream").run()
    at.switch_page(f"pages/{stem}.py").run()
    return at.run()


def names(at: AppTest) -> list[str]:
    spec = json.loads(at.get("plotly_chart")[0].proto.spec)
    return [str(name).split(" ", 1)[1].removeprefix("…") for name in spec["data"][1]["y"]]


def test_bit_widths_draw_the_fifteen_tightest_and_all_on_demand(open_screen: OpenScreen) -> None:
    at = upload(open_screen, "bitwidths")
    assert not at.exception and not at.error
    ranges = {layer.name: layer.seen.range for layer in budget().layers if layer.seen}
    # the largest integer seen, by its size in bits, one more for a sign
    size = {
        name: max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (low < 0)
        for name, (low, high) in ranges.items()
    }
    drawn = names(at)
    assert len(drawn) == 15
    kept = {name for name in size if any(name.endswith(tail) for tail in drawn)}
    assert min(size[name] for name in kept) >= max(
        bits for name, bits in size.items() if name not in kept
    )
    tightest = max(size.values())
    said = next(text.value for text in at.markdown if "accumulators fit" in text.value)
    assert f"All {len(size)} accumulators fit 16 bits" in said
    assert f"needs {tightest} bits" in said
    chosen = str(at.selectbox(key="bitwidths.layer").value).split(" ", 1)[1]
    assert size[chosen] == tightest
    at.toggle(key="bitwidths.all").set_value(True).run()
    assert len(names(at)) == len(size)


def test_layers_draw_the_fifteen_that_matter_most(open_screen: OpenScreen) -> None:
    at = upload(open_screen, "layers")
    assert not at.exception and not at.error
    assert len(names(at)) == 15
    at.toggle(key="layers.all").set_value(True).run()
    assert len(names(at)) == len(budget().layers)


def test_long_work_on_small_products_is_asked_for(
    open_screen: OpenScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty layers have few products, and run for seconds all the same."""
    monkeypatch.setattr("pages.ui.layers.asking.AT_ONCE_S", 1.0)
    at = upload(open_screen, "layers")
    assert not at.get("plotly_chart")
    assert any(button.key == "layers.run" for button in at.button)
