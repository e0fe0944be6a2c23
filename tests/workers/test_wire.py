from __future__ import annotations

import io
import json
import os
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import quantlib as ql
from quantlib.analysis.widths.criterion import Criterion
from quantlib.errors import OptionsError, UnreachableError, UnsupportedOpError, WorkerError
from quantlib.questions import QUESTIONS, Stream, ask, bitwidths
from quantlib.workers import wire
from tests.sameness import same
from tests.sample_data import sample

CONFIG = ql.QuantizationConfig.from_n_bits(4)


def there_and_back(value: Any) -> Any:
    stream = io.BytesIO()
    wire.send(stream, value)
    stream.seek(0)
    found = wire.receive(stream)
    assert found is not None
    assert wire.receive(stream) is None
    return wire.unpacked(*found)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner)
    | st.lists(inner).map(tuple)
    | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    | st.frozensets(st.integers() | st.text())
    | st.sets(st.integers()),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_back_as_they_are(value: Any) -> None:
    assert same(value, there_and_back(value))


@given(
    st_numpy.arrays(
        st.one_of(
            st_numpy.boolean_dtypes(),
            st_numpy.integer_dtypes(endianness="?"),
            st_numpy.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
            st_numpy.complex_number_dtypes(),
            st_numpy.unicode_string_dtypes(),
        ),
        st_numpy.array_shapes(min_dims=0, min_side=0),
    )
)
def test_arrays_come_back_bit_by_bit_and_cannot_be_written_to(array: Any) -> None:
    found = there_and_back((array, array.T))
    assert same(array, found[0])
    assert same(np.ascontiguousarray(array.T).reshape(array.T.shape), found[1])
    assert not found[0].flags.writeable


def test_numbers_of_numpy_enumerations_and_surrogates_come_back() -> None:
    value = (np.float32(0.1), np.int8(-3), np.bool_(True), Criterion.SEEN, "\ud800\0", CONFIG)
    assert same(value, there_and_back(value))
    assert there_and_back(value)[3] is Criterion.SEEN


def test_every_answer_of_every_screen_comes_back_as_it_is() -> None:
    bench = sample("digits_cnn").bench
    layer = bench.module(CONFIG).layers[0].name
    arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "bitwidths.tables": ((CONFIG, layer), {}),
        "bitwidths.region": ((CONFIG, layer), {}),
        "bitwidths.remedies": ((CONFIG.replace(limit_bits=7), layer, Criterion.SEEN), {}),
        "bitwidths.budget": ((CONFIG,), {}),
        "bitwidths.cost": ((CONFIG,), {}),
        "calibration.distributions": ((), {}),
        "calibration.width_sufficiency": ((CONFIG, layer), {}),
        "compare.decisions": ((CONFIG,), {}),
        "compare.pair": ((CONFIG, ql.QuantizationConfig.from_n_bits(5)), {}),
        "compare.ties": ((CONFIG,), {}),
        "compare.error_ledger": ((CONFIG,), {}),
        "evaluations.check": ((), {}),
        "evaluations.data_card": ((), {}),
        "evaluations.evaluation": ((CONFIG,), {}),
        "evaluations.evaluation_inputs": (([0, 1],), {}),
        "evaluations.model_card": ((), {}),
        "evaluations.output_names": ((), {}),
        "export.files": ((CONFIG, "qdq", "m"), {}),
        "export.offer": ((CONFIG, "qdq", "m"), {}),
        "export.data_archive": ((), {}),
        "layers.sensitivity": ((CONFIG,), {}),
        "learn.layers": ((CONFIG,), {}),
        "learn.neuron": ((CONFIG, layer), {"channel": 0, "sample": 0}),
        "learn.segment": ((CONFIG, layer), {"channel": 0, "removed": 1}),
        "learn.after_training": ((4,), {}),
        "sweep.origin": ((), {}),
    }
    for name, (args, kwargs) in arguments.items():
        assert same((args, kwargs), there_and_back((args, kwargs))), name
        answer = ask(bench, name, *args, **kwargs)
        assert same(answer, there_and_back(answer)), name
    streams: dict[str, tuple[Any, ...]] = {
        "sweep.sweep": ((CONFIG,),),
        "compare.ledger": (CONFIG,),
        "export.proof": (CONFIG, "qdq", "m"),
        "bitwidths.make_fit": (CONFIG.replace(limit_bits=10), Criterion.SEEN, None),
    }
    for name, args in streams.items():
        stream = QUESTIONS[name]
        assert isinstance(stream, Stream)
        last = None
        for last in stream(bench, *args):
            assert same(last, there_and_back(last)), name
        assert last is not None, name


