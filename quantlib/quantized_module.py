"""A model in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from quantlib.core.array import QuantizedArray
from quantlib.core.tensor import Tensor
from quantlib.errors import TensorError
from quantlib.execution.inputs import check_inputs
from quantlib.execution.intermediates import reported
from quantlib.ops.base import MixingOp
from quantlib.ops.kernels import round_low_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal, TypeAlias

    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.execution.layer import LayerRun, QuantizedLayer, Value
    from quantlib.graph.model import Graph

    Observer: TypeAlias = Callable[[QuantizedLayer, LayerRun], None]
    Execute: TypeAlias = Callable[[QuantizedLayer, Mapping[str, Value]], tuple[Value | None, ...]]
    Trace: TypeAlias = dict[str, dict[int | str, Any]]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedModule:
    """A calibrated model that runs on integers.

    Parameters
    ----------
    graph : Graph
        The model.
    config : QuantizationConfig
        What was chosen.
    layers : tuple of QuantizedLayer
        In topological order.
    inputs : tuple of UniformQuantizer or None
        Grid of each model input; None for inputs of integer type.
    calibration : tuple of arrays
        The data the module was calibrated on.
    """

    graph: Graph
    config: QuantizationConfig
    layers: tuple[QuantizedLayer, ...]
    inputs: tuple[UniformQuantizer | None, ...]
    calibration: tuple[AnyArray, ...]

    @property
    def input_quantizers(self) -> tuple[UniformQuantizer | None, ...]:
        """Grid of each model input, the reference's name."""
        return self.inputs

    @property
    def output_quantizers(self) -> tuple[UniformQuantizer | None, ...]:
        """Grid of each model output: for Gemm, MatMul and Conv that of the accumulator."""
        sample = [array[:1] for array in self.calibration]
        outputs = self._run(self._enter(sample))
        return tuple(o.quantizer if isinstance(o, Tensor) else None for o in outputs)

    def __call__(self, *x: AnyArray) -> FloatArray | tuple[FloatArray, ...]:
        """Return the dequantized outputs of real inputs."""
        return self.forward(*x)

    def quantize_input(self, *x: AnyArray) -> IntArray | tuple[IntArray, ...]:
        """Quantize real model inputs.

        Parameters
        ----------
        *x : arrays
            One per model input, samples along axis 0.

        Returns
        -------
        int64 array, or a tuple of them
            Codes, shapes of the inputs.
        """
        arrays = check_inputs(self.graph, x, what="input")
        return _one_or_all(
            tuple(
                array if quantizer is None else quantizer.quant(array)
                for array, quantizer in zip(arrays, self.inputs, strict=True)
            )
        )

    def quantized_forward(self, *q_x: AnyArray) -> IntArray | tuple[IntArray, ...]:
        """Run integers through the model.

        Parameters
        ----------
        *q_x : integer arrays
            Codes of the inputs, as `quantize_input` returns them.

        Returns
        -------
        int64 array, or a tuple of them
            Codes of the outputs; accumulators where the last operator is Gemm, MatMul or Conv.
        """
        outputs = self._run(self._enter_codes(q_x))
        return _one_or_all(tuple(_codes_of(output) for output in outputs))

    def dequantize_output(self, *q_y: AnyArray) -> FloatArray | tuple[FloatArray, ...]:
        """Return the real values (float64) of output codes."""
        quantizers = self.output_quantizers
        if len(q_y) != len(quantizers):
            raise TensorError(f"got {len(q_y)} outputs; the model has {len(quantizers)}.")
        return _one_or_all(
            tuple(
                np.asarray(codes) if quantizer is None else quantizer.dequant(codes)
                for codes, quantizer in zip(q_y, quantizers, strict=True)
            )
        )

    @overload
    def forward(
        self, *x: AnyArray, debug: Literal[False] = False
    ) -> FloatArray | tuple[FloatArray, ...]: ...

    @overload
    def forward(
        self, *x: AnyArray, debug: Literal[True]
    ) -> tuple[FloatArray | tuple[FloatArray, ...], Trace]: ...

    def forward(self, *x: AnyArray, debug: bool = False) -> Any:
        """Quantize, run and dequantize.

        Parameters
        ----------
        *x : arrays
            Real model inputs.
        debug : bool
            Also return a trace: per operator name its inputs by position (a QuantizedArray
            where the operator used integers) and, under ``"output"``, its int64 accumulator.

        Returns
        -------
        float64 array or tuple of them; with `debug`, a pair of that and the trace
        """
        trace: Trace = {}
        outputs = self.run(*x, observe=_tracer(trace) if debug else None)
        result = _one_or_all(
            tuple(o.rounded().values if isinstance(o, Tensor) else o for o in outputs)
        )
        return (result, trace) if debug else result

    def run(
        self, *x: AnyArray, observe: Observer | None = None, execute: Execute | None = None
    ) -> tuple[Value, ...]:
        """Run real inputs.

        Parameters
        ----------
        *x : arrays
            One per model input, samples along axis 0.
        observe : callable, optional
            Sees every layer with its operands and accumulator.
        execute : callable, optional
            Runs a layer instead: gets it and the tensors by name, returns its outputs.

        Returns
        -------
        tuple
            One tensor per output: codes, values and grid; raw arrays for integer outputs.
        """
        values = self._enter(check_inputs(self.graph, x, what="input"))
        return self._run(values, observe, execute)

    def bitwidth_and_range_report(self, *inputs: AnyArray) -> dict[str, dict[str, Any]]:
        """Return range and width of each operator's accumulator.

        Parameters
        ----------
        *inputs : arrays
            Real model inputs to observe; the calibration data when none are given.

        Returns
        -------
        dict
            ``{operator name: {"range": (min, max), "bitwidth": bits}}``, as a circuit that the
            reference compiles on these inputs reports it: all integers of the operator, its
            constants and what rounding makes of the accumulator included, and the width of the
            widest; see `quantlib.execution.intermediates.reported`.
        """
        report: dict[str, dict[str, Any]] = {}

        def note(layer: QuantizedLayer, run: LayerRun) -> None:
            if run.accumulator is not None:
                low, high, width = reported(layer, run)
                report[layer.name] = {"range": (low, high), "bitwidth": width}

        self.run(*(inputs or self.calibration), observe=note)
        return report

    def _enter(self, x: tuple[AnyArray, ...] | list[AnyArray]) -> dict[str, Value]:
        """Put real inputs on their grids."""
        return {
            info.name: array
            if quantizer is None
            else Tensor(quantizer, codes=Tensor(quantizer, values=array).codes)
            for info, array, quantizer in zip(self.graph.inputs, x, self.inputs, strict=True)
        }

    def _enter_codes(self, q_x: tuple[AnyArray, ...]) -> dict[str, Value]:
        """Check and wrap given input codes."""
        if len(q_x) != len(self.inputs):
            raise TensorError(f"got {len(q_x)} arrays; the model has {len(self.inputs)} inputs.")
        for codes in q_x:
            if np.asarray(codes).dtype.kind not in "iu":
                raise TensorError(
                    f"quantized_forward takes integers, got {np.asarray(codes).dtype}; "
                    "quantize_input makes them."
                )
        check_inputs(self.graph, [np.asarray(codes) for codes in q_x], what="codes")
        for codes, quantizer in zip(q_x, self.inputs, strict=True):
            if quantizer is not None and (
                np.min(codes) < quantizer.qmin or np.max(codes) > quantizer.qmax
            ):
                raise TensorError(
                    f"codes reach from {np.min(codes)} to {np.max(codes)}; the input's grid from "
                    f"{quantizer.qmin} to {quantizer.qmax}. quantize_input makes them."
                )
        return {
            info.name: np.asarray(codes)
            if quantizer is None
            else Tensor(quantizer, codes=np.asarray(codes, dtype=np.int64))
            for info, codes, quantizer in zip(self.graph.inputs, q_x, self.inputs, strict=True)
        }

    def _run(
        self,
        values: Mapping[str, Value],
        observe: Observer | None = None,
        execute: Execute | None = None,
    ) -> tuple[Value, ...]:
        """Walk the layers; a tensor is dropped after its last reader."""
        constants = self.graph.constants
        outputs = self.graph.output_names
        alive: dict[str, Value] = {name: constants[name] for name in outputs if name in constants}
        alive.update(values)
        last = {name: i for i, layer in enumerate(self.layers) for name in layer.node.inputs}
        keep = set(self.graph.output_names)
        for i, layer in enumerate(self.layers):
            if execute is None:
                done = layer.run(alive)
                if observe is not None:
                    observe(layer, done)
                results = done.results
            else:
                results = execute(layer, alive)
            produced = zip(layer.node.outputs, results, strict=True)
            alive.update((name, value) for name, value in produced if value is not None)
            for name in layer.node.inputs:
                if last[name] == i and name not in keep:
                    alive.pop(name, None)
        return tuple(alive[name] for name in self.graph.output_names)


