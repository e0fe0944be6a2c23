"""A quantized module in which every source of error can be switched on or left out."""

from __future__ import annotations

from collections import ChainMap
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.execution.calls import calls, n_samples, values_per_sample
from quantlib.execution.layer import real_values
from quantlib.ops.base import MixingOp, MovingOp, WeightedOp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from quantlib.analysis.float_model import FloatModel
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule

    Results: TypeAlias = tuple[Value | None, ...]
    Execute: TypeAlias = Callable[[QuantizedLayer, Mapping[str, Value]], Results]

STATE_BYTES = 384 * 2**20
"""About what the tensors of one batch may take, in float and in integers together."""

MAX_BATCH = 1024

_COPIES = 4
"""Forms of each tensor that are kept at once: real values and codes, exact and quantized."""


LAST_BITS = 1e-6
"""Two ways to compute a tensor agree within this share of its largest value: float32 pads."""


class Precision(IntEnum):
    """How much of a grid is applied to real values."""

    EXACT = 0
    CLIPPED = 1
    """Saturated at the ends of the grid, not rounded."""

    QUANTIZED = 2


def is_integer(layer: QuantizedLayer) -> bool:
    """Tell whether a layer reads its operands from grids: where a run may lose something."""
    return isinstance(layer.op, MixingOp | MovingOp)


def weight_positions(layer: QuantizedLayer) -> tuple[int, ...]:
    """Return the positions of constants that a layer reads from a grid; biases are real."""
    is_product = isinstance(layer.op, WeightedOp)
    return tuple(
        i
        for i, constant in layer.constants.items()
        if isinstance(constant, Tensor) and not (is_product and i == 2)
    )


def at_precision(tensor: Tensor, exact: FloatArray, precision: Precision) -> FloatArray:
    """Return real values as they are, clipped to a tensor's grid, or those of its codes.

    Clipped is what lies more than half a step beyond the grid: what is nearer, rounding moves, as
    it does inside. A rounded zero point leaves that much of a measured range outside.

    Parameters
    ----------
    tensor : Tensor
        `exact` on the grid that reads it.
    exact : float array
        The values before; any shape.
    precision : Precision
        How much of the grid is applied.

    Returns
    -------
    float64 array, shape of `exact`
    """
    if precision is Precision.QUANTIZED:
        return tensor.quantizer.dequant(tensor.codes)
    real = exact.astype(np.float64, copy=False)
    if precision is Precision.EXACT or tensor.quantizer.no_clipping:
        return real
    low, high = _ends(tensor.quantizer)
    half = np.abs(tensor.quantizer.scale) * (0.5 + _LAST_BITS)
    near = (real >= low - half) & (real <= high + half)
    return np.where(near, real, np.clip(real, low, high))


_LAST_BITS = 2.0**-20
"""Part of a step by which ends of a range may lie beyond half a step for the arithmetic alone."""