def test_what_came_back_is_equal_and_hashes_alike() -> None:
    assert there_and_back(CONFIG) == CONFIG
    assert hash(there_and_back(CONFIG)) == hash(CONFIG)


@pytest.mark.parametrize("value", [object(), open, os.system, io.BytesIO(), ValueError("x")])
def test_other_things_do_not_travel(value: object) -> None:
    with pytest.raises(TypeError, match="does not travel"):
        wire.packed({"value": value})


def forged(document: object, blobs: list[bytes] = []) -> Any:  # noqa: B006
    return wire.unpacked(json.dumps(document).encode(), blobs)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param([8, "os:system", "true"], id="function"),
        pytest.param([8, "posix:system", "true"], id="module of C"),
        pytest.param([8, "quantlib.export.numpy_script:subprocess.Popen", ["true"]], id="through"),
        pytest.param([8, "quantlib.workers.wire:os", 1], id="module"),
        pytest.param([8, "quantlib.analysis.workbench:Workbench", 1], id="no dataclass"),
        pytest.param([8, "quantlib.workers.parents:Born", 1, 2, 3, 4], id="not frozen"),
        pytest.param([8, "quantlib.cli.__main__:main"], id="not imported"),
        pytest.param([8, "quantlib.core.config:QuantizationConfig", 4], id="too few members"),
        pytest.param([8, 7], id="no name"),
        pytest.param([9, "quantlib.core.config:QuantizationConfig", "x"], id="no enumeration"),
        pytest.param([9, "quantlib.analysis.widths.criterion:Criterion", "mro"], id="no member"),
        pytest.param([6, "|O", 0, 1], id="objects"),
        pytest.param([6, "V8", 0, 1], id="records"),
        pytest.param([6, "<f8", 0, 1000], id="too short"),
        pytest.param([6, "<f8", 0, -1, -1], id="two open sizes"),
        pytest.param([5, 9], id="no such bytes"),
        pytest.param([2, 1], id="half a pair"),
        pytest.param([2, [0], 1], id="a list as key"),
        pytest.param([77], id="unknown kind"),
        pytest.param([[]], id="no kind"),
        pytest.param([], id="nothing"),
        pytest.param({"a": 1}, id="object of JSON"),
    ],
)  # fmt: skip
def test_a_forged_answer_makes_nothing(document: object) -> None:
    with pytest.raises(WorkerError):
        forged(document, [b"12345678"])


def test_no_pickle_is_read(tmp_path: Any) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    content = pickle.dumps(Harm())
    with pytest.raises(WorkerError):
        wire.unpacked(content, [])
    assert forged([5, 0], [content]) == content
    assert not (tmp_path / "harm").exists()


def test_a_deep_answer_is_refused() -> None:
    with pytest.raises(WorkerError):
        wire.unpacked(b"[0," * 200_000 + b"1" + b"]" * 200_000, [])


def test_a_number_beyond_all_floats_is_refused() -> None:
    with pytest.raises(wire.WireError):
        forged([wire._Tag.COMPLEX, 10**400, 0])


def test_a_long_document_is_refused_before_it_is_read() -> None:
    """Lists in lists take far more memory than their text."""
    head = wire._HEAD.pack(wire.MAX_DOCUMENT_BYTES + 1, 0)
    with pytest.raises(wire.WireError, match="beside its arrays"):
        wire.receive(io.BytesIO(head))


def test_a_long_answer_is_refused_before_it_is_read() -> None:
    head = struct.pack("<IIQ", 10, 1, 2**40)
    with pytest.raises(WorkerError, match="above the limit"):
        wire.receive(io.BytesIO(head))
    with pytest.raises(WorkerError, match="cut short"):
        wire.receive(io.BytesIO(struct.pack("<II", 10, 0)))


@pytest.mark.parametrize(
    "error",
    [
        OptionsError("a"),
        UnreachableError("b"),
        UnsupportedOpError("c", op_type="Sum", node_name="n"),
        WorkerError("d"),
    ],
)
def test_errors_come_back_with_kind_words_and_node(error: ql.QuantlibError) -> None:
    found = wire.error_of(there_and_back(wire.error_record(error)))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_an_error_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(WorkerError):
        wire.error_of(("SystemExit", "0", "", ""))


def test_what_is_asked_of_the_measured_region_comes_back() -> None:
    bench = sample("iris_linear").bench
    found = next(iter(bitwidths.measured_region(bench, CONFIG, "/f/Gemm")))
    assert same(found, there_and_back(found))