def _tracer(trace: Trace) -> Observer:
    """Return an observer that fills `trace` as the reference's debug mode does."""

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        seen: dict[int | str, Any] = {
            i: _as_array(operand) for i, operand in enumerate(run.operands) if operand is not None
        }
        if run.accumulator is not None:
            rounded = isinstance(layer.op, MixingOp) and layer.op.traces_rounded
            lsbs = layer.lsbs_to_remove if rounded else 0
            seen["output"] = round_low_bits(run.accumulator, lsbs).astype(np.int64)
        trace[layer.name] = seen

    return note


def _as_array(value: Value) -> QuantizedArray | AnyArray:
    """Return a tensor as the public QuantizedArray, a raw array as it is."""
    if not isinstance(value, Tensor):
        return value
    quantizer = value.quantizer
    return QuantizedArray(
        quantizer.n_bits,
        value.codes.astype(np.int64),
        value_is_float=False,
        options=quantizer.quant_options,
        stats=quantizer.quant_stats,
        params=quantizer.quant_params,
    )


def _codes_of(value: Value) -> IntArray:
    return value.codes.astype(np.int64) if isinstance(value, Tensor) else value


def _one_or_all(items: tuple[_T, ...]) -> _T | tuple[_T, ...]:
    """Return the only item, or the tuple when there are several."""
    return items[0] if len(items) == 1 else items
