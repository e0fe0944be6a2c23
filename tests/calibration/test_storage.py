from __future__ import annotations

import io
import json
import pickle
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from quantlib.calibration.statistics import TensorStatistics, measure
from quantlib.calibration.storage import load_statistics, save_statistics
from quantlib.errors import DataLoadError


def example() -> dict[str, TensorStatistics]:
    rng = np.random.default_rng(3)
    return {
        "input": measure(rng.normal(size=(7, 5, 2)).astype(np.float32), 1),
        "relu:0": measure(np.maximum(rng.normal(size=(7, 5)), 0)),
        "constant": measure(np.full(3, 0.1, np.float16)),
    }


def assert_equal(a: TensorStatistics, b: TensorStatistics) -> None:
    assert a.extremes == b.extremes and a.dtype == b.dtype
    assert (a.count, a.zeros, a.mean, a.variance) == (b.count, b.zeros, b.mean, b.variance)
    assert asdict(a.samples) == asdict(b.samples)
    assert a.histogram.exponent == b.histogram.exponent
    assert a.histogram.first == b.histogram.first
    assert np.array_equal(a.histogram.counts, b.histogram.counts)
    assert a.channel_axis == b.channel_axis
    for one, other in zip(a.channels, b.channels, strict=True):
        assert_equal(one, other)


def test_saved_statistics_are_read_back_exactly() -> None:
    tensors = example()
    text, payload = save_statistics(tensors)
    found = load_statistics(text, payload)
    assert list(found) == list(tensors)
    for name, statistics in tensors.items():
        assert_equal(found[name], statistics)


def test_no_tensors_are_saved_and_read() -> None:
    assert load_statistics(*save_statistics({})) == {}


def test_read_statistics_go_on_merging() -> None:
    tensors = example()
    found = load_statistics(*save_statistics(tensors))["relu:0"]
    assert_equal(found.merge(tensors["relu:0"]), tensors["relu:0"].merge(tensors["relu:0"]))


def npz(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, counts=array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "no readable npz"),
        (b"PK not a zip", "no readable npz"),
        (npz(np.zeros(1 << 22, dtype=np.int64)), "the text promises"),
        (npz(np.zeros(3, dtype=np.int64)), "the text promises"),
        (pickle.dumps({}), "no readable npz"),
    ],
)
def test_bytes_that_are_not_the_counts_are_refused(payload: bytes, message: str) -> None:
    text, _ = save_statistics(example())
    with pytest.raises(DataLoadError, match=message):
        load_statistics(text, payload)


def test_pickled_objects_are_refused() -> None:
    text, payload = save_statistics({"x": measure(np.zeros(1))})
    assert load_statistics(text, payload)
    with pytest.raises(DataLoadError, match=r"no readable npz|text promises"):
        load_statistics(text, npz(np.array([{}], dtype=object)))


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_cut_archive_is_refused(cut: int) -> None:
    text, payload = save_statistics(example())
    with pytest.raises(DataLoadError):
        load_statistics(text, payload[:-cut])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "format 'list'"),
        ('{"format": "other"}', "format 'other'"),
        ('{"format": "quantlib-calibration-1"}', "damaged"),
        ('{"format": "quantlib-calibration-1", "tensors": 3}', "damaged"),
        ('{"format": "quantlib-calibration-1", "tensors": {"a": {}}}', "damaged"),
    ],
)
def test_a_text_that_is_no_statistics_is_refused(text: str, message: str) -> None:
    _, payload = save_statistics(example())
    with pytest.raises(DataLoadError, match=message):
        load_statistics(text, payload)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("count",), 1),
        (("zeros",), -1),
        (("mean",), float("nan")),
        (("variance",), -1.0),
        (("histogram", "first"), 5),
        (("histogram", "exponent"), 3),
        (("histogram", "max_bins"), "many"),
        (("histogram", "bins"), -4),
        (("extremes", "rmin"), -100.0),
        (("extremes", "rmin"), None),
        (("samples", "n_samples"), 0),
        (("samples",), {"n": 1}),
        (("channels",), 5),
    ],
)
def test_statistics_that_contradict_themselves_are_refused(
    path: tuple[str, ...], value: Any
) -> None:
    text, payload = save_statistics({"x": measure(np.arange(9.0) - 2.0)})
    document = json.loads(text)
    place = document["tensors"]["x"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DataLoadError):
        load_statistics(json.dumps(document), payload)
