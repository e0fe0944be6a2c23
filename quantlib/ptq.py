"""Post-training quantization: graph, calibration data and configuration to a QuantizedModule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.core.config import QuantizationConfig
from quantlib.errors import OptionsError
from quantlib.execution.calibrate import Calibration, MixedSamplesError
from quantlib.execution.calls import calls, n_samples
from quantlib.execution.inputs import check_inputs
from quantlib.execution.measured import FloatRanges, float_ranges
from quantlib.execution.pieces import PIECE_BYTES, Shelf, samples_per_piece
from quantlib.graph.loader import load_model
from quantlib.graph.model import Graph
from quantlib.quantized_module import QuantizedModule

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

    from quantlib.arrays import AnyArray
    from quantlib.core.stats import MinMaxQuantizationStats
    from quantlib.execution.memo import Memo


class PostTrainingAffineQuantization:
    """Quantizes a model from calibration data, with Concrete ML's arguments and meaning.

    Parameters
    ----------
    n_bits : int or mapping
        One width, or ``{"op_inputs", "op_weights"}`` with optional ``"model_inputs"`` and
        ``"model_outputs"``.
    model : Graph, path, bytes or onnx.ModelProto
        The model.
    rounding_threshold_bits : int, optional
        Accumulators wider than this lose their lowest bits.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> quantizer = ql.PostTrainingAffineQuantization(6, graph)
    >>> quantizer.quantize_module(*data.calibration).forward(data.evaluation[0][:1]).shape
    (1, 3)
    """

    def __init__(
        self,
        n_bits: int | Mapping[str, int],
        model: Graph | str | Path | bytes | onnx.ModelProto,
        rounding_threshold_bits: int | None = None,
    ) -> None:
        self.config = QuantizationConfig.from_n_bits(
            n_bits, rounding_threshold_bits=rounding_threshold_bits
        )
        self.model = model if isinstance(model, Graph) else load_model(model)

    def quantize_module(
        self,
        *calibration: AnyArray,
        statistics: Mapping[str, MinMaxQuantizationStats] | None = None,
    ) -> QuantizedModule:
        """Calibrate and quantize; see `quantize`."""
        return quantize(self.model, calibration, self.config, statistics=statistics)


def quantize(
    model: Graph,
    calibration: AnyArray | tuple[AnyArray, ...],
    config: QuantizationConfig,
    *,
    statistics: Mapping[str, MinMaxQuantizationStats] | None = None,
    memo: Memo | None = None,
    measured: FloatRanges | None = None,
    piece_bytes: int = PIECE_BYTES,
) -> QuantizedModule:
    """Quantize a model.

    Parameters
    ----------
    model : Graph
        From `load_model`.
    calibration : array or tuple of arrays
        Real model inputs; samples along the axis that ``model.batch`` tells, axis 0 for most.
    config : QuantizationConfig
        What is chosen.
    statistics : mapping of str to MinMaxQuantizationStats, optional
        Output ranges measured elsewhere, by tensor name; they replace measured ones.
    memo : Memo, optional
        Remembers calibrated layers between calls: what does not depend on a change is then not
        computed again.
    measured : FloatRanges, optional
        What the float model's tensors hold on these data, from an earlier `float_ranges`; with
        ``calibrate_on="float"`` the data are then not run again.
    piece_bytes : int
        Data run through an operator in pieces of about this size; pieces that wait lie in
        memory up to a limit and on disk beyond it, so that memory does not grow with the data.
        A model that mixes samples takes them all at once, one that is fixed to a number of
        samples as many in each piece.

    Returns
    -------
    QuantizedModule

    Raises
    ------
    TensorError
        The data do not fit the model.
    OptionsError
        The configuration cannot be applied to a layer; the message names it.
    UnsupportedOpError
        A node cannot be executed.

    Notes
    -----
    Nodes are visited in topological order and each is calibrated on what the quantized nodes
    before it produced, as Concrete ML 1.9 does: its float result on that data gives its output
    range, then its quantized form runs and its codes' values go to the next node. A graph of
    Gemm and MatMul alone is calibrated on float results.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> module = ql.quantize(graph, data.calibration, ql.QuantizationConfig.from_n_bits(6))
    >>> [layer.name for layer in module.layers]
    ['/f/Gemm']
    """
    arrays = calibration if isinstance(calibration, tuple) else (calibration,)
    data = check_inputs(model, arrays, what="calibration data")
    _check_overrides(model, config)
    ranges = FloatRanges()
    if config.calibrate_on == "float":
        ranges = measured or float_ranges(model, data, estimates=config.uses_estimators)
    if statistics:
        _check_names(model, statistics)
        ranges = FloatRanges({**ranges.ranges, **statistics}, ranges.statistics, ranges.shapes)
    total = n_samples(model, data)
    step = samples_per_piece(model, total, budget=piece_bytes)
    walk = Calibration(model, config, Shelf(), ranges, memo)
    if walk.without_data:
        layers, inputs = walk.walk(next(calls(model, data)), total)
        return QuantizedModule(model, config, layers, inputs, data)
    try:
        with Shelf() as shelf:
            layers, inputs = Calibration(model, config, shelf, ranges, memo).walk(data, step)
    except MixedSamplesError:  # all samples at once, whatever memory that takes
        with Shelf() as shelf:
            walk = Calibration(model, config, shelf, ranges, memo)
            layers, inputs = walk.walk(data, total)
    return QuantizedModule(model, config, layers, inputs, data)


def _check_names(model: Graph, statistics: Mapping[str, MinMaxQuantizationStats]) -> None:
    """Raise OptionsError when statistics name a tensor that the model does not have."""
    names = {info.name for info in model.inputs}
    names.update(name for node in model.nodes for name in node.outputs)
    unknown = [name for name in statistics if name not in names]
    if unknown:
        raise OptionsError(
            f"statistics name the tensor {unknown[0]!r}, which this model does not have; give "
            "names of inputs or of nodes' outputs."
        )


def _check_overrides(model: Graph, config: QuantizationConfig) -> None:
    """Raise OptionsError when an override names a layer that the model does not have."""
    names = {node.name for node in model.nodes}
    unknown = [layer for layer, _ in config.overrides if layer not in names]
    if unknown:
        known = ", ".join(sorted(names)[:12])
        raise OptionsError(
            f"an override names the layer {unknown[0]!r}, which this model does not have; its "
            f"layers are {known}{' and more' if len(names) > 12 else ''}; correct the name or drop "
            "the override."
        )