def _ends(grid: UniformQuantizer) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and highest real value of a grid; a negative scale turns them round."""
    ends = [grid.dequant(np.asarray(code)) for code in (grid.qmin, grid.qmax)]
    return np.minimum(*ends), np.maximum(*ends)


def _weight_at(weight: Tensor, precision: Precision) -> FloatArray:
    """Return a constant at a precision, computed once."""
    return weight.derived(
        f"values {precision}", lambda: at_precision(weight, weight.values, precision)
    )


def samples_per_state(graph: Graph, n_samples: int) -> int:
    """Return for how many samples all tensors of a model are kept at once."""
    per_sample = values_per_sample(graph)
    return max(1, min(n_samples, MAX_BATCH, STATE_BYTES // max(1, 8 * _COPIES * per_sample)))


class PartialRun:
    """One batch of samples on a module whose layers can be exact, partly or wholly quantized.

    Every grid is the module's own, whatever runs: an exact tensor keeps the grid it would be
    rounded to.

    Parameters
    ----------
    module : QuantizedModule
        What is taken apart.
    inputs : sequence of arrays
        Real model inputs, checked; samples along axis 0.
    keep_runs : bool
        Whether the integer run's tensors are kept; only the grids are needed else.

    Attributes
    ----------
    exact : dict of str to tensor or array
        Every tensor in float64 arithmetic, nothing rounded.
    real : dict of str to tensor or array
        Every tensor of the integer run; empty unless kept. Inputs that their readers round are
        there as they came.
    output : float array
        The graph's lead output of the integer run, as ``QuantizedModule.forward`` returns it.

    Notes
    -----
    An integer operator on its grids equals the same operator in float64 on dequantized operands
    but for the last bits, and for what the operator itself rounds (low bits of an accumulator,
    the common scale of a sum). That makes states between exact and quantized computable.
    """

    def __init__(
        self, module: QuantizedModule, inputs: Sequence[AnyArray], *, keep_runs: bool = True
    ) -> None:
        self.module = module
        self.layers = module.layers
        self.output_name = module.graph.lead_output
        self.real: dict[str, Value] = {}
        self._grids: dict[str, UniformQuantizer] = {}
        outputs = module.run(*inputs, observe=lambda layer, run: self._note(layer, run, keep_runs))
        lead = outputs[module.graph.output_names.index(self.output_name)]
        self.output = forward_values(lead)
        self._rounds_output = isinstance(lead, Tensor) and not np.array_equal(
            lead.values, self.output
        )
        constants = module.graph.constants
        self.exact: dict[str, Value] = {
            name: constants[name] for name in module.graph.output_names if name in constants
        }
        for info, array, grid in zip(module.graph.inputs, inputs, module.inputs, strict=True):
            # in its own precision, in which the module divides by the scale
            self.exact[info.name] = array if grid is None else Tensor(grid, values=array)
        if keep_runs:
            self.real |= self.exact
            for name, _ in self.entries():
                entered = self.exact[name]
                assert isinstance(entered, Tensor)
                self.real[name] = entered.rounded()
        for layer in self.layers:
            self._store(self.exact, layer, self.exact_results(layer, self.exact))
        self.exact_output = self.output_of(self.exact)

    def _note(self, layer: QuantizedLayer, run: LayerRun, keep: bool) -> None:
        for name, value in zip(layer.node.outputs, run.results, strict=True):
            if isinstance(value, Tensor):
                self._grids[name] = value.quantizer
            if keep and value is not None:
                self.real[name] = value

    @staticmethod
    def _store(values: dict[str, Value], layer: QuantizedLayer, results: Results) -> None:
        produced = zip(layer.node.outputs, results, strict=True)
        values.update((name, value) for name, value in produced if name and value is not None)

    def exact_results(self, layer: QuantizedLayer, values: Mapping[str, Value]) -> Results:
        """Compute a layer in float on the tensors by name, with constants as they are."""
        arguments = layer.arguments(values)
        doubled = (
            a.values.astype(np.float64, copy=False)
            if isinstance(a, Tensor) and i not in layer.constants
            else b
            for i, (a, b) in enumerate(zip(arguments, real_values(arguments), strict=True))
        )
        return self._wrapped(layer, layer.op.float_results(*doubled), arguments)

    def real_results(self, layer: QuantizedLayer, values: Mapping[str, Value]) -> Results:
        """Run a layer as the module does."""
        return layer.run(values).results

    def operands_at(
        self,
        layer: QuantizedLayer,
        values: Mapping[str, Value],
        *,
        weights: Precision,
        activations: Precision,
    ) -> tuple[AnyArray | None, ...]:
        """Return an integer layer's operands as real values of chosen precision."""
        arguments = layer.arguments(values)
        quantized = weight_positions(layer)
        reals = list(real_values(arguments))
        for i, (argument, operand) in enumerate(
            zip(arguments, layer.on_grid(arguments), strict=True)
        ):
            if not (isinstance(argument, Tensor) and isinstance(operand, Tensor)):
                continue
            if i in quantized:
                reals[i] = _weight_at(operand, weights)
            elif i not in layer.constants:
                reals[i] = at_precision(operand, argument.values, activations)
        return tuple(reals)

    def results_of(
        self,
        layer: QuantizedLayer,
        values: Mapping[str, Value],
        operands: tuple[AnyArray | None, ...],
    ) -> dict[str, Value]:
        """Compute an integer layer in float64 on real operands; return its tensors by name."""
        results = layer.op.float_results(*operands)
        return self.named(layer, self._wrapped(layer, results, layer.arguments(values)))

    def real_of(self, layer: QuantizedLayer, values: Mapping[str, Value]) -> dict[str, Value]:
        """Run a layer as the module does; return its tensors by name."""
        return self.named(layer, layer.run(values).results)

    def _wrapped(
        self,
        layer: QuantizedLayer,
        results: tuple[AnyArray | None, ...],
        arguments: tuple[Value | None, ...],
    ) -> Results:
        """Give results the grids that the module's own have; their values stay."""
        if not is_integer(layer):
            return layer.wrap(results, arguments)
        return tuple(
            Tensor(self._grids[name], values=value)
            if value is not None and name in self._grids
            else value
            for name, value in zip(layer.node.outputs, results, strict=True)
        )

    def propagated(
        self,
        values: Mapping[str, Value],
        changed: Mapping[str, Value],
        after: int,
        execute: Execute,
    ) -> dict[str, Value]:
        """Compute what follows from other tensors; return them and all that depends on them.

        Parameters
        ----------
        values : mapping of str to tensor or array
            Every tensor as it was.
        changed : mapping of str to tensor or array
            What is different.
        after : int
            Layers up to this index stay as they are; -1 for none.
        execute : callable
            `exact_results` or `real_results`.
        """
        different = dict(changed)
        seen = ChainMap(different, dict(values))
        for layer in self.layers[after + 1 :]:
            if any(name in different for name in layer.node.inputs):
                self._store(different, layer, execute(layer, seen))
        return different

    def leaving(self, *values: Mapping[str, Value]) -> FloatArray:
        """Return the lead output as it leaves an integer run: rounded if the module's is."""
        found = next(v[self.output_name] for v in values if self.output_name in v)
        return forward_values(found) if self.rounds_output else self.output_of(*values)

    def output_of(self, *values: Mapping[str, Value]) -> FloatArray:
        """Return the lead output's real values, unrounded; the first mapping that has it."""
        found = next(v[self.output_name] for v in values if self.output_name in v)
        array = found.values if isinstance(found, Tensor) else found
        return np.asarray(array, dtype=np.float64)

    def named(self, layer: QuantizedLayer, results: Results) -> dict[str, Value]:
        """Return a layer's results by tensor name."""
        found: dict[str, Value] = {}
        self._store(found, layer, results)
        return found

    def entries(self) -> Iterator[tuple[str, UniformQuantizer]]:
        """Yield the model inputs whose own grid loses something before any layer reads them.

        An input that only integer layers read, on the grid it enters on, is rounded by them.
        """
        for info, grid in zip(self.module.graph.inputs, self.module.inputs, strict=True):
            if grid is None:
                continue
            readers = [layer for layer in self.layers if info.name in layer.node.inputs]
            same = all(is_integer(r) and _reads_on(r, info.name, grid) for r in readers)
            if not (same and readers) or info.name == self.output_name:
                yield info.name, grid

    @property
    def rounds_output(self) -> bool:
        """Whether the lead output is rounded to a grid as it leaves, after its layer."""
        return self._rounds_output


