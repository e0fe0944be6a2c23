"""The Compare screen: outputs, answers, the ledger, and other configurations."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from onnx import helper
from scipy.special import rel_entr, softmax
from scipy.stats import binomtest
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.ui.charts import decisions, layers, ledger, outputs
from pages.ui.compare import tables as comparison_tables
from pages.ui.compare.views import reading_layer
from quantlib import wording
from quantlib.analysis.attribution.ledger import ErrorSource, error_ledger
from quantlib.analysis.attribution.partial_run import MAX_BATCH
from quantlib.analysis.comparison import MarginBin
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.reports import Evaluation, Flip
from quantlib.analysis.ties import count_ties
from quantlib.core.config_code import config_code, read_config_code
from quantlib.data import Dataset
from quantlib.questions.compare import Decisions
from tests.models import build, normal
from tests.pages.conftest import GoTo, OpenScreen, SaveArrays
from tests.sample_data import sample

COMPARE = "pages/compare.py"
CONFIG = ql.QuantizationConfig.from_n_bits(4)
MADE = sample("digits_cnn")
LEDGER = error_ledger(ql.quantize(MADE.graph, MADE.data.calibration, CONFIG), MADE.reference)


def evaluation(config: ql.QuantizationConfig = CONFIG) -> Evaluation:
    return evaluate(MADE.bench, config)


def show(at: AppTest, part: str) -> AppTest:
    at.segmented_control(key="compare.show").set_value(part).run()
    assert not at.exception
    assert not at.error
    return at


def figures(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def traces(figure: dict[str, Any]) -> list[str]:
    return [trace.get("name", "") for trace in figure["data"]]


def tables_of(at: AppTest) -> list[list[str]]:
    return [list(frame.value.columns) for frame in at.dataframe]


def test_outputs_come_in_one_column_and_with_b_in_two(open_screen: OpenScreen) -> None:
    at = open_screen(COMPARE)
    assert len(figures(at)) == 3
    assert not at.subheader
    assert "how to read it" in tables_of(at)[-1]
    at.button(key="config.pin").click().run()
    at.slider(key="config.weight_bits").set_value(8).run()
    assert [header.value for header in at.subheader] == ["A, current", "B, pinned"]
    assert len(figures(at)) == 5
    assert traces(figures(at)[-1]) == ["current", "B"]
    measures = at.dataframe[-1].value
    assert list(measures.columns) == ["measure", "A, current", "B, pinned", "how to read it"]
    (row,) = measures[measures.measure == "SQNR (dB)"].to_dict("records")
    assert f"{float(row['A, current']):.1f} dB" == at.metric[0].value
    assert row["A, current"] != row["B, pinned"]


def test_decisions_name_the_layer_at_which_each_flip_diverges(open_screen: OpenScreen) -> None:
    at = show(open_screen(COMPARE), "decisions")
    flips = at.dataframe[-1].value
    known = {layer.name for layer in evaluation().layers}
    assert len(flips) == len(evaluation().flips)
    assert set(flips["diverges at"]) <= known
    assert list(flips["float margin"]) == sorted(flips["float margin"], reverse=True)
    assert "479 of 497" in at.markdown[0].value
    assert len(at.get("image")) == 8


@pytest.mark.parametrize("model", ["diabetes_mlp"])
def test_outputs_that_are_no_scores_have_no_decisions(open_screen: OpenScreen, model: str) -> None:
    at = show(open_screen(COMPARE, model=model), "decisions")
    assert "no scores of classes" in at.info[0].value
    assert not figures(at)


def test_the_ledger_ends_at_the_measured_error(open_screen: OpenScreen) -> None:
    at = show(open_screen(COMPARE), "error ledger")
    (figure,) = figures(at)
    (running,) = [t for t in figure["data"] if t["name"] == "running sum"]
    assert running["x"][-1] == pytest.approx(evaluation().mse, rel=1e-6)
    (table,) = [frame.value for frame in at.dataframe]
    assert table.iloc[-1].place == "sum"
    assert table["share (%)"].iloc[-1] == pytest.approx(100, abs=1e-3)
    assert table["share (%)"].iloc[:-1].sum() == pytest.approx(100, abs=1e-3)
    at.segmented_control(key="compare.parts").set_value("alone and interaction").run()
    assert "interaction" in traces(figures(at)[0])
    at.button(key="config.pin").click().run()
    assert len(figures(at)) == 2


def ended(at: AppTest) -> None:
    for _ in range(200):
        job = at.session_state["state.ledger_job"]
        if not job.running:
            break
        time.sleep(0.05)
    at.run()


def many_samples(open_screen: OpenScreen, go_to: GoTo, save_npz: SaveArrays) -> tuple[AppTest, Any]:
    """Open the ledger of data that take several batches, with the workbench it is of."""
    data = MADE.data
    content = save_npz(
        calibration=data.calibration[0],
        evaluation=np.concatenate([data.evaluation[0]] * 3),
        labels=np.concatenate([data.labels] * 3),
    )
    at = open_screen("app.py", model="digits_cnn")
    at.file_uploader(key="home.data").upload("many.npz", content).run()
    assert "loaded" in at.success[0].value
    at = go_to(at, "compare")
    return show(at, "error ledger"), ql.load_data(content, MADE.graph, name="many.npz")


def test_a_large_models_ledger_waits_for_a_button_and_grows_in_the_background(
    open_screen: OpenScreen,
    go_to: GoTo,
    save_npz: SaveArrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantlib.questions.compare.AT_ONCE", 0.0)
    at, data = many_samples(open_screen, go_to, save_npz)
    assert not figures(at)
    assert "This model is large" in " ".join(c.value for c in at.caption)
    at.button(key="compare.A.start").click().run()
    ended(at)
    assert not at.exception
    assert [found.n_samples for found in at.session_state["state.ledger_job"].results] == [
        MAX_BATCH, 3 * 497,
    ]  # fmt: skip
    (figure,) = figures(at)
    (running,) = [t for t in figure["data"] if t["name"] == "running sum"]
    expected = ql.evaluate(ql.Workbench(MADE.graph, data), CONFIG)
    assert running["x"][-1] == pytest.approx(expected.mse, rel=1e-6)
    at.slider(key="config.weight_bits").set_value(8).run()
    assert not figures(at)


def test_a_ledger_can_be_cancelled(
    open_screen: OpenScreen,
    go_to: GoTo,
    save_npz: SaveArrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantlib.questions.compare.AT_ONCE", 0.0)
    at, _ = many_samples(open_screen, go_to, save_npz)
    at.button(key="compare.A.start").click().run()
    at.button(key="compare.A.cancel").click().run()
    ended(at)
    job = at.session_state["state.ledger_job"]
    assert not job.results or job.results[-1].n_samples < 3 * 497
    assert "Cancelled after" in at.warning[0].value
    assert not at.exception


def test_the_reference_scheme_is_what_concrete_ml_would_do(open_screen: OpenScreen) -> None:
    at = show(open_screen(COMPARE), "against")
    assert "is the reference scheme" in at.info[0].value
    assert not figures(at)
    at = show(open_screen(COMPARE, weights_signed="no"), "against")
    assert not at.info
    assert at.selectbox(key="compare.other").options == ["reference scheme"]
    measures = at.dataframe[-1].value
    assert list(measures.columns)[1:3] == ["A, current", "reference scheme"]
    plain = evaluation().sqnr_db
    (row,) = measures[measures.measure == "SQNR (dB)"].to_dict("records")
    assert float(row["reference scheme"]) == pytest.approx(plain, rel=1e-3)
    at.button(key="config.pin").click().run()
    assert at.selectbox(key="compare.other").options == ["reference scheme", "B, pinned"]
    at.selectbox(key="compare.other").set_value("B, pinned").run()
    assert at.metric[-1].value == "100.0 %"


@pytest.mark.parametrize("part", ["outputs", "decisions", "error ledger", "against"])
@pytest.mark.parametrize(
    "model",
    [
        "wine_sklearn",
        "diabetes_mlp",
        "digits_resnet",
        "iris_linear",
        "digits_qat",
        "digits_detector",
    ],
)
def test_every_part_shows_every_sample(open_screen: OpenScreen, model: str, part: str) -> None:
    at = open_screen(COMPARE, model=model, weights_symmetric="no")
    at.button(key="config.pin").click().run()
    show(at, part)


def test_a_click_on_a_node_opens_the_layer_that_reads_its_tensor() -> None:
    found = evaluation()
    names = {layer.name: i for i, layer in enumerate(found.layers)}
    opened = {name: reading_layer(found, i) for name, i in names.items()}
    assert opened["/c1/Conv"] == f"{names['/AveragePool'] + 1} /AveragePool"
    assert opened["/Relu"] == f"{names['/AveragePool'] + 1} /AveragePool"
    assert opened["/AveragePool"] == f"{names['/c2/Conv'] + 1} /c2/Conv"
    assert opened["/f/Gemm"] == f"{names['/f/Gemm'] + 1} /f/Gemm"


def test_bars_of_a_place_end_at_its_share() -> None:
    for alone in (False, True):
        figure = ledger.stacked(LEDGER, alone=alone)
        bars = [trace for trace in figure.data if trace.type == "bar"]
        for i, place in enumerate(LEDGER.places):
            share = sum(entry.share for entry in LEDGER.of(place).values())
            assert sum(bar.x[i] for bar in bars) == pytest.approx(share)
        styles = {(bar.marker.color, bar.marker.pattern.shape) for bar in bars}
        assert len(styles) == len(bars)
        assert "output units²" in figure.layout.xaxis.title.text


def test_places_with_equal_ends_have_bars_of_their_own() -> None:
    figure = ledger.stacked(LEDGER, alone=False)
    assert list(figure.layout.yaxis.tickvals) == list(range(len(LEDGER.places)))


def test_the_sources_are_named_in_order_of_size() -> None:
    words = comparison_tables.sources(LEDGER)
    assert words.startswith(str(ErrorSource.WEIGHT_ROUNDING))
    assert "-0" not in words


def test_charts_of_decisions_print_signs_and_counts() -> None:
    bins = (MarginBin(0.1, 0.2, 4, 3), MarginBin(0.3, 0.9, 5, 5))
    (bar,) = decisions.agreement_by_margin(bins).data
    assert list(bar.x) == [75, 100]
    assert list(bar.text) == ["3 of 4", "5 of 5"]
    assert list(bar.marker.pattern.shape) == ["/", ""]
    change = np.array([[-2, 2], [0, 0]])
    heat = decisions.confusion_change(change, ["a", "b"], rows="label", after="answer").data[0]
    assert [list(row) for row in heat.text] == [["-2", "+2"], ["", ""]]


def test_the_error_histogram_marks_its_spread_and_that_of_rounding() -> None:
    """Also where nothing rounds: the digits' Gemm leaves as its accumulator."""
    whole, rounded = evaluation(), ended_by("Relu")
    assert whole.output_step is None
    for found in (whole, rounded):
        names = [trace.name for trace in outputs.error_histogram(found).data]
        assert f"±σ = {found.error_std:.3g}" in names
        assert any("step/√12" in str(name) for name in names) == (found is rounded)


