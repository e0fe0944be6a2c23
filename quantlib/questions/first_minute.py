"""What a newcomer sees first: answers on real samples, and how wide the accumulators are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.comparison import dequantized_outputs
from quantlib.analysis.decisions import check_labels
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.reports import OutputKind
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.errors import TensorError
from quantlib.execution.calls import n_samples, samples_of
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quantlib.analysis.reports import Evaluation, OutputSummary, Score
    from quantlib.analysis.widths.criterion import Criterion
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions.registry import GoOn

MAX_SAMPLES = 96
"""Most samples with a class that are shown."""

MAX_POINTS = 400
"""Most pairs of real outputs that are shown."""

MAX_SIDE = 32
"""Longest side of a picture, pixels; larger ones are thinned."""


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """The evaluation samples that are shown, whatever the configuration.

    Parameters
    ----------
    output : str
        The output that is shown.
    n_samples : int
        Evaluation samples that there are.
    samples : int array, (N,)
        Numbers of those that are shown: at most `MAX_SAMPLES`, evenly spaced. Empty where the
        output has no classes.
    classes : int array, (N,)
        What the float model answers.
    labels : int array, (N,), or None
        What is right; None where nobody knows.
    pictures : uint8 array, (N, height, width, channels), or None
        The samples as pictures of 1 or 3 channels, where the first input holds pictures.
    """

    output: str
    n_samples: int
    samples: IntArray
    classes: IntArray
    labels: IntArray | None
    pictures: AnyArray | None

    @property
    def right(self) -> IntArray:
        """What an answer is held to: the labels, without them the float model's answers, (N,)."""
        return self.classes if self.labels is None else self.labels


@dataclass(frozen=True, slots=True)
class Accumulator:
    """How wide one accumulator is.

    Parameters
    ----------
    layer, op_type : str
        Which operator.
    bits : int
        Width of what counts against the limit, bits.
    fits : bool
        Whether that is within the limit.
    """

    layer: str
    op_type: str
    bits: int
    fits: bool


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one configuration does to the samples that are shown.

    Parameters
    ----------
    config : QuantizationConfig
        The configuration.
    classes : int array, (N,)
        Answers on `Subjects.samples`.
    values : (float array, float array, float array or None)
        For outputs without classes: the float model's, the quantized model's and the targets,
        at most `MAX_POINTS`, evenly thinned; empty for others.
    score : Score or None
        Against the labels of all samples.
    agreement : float or None
        Share of all samples with the float model's class; None for outputs without classes.
    sqnr_db : float
        Of the output, dB.
    accumulators : tuple of Accumulator
        Every integer operator, in the model's order.
    limit_bits : int
        The limit.
    n_left_out : int
        Operators that nobody looked into.
    """

    config: QuantizationConfig
    classes: IntArray
    values: tuple[FloatArray, FloatArray, FloatArray | None]
    score: Score | None
    agreement: float | None
    sqnr_db: float
    accumulators: tuple[Accumulator, ...]
    limit_bits: int
    n_left_out: int


@Question
def subjects(bench: Workbench, image_shape: tuple[int, int] | None = None) -> Subjects:
    """Return the samples to show: of the output that has classes, evenly spaced.

    Parameters
    ----------
    bench : Workbench
        What it is asked of.
    image_shape : (int, int), optional
        Rows and columns of a sample that lies flat in the first input.
    """
    output, scores = _shown_output(bench)
    count = n_samples(bench.graph, bench.data.evaluation)
    if scores is None:
        nothing = np.zeros(0, dtype=np.int64)
        return Subjects(output, count, nothing, nothing, None, None)
    chosen = _evenly(count, MAX_SAMPLES)
    labels = _labels_of(bench, scores)
    return Subjects(
        output,
        count,
        chosen,
        _classes(scores)[chosen],
        None if labels is None else labels[chosen],
        _pictures(bench, chosen, image_shape),
    )


@Question
def answers(bench: Workbench, config: QuantizationConfig, criterion: Criterion) -> Answers:
    """Return what a configuration answers on these samples, and how wide its accumulators are."""
    output, scores = _shown_output(bench)
    several = len(bench.graph.outputs) > 1
    found = evaluate(bench, config, output=output if several else None)
    budget = bit_width_budget(bench.module(config), seen=found.seen)
    nothing = np.zeros(0)
    return Answers(
        config=config,
        classes=np.zeros(0, dtype=np.int64)
        if scores is None
        else _answered(bench, config, found, scores)[_evenly(len(scores), MAX_SAMPLES)],
        values=_values(bench, found) if scores is None else (nothing, nothing, None),
        score=found.score,
        agreement=found.agreement,
        sqnr_db=found.sqnr_db,
        accumulators=tuple(
            Accumulator(
                layer.name, layer.op_type, layer.counted_bits(criterion), layer.fits_by(criterion)
            )
            for layer in budget.layers
        ),
        limit_bits=budget.limit_bits,
        n_left_out=len(budget.unseen) + len(budget.unbounded),
    )


@Stream
def answers_of_each(
    bench: Workbench,
    go_on: GoOn,
    configs: Sequence[QuantizationConfig],
    criterion: Criterion,
) -> Iterator[Answers]:
    """Answer for one configuration after the other."""
    for config in configs:
        if not go_on():
            return
        yield answers(bench, config, criterion)


def _shown_output(bench: Workbench) -> tuple[str, AnyArray | None]:
    """Return which output is shown, and what the float model says there if it has classes.

    The chosen output; else the first with classes that the labels fit, the first with classes,
    the first; rows of scores before class numbers, which are made of them.
    """
    graph, count = bench.graph, n_samples(bench.graph, bench.data.evaluation)
    names = (graph.lead_output,) if bench.output else graph.output_names
    with_classes = {
        name: y for name in names if _has_classes(y := bench.float_model.output(name), count)
    }
    ordered = sorted(with_classes.items(), key=lambda entry: entry[1].dtype.kind != "f")
    for name, y in ordered:
        if _labels_of(bench, y) is not None:
            return name, y
    return ordered[0] if ordered else (names[0], None)


def _has_classes(y: AnyArray, count: int) -> bool:
    """Tell whether an output holds one class number or a row of scores per sample."""
    if y.shape[:1] != (count,) or y.size == 0 or y.dtype.kind not in "fi":
        return False
    scores = y.dtype.kind == "f" and y.ndim == 2 and y.shape[1] > 1
    return scores or (y.dtype in (np.int32, np.int64) and y.size == count)


def _classes(y: AnyArray) -> IntArray:
    if y.dtype.kind == "i":
        return y.reshape(-1).astype(np.int64)
    return np.asarray(y.argmax(axis=1), dtype=np.int64)


def _labels_of(bench: Workbench, y: AnyArray) -> IntArray | None:
    """Return class numbers of all evaluation samples, where there are such."""
    labels = bench.data.labels
    if labels is None or labels.size != len(y):
        return None
    try:
        check_labels(y, labels)
    except TensorError:
        return None
    flat = labels.reshape(-1)
    if flat.dtype.kind not in "iuf" or not np.array_equal(flat, np.rint(flat)):
        return None
    return flat.astype(np.int64)


def _answered(
    bench: Workbench, config: QuantizationConfig, found: Evaluation, scores: AnyArray
) -> IntArray:
    """Return the quantized model's class of every evaluation sample."""
    if _summary(found).kind is OutputKind.VALUES:  # what does not flip stays
        classes = _classes(scores).copy()
        for flip in found.flips:
            classes[flip.sample] = flip.quantized_class
        return classes
    return _classes(dequantized_outputs(bench.module(config), bench.float_model))


