"""Uploads: good ones are taken, bad ones are one message, hostile names are shown as typed."""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quantlib.workers.client import FaultError
from tests.paths import SAMPLES
from tests.screens import TITLES

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from streamlit.testing.v1 import AppTest

    from tests.pages.conftest import BuildModel, GoTo, OpenScreen, SaveArrays


def headline(at: AppTest) -> list[str]:
    return [str(metric.value) for metric in at.metric[:4]]


def data_line(at: AppTest) -> str:
    return str(at.sidebar.caption[0].value)


def upload(at: AppTest, kind: str, name: str, content: bytes) -> AppTest:
    return at.file_uploader(key=f"home.{kind}").upload(name, content).run()


def assert_taken(at: AppTest) -> None:
    assert not at.exception
    assert not at.error
    [success] = at.success
    assert "is loaded" in success.value


def assert_refused(at: AppTest, *words: str) -> None:
    """One error that starts with the file's name and holds cause and remedy."""
    assert not at.exception
    assert not at.success
    [error] = at.error
    shown = error.value.replace("\\", "")
    for word in words:
        assert word in shown


def npy(values: npt.NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def table(values: npt.NDArray[np.float64], *, header: str = "") -> bytes:
    rows = [",".join(f"{cell:.6f}" for cell in row) for row in values]
    return "\n".join([*([header] if header else []), *rows]).encode()


def test_an_uploaded_model_is_current_and_marked_synthetic(
    open_screen: OpenScreen, go_to: GoTo, build_model: BuildModel
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    assert_taken(at)
    assert at.session_state["config.model"].startswith("mine.onnx #")
    assert "synthetic" in data_line(at)
    assert at.metric[1].label == "Same class as float"
    assert at.metric[1].delta == "synthetic data"
    figures = headline(at)
    for stem in TITLES:
        go_to(at, stem)
        assert not at.exception, stem
        assert not at.error, stem
        assert "synthetic" in data_line(at)
        assert headline(at) == ([] if stem == "learn" else figures)


def test_uploaded_data_serve_the_uploaded_model(
    open_screen: OpenScreen,
    go_to: GoTo,
    build_model: BuildModel,
    save_npz: SaveArrays,
    features: npt.NDArray[np.float64],
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    labels = (features[:30, 0] > 0).astype(np.int64)
    content = save_npz(calibration=features, evaluation=features[:30], labels=labels)
    upload(at, "data", "data.npz", content)
    assert_taken(at)
    assert data_line(at) == "40 calibration, 30 evaluation samples"
    assert at.metric[1].label == "Accuracy"
    figures = headline(at)
    go_to(at, "compare")
    assert not at.exception
    assert headline(at) == figures


@pytest.mark.parametrize(
    ("name", "write", "label"),
    [
        pytest.param("x.npy", npy, "Same class as float", id="npy"),
        pytest.param("x.csv", table, "Same class as float", id="csv"),
        pytest.param(
            "x.csv", lambda x: table(x, header="a,b,c"), "Same class as float", id="csv with header"
        ),
        pytest.param(
            "x.csv",
            lambda x: table(np.column_stack([x, x[:, 0] > 0])),
            "Accuracy",
            id="csv with labels",
        ),
    ],
)
def test_one_array_or_table_is_split_in_halves(
    open_screen: OpenScreen,
    build_model: BuildModel,
    features: npt.NDArray[np.float64],
    name: str,
    write: Callable[[npt.NDArray[np.float64]], bytes],
    label: str,
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    upload(at, "data", name, write(features))
    assert_taken(at)
    assert data_line(at) == "20 calibration, 20 evaluation samples"
    assert at.metric[1].label == label


def test_data_belong_to_the_model_they_were_given_for(
    open_screen: OpenScreen, build_model: BuildModel, features: npt.NDArray[np.float64]
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    option = at.session_state["config.model"]
    upload(at, "data", "x.npy", npy(features))
    at.selectbox(key="config.model").set_value("iris_linear").run()
    assert data_line(at) == "60 calibration, 50 evaluation samples"
    at.selectbox(key="config.model").set_value(option).run()
    assert data_line(at) == "20 calibration, 20 evaluation samples"
    assert not at.exception


def test_a_sample_opens_by_its_card_after_an_upload(
    open_screen: OpenScreen, build_model: BuildModel
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    at.button(key="home.open.iris_linear").click().run()
    assert not at.exception
    assert at.session_state["config.model"] == "iris_linear"
    assert "synthetic" not in data_line(at)


def test_an_uploaded_sample_gives_the_figures_of_the_sample(open_screen: OpenScreen) -> None:
    sample = open_screen(model="iris_linear")
    at = upload(open_screen(), "model", "m.onnx", (SAMPLES / "iris_linear.onnx").read_bytes())
    upload(at, "data", "d.npz", (SAMPLES / "iris_linear.npz").read_bytes())
    assert_taken(at)
    assert headline(at) == headline(sample)


def without_nodes() -> bytes:
    graph = helper.make_graph([], "empty", [], [])
    return bytes(helper.make_model(graph, ir_version=10).SerializeToString())


def with_weights_outside(model: bytes) -> bytes:
    proto = onnx.ModelProto.FromString(model)
    weight = proto.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL
    weight.ClearField("raw_data")
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return bytes(proto.SerializeToString())


def without_an_input_tensor(model: bytes) -> bytes:
    proto = onnx.ModelProto.FromString(model)
    proto.graph.node[0].input[1] = "missing"
    return bytes(proto.SerializeToString())


BAD_MODELS: list[Any] = [
    pytest.param(lambda _: b"", ("empty", "download it again"), id="empty"),
    pytest.param(lambda _: b"hello world", ("not an ONNX model", "export"), id="text"),
    pytest.param(lambda _: bytes(range(256)) * 9, ("again",), id="bytes"),
    pytest.param(lambda _: b"\x80\x04K\x01.", ("pickle", "give a .onnx"), id="pickle"),
    pytest.param(lambda _: b"PK\x03\x04....", ("zip archive", "give a .onnx"), id="zip"),
    pytest.param(lambda _: b"<!DOCTYPE html>", ("web page", "give a .onnx"), id="web-page"),
    pytest.param(lambda m: m[: len(m) // 2], ("cut short", "again"), id="truncated"),
    pytest.param(lambda m: m[:-1], ("again",), id="one-byte-short"),
    pytest.param(lambda _: without_nodes(), ("no nodes", "export it again"), id="no-nodes"),
    pytest.param(with_weights_outside, ("outside the file", "one file"), id="external-weights"),
    pytest.param(without_an_input_tensor, ("missing",), id="dangling-input"),
]


@pytest.mark.parametrize(("spoil", "words"), BAD_MODELS)
def test_a_bad_model_is_one_error_and_the_previous_stays(
    open_screen: OpenScreen,
    go_to: GoTo,
    build_model: BuildModel,
    spoil: Callable[[bytes], bytes],
    words: tuple[str, ...],
) -> None:
    at = open_screen(model="iris_linear", weight_bits="6")
    figures = headline(at)
    upload(at, "model", "bad.onnx", spoil(build_model()))
    assert_refused(at, "bad.onnx", *words)
    assert at.session_state["config.model"] == "iris_linear"
    assert headline(at) == figures
    assert "bad.onnx" not in str(at.selectbox(key="config.model").options)
    go_to(at, "compare")
    assert not at.exception
    assert headline(at) == figures


def test_an_unknown_operator_is_one_error_naming_it(
    open_screen: OpenScreen, build_model: BuildModel
) -> None:
    at = open_screen()
    figures = headline(at)
    upload(at, "model", "odd.onnx", build_model(operator="Frobnicate"))
    assert_refused(at, "odd.onnx", "Frobnicate", "replace by ONNX operators")
    assert at.session_state["config.model"] == "digits_cnn"
    assert headline(at) == figures


def test_a_good_model_after_a_bad_one_is_taken(
    open_screen: OpenScreen, build_model: BuildModel
) -> None:
    at = upload(open_screen(), "model", "bad.onnx", b"hello")
    assert_refused(at, "bad.onnx")
    upload(at, "model", "good.onnx", build_model())
    assert_taken(at)
    assert at.session_state["config.model"].startswith("good.onnx #")


def pickled(_: npt.NDArray[np.float64]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    return stream.getvalue()


def with_one(value: float) -> Callable[[npt.NDArray[np.float64]], bytes]:
    def spoil(x: npt.NDArray[np.float64]) -> bytes:
        spoiled = x.copy()
        spoiled[3, 1] = value
        return npy(spoiled)

    return spoil


BAD_DATA: list[Any] = [
    pytest.param("d.npy", lambda x: npy(x[:, :2]), ("40 x 2", "N x 3"), id="few-columns"),
    pytest.param("d.npy", lambda x: npy(x[:, :, None]), ("40 x 3 x 1", "N x 3"), id="three-axes"),
    pytest.param("d.npy", lambda x: npy(x[0]), ("N x 3",), id="one-axis"),
    pytest.param("d.npy", lambda x: npy(x[:0]), ("no samples", "at least one"), id="no-samples"),
    pytest.param("d.npy", with_one(np.nan), ("NaN", "remove or replace"), id="nan"),
    pytest.param("d.npy", with_one(np.inf), ("infinite", "remove or replace"), id="infinite"),
    pytest.param("d.npy", with_one(1e300), ("infinite",), id="beyond-float32"),
    pytest.param("d.npy", lambda x: npy(x.astype(str)), ("real numbers",), id="text-array"),
    pytest.param("d.npy", lambda x: npy(x + 1j), ("real numbers",), id="complex"),
    pytest.param("d.npy", pickled, ("Python objects", "plain numbers"), id="pickle"),
    pytest.param("d.npy", lambda x: npy(x)[:-9], ("cut short",), id="truncated-npy"),
    pytest.param("d.npz", lambda _: b"PK\x03\x04broken", ("damaged", "again"), id="damaged-npz"),
    pytest.param("d.csv", lambda _: b"", ("empty", "choose another"), id="empty-file"),
    pytest.param("d.csv", lambda _: b" \n\n", ("no rows",), id="blank-file"),
    pytest.param("d.csv", lambda _: b"a,b,c\n", ("header and no rows",), id="only-header"),
    pytest.param("d.csv", lambda _: b"1,2,3\n1,two,3\n", ("line 2", "'two'", "number"), id="words"),
    pytest.param("d.csv", lambda _: b"1,2,3\n1,2\n", ("line 2", "as many"), id="ragged"),
    pytest.param("d.csv", lambda _: b"1,2,3\n1,,3\n", ("is empty", "number"), id="empty-cell"),
    pytest.param("d.csv", lambda _: b"1,2,nan\n1,2,3\n", ("NaN",), id="csv-nan"),
    pytest.param("d.csv", lambda _: b"1,2\n3,4\n", ("3 features",), id="csv-narrow"),
    pytest.param("d.csv", lambda _: b"\xff\xfe1,2,3", ("UTF-8",), id="not-utf8"),
    pytest.param("d.csv", lambda _: b"\x00\x01\x02", ("binary",), id="binary"),
]


@pytest.mark.parametrize(("name", "spoil", "words"), BAD_DATA)
def test_bad_data_are_one_error_and_the_previous_stay(
    open_screen: OpenScreen,
    build_model: BuildModel,
    features: npt.NDArray[np.float64],
    name: str,
    spoil: Callable[[npt.NDArray[np.float64]], bytes],
    words: tuple[str, ...],
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    upload(at, "data", "good.npy", npy(features))
    assert_taken(at)
    figures, line = headline(at), data_line(at)
    upload(at, "data", name, spoil(features))
    assert_refused(at, name, *words)
    assert headline(at) == figures
    assert data_line(at) == line


def test_as_many_labels_as_samples_are_asked_for(
    open_screen: OpenScreen,
    build_model: BuildModel,
    save_npz: SaveArrays,
    features: npt.NDArray[np.float64],
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    content = save_npz(calibration=features, evaluation=features, labels=np.zeros(7, np.int64))
    upload(at, "data", "d.npz", content)
    assert_refused(at, "d.npz", "7 labels for 40", "one label per sample")
    assert "synthetic" in data_line(at)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.full(40, 99), id="class the model lacks"),
        pytest.param(np.full(40, -1), id="negative class"),
        pytest.param(np.full(40, np.nan), id="nan"),
        pytest.param(np.zeros((40, 2)), id="two columns"),
        pytest.param(np.linspace(0, 1, 40), id="real numbers"),
    ],
)
def test_odd_labels_leave_the_screens_working(
    open_screen: OpenScreen,
    go_to: GoTo,
    build_model: BuildModel,
    save_npz: SaveArrays,
    features: npt.NDArray[np.float64],
    labels: npt.NDArray[np.generic],
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model())
    upload(at, "data", "d.npz", save_npz(calibration=features, evaluation=features, labels=labels))
    assert not at.exception
    assert len(at.error) + len(at.success) == 1
    go_to(at, "compare")
    assert not at.exception
    assert not at.error
    assert len(headline(at)) == 4


def test_no_model_for_the_data_is_said_and_not_a_fault(
    open_screen: OpenScreen, build_model: BuildModel
) -> None:
    at = open_screen(model="mine.onnx #deadbeef")
    assert not at.exception
    assert len(at.info) == 1
    at.selectbox(key="config.model").set_value("digits_cnn").run()
    upload(at, "model", "mine.onnx", build_model())
    assert_taken(at)


HOSTILE = [
    "<b>bold</b><script>alert(1)</script>",
    "%{x} %{customdata[0]}",
    "[a](http://b) ![i](http://c/d.png)",
    "$x^2$ :red[warm] :material/home: **b** `c` | d",
    "Ünïcödé 層 🪜 \u202e rtl",
    "long " * 400,
    "line\nbreak\ttab",
    "=1+1",
    "{name} %s %d {0}",
    "https://example.org www.example.org a@b.example &lt;b&gt; &amp;",
]


def assert_no_link(at: AppTest, stem: str) -> None:
    """Demand that nothing drawn as Markdown holds a tag, a link or what becomes one."""
    drawn = [*at.markdown, *at.caption, *at.info, *at.success, *at.warning, *at.error]
    for text in [*(element.value for element in drawn), *(metric.label for metric in at.metric)]:
        assert "](http" not in text, stem
        assert "<b>" not in text, stem
        plain = text.replace("\\", "")
        for address in ("https://example.org", "www.example.org", "a@b.example"):
            assert address not in plain, stem
        assert not re.search(r"(?<!\\)&lt;b", text), stem


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:12]))
def test_hostile_node_names_are_shown_as_typed(
    open_screen: OpenScreen, go_to: GoTo, build_model: BuildModel, name: str
) -> None:
    at = open_screen()
    upload(at, "model", "mine.onnx", build_model(names=(f"{name} 1", f"{name} 2", f"{name} 3")))
    assert_taken(at)
    for stem in TITLES:
        go_to(at, stem)
        assert not at.exception, stem
        assert not at.error, stem
        # Plotly reads a few HTML tags in texts, and %{…} in templates.
        for chart in at.get("plotly_chart"):
            assert "<script>" not in chart.proto.spec, stem
        assert_no_link(at, stem)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:12]))
def test_hostile_file_names_are_shown_as_typed(
    open_screen: OpenScreen, go_to: GoTo, build_model: BuildModel, name: str
) -> None:
    at = upload(open_screen(), "model", f"{name[:200]}.onnx", build_model())
    assert_taken(at)
    for stem in TITLES:
        go_to(at, stem)
        assert not at.exception, stem
        assert not at.error, stem
        assert_no_link(at, stem)


def test_equal_node_names_are_told_apart(
    open_screen: OpenScreen, go_to: GoTo, build_model: BuildModel
) -> None:
    at = upload(open_screen(), "model", "mine.onnx", build_model(names=("same", "same", "same")))
    assert_taken(at)
    go_to(at, "bitwidths")
    assert not at.exception
    options = at.selectbox(key="bitwidths.layer").options
    assert len(set(options)) == len(options) == 2


@pytest.mark.parametrize(("kind", "name"), [("model", "big.onnx"), ("data", "big.npz")])
def test_an_upload_above_the_limit_is_refused_with_its_name(
    open_screen: OpenScreen, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    variable = f"QUANTLIB_MAX_UPLOAD_{kind.upper()}_MB"
    monkeypatch.setenv(variable, "1")
    at = upload(open_screen(model="iris_linear"), kind, name, bytes(2**20 + 1))
    assert_refused(at, name, "1.0 MB", "limit of 1 MB", variable)
    assert at.session_state["config.model"] == "iris_linear"


def test_a_server_of_samples_only_takes_no_files(
    open_screen: OpenScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTLIB_SAMPLES_ONLY", "1")
    at = open_screen(model="iris_linear")
    assert not at.exception
    assert not at.get("file_uploader")
    assert any("takes no files" in info.value for info in at.info)


def test_a_fault_of_the_program_is_one_plain_message_and_the_file_is_forgotten(
    open_screen: OpenScreen, build_model: BuildModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_screen(model="iris_linear")
    figures, content = headline(at), build_model()

    def fail(*_: object, **__: object) -> None:
        raise FaultError("KeyError: '/secret/place'")

    with monkeypatch.context() as broken:
        broken.setattr("quantlib.workers.client.Client.answers", fail)
        upload(at, "model", "mine.onnx", content)
    assert_refused(at, "mine.onnx", "fault of this program")
    assert "secret" not in at.error[0].value
    assert not at.session_state["engine.session"].holds(hashlib.sha256(content).hexdigest())
    assert headline(at) == figures