def ended_by(operator: str) -> Evaluation:
    """Evaluate a product with an operator behind it, whose output is rounded to its grid."""
    graph = ql.load_model(
        build(
            [
                helper.make_node("Gemm", ["x", "w"], ["h"], "g"),
                helper.make_node(operator, ["h"], ["y"], "a"),
            ],
            inputs={"x": ["batch", 3]},
            outputs=["y"],
            constants={"w": normal(3, 1)},
        )
    )
    samples = normal(200, 3)
    data = Dataset("made", (samples[:100],), (samples[100:],), None, (), "made")
    return evaluate(ql.Workbench(graph, data), CONFIG)


def test_the_step_of_an_output_is_that_of_the_codes_it_takes() -> None:
    """Dequantized outputs of a rounded layer lie on multiples of one step; by the gaps between."""
    found = ended_by("Relu")
    values = np.unique(np.asarray(found.scatter[1], dtype=np.float64))
    gaps = np.diff(values)
    assert found.output_step == pytest.approx(gaps.min(), rel=1e-6)
    assert np.allclose(gaps / gaps.min(), np.rint(gaps / gaps.min()))
    assert found.rounding_std == pytest.approx(gaps.min() / np.sqrt(12), rel=1e-6)


def test_b_is_told_apart_by_shape() -> None:
    figure = layers.sqnr_along_graph(evaluation(), evaluation(CONFIG))
    assert len({trace.marker.symbol for trace in figure.data}) == 2


