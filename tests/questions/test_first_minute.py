"""What Home shows first, against ONNX Runtime, the module's own outputs and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import quantlib as ql
from quantlib.analysis.widths.criterion import Criterion
from quantlib.questions import first_minute
from tests.models import build, normal
from tests.paths import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

CLASSIFIERS = ["digits_cnn", "digits_mlp", "iris_linear", "wine_sklearn", "digits_qat"]
BITS = ql.QuantizationConfig.from_n_bits(3)


def bench_of(name: str) -> ql.Workbench:
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    return ql.Workbench(graph, ql.load_data(SAMPLES / f"{name}.npz", graph))


def arrays(name: str) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(SAMPLES / f"{name}.npz") as found:
        return dict(found)


def float_scores(name: str, output: str) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(SAMPLES / f"{name}.onnx")
    given = {session.get_inputs()[0].name: arrays(name)["evaluation"]}
    return np.asarray(session.run([output], given)[0])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classes_are_those_of_onnx_runtime_and_of_the_module(name: str) -> None:
    bench = bench_of(name)
    shown = first_minute.subjects(bench)
    answers = first_minute.answers(bench, BITS, Criterion.SEEN)
    count = len(arrays(name)["evaluation"])
    assert shown.n_samples == count
    assert shown.samples.size == min(96, count)
    assert (shown.samples[0], shown.samples[-1]) == (0, count - 1)
    np.testing.assert_array_equal(
        shown.classes, float_scores(name, shown.output).argmax(1)[shown.samples]
    )
    np.testing.assert_array_equal(shown.right, arrays(name)["labels"][shown.samples])
    outputs = bench.module(BITS).forward(*bench.data.evaluation)
    assert isinstance(outputs, np.ndarray)
    np.testing.assert_array_equal(answers.classes, outputs.argmax(1)[shown.samples])


@pytest.mark.parametrize("name", ["digits_cnn", "diabetes_mlp"])
def test_accumulators_are_as_wide_as_the_integers_of_a_run(name: str) -> None:
    bench = bench_of(name)
    module = bench.module(BITS)
    module.forward(*bench.data.calibration)
    report = module.bitwidth_and_range_report()
    answers = first_minute.answers(bench, BITS.replace(limit_bits=7), Criterion.SEEN)
    assert [found.layer for found in answers.accumulators] == list(report)
    for found in answers.accumulators:  # evaluation data count as well: at least as wide
        assert found.bits >= report[found.layer]["bitwidth"]
        assert found.fits == (found.bits <= 7)
    any_input = first_minute.answers(bench, BITS, Criterion.ANY_INPUT)
    pairs = zip(answers.accumulators, any_input.accumulators, strict=True)
    assert all(seen.bits <= every.bits for seen, every in pairs)


def test_a_regression_shows_predictions_and_targets() -> None:
    bench = bench_of("diabetes_mlp")
    assert not first_minute.subjects(bench).samples.size
    before, after, targets = first_minute.answers(bench, BITS, Criterion.SEEN).values
    output = bench.graph.output_names[0]
    np.testing.assert_allclose(before, float_scores("diabetes_mlp", output).ravel(), rtol=1e-5)
    outputs = bench.module(BITS).forward(*bench.data.evaluation)
    assert isinstance(outputs, np.ndarray)
    np.testing.assert_array_equal(after, outputs.ravel())
    assert targets is not None
    np.testing.assert_array_equal(targets, arrays("diabetes_mlp")["labels"].ravel())


def test_of_several_outputs_the_one_that_the_labels_fit_is_shown() -> None:
    bench = bench_of("digits_detector")  # its boxes are worse by SQNR
    assert first_minute.subjects(bench).output == "classes"
    answers = first_minute.answers(bench, BITS, Criterion.SEEN)
    assert answers.score is not None
    assert answers.score.name == "accuracy"


def test_class_numbers_are_answers_too() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "mixed"),
        helper.make_node("ArgMax", ["h"], ["y"], "chosen", axis=1, keepdims=0),
    ]
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants={"w": normal(6, 3)})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    graph = ql.load_model(model.SerializeToString(), name="numbers")
    bench = ql.Workbench(graph, ql.data.synthetic_data(graph))
    shown = first_minute.subjects(bench)
    assert shown.samples.size
    assert shown.labels is None
    answers = first_minute.answers(bench, BITS, Criterion.SEEN)
    outputs = bench.module(BITS).forward(*bench.data.evaluation)
    assert isinstance(outputs, np.ndarray)
    np.testing.assert_array_equal(answers.classes, outputs.ravel()[shown.samples])


def _channels_last(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.moveaxis(values, 1, -1)


@pytest.mark.parametrize(
    ("shape", "flat", "as_picture"),
    [
        pytest.param((1, 8, 8), None, _channels_last, id="channels first"),
        pytest.param((3, 40, 70), None, lambda v: _channels_last(v)[:, ::2, ::3], id="thinned"),
        pytest.param((8, 9), None, lambda v: v[..., None], id="without channels"),
        pytest.param((8, 9, 3), None, lambda v: v, id="channels last"),
        pytest.param((64,), (8, 8), lambda v: v.reshape(-1, 8, 8, 1), id="flat"),
    ],
)
def test_pictures_are_the_samples_in_256_greys(
    shape: tuple[int, ...],
    flat: tuple[int, int] | None,
    as_picture: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> None:
    bench = _scores_of(shape)
    shown = first_minute.subjects(bench, flat)
    assert shown.pictures is not None
    wanted = as_picture(np.asarray(bench.data.evaluation[0][shown.samples], dtype=np.float64))
    assert shown.pictures.shape == wanted.shape
    scaled = (wanted - wanted.min()) / np.ptp(wanted) * 255
    assert np.abs(shown.pictures - scaled).max() <= 0.5


@pytest.mark.parametrize("shape", [(6,), (4, 4), (2, 8, 8), (64,)])
def test_tables_are_no_pictures(shape: tuple[int, ...]) -> None:
    assert first_minute.subjects(_scores_of(shape)).pictures is None


def _scores_of(shape: tuple[int, ...]) -> ql.Workbench:
    """Return a model of three scores for samples of a shape, on generated data."""
    size = int(np.prod(shape))
    nodes = [
        helper.make_node("Flatten", ["x"], ["h"], "flat"),
        helper.make_node("MatMul", ["h", "w"], ["y"], "mixed"),
    ]
    model = build(
        nodes, inputs={"x": ["n", *shape]}, outputs=["y"], constants={"w": normal(size, 3)}
    )
    graph = ql.load_model(model.SerializeToString(), name="scores")
    return ql.Workbench(graph, ql.data.synthetic_data(graph))


def test_a_stream_answers_each_configuration_and_stops_when_nobody_wants_more() -> None:
    bench = bench_of("iris_linear")
    configs = [ql.QuantizationConfig.from_n_bits(n) for n in (2, 3, 4)]
    found = list(first_minute.answers_of_each(bench, configs, Criterion.SEEN))
    assert [answers.config for answers in found] == configs
    for answers in found:
        alone = first_minute.answers(bench, answers.config, Criterion.SEEN)
        np.testing.assert_array_equal(answers.classes, alone.classes)
    wanted = iter([True, False])
    first = list(
        first_minute.answers_of_each.until(lambda: next(wanted), bench, configs, Criterion.SEEN)
    )
    assert len(first) == 1
