"""One configuration of a model, evaluated: everything a screen needs, in bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.reports import Evaluation, Flip, LayerSummary, Score
from quantlib.core import metrics
from quantlib.core.stats import check_finite
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.errors import TensorError
from quantlib.ops.base import MixingOp, WeightedOp
from quantlib.ptq import quantize

if TYPE_CHECKING:
    from quantlib.analysis.reference import FloatReference
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.data import Dataset
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule

MAX_POINTS = 4000
"""Most pairs of outputs that are kept for drawing."""

ERROR_BINS = 61


class _LayerTally:
    """Running figures of one layer over batches."""

    def __init__(self) -> None:
        self.low: AnyArray | None = None
        self.high: AnyArray | None = None
        self.per_sample = 0
        self.signal = 0.0
        self.noise = 0.0
        self.compared = False

    def note_accumulator(self, accumulator: AnyArray, channel_axis: int) -> None:
        kept = channel_axis % accumulator.ndim if accumulator.ndim > 1 else -1
        axes = tuple(i for i in range(accumulator.ndim) if i != kept)
        low, high = accumulator.min(axis=axes), accumulator.max(axis=axes)
        if self.low is not None and self.low.shape != low.shape:  # no fixed number of channels
            low, high = low.min(), high.max()
            self.low, self.high = self.low.min(), self.high.max()  # type: ignore[union-attr]
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        self.per_sample = accumulator.size // max(1, len(accumulator))

    def note_output(self, reference: AnyArray, values: AnyArray) -> None:
        exact = reference.astype(np.float64)
        self.signal += float(np.sum(np.square(exact)))
        self.noise += float(np.sum(np.square(exact - values)))
        self.compared = True

    def sqnr_db(self) -> float | None:
        if not self.compared:
            return None
        if self.noise == 0.0:
            return float("inf")
        return 10.0 * float(np.log10(self.signal / self.noise)) if self.signal else -float("inf")


def evaluate(
    graph: Graph, data: Dataset, config: QuantizationConfig, *, reference: FloatReference
) -> Evaluation:
    """Quantize on the calibration data and compare with the float model on the evaluation data.

    Parameters
    ----------
    graph : Graph
        The model.
    data : Dataset
        Calibration and evaluation inputs, labels.
    config : QuantizationConfig
        What is chosen.
    reference : FloatReference
        The float model on ``data.evaluation``; shared between configurations.

    Returns
    -------
    Evaluation
    """
    module = quantize(graph, data.calibration, config)
    tallies = {layer.name: _LayerTally() for layer in module.layers}
    produced: list[AnyArray] = []
    expected: list[AnyArray] = []
    current: dict[str, AnyArray] = {}

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        tally = tallies[layer.name]
        if run.accumulator is not None:
            tally.note_accumulator(run.accumulator, _channel_axis(layer))
        output, exact = run.results[0], current.get(layer.node.outputs[0])
        if isinstance(output, Tensor) and exact is not None and exact.shape == output.shape:
            tally.note_output(exact, output.values)

    output_step = 1.0
    for inputs, batch in reference.batches():
        current = batch
        _check_rows(batch[graph.output_names[0]], len(inputs[0]), graph)
        first = module.run(*inputs, observe=note)[0]
        if isinstance(first, Tensor):
            output_step = first.quantizer.quant_params.mean_scale
            first = first.rounded().values
        produced.append(first)
        expected.append(batch[graph.output_names[0]])
    _tally_calibration(module, tallies)
    name = graph.output_names[0]
    y = _comparable(np.concatenate(produced), name)
    y_float = _comparable(np.concatenate(expected), name)
    weight_bits, float_bits = _weight_bits(module)
    classes = y_float.ndim == 2 and y_float.shape[1] > 1
    edges, counts = _error_histogram(y_float, y)
    return Evaluation(
        config=config,
        layers=tuple(_summary(layer, tallies[layer.name]) for layer in module.layers),
        sqnr_db=metrics.sqnr_db(y_float, y),
        mse=metrics.mse(y_float, y),
        max_error=metrics.max_abs_error(y_float, y),
        cosine=metrics.cosine_similarity(y_float, y),
        agreement=metrics.top1_agreement(y_float, y) if classes else None,
        score=_score(y_float, y, data.labels),
        weight_bytes=-(-weight_bits // 8),
        float_weight_bytes=float_bits // 8,
        output_step=output_step,
        scatter=_thinned(y_float, y),
        error_edges=edges,
        error_counts=counts,
        error_std=float(np.std(y - y_float.astype(np.float64))),
        flips=_flips(y_float, y, data.labels) if classes else (),
    )


def _channel_axis(layer: QuantizedLayer) -> int:
    """Return the axis of output channels: the last of a matrix product, else the second."""
    return layer.op.output_channel_axis if isinstance(layer.op, MixingOp) else 1


def _comparable(output: AnyArray, name: str) -> AnyArray:
    """Return outputs as numbers that can be subtracted, or raise TensorError."""
    if output.dtype.kind not in "fiub":
        raise TensorError(f"output {name!r} holds {output.dtype}; only numbers can be compared.")
    check_finite(output, what=f"output {name!r} on the evaluation data")
    return output.astype(np.int64) if output.dtype.kind in "ub" else output


def _check_rows(output: AnyArray, samples: int, graph: Graph) -> None:
    """Raise TensorError when the first output has no row per sample."""
    if output.ndim == 0 or len(output) != samples:
        raise TensorError(
            f"output {graph.output_names[0]!r} has shape {output.shape} for {samples} samples; "
            "only models with one row of output per sample can be evaluated."
        )


def _tally_calibration(module: QuantizedModule, tallies: dict[str, _LayerTally]) -> None:
    """Let the calibration data widen the accumulators' ranges: what was seen on all data."""

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        if run.accumulator is not None:
            tallies[layer.name].note_accumulator(run.accumulator, _channel_axis(layer))

    module.run(*module.calibration, observe=note)


