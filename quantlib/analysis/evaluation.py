"""One configuration of a model, evaluated: everything a screen needs, in bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis import outputs
from quantlib.analysis.observation import Watch
from quantlib.analysis.reports import Evaluation, LayerSummary
from quantlib.core.tensor import Tensor
from quantlib.execution.calls import calls, n_samples
from quantlib.execution.treatments import plan, unseen_nodes
from quantlib.ops.base import MixingOp, WeightedOp

if TYPE_CHECKING:
    from quantlib.analysis.observation import Seen
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.quantized_module import QuantizedModule

MAX_POINTS = 4000
"""Most pairs of outputs that are kept for drawing."""

ERROR_BINS = 61


def evaluate(
    bench: Workbench, config: QuantizationConfig, *, output: str | None = None
) -> Evaluation:
    """Quantize on the calibration data and compare with the float model on the evaluation data.

    Parameters
    ----------
    bench : Workbench
        Model and data. After a change of one layer only what depends on it is computed.
    config : QuantizationConfig
        What is chosen.
    output : str, optional
        The output whose figures lead; the workbench's, else the worst that is measured, when not
        given.

    Returns
    -------
    Evaluation

    Raises
    ------
    QuantlibError
        The configuration cannot be applied to the model, the data or labels do not fit it, it
        has no such output, or no output can be compared.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> ql.evaluate(bench, ql.QuantizationConfig.from_n_bits(4)).widest.name
    '/f/Gemm'
    """
    chosen = output or bench.output
    return bench.remembered(
        ("evaluation", config, chosen),
        lambda: evaluate_module(bench, bench.module(config), output=chosen),
        _size_of,
    )


def evaluate_module(
    bench: Workbench, module: QuantizedModule, *, output: str | None = None
) -> Evaluation:
    """Compare a module of the workbench's model with the float model; see `evaluate`.

    Notes
    -----
    One pass over evaluation and calibration data counts everything that is reported: outputs,
    errors by layer, accumulators and the integers on the way to them.
    """
    graph, data = bench.graph, bench.data
    lead_name = output or bench.output
    outputs.check_name(graph, lead_name)
    watch = Watch(module, memo=bench.memo)
    produced: list[tuple[Value, ...]] = []
    expected: list[dict[str, AnyArray]] = []
    for inputs, batch in bench.float_model.batches():
        produced.append(watch.run(inputs, batch))
        expected.append({name: batch[name] for name in graph.output_names})
    for part in calls(graph, data.calibration):  # accumulators count as seen on these data too
        watch.run(part)
    compared = outputs.compared(
        graph, produced, expected, data.labels, n_samples(graph, data.evaluation)
    )
    lead = outputs.leading(compared, lead_name)
    y_float, y, figures = lead.expected, lead.produced, lead.summary
    weight_bits, float_bits = _weight_bits(module)
    ranges = _calibrated_ranges(module)
    edges, counts = _error_histogram(y_float, y)
    return Evaluation(
        config=module.config,
        layers=tuple(_summary(layer, watch.seen[layer.name], ranges) for layer in module.layers),
        seen=watch.seen,
        output=figures.name,
        outputs=tuple(found.summary for found in compared),
        unseen=unseen_nodes(graph, plan(graph, quantize_rest=module.config.quantize_rest)),
        sqnr_db=outputs.known(figures.sqnr_db),
        mse=outputs.known(figures.mse),
        max_error=outputs.known(figures.max_error),
        cosine=outputs.known(figures.cosine),
        agreement=figures.agreement,
        divergence=figures.divergence,
        n_answers=figures.n_answers,
        score=figures.score,
        weight_bytes=-(-weight_bits // 8),
        float_weight_bytes=float_bits // 8,
        output_step=lead.step,
        scatter=_thinned(y_float, y),
        error_edges=edges,
        error_counts=counts,
        error_std=float(np.std(y - y_float.astype(np.float64))),
        flips=lead.flips,
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
            own = module.graph.grids.get(name)  # a float operator may read it too
            if name in counted or not (isinstance(constant, Tensor) or own):
                continue
            counted.add(name)
            size = int(np.prod(constant.shape, dtype=np.int64))
            n_bits = constant.n_bits if isinstance(constant, Tensor) else own.n_bits if own else 32
            quantized += size * (32 if is_product and i == 2 else n_bits)
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
