from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.data import load_data, synthetic_data
from tests import models

GRAPH = ql.load_model(models.mlp(features=3))
X = models.normal(10, 3)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def csv_of(array: Any, header: str = "", delimiter: str = ",") -> bytes:
    rows = [delimiter.join(repr(float(v)) for v in row) for row in array]
    return "\n".join(([header] if header else []) + rows).encode()


def test_a_full_archive_is_taken_as_it_is() -> None:
    labels = np.arange(4)
    data = load_data(npz(calibration=X, evaluation=X[:4], labels=labels), GRAPH, name="d.npz")
    assert np.array_equal(data.calibration[0], X)
    assert np.array_equal(data.evaluation[0], X[:4])
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert not data.is_synthetic


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(npz(x=X), id="npz-named-after-the-input"),
        pytest.param(npz(whatever=X), id="npz-of-one-array"),
        pytest.param(npy(X), id="npy"),
        pytest.param(npy(X.astype(">f8")), id="big-endian"),
        pytest.param(npy(np.asfortranarray(X)), id="column-order"),
        pytest.param(csv_of(X), id="csv"),
        pytest.param(csv_of(X, "a,b,c"), id="csv-with-header"),
        pytest.param(b"\xef\xbb\xbf" + csv_of(X).replace(b"\n", b"\r\n") + b"\r\n\r\n", id="bom"),
        pytest.param(csv_of(X, delimiter=";"), id="semicolons"),
        pytest.param(csv_of(X, delimiter="\t"), id="tabs"),
    ],
)
def test_one_set_of_samples_is_split_in_halves(content: bytes) -> None:
    data = load_data(content, GRAPH, name="d")
    assert np.allclose(data.calibration[0], X[:5])
    assert np.allclose(data.evaluation[0], X[5:])
    assert any("calibrate" in note for note in data.notes)


def test_a_last_extra_column_is_the_label() -> None:
    table = np.column_stack([X, np.arange(10)])
    data = load_data(csv_of(table), GRAPH, name="d.csv")
    assert data.labels is not None
    assert data.labels.dtype.kind == "i"
    assert data.labels.tolist() == [5, 6, 7, 8, 9]
    assert any("label" in note for note in data.notes)


def test_images_may_come_as_rows_of_a_table() -> None:
    model = models.build(
        [helper.make_node("Relu", ["x"], ["y"])], inputs={"x": ["n", 1, 2, 2]}, outputs=["y"]
    )
    data = load_data(csv_of(models.normal(4, 4)), ql.load_model(model), name="d.csv")
    assert data.calibration[0].shape == (2, 1, 2, 2)


def test_generated_data_are_marked_and_repeatable() -> None:
    first, second = synthetic_data(GRAPH), synthetic_data(GRAPH)
    assert first.is_synthetic
    assert first.digest == second.digest
    assert np.array_equal(first.calibration[0], second.calibration[0])
    assert not np.array_equal(first.calibration[0], first.evaluation[0])


def zipped(name: str, content: bytes, *, compress: bool = False) -> bytes:
    stream = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", kind) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


NAN = X.copy()
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(b"", "empty", id="empty-file"),
        pytest.param(npz(calibration=X[:0]), "no samples", id="no-samples"),
        pytest.param(npz(calibration=NAN), r"NaN or infinite.*\(2, 1\)", id="nan"),
        pytest.param(
            npz(calibration=X.astype(np.float64) * 1e39), "as float32", id="beyond-float32"
        ),
        pytest.param(npz(calibration=X[:, :2]), "10 x 2; the model wants N x 3", id="columns"),
        pytest.param(npz(calibration=X[0]), "batch axis is missing", id="no-batch"),
        pytest.param(npz(calibration=X.reshape(10, 3, 1)), "reshape", id="extra-axis"),
        pytest.param(npz(a=X, b=X), "name them", id="unnamed"),
        pytest.param(
            npz(calibration=X, evaluation=X, labels=np.zeros(3)), "3 labels for 10", id="labels"
        ),
        pytest.param(npz(calibration=X + 1j), "complex", id="complex"),
        pytest.param(npy(np.array([{}], dtype=object)), "Python objects", id="pickle"),
        pytest.param(npy(X)[:-7], "cut short", id="cut-npy"),
        pytest.param(npz(calibration=X)[:-40], "damaged", id="cut-npz"),
        pytest.param(zipped("readme.txt", b"hello"), "no arrays", id="no-arrays"),
        pytest.param(zipped("x.npy", b"hello"), "damaged", id="not-an-array"),
        pytest.param(zipped("x.npy", bytes(10**7), compress=True), "refused", id="bomb"),
        pytest.param(csv_of(X).replace(b"\n", b"\nspam,", 1), "line 2", id="ragged"),
        pytest.param(b"1,2,3\n4,five,6\n", "line 2, column 2 holds 'five'", id="word"),
        pytest.param(b"1,2,3\n4,,6\n", "line 2, column 2 is empty", id="missing-cell"),
        pytest.param(b"1,2\n3,4\n", "2 columns; the model wants 3", id="few-columns"),
        pytest.param(b"a,b,c\n", "no rows", id="header-only"),
        pytest.param(b"1,5;2;3\n", "decimal commas", id="decimal-commas"),
        pytest.param(b'"1,2,3\n4,5,6\n', "line", id="open-quote"),
        pytest.param(b"<html></html>", "web page", id="web-page"),
        pytest.param(b"\x00\x01\x02", "binary", id="binary"),
        pytest.param("é,1,2".encode("latin-1"), "UTF-8", id="encoding"),
        pytest.param(b"1,2,nan\n4,5,6\n", "NaN", id="nan-in-a-table"),
    ],
)
def test_bad_data_get_one_message_with_the_cause(content: bytes, cause: str) -> None:
    with pytest.raises(ql.DataLoadError, match=cause) as caught:
        load_data(content, GRAPH, name="file")
    assert str(caught.value).startswith("file")


def test_a_model_of_two_inputs_takes_named_arrays() -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    graph = ql.load_model(
        models.build([node], inputs={"a": ["n", 3], "b": ["n", 3]}, outputs=["y"])
    )
    data = load_data(npz(a=X, b=2 * X), graph, name="d.npz")
    assert np.array_equal(data.calibration[1], 2 * X[:5])
    with pytest.raises(ql.DataLoadError, match="a table feeds one input"):
        load_data(csv_of(X), graph, name="d.csv")


def test_notes_of_generated_data_say_what_each_kind_of_input_holds() -> None:
    def model(*kinds: int) -> ql.Graph:
        inputs = [
            helper.make_tensor_value_info(f"x{i}", kind, ["n", 2]) for i, kind in enumerate(kinds)
        ]
        cast = [helper.make_node("Cast", [f"x{i}"], [f"c{i}"], to=1) for i in range(len(kinds))]
        total = helper.make_node("Sum", [f"c{i}" for i in range(len(kinds))], ["y"])
        graph = helper.make_graph(
            [*cast, total], "g", inputs, [helper.make_tensor_value_info("y", 1, None)]
        )
        return ql.load_model(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        )

    normal, whole = "standard normal", "whole numbers of 0 and 1"
    for kinds, said, unsaid in (
        ((1,), [normal], [whole]),
        ((7,), [whole], [normal]),
        ((1, 7), [normal, whole], []),
    ):
        data = synthetic_data(model(*kinds), samples=50)
        (note,) = data.notes
        assert all(words in note for words in said)
        assert not any(words in note for words in unsaid)
        for kind, values in zip(kinds, data.calibration, strict=True):
            assert (set(values.ravel().tolist()) == {0, 1}) == (kind == 7)