def _summary(layer: QuantizedLayer, tally: _LayerTally) -> LayerSummary:
    weights = {
        layer.node.inputs[i]: constant
        for i, constant in layer.constants.items()
        if i < 2 and isinstance(constant, Tensor)
    }
    weight_name, weight = next(iter(weights.items()), ("", None))
    variables = [n for i, n in enumerate(layer.node.inputs) if n and i not in layer.constants]
    accumulator = width = channel = None
    if tally.low is not None and tally.high is not None:
        low, high = np.atleast_1d(tally.low), np.atleast_1d(tally.high)
        accumulator = (int(low.min()), int(high.max()))
        width = bit_width(*accumulator)
        if low.size > 1:
            channel = int(np.argmax(np.maximum(high, -low - 1)))
    return LayerSummary(
        name=layer.name,
        op_type=layer.node.op_type,
        treatment=str(layer.treatment),
        input_name=variables[0] if variables else "",
        weight_name=weight_name,
        output_name=layer.node.outputs[0],
        fan_in=layer.op.fan_in(weight.shape)
        if isinstance(layer.op, WeightedOp) and weight
        else None,
        input_grid=layer.operand_grid if isinstance(layer.op, MixingOp) else None,
        weight_grid=weight.quantizer if weight else None,
        accumulator=accumulator,
        width_bits=width,
        widest_channel=channel,
        n_accumulators=tally.per_sample,
        lsbs_to_remove=layer.lsbs_to_remove,
        sqnr_db=tally.sqnr_db(),
    )


def _weight_bits(module: QuantizedModule) -> tuple[int, int]:
    """Return the bits of all constants that integer operators read, quantized and in float32.

    Biases keep their float32 values, as in the reference.
    """
    quantized = exact = 0
    counted: set[str] = set()
    for layer in module.layers:
        is_product = isinstance(layer.op, WeightedOp)
        for i, constant in layer.constants.items():
            name = layer.node.inputs[i]
            if isinstance(constant, Tensor) and name not in counted:
                counted.add(name)
                size = int(np.prod(constant.shape, dtype=np.int64))
                quantized += size * (32 if is_product and i == 2 else constant.n_bits)
                exact += size * 32
    return quantized, exact


def _score(y_float: AnyArray, y: AnyArray, labels: AnyArray | None) -> Score | None:
    """Return accuracy for class numbers, R² for targets, None without fitting labels."""
    if labels is None:
        return None
    if labels.size == len(labels) and y.shape != labels.shape:
        labels = labels.reshape(-1)
        if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)) and y.ndim == 2:
            labels = labels.astype(np.int64) if y.shape[1] > 1 else labels
    if y.dtype.kind in "iu" and labels.dtype.kind in "iu" and labels.shape == y.shape:
        return Score("accuracy", float(np.mean(y_float == labels)), float(np.mean(y == labels)))
    if y.ndim == 2 and y.shape[1] > 1 and labels.ndim == 1 and labels.dtype.kind in "iu":
        return Score("accuracy", metrics.accuracy(y_float, labels), metrics.accuracy(y, labels))
    if labels.size == y.size and np.ptp(labels) > 0:
        return Score("R²", metrics.r2(y_float, labels), metrics.r2(y, labels))
    return None


def _thinned(y_float: AnyArray, y: AnyArray) -> tuple[FloatArray, FloatArray]:
    """Return at most MAX_POINTS evenly spaced pairs."""
    a, b = y_float.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    keep = np.linspace(0, a.size - 1, min(a.size, MAX_POINTS)).astype(np.int64)
    return a[keep], b[keep]


def _error_histogram(y_float: AnyArray, y: AnyArray) -> tuple[FloatArray, AnyArray]:
    """Return edges and counts of the output error, symmetric around 0."""
    error = (y - y_float.astype(np.float64)).ravel()
    reach = float(np.max(np.abs(error))) or 1.0
    counts, edges = np.histogram(error, bins=ERROR_BINS, range=(-reach, reach))
    return edges, counts


def _flips(y_float: AnyArray, y: AnyArray, labels: AnyArray | None) -> tuple[Flip, ...]:
    """Return the samples whose class changes, the surest float decisions first."""
    before, after = y_float.argmax(1), y.argmax(1)
    changed = np.flatnonzero(before != after)
    known = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
    flips = [
        Flip(
            sample=int(i),
            float_class=int(before[i]),
            quantized_class=int(after[i]),
            label=int(labels[i]) if known and labels is not None else None,
            float_margin=_margin(y_float[i]),
            quantized_margin=_margin(y[i]),
        )
        for i in changed
    ]
    return tuple(sorted(flips, key=lambda flip: -flip.float_margin))


def _margin(scores: AnyArray) -> float:
    """Return the distance between the two largest scores."""
    second, first = np.partition(scores, -2)[-2:]
    return float(first - second)