def _summary(found: Evaluation) -> OutputSummary:
    return next(entry for entry in found.outputs if entry.name == found.output)


def _values(
    bench: Workbench, found: Evaluation
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Return pairs of outputs, with the targets where there is one for each output."""
    before, after = found.scatter
    keep = _evenly(before.size, MAX_POINTS)
    labels, size = bench.data.labels, bench.float_model.output(found.output).size
    if (
        labels is None
        or labels.size != size
        or size != before.size
        or labels.dtype.kind not in "iuf"
    ):
        return before[keep], after[keep], None
    return before[keep], after[keep], labels.reshape(-1).astype(np.float64)[keep]


def _evenly(count: int, most: int) -> IntArray:
    """Return at most `most` of ``range(count)``, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _pictures(
    bench: Workbench, chosen: IntArray, image_shape: tuple[int, int] | None
) -> AnyArray | None:
    """Return samples of the first input as pictures, where they are some."""
    values = np.asarray(samples_of(bench.graph, bench.data.evaluation, chosen)[0])
    shape = values.shape[1:]
    if len(values) != len(chosen) or values.dtype.kind not in "fiu":
        return None
    if len(shape) == 3 and shape[0] in (1, 3):
        values = np.moveaxis(values, 1, -1)
    elif len(shape) == 2:
        values = values[..., None]
    elif image_shape is not None and int(np.prod(shape)) == int(np.prod(image_shape)):
        values = values.reshape(len(chosen), *image_shape, 1)
    elif len(shape) != 3 or shape[2] not in (1, 3):
        return None
    if min(values.shape[1:3]) < _SMALLEST_SIDE:
        return None
    steps = [-(-side // MAX_SIDE) for side in values.shape[1:3]]
    thinned = values[:, :: steps[0], :: steps[1]].astype(np.float64)
    low, high = float(thinned.min()), float(thinned.max())
    return np.rint((thinned - low) / ((high - low) or 1.0) * 255).astype(np.uint8)


_SMALLEST_SIDE = 5
"""Fewer rows or columns than this are a table rather than a picture."""