def test_a_flip_that_was_not_traced_says_so() -> None:
    flips = (Flip(3, 0, 1, None, 0.5, 0.1), Flip(4, 1, 0, None, 0.4, 0.1))
    none = np.zeros(0, dtype=np.int64)
    found = Decisions(9, 2, 7 / 9, (), flips, {3: "c2"}, none, none, none, none, none, False)
    table = comparison_tables.flips(found, ["zero", "one"])
    assert list(table["diverges at"]) == ["c2", "–"]
    assert list(table["quantized class"]) == ["one", "zero"]


def test_shares_stand_with_their_intervals_and_scores_with_their_divergence(
    open_screen: OpenScreen,
) -> None:
    """Counted, bounded and summed by SciPy on the outputs themselves."""
    at = open_screen(COMPARE)
    data = MADE.data
    assert data.labels is not None
    outputs_of_a: Any = ql.quantize(MADE.graph, data.calibration, CONFIG)(*data.evaluation)
    in_float = MADE.reference.output()
    same = outputs_of_a.argmax(1) == in_float.argmax(1)
    right = outputs_of_a.argmax(1) == np.asarray(data.labels).ravel()

    def share(hits: Any) -> str:
        ends = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
        return f"{100 * hits.mean():.1f} % ({100 * ends.low:.1f} % to {100 * ends.high:.1f} %)"

    nats = (
        rel_entr(softmax(in_float.astype(np.float64), axis=1), softmax(outputs_of_a, axis=1))
        .sum(axis=1)
        .mean()
    )
    measures = at.dataframe[-1].value.set_index("measure")
    shown = measures["A, current"]
    assert shown["same class as float"] == share(same)
    assert shown["accuracy"] == share(right)
    assert float(shown["divergence (nats)"]) == pytest.approx(nats, rel=1e-3)
    assert "softmax" in measures["how to read it"]["divergence (nats)"]
    assert shown["weights (bytes)"] == f"{evaluation().weight_bytes:,}"
    assert "step / √12" not in shown  # the last product leaves as its accumulator
    assert "score" not in shown
    show(at, "decisions")
    words = " ".join([at.markdown[0].value, *(c.value for c in at.caption)])
    assert share(same).split("(")[1][:-1] in words
    assert f"Divergence from float {nats:.4g} nats" in words


