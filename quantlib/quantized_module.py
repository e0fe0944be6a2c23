"""A model in integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from quantlib.core.arguments import as_numbers
from quantlib.core.array import QuantizedArray
from quantlib.core.tensor import Tensor
from quantlib.errors import OptionsError, TensorError
from quantlib.execution.calls import calls, joined_values, n_samples, samples_of
from quantlib.execution.inputs import check_inputs
from quantlib.execution.intermediates import reported
from quantlib.execution.pieces import CACHED_BYTES, samples_per_piece
from quantlib.ops.base import MixingOp
from quantlib.ops.kernels import round_low_bits
from quantlib.program.build import build_program
from quantlib.program.view import table_views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal, TypeAlias

    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.graph.model import Graph
    from quantlib.program.program import IntegerProgram
    from quantlib.program.view import TableView

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

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> module = ql.quantize(graph, data.calibration, ql.QuantizationConfig.from_n_bits(6))
    >>> q_y = module.quantized_forward(module.quantize_input(data.evaluation[0][:2]))
    >>> q_y.dtype, module.dequantize_output(q_y).shape
    (dtype('int64'), (2, 3))
    """

    graph: Graph
    config: QuantizationConfig
    layers: tuple[QuantizedLayer, ...]
    inputs: tuple[UniformQuantizer | None, ...]
    calibration: tuple[AnyArray, ...]
    _output_grids: list[UniformQuantizer | None] = field(
        default_factory=list, init=False, repr=False
    )
    _programs: list[IntegerProgram] = field(default_factory=list, init=False, repr=False)

    @property
    def input_quantizers(self) -> tuple[UniformQuantizer | None, ...]:
        """Grid of each model input, the reference's name."""
        return self.inputs

    @property
    def output_quantizers(self) -> tuple[UniformQuantizer | None, ...]:
        """Grid of each model output: for Gemm, MatMul and Conv that of the accumulator.

        Known once one call has run, which is done when it is asked for first.
        """
        if not self._output_grids:
            one = slice(0, self.graph.batch.size or 1)
            outputs = self._run(self._enter(samples_of(self.graph, self.calibration, one)))
            self._output_grids.extend(
                o.quantizer if isinstance(o, Tensor) else None for o in outputs
            )
        return tuple(self._output_grids)

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
        outputs = self._call_by_call(
            self._checked_codes(q_x),
            lambda call: tuple(map(_codes_of, self._run(self._enter_codes(call)))),
            in_pieces=True,
        )
        return _one_or_all(outputs)  # type: ignore[arg-type]

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
        seen: dict[str, list[LayerRun]] = {}

        def note(layer: QuantizedLayer, run: LayerRun) -> None:
            seen.setdefault(layer.name, []).append(run)

        if not debug:
            arrays = check_inputs(self.graph, x, what="input")
            found = self._call_by_call(
                arrays,
                lambda call: tuple(map(_rounded, self._run(self._enter(call)))),
                in_pieces=True,
            )
            return _one_or_all(found)
        outputs = self.run(*x, observe=note)
        result = _one_or_all(tuple(map(_rounded, outputs)))
        return result, {layer.name: _traced(layer, seen[layer.name]) for layer in self.layers}

    def run(self, *x: AnyArray, observe: Observer | None = None) -> tuple[Value, ...]:
        """Run real inputs.

        Parameters
        ----------
        *x : arrays
            One per model input; samples along the axis that ``graph.batch`` tells. A model that
            takes a fixed number of samples runs call by call.
        observe : callable, optional
            Sees every layer with its operands and accumulator, in every call.

        Returns
        -------
        tuple
            One tensor per output: codes, values and grid; raw arrays for integer outputs.
        """
        arrays = check_inputs(self.graph, x, what="input")
        return self._call_by_call(arrays, lambda call: self._run(self._enter(call), observe))

    def run_with(self, execute: Execute, *x: AnyArray) -> tuple[Value, ...]:
        """Run real inputs, each layer by `execute`.

        Parameters
        ----------
        execute : callable
            Gets a layer and the tensors by name, returns the layer's outputs.
        *x : arrays
            One per model input, as for `run`.

        Returns
        -------
        tuple
            As from `run`.
        """
        arrays = check_inputs(self.graph, x, what="input")
        return self._call_by_call(arrays, lambda call: self._walk(self._enter(call), execute))

    def _call_by_call(
        self,
        arrays: tuple[AnyArray, ...],
        run: Callable[[tuple[AnyArray, ...]], tuple[Value, ...]],
        *,
        in_pieces: bool = False,
    ) -> tuple[Value, ...]:
        """Run checked inputs or codes in the calls that the model takes; join their outputs.

        Where nobody looks at what layers do, as few samples go through them at a time as the
        caches hold.
        """
        step = total = n_samples(self.graph, arrays)
        if in_pieces and self.graph.batch.is_free:
            step = samples_per_piece(self.graph, total, budget=CACHED_BYTES)
        every = [run(call) for call in calls(self.graph, arrays, step)]
        return tuple(
            joined_values(self.graph, name, parts)
            for name, parts in zip(self.graph.output_names, zip(*every, strict=True), strict=True)
        )

    def program(self) -> IntegerProgram:
        """Return the module written down as integers, made when it is asked for first.

        Raises
        ------
        OptionsError
            The model cannot be computed sample by sample on codes; the message names the place.
        """
        if self.graph.batch.size is not None:
            raise OptionsError(
                f"{self.graph.batch.words} An integer program takes any number of samples, each by "
                "itself; export the model with a free batch axis."
            )
        if not self._programs:
            samples = self._probe_codes()
            self._programs.append(build_program(self.graph, self.layers, self.inputs, samples))
        return self._programs[0]

    def tables(self, layer: str) -> tuple[TableView, ...]:
        """Return the tables that a layer's integers enter: staircases, steps, cost.

        Raises
        ------
        OptionsError
            As `program`; or no table begins at a layer of this name.
        """
        return table_views(self.program(), layer)

    def _probe_codes(self) -> list[AnyArray]:
        """Return codes of the first two calibration samples."""
        rows = np.arange(2) % n_samples(self.graph, self.calibration)
        first = samples_of(self.graph, self.calibration, rows)
        return [
            array if quantizer is None else quantizer.quant(array)
            for array, quantizer in zip(first, self.inputs, strict=True)
        ]

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
                if layer.name in report:  # an earlier call
                    before = report[layer.name]
                    low, high = min(low, before["range"][0]), max(high, before["range"][1])
                    width = max(width, before["bitwidth"])
                report[layer.name] = {"range": (low, high), "bitwidth": width}

        self.run(*(inputs or self.calibration), observe=note)
        return report

    def _enter(self, x: tuple[AnyArray, ...]) -> dict[str, Value]:
        """Put real inputs on their grids."""
        return {
            info.name: array
            if quantizer is None
            else Tensor(quantizer, codes=Tensor(quantizer, values=array).codes)
            for info, array, quantizer in zip(self.graph.inputs, x, self.inputs, strict=True)
        }

    def _checked_codes(self, q_x: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
        """Return given input codes, or raise TensorError for what are none."""
        if len(q_x) != len(self.inputs):
            raise TensorError(f"got {len(q_x)} arrays; the model has {len(self.inputs)} inputs.")
        arrays = tuple(as_numbers(codes, what="codes") for codes in q_x)
        for codes, quantizer in zip(arrays, self.inputs, strict=True):
            if quantizer is not None and codes.dtype.kind not in "iu":
                raise TensorError(
                    f"quantized_forward takes integers, got {codes.dtype}; "
                    "quantize_input makes them."
                )
        check_inputs(self.graph, arrays, what="codes")
        for codes, quantizer in zip(arrays, self.inputs, strict=True):
            if quantizer is not None and (
                np.min(codes) < quantizer.qmin or np.max(codes) > quantizer.qmax
            ):
                raise TensorError(
                    f"codes reach from {np.min(codes)} to {np.max(codes)}; the input's grid from "
                    f"{quantizer.qmin} to {quantizer.qmax}. quantize_input makes them."
                )
        return arrays

    def _enter_codes(self, q_x: tuple[AnyArray, ...]) -> dict[str, Value]:
        """Wrap checked input codes."""
        return {
            info.name: codes
            if quantizer is None
            else Tensor(quantizer, codes=codes.astype(np.int64, copy=False))
            for info, codes, quantizer in zip(self.graph.inputs, q_x, self.inputs, strict=True)
        }

    def _run(
        self,
        values: Mapping[str, Value],
        observe: Observer | None = None,
    ) -> tuple[Value, ...]:
        """Run the layers on integers."""

        def execute(layer: QuantizedLayer, alive: Mapping[str, Value]) -> tuple[Value | None, ...]:
            done = layer.run(alive)
            if observe is not None:
                observe(layer, done)
            return done.results

        return self._walk(values, execute)

    def _walk(self, values: Mapping[str, Value], execute: Execute) -> tuple[Value, ...]:
        """Visit the layers in order; a tensor is dropped after its last reader."""
        constants = self.graph.constants
        outputs = self.graph.output_names
        alive: dict[str, Value] = {name: constants[name] for name in outputs if name in constants}
        alive.update(values)
        last = {name: i for i, layer in enumerate(self.layers) for name in layer.node.inputs}
        keep = set(self.graph.output_names)
        for i, layer in enumerate(self.layers):
            produced = zip(layer.node.outputs, execute(layer, alive), strict=True)
            alive.update((name, value) for name, value in produced if value is not None)
            for name in layer.node.inputs:
                if last[name] == i and name not in keep:
                    alive.pop(name, None)
        return tuple(alive[name] for name in self.graph.output_names)


def _traced(layer: QuantizedLayer, runs: list[LayerRun]) -> dict[int | str, Any]:
    """Return what the reference's debug mode shows of a layer, its calls one after another."""
    operands = [
        _one_after_another(parts) for parts in zip(*(r.operands for r in runs), strict=True)
    ]
    found: dict[int | str, Any] = {
        i: _as_array(operand) for i, operand in enumerate(operands) if operand is not None
    }
    accumulators = [run.accumulator for run in runs if run.accumulator is not None]
    if accumulators:
        rounded = isinstance(layer.op, MixingOp) and layer.op.traces_rounded
        lsbs = layer.lsbs_to_remove if rounded else 0
        found["output"] = round_low_bits(_rows(accumulators), lsbs).astype(np.int64)
    return found


def _one_after_another(parts: tuple[Value | None, ...]) -> Value | None:
    """Return an operand of consecutive calls; a constant is the same in all."""
    first = parts[0]
    if first is None or all(part is first for part in parts):
        return first
    if isinstance(first, Tensor):
        return Tensor.joined([part for part in parts if isinstance(part, Tensor)], _rows)
    return _rows([part for part in parts if isinstance(part, np.ndarray)])


def _rows(arrays: list[AnyArray]) -> AnyArray:
    """Join arrays along their first axis; numbers become one row each."""
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays[0].ndim else np.stack(arrays)


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


def _rounded(value: Value) -> AnyArray:
    return value.rounded().values if isinstance(value, Tensor) else value


def _codes_of(value: Value) -> IntArray:
    return value.codes.astype(np.int64) if isinstance(value, Tensor) else value


def _one_or_all(items: tuple[_T, ...]) -> _T | tuple[_T, ...]:
    """Return the only item, or the tuple when there are several."""
    return items[0] if len(items) == 1 else items
