"""Post-training quantization: graph, calibration data and configuration to a QuantizedModule."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.config import QuantizationConfig
from quantlib.core.estimator import MIN_MAX
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.ranges import fitted
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError, QuantlibError, TensorError, UnsupportedOpError
from quantlib.execution.inputs import check_inputs
from quantlib.execution.layer import QuantizedLayer, Value, real_values
from quantlib.execution.treatments import NodePlan, plan
from quantlib.execution.weights import quantized_weight
from quantlib.graph.loader import load_model
from quantlib.graph.model import Graph, Node
from quantlib.ops.base import FloatOp, IslandOp, MixingOp, MovingOp, Treatment
from quantlib.ops.conv import Conv
from quantlib.ops.linear import Gemm
from quantlib.ops.movers import Concat
from quantlib.quantized_module import QuantizedModule

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

    from quantlib.arrays import AnyArray
    from quantlib.core.scheme import Scheme

OUTLIER_PERCENTILES = (0.1, 99.9)
"""What BatchNormalization's output range keeps, per cent."""

PRODUCTS: dict[str, type[Gemm | Conv]] = {"Gemm": Gemm, "MatMul": Gemm, "Conv": Conv}
"""Operators whose weights have output channels."""


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
) -> QuantizedModule:
    """Quantize a model.

    Parameters
    ----------
    model : Graph
        From `load_model`.
    calibration : array or tuple of arrays
        Real model inputs; samples along axis 0.
    config : QuantizationConfig
        What is chosen.
    statistics : mapping of str to MinMaxQuantizationStats, optional
        Output ranges measured elsewhere, by tensor name; they replace measured ones.

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
    """
    arrays = calibration if isinstance(calibration, tuple) else (calibration,)
    data = check_inputs(model, arrays, what="calibration data")
    _check_overrides(model, config)
    return _Calibration(model, config, statistics or {}).walk(data)


def _check_overrides(model: Graph, config: QuantizationConfig) -> None:
    """Raise OptionsError when an override names a layer that the model does not have."""
    names = {node.name for node in model.nodes}
    unknown = [layer for layer, _ in config.overrides if layer not in names]
    if unknown:
        known = ", ".join(sorted(names)[:12])
        raise OptionsError(
            f"an override names the layer {unknown[0]!r}, which this model does not have; its "
            f"layers are {known}{' and more' if len(names) > 12 else ''}."
        )


