"""One configuration of a model, evaluated: everything a screen needs, in bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.decisions import check_labels, flips_of, score_of
from quantlib.analysis.observation import Watch, batches
from quantlib.analysis.reports import Evaluation, LayerSummary
from quantlib.core import metrics
from quantlib.core.stats import check_finite
from quantlib.core.tensor import Tensor
from quantlib.errors import TensorError
from quantlib.ops.base import MixingOp, WeightedOp

if TYPE_CHECKING:
    from quantlib.analysis.observation import Seen
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule

MAX_POINTS = 4000
"""Most pairs of outputs that are kept for drawing."""

ERROR_BINS = 61


def evaluate(bench: Workbench, config: QuantizationConfig) -> Evaluation:
    """Quantize on the calibration data and compare with the float model on the evaluation data.

    Parameters
    ----------
    bench : Workbench
        Model and data. After a change of one layer only what depends on it is computed.
    config : QuantizationConfig
        What is chosen.

    Returns
    -------
    Evaluation

    Raises
    ------
    QuantlibError
        The configuration cannot be applied to the model, or the data do not fit it.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> ql.evaluate(bench, ql.QuantizationConfig.from_n_bits(4)).widest.name
    '/f/Gemm'
    """
    return bench.remembered(
        ("evaluation", config), lambda: evaluate_module(bench, bench.module(config)), _size_of
    )


def evaluate_module(bench: Workbench, module: QuantizedModule) -> Evaluation:
    """Compare a module of the workbench's model with the float model; see `evaluate`.

    Notes
    -----
    One pass over evaluation and calibration data counts everything that is reported: outputs,
    errors by layer, accumulators and the integers on the way to them.
    """
    graph, data = bench.graph, bench.data
    watch = Watch(module, memo=bench.memo)
    produced: list[AnyArray] = []
    expected: list[AnyArray] = []
    output_step = 1.0
    for inputs, batch in bench.float_model.batches():
        _check_rows(batch[graph.output_names[0]], len(inputs[0]), graph)
        first, *_ = watch.run(inputs, batch)
        if isinstance(first, Tensor):
            output_step = first.quantizer.quant_params.mean_scale
            first = first.rounded().values
        produced.append(first)
        expected.append(batch[graph.output_names[0]])
    for part in batches(data.calibration):  # accumulators count as seen on these data too
        watch.run(part)
    name = graph.output_names[0]
    y = _comparable(np.concatenate(produced), name)
    y_float = _comparable(np.concatenate(expected), name)
    check_labels(y_float, data.labels)
    weight_bits, float_bits = _weight_bits(module)
    ranges = _calibrated_ranges(module)
    classes = y_float.ndim == 2 and y_float.shape[1] > 1
    edges, counts = _error_histogram(y_float, y)
    return Evaluation(
        config=module.config,
        layers=tuple(_summary(layer, watch.seen[layer.name], ranges) for layer in module.layers),
        seen=watch.seen,
        sqnr_db=metrics.sqnr_db(y_float, y),
        mse=metrics.mse(y_float, y),
        max_error=metrics.max_abs_error(y_float, y),
        cosine=metrics.cosine_similarity(y_float, y),
        agreement=metrics.top1_agreement(y_float, y) if classes else None,
        score=score_of(y_float, y, data.labels),
        weight_bytes=-(-weight_bits // 8),
        float_weight_bytes=float_bits // 8,
        output_step=output_step,
        scatter=_thinned(y_float, y),
        error_edges=edges,
        error_counts=counts,
        error_std=float(np.std(y - y_float.astype(np.float64))),
        flips=flips_of(y_float, y, data.labels) if classes else (),
    )


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


def _summary(
    layer: QuantizedLayer, seen: Seen, ranges: dict[str, tuple[float, float]]
) -> LayerSummary:
    weights = {
        layer.node.inputs[i]: constant
        for i, constant in layer.constants.items()
        if i < 2 and isinstance(constant, Tensor)
    }
    weight_name, weight = next(iter(weights.items()), ("", None))
    variables = [name for _, name in layer.variables]
    accumulator = seen.accumulator
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
        input_range=ranges.get(variables[0]) if variables else None,
        input_grid=layer.operand_grid if isinstance(layer.op, MixingOp) else None,
        weight_grid=weight.quantizer if weight else None,
        accumulator=accumulator.range if accumulator else None,
        width_bits=accumulator.width_bits if accumulator else None,
        widest_channel=accumulator.widest_channel
        if accumulator and accumulator.channels > 1
        else None,
        n_accumulators=seen.per_sample,
        lsbs_to_remove=layer.lsbs_to_remove,
        sqnr_db=seen.sqnr_db,
    )


def _calibrated_ranges(module: QuantizedModule) -> dict[str, tuple[float, float]]:
    """Return the ranges that tensors were calibrated with; raw ones and carried grids have none."""
    ranges = {
        info.name: (float(array.min()), float(array.max()))
        for info, array in zip(module.graph.inputs, module.calibration, strict=True)
        if array.dtype.kind == "f"
    }
    for layer in module.layers:
        for name, grid in zip(layer.node.outputs, layer.outputs, strict=True):
            if grid is not None and grid.quant_stats is not None:
                ranges[name] = (float(grid.quant_stats.rmin), float(grid.quant_stats.rmax))
    return ranges


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


def _size_of(found: Evaluation) -> int:
    """Return about how many bytes an evaluation takes."""
    points = sum(array.nbytes for array in (*found.scatter, found.error_edges, found.error_counts))
    return points + 8192 * len(found.layers) + 256 * len(found.flips)