def test_what_is_no_class_distribution_has_no_divergence(open_screen: OpenScreen) -> None:
    at = open_screen(COMPARE, model="diabetes_mlp")
    measures = list(at.dataframe[-1].value.measure)
    assert "R²" in measures
    assert not {"divergence (nats)", "same class as float", "accuracy"} & set(measures)
    show(at, "against")
    assert not [m for m in at.metric if m.label == "Divergence"]


def test_two_configurations_stand_at_their_own_divergence(open_screen: OpenScreen) -> None:
    at = show(open_screen(COMPARE, weights_signed="no"), "against")
    other: Any = ql.quantize(MADE.graph, MADE.data.calibration, CONFIG)(*MADE.data.evaluation)
    unsigned = CONFIG.replace(weights=CONFIG.weights.replace(signed=False))
    own: Any = ql.quantize(MADE.graph, MADE.data.calibration, unsigned)(*MADE.data.evaluation)
    nats = rel_entr(softmax(other, axis=1), softmax(own, axis=1)).sum(axis=1).mean()
    (shown,) = [m.value for m in at.metric if m.label == "Divergence"]
    assert shown == f"{nats:.4g} nats"


def test_ties_have_a_line_for_each_side(open_screen: OpenScreen) -> None:
    at = open_screen(COMPARE, weight_bits="8", activation_bits="8")
    at.button(key="config.pin").click().run()
    at.slider(key="config.weight_bits").set_value(4).run()
    lines = [caption for caption in at.caption if "the last bit" in caption.value]
    for line, side, bits in zip(lines, ("A, current", "B, pinned"), (4, 8), strict=True):
        config = ql.QuantizationConfig.from_n_bits(8)
        config = config.replace(weights=config.weights.replace(n_bits=bits))
        found = count_ties(MADE.bench.module(config), *MADE.data.evaluation)
        assert line.value == f"{side}: {wording.ties(found)}"
        assert "Another processor" in line.help
    assert lines[0].value[3:] != lines[1].value[3:]


def test_b_comes_back_from_a_link(open_screen: OpenScreen) -> None:
    b = ql.QuantizationConfig.from_n_bits(6)
    at = open_screen(COMPARE, b=config_code(b))
    assert not at.exception and not at.error
    assert [h.value for h in at.subheader] == ["A, current", "B, pinned"]
    bench = sample("digits_cnn").bench
    expected = f"{ql.evaluate(bench, b).sqnr_db:.4g}"
    measures = next(f.value for f in at.dataframe if "how to read it" in f.value)
    row = measures.set_index("measure").loc["SQNR (dB)"]
    assert row["B, pinned"] == expected


def test_a_pinned_configuration_is_in_the_link(open_screen: OpenScreen) -> None:
    at = open_screen(COMPARE, weight_bits="5")
    at.button(key="config.pin").click().run()
    kept = read_config_code(at.session_state["config.b"])
    assert kept.weights.n_bits == 5
    at.button(key="config.unpin").click().run()
    assert at.session_state["config.b"] == ""


@pytest.mark.parametrize("code", ["nonsense", "A" * 20_000])
def test_a_link_with_a_wrong_b_says_so_and_shows_the_rest(
    open_screen: OpenScreen, code: str
) -> None:
    at = open_screen(COMPARE, b=code)
    assert not at.exception and not at.error
    assert any("B is not taken from the link" in warning.value for warning in at.warning)