class _Calibration:
    """One walk over a graph; the state is the calibration data of each tensor."""

    def __init__(
        self,
        graph: Graph,
        config: QuantizationConfig,
        statistics: Mapping[str, MinMaxQuantizationStats],
    ) -> None:
        self.graph = graph
        self.config = config
        self.statistics = statistics
        self.plans = plan(graph)
        self.sources = {info.name: frozenset([info.name]) for info in graph.inputs}
        for node, node_plan in zip(graph.nodes, self.plans, strict=True):
            self.sources.update(dict.fromkeys(node.outputs, node_plan.sources))
        self.linear_only = all(issubclass(p.op_class, Gemm) for p in self.plans)
        self.values: dict[str, Value] = {}

    def walk(self, data: tuple[AnyArray, ...]) -> QuantizedModule:
        graph = self.graph
        for info, array in zip(graph.inputs, data, strict=True):
            if array.dtype.kind == "f":
                stats = MinMaxQuantizationStats.from_values(array)
                grid = UniformQuantizer.from_stats(self._model_input_options(), stats)
                self.values[info.name] = Tensor(grid, values=array)
            else:
                self.values[info.name] = array
        layers = []
        for node, node_plan in zip(graph.nodes, self.plans, strict=True):
            try:
                layers.append(self._layer(node, node_plan))
            except OptionsError as error:
                raise OptionsError(f"layer {node.name!r}: {error}") from None
            except TensorError as error:
                named = repr(node.name) in str(error)
                raise TensorError(
                    f"{error}" if named else f"layer {node.name!r}: {error}"
                ) from None
            except QuantlibError:
                raise
            except (ValueError, IndexError, TypeError, MemoryError) as error:
                raise UnsupportedOpError(
                    f"node {node.name!r}: operator {node.op_type!r} cannot be executed on this "
                    f"data ({error}); check the model and the shape of the data.",
                    op_type=node.op_type,
                    node_name=node.name,
                ) from error
        inputs = tuple(self._input_grid(info.name, layers) for info in graph.inputs)
        return QuantizedModule(graph, self.config, tuple(layers), inputs, data)

    def _model_input_options(self) -> QuantizationOptions:
        return QuantizationOptions(self.config.input_bits, is_signed=True)

    def _input_grid(self, name: str, layers: list[QuantizedLayer]) -> UniformQuantizer | None:
        """Return the clear-side grid of a model input.

        The first integer operator's, if only such read it; else its own width, signed.
        """
        value = self.values[name]
        if not isinstance(value, Tensor):
            return None
        readers = [
            layer
            for layer, node_plan in zip(layers, self.plans, strict=True)
            if self._reads(layer.node, name)
        ]
        fused = [
            r for r in readers if isinstance(r.op, FloatOp) and r.treatment is not Treatment.RAW
        ]
        if not readers or fused:
            return value.quantizer
        first = readers[0]
        direct = next((i for i, n in enumerate(first.node.inputs) if n == name), None)
        return value.requantized(
            first.input_options, None if direct is None else first.input_ranges.get(direct)
        ).quantizer

    def _reads(self, node: Node, name: str) -> bool:
        """Tell whether a node's inputs are functions of the model input `name`."""
        return any(name in self.sources.get(i, ()) for i in node.inputs)

    def _layer(self, node: Node, node_plan: NodePlan) -> QuantizedLayer:
        """Calibrate one node and leave the data of its outputs for the next."""
        graph, config = self.graph, self.config
        variables = [self.values[n] for n in node.inputs if n and n not in graph.constants]
        tensors = [v for v in variables if isinstance(v, Tensor)]
        op_class, treatment = node_plan.op_class, node_plan.treatment
        raw_reals = any(isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in variables)
        if issubclass(op_class, MixingOp | MovingOp) and (not tensors or raw_reals):
            op_class, treatment = IslandOp, Treatment.FLOAT if tensors else Treatment.RAW
        signed = any(t.values.min(initial=0) < 0 for t in tensors)
        scheme = config.activations_of(node.name)
        options = scheme.options(auto_signed=signed, auto_symmetric=False)
        if op_class.uses_output_bits:
            options = dataclasses.replace(options, n_bits=config.output_bits)
        layer = QuantizedLayer(
            node=node,
            op=op_class.from_node(node, graph.opsets),
            treatment=treatment,
            constants=self._constants(node, op_class),
            input_options=options,
            outputs=(None,) * len(node.outputs),
            is_graph_output=any(name in graph.output_names for name in node.outputs),
            input_ranges=self._input_ranges(node, op_class, scheme, options),
        )
        reals = real_values(layer.arguments(self.values))
        if isinstance(layer.op, MixingOp):
            op = layer.op.calibrated(*reals, output_bits=config.output_bits)
            layer = dataclasses.replace(layer, op=op)
        results = layer.op.float_results(*reals)
        layer = dataclasses.replace(layer, outputs=self._output_grids(layer, results, tensors))
        layer, outputs = self._quantized(layer, results)
        for name, real, output in zip(node.outputs, results, outputs, strict=True):
            if output is None:
                continue
            if not isinstance(output, Tensor):
                self.values[name] = output
            elif self.linear_only:
                self.values[name] = Tensor(output.quantizer, values=real)
            else:
                # values on the grid; their codes clip to the width the tensor is labelled with
                self.values[name] = Tensor(output.quantizer, values=output.rounded().values)
        return layer

    def _input_ranges(
        self, node: Node, op_class: type, scheme: Scheme, options: QuantizationOptions
    ) -> dict[int, MinMaxQuantizationStats]:
        """Return the ranges of variable inputs that the scheme sees differently."""
        plain = scheme.estimator == MIN_MAX and not (scheme.narrow or scheme.power_of_two)
        if plain or not issubclass(op_class, MixingOp):
            return {}
        ranges = {}
        for i, name in enumerate(node.inputs):
            value = self.values.get(name)
            if isinstance(value, Tensor) and value.quantizer.quant_stats is not None:
                stats = value.quantizer.quant_stats
                ranges[i] = fitted(stats, options, power_of_two=scheme.power_of_two)
        return ranges

    def _quantized(
        self, layer: QuantizedLayer, reals: tuple[AnyArray, ...]
    ) -> tuple[QuantizedLayer, tuple[Value | None, ...]]:
        """Run a layer on the calibration data; rounding learns how many bits to remove.

        What runs in float has run already: `reals` are its results.
        """
        if isinstance(layer.op, FloatOp):
            return layer, layer.wrap(reals, layer.arguments(self.values))
        run = layer.run(self.values)
        grids = tuple(
            operand.quantizer
            for i, operand in enumerate(run.operands)
            if isinstance(operand, Tensor) and i not in layer.constants
        )
        layer = dataclasses.replace(layer, input_grids=grids)
        threshold = self.config.rounding_threshold_bits
        op = layer.op
        if threshold is None or run.accumulator is None or layer.is_graph_output:
            return layer, run.results
        if not (isinstance(op, MixingOp) and op.rounds_accumulator):
            return layer, run.results
        offset = op.rounding_offset(*run.operands)  # type: ignore[arg-type]
        low, high = int(run.accumulator.min()), int(run.accumulator.max())
        width = bit_width(low + offset, high + offset)
        layer = dataclasses.replace(layer, lsbs_to_remove=max(0, width - threshold))
        return layer, (layer.finish(run.accumulator, run.operands),)

    def _output_grids(
        self, layer: QuantizedLayer, results: tuple[AnyArray, ...], tensors: list[Tensor]
    ) -> tuple[UniformQuantizer | None, ...]:
        """Return the grid of each output; raw results have none."""
        if layer.treatment is Treatment.RAW:
            return (None,) * len(results)
        unsigned = QuantizationOptions(self.config.output_bits)
        options = unsigned
        if self.config.is_reference and tensors:
            signed = layer.input_options.is_signed
            options = dataclasses.replace(unsigned, is_signed=signed)
        grids: list[UniformQuantizer | None] = []
        for name, result in zip(layer.node.outputs, results, strict=True):
            if result is None or result.dtype.kind != "f":
                grids.append(None)
                continue
            stats = self.statistics.get(name) or self._measure(layer, result)
            params = UniformQuantizationParameters.from_stats(unsigned, stats)
            grids.append(UniformQuantizer(options, stats, params))
        return tuple(grids)

    def _measure(self, layer: QuantizedLayer, result: AnyArray) -> MinMaxQuantizationStats:
        """Return the range of a layer's float result."""
        try:
            if isinstance(layer.op, FloatOp) and layer.op.clips_outliers:
                low, high = np.percentile(result, OUTLIER_PERCENTILES)
                kind = result.dtype.type
                result = np.clip(result, kind(low), kind(high))
            return MinMaxQuantizationStats.from_values(result)
        except TensorError as error:
            raise TensorError(
                f"layer {layer.name!r} ({layer.node.op_type}) on the calibration data: {error}"
            ) from None

    def _constants(self, node: Node, op_class: type) -> dict[int, Value]:
        """Return a node's constants by position, quantized where the operator uses integers."""
        quantized = issubclass(op_class, MixingOp) or op_class is Concat
        constants: dict[int, Value] = {}
        for i, name in enumerate(node.inputs):
            if name in self.graph.constants:
                value = self.graph.constants[name]
                is_number = value.dtype.kind in "fb"
                constants[i] = self._weight(node, i) if quantized and is_number else value
        return constants

    def _weight(self, node: Node, position: int) -> Tensor:
        """Quantize a constant input of a layer; only products have output channels."""
        name, axis = node.inputs[position], None
        if position == 1 and node.op_type in PRODUCTS:
            op = PRODUCTS[node.op_type].from_node(node, self.graph.opsets)
            axis = op.channel_axis(self.graph.constants[name].shape)
        scheme = self.config.weights_of(node.name)
        return quantized_weight(self.graph, name, scheme, channel_axis=axis)