def partial_runs(
    module: QuantizedModule, float_model: FloatModel, *, keep_runs: bool
) -> Iterator[PartialRun]:
    """Yield the module on consecutive samples of `float_model`."""
    graph = module.graph
    room = samples_per_state(graph, n_samples(graph, float_model.inputs))
    for inputs in calls(graph, float_model.inputs, room):
        yield PartialRun(module, inputs, keep_runs=keep_runs)


def _reads_on(layer: QuantizedLayer, name: str, grid: UniformQuantizer) -> bool:
    """Tell whether a layer reads a tensor on the grid that it has."""
    probe = Tensor(grid, values=np.zeros((1,)))
    places = [i for i, read in enumerate(layer.node.inputs) if read == name]
    return all(
        probe.requantized(layer.input_options, layer.input_ranges.get(i)).quantizer.quant_params
        == grid.quant_params
        for i in places
    )


def forward_values(output: Value) -> FloatArray:
    """Return an output as ``QuantizedModule.forward`` does: on its grid."""
    array = output.rounded().values if isinstance(output, Tensor) else output
    return np.asarray(array, dtype=np.float64)


def same_values(before: Mapping[str, Value], now: Mapping[str, Value]) -> bool:
    """Tell whether tensors have the values they had before."""
    return all(
        _array(value) is _array(before[name]) or np.array_equal(_array(value), _array(before[name]))
        for name, value in now.items()
    )


def nearly(before: Mapping[str, Value], now: Mapping[str, Value]) -> bool:
    """Tell whether tensors differ in the last bits at most."""
    for name, value in now.items():
        a, b = _array(before[name]), _array(value)
        if a.shape != b.shape:
            return False
        if np.abs(a - b).max(initial=0.0) > LAST_BITS * np.abs(b).max(initial=0.0):
            return False
    return True


def _array(value: Value) -> AnyArray:
    return value.values if isinstance(value, Tensor) else value
