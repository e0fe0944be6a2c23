"""The Graph screen: its figures by another way, its links, its doors, and what it refuses."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from onnx import numpy_helper
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.ui.graph.painting import Measure
from quantlib.core.metrics import sqnr_db
from quantlib.core.tensor import Tensor
from tests.float_tensors import float_tensors
from tests.models import residual
from tests.paths import ROOT
from tests.sample_data import sample

if TYPE_CHECKING:
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from tests.pages.conftest import GoTo, OpenScreen

GRAPH = "pages/graph.py"


def open_graph(**own: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / GRAPH), default_timeout=60)
    for member, value in own.items():
        at.query_params[f"graph.{member}"] = value
    return at.run()


def table(at: AppTest) -> pd.DataFrame:
    (found,) = [frame.value for frame in at.dataframe if "what it is" in frame.value]
    return found


def chart(at: AppTest, position: int = 0) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(at.get("plotly_chart")[position].proto.spec)
    return spec


def values(at: AppTest, column: str) -> dict[str, float]:
    found = table(at)
    return {
        str(node).split(" ", 1)[1]: float(value)
        for node, value in zip(found["node"], found[column], strict=True)
        if pd.notna(value)
    }


@pytest.mark.parametrize("measure", [pytest.param(str(m), id=str(m)) for m in Measure])
def test_the_screen_opens_with_every_measure(measure: str) -> None:
    at = open_graph(paint=measure)
    assert not at.exception and not at.error
    assert len(at.get("plotly_chart")) == 1
    assert [h.value for h in at.header] == ["Graph"]


def test_widths_are_those_of_the_accumulators_that_occur() -> None:
    """Against the extremes of accumulators, gathered by running the module again."""
    bench, config = sample("digits_cnn").bench, ql.QuantizationConfig.from_n_bits(4)
    held: dict[str, list[int]] = {}

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        if run.accumulator is not None:
            ends = held.setdefault(layer.name, [])
            ends += [int(run.accumulator.min()), int(run.accumulator.max())]

    for data in (bench.data.evaluation, bench.data.calibration):
        bench.module(config).run(*data, observe=note)
    expected = {
        name: max(v.bit_length() if v >= 0 else (-v - 1).bit_length() for v in ends)
        + (1 if min(ends) < 0 else 0)
        for name, ends in held.items()
    }
    at = open_graph(paint="width")
    assert values(at, "accumulator (bits)") == expected


def test_sqnr_is_that_of_each_output_against_the_float_model() -> None:
    bench, config = sample("digits_mlp").bench, ql.QuantizationConfig.from_n_bits(4)
    outputs: dict[str, np.ndarray[Any, Any]] = {}

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        value = run.results[0]
        outputs[layer.name] = np.asarray(value.values if isinstance(value, Tensor) else value)

    bench.module(config).run(*bench.data.evaluation, observe=note)
    made = {node.name: node.outputs[0] for node in bench.graph.nodes}
    real = float_tensors(bench.graph, bench.data.evaluation, made.values())
    expected = {name: sqnr_db(real[made[name]], value) for name, value in outputs.items()}
    at = AppTest.from_file(str(ROOT / GRAPH), default_timeout=60)
    at.query_params["config.model"] = "digits_mlp"
    at.query_params["graph.paint"] = "SQNR"
    found = values(at.run(), "SQNR (dB)")
    assert found == pytest.approx(expected, abs=1e-3)  # float32 there


def test_products_are_outputs_times_fan_in() -> None:
    at = open_graph(paint="products")
    graph = sample("digits_cnn").graph
    expected = {}
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            weight = graph.constants[node.inputs[1]]
            shape = [int(size) for size in graph.shapes[node.outputs[0]][1:]]  # type: ignore[arg-type]
            each = weight[0].size if node.op_type == "Conv" else graph_in(weight, node.attributes)
            expected[node.name] = float(math.prod(shape) * each)
    found = values(at, "products per sample")
    assert {name: found[name] for name in expected} == expected


def graph_in(weight: np.ndarray[Any, Any], attributes: Any) -> int:
    return int(weight.shape[1 if attributes.get("transB") else 0])


def test_the_worst_stands_first_and_in_the_verdict() -> None:
    at = open_graph(paint="headroom")
    column = table(at)["headroom (bits)"].dropna().tolist()
    assert column == sorted(column)
    worst = str(table(at)["node"].iloc[0])
    plain = [text.value.replace("\\", "") for text in at.markdown]
    assert any(text.startswith(f"Least: **{worst}**") for text in plain)


def test_what_is_over_the_limit_is_framed_and_counted() -> None:
    at = AppTest.from_file(str(ROOT / GRAPH), default_timeout=60)
    at.query_params["config.limit"] = "9"
    at.run()
    bench, config = sample("digits_cnn").bench, ql.QuantizationConfig.from_n_bits(4)
    seen = ql.evaluate(bench, config).layers
    over = [layer.name for layer in seen if (layer.width_bits or 0) > 9]
    assert over
    assert any(f"**{len(over)} over 9 bits**" in text.value for text in at.markdown)
    frames = [trace for trace in chart(at)["data"] if trace["name"] == "over the limit"]
    assert len(frames) == 1


def test_a_link_restores_node_and_measure_and_the_card_follows() -> None:
    at = open_graph(node="5 /c2/Conv", paint="width")
    assert at.selectbox(key="graph.node").value == "5 /c2/Conv"
    assert [s.value for s in at.subheader] == ["5 /c2/Conv"]
    assert len(at.latex) == 1


def test_a_node_that_a_link_invents_falls_back_to_the_first() -> None:
    at = open_graph(node="99 nothing")
    assert not at.exception
    assert at.selectbox(key="graph.node").value == "1 /c1/Conv"


@pytest.mark.parametrize("view", ["histogram", "table"])
def test_the_card_has_a_histogram_and_a_table(view: str) -> None:
    at = open_graph(node="5 /c2/Conv", card=view)
    assert not at.exception
    assert len(at.get("plotly_chart")) == 2


def test_a_function_shows_the_table_of_the_layer_before() -> None:
    at = open_graph(node="7 /Relu_1", card="table")
    drawn = chart(at, 1)
    assert any(trace["name"] == "code" for trace in drawn["data"])
    assert any("BatchNormalization → Relu" in text.value for text in at.caption)


def test_doors_carry_the_node_to_other_screens(open_screen: OpenScreen, go_to: GoTo) -> None:
    at = go_to(open_screen("app.py"), "graph")
    at.selectbox(key="graph.node").select("8 /AveragePool_1").run()
    assert go_to(at, "bitwidths").selectbox(key="bitwidths.layer").value == "8 /AveragePool_1"
    assert go_to(at, "calibration").selectbox(key="calibration.layer").value == "8 /AveragePool_1"
    assert go_to(at, "layers").selectbox(key="layers.find").value == "8 /AveragePool_1"


def test_every_sample_is_drawn_whole(open_screen: OpenScreen) -> None:
    for name in ("wine_sklearn", "digits_qat", "digits_transformer"):
        at = open_screen(GRAPH, model=name)
        assert not at.exception and not at.error
        nodes = {node.name for node in sample(name).graph.nodes}
        clicked = {
            row[0].split(" ", 1)[1]
            for trace in chart(at)["data"]
            for row in trace.get("customdata", [])
        }
        fused = {" ".join(str(n).split(" ")[1:]) for n in table(at)["node"]}
        assert fused <= clicked
        assert len(clicked & nodes) == len(clicked - {"input", "output", "X", "variable"} & nodes)


def test_a_large_model_is_folded_and_the_chosen_node_is_shown(open_screen: OpenScreen) -> None:
    at = open_screen("app.py")
    at.switch_page("pages/home.py").run()
    model = residual(100).SerializeToString()
    at.file_uploader[0].upload("large.onnx", model, "application/octet-stream")
    at.run()
    at.switch_page("pages/graph.py").run()
    at = at.run()
    assert not at.exception
    assert (table(at)["what it is"] == "repeated block").sum() == 16
    at.selectbox(key="graph.node").select("123 /layer.30/fc2/Gemm").run()
    assert "123 /layer.30/fc2/Gemm" in set(table(at)["node"])
    assert any(trace["name"] == "selected" for trace in chart(at)["data"])
    at.segmented_control(key="graph.blocks").set_value("open").run()
    assert (table(at)["what it is"] == "repeated block").sum() == 0


def test_a_model_without_figures_is_drawn_all_the_same(open_screen: OpenScreen) -> None:
    model = residual(8)
    for constant in model.graph.initializer:
        same = np.full((8, 8), 0.5, dtype=np.float32)
        constant.CopyFrom(numpy_helper.from_array(same, constant.name))
    at = open_screen("app.py")
    at.switch_page("pages/home.py").run()
    at.file_uploader(key="home.model").upload("huge.onnx", model.SerializeToString()).run()
    # the first samples, on which data are tried, are harmless; the last overflows in the model
    x = np.full((40, 8), 1e-3, dtype=np.float32)
    x[-1] = 1e37
    stream = io.BytesIO()
    np.savez(stream, calibration=x, evaluation=x)
    at.file_uploader(key="home.data").upload("huge.npz", stream.getvalue()).run()
    at.switch_page("pages/graph.py").run()
    at = at.run()
    assert not at.exception
    assert len(at.error) == 1
    assert "NaN or infinite" in at.error[0].value
    assert len(at.get("plotly_chart")) == 1
