"""One pass over data: what each layer of a module held, in a few numbers that merge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.ranges import ChannelRange
from quantlib.arrays import digest_of, exact_integers
from quantlib.core.tensor import Tensor
from quantlib.execution.calls import calls, n_samples
from quantlib.execution.inputs import check_inputs
from quantlib.execution.intermediates import intermediates
from quantlib.execution.memo import Memo, key_of
from quantlib.ops.base import MixingOp, Treatment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.quantized_module import QuantizedModule


@dataclass(frozen=True, slots=True)
class Energy:
    """A sum of squares over a number of values; their mean is a power."""

    total: float = 0.0
    count: int = 0

    @classmethod
    def of(cls, values: AnyArray) -> Energy:
        """Return the energy of an array, in the square of its unit."""
        flat = np.ravel(values).astype(np.float64, copy=False)
        return cls(float(np.vdot(flat, flat)), flat.size)

    def __add__(self, other: Energy) -> Energy:
        """Return the energy of both sets of values."""
        return Energy(self.total + other.total, self.count + other.count)

    @property
    def mean(self) -> float:
        """Mean square; 0.0 of no values."""
        return self.total / max(1, self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one layer held on some data.

    Parameters
    ----------
    accumulator : ChannelRange or None
        Its accumulator, per output channel; None for layers without one.
    parts : mapping of str to ChannelRange
        Intermediate integers; names as in `quantlib.analysis.widths.ranges.Part`.
    per_sample : int
        Accumulators per sample.
    error : Energy or None
        Of the output's difference to the float model's; None where nothing was compared.
    signal : Energy
        Of the float model's output, where it was compared.
    inputs : tuple of Energy
        Of each variable input on its grid; empty unless powers were asked for.
    output : Energy
        Of the output, likewise.
    """

    accumulator: ChannelRange | None = None
    parts: Mapping[str, ChannelRange] = field(default_factory=dict)
    per_sample: int = 0
    error: Energy | None = None
    signal: Energy = Energy()
    inputs: tuple[Energy, ...] = ()
    output: Energy = Energy()

    def merge(self, other: Seen) -> Seen:
        """Return what was held on both sets of samples."""
        names = [*self.parts, *(name for name in other.parts if name not in self.parts)]
        errors = [found for found in (self.error, other.error) if found is not None]
        return Seen(
            accumulator=_merged(self.accumulator, other.accumulator),
            parts={
                name: found
                for name in names
                if (found := _merged(self.parts.get(name), other.parts.get(name))) is not None
            },
            per_sample=self.per_sample or other.per_sample,
            error=sum(errors, Energy()) if errors else None,
            signal=self.signal + other.signal,
            inputs=tuple(a + b for a, b in zip(self.inputs, other.inputs, strict=True))
            if self.inputs and other.inputs
            else self.inputs or other.inputs,
            output=self.output + other.output,
        )

    @property
    def input_powers(self) -> tuple[float, ...]:
        """Mean square of each variable input on its grid, in the square of its unit."""
        return tuple(energy.mean for energy in self.inputs)

    @property
    def output_power(self) -> float:
        """Mean square of the output, in the square of its unit."""
        return self.output.mean

    @property
    def sqnr_db(self) -> float | None:
        """Output against the float model's, dB; None where nothing was compared."""
        if self.error is None:
            return None
        if self.error.total == 0.0:
            return float("inf")
        ratio = self.signal.total / self.error.total
        return 10.0 * float(np.log10(ratio)) if ratio else -float("inf")


def _merged(first: ChannelRange | None, later: ChannelRange | None) -> ChannelRange | None:
    return (first or later) if first is None or later is None else first.merge(later)


def observe(
    module: QuantizedModule, data: AnyArray | tuple[AnyArray, ...], *, memo: Memo | None = None
) -> dict[str, Seen]:
    """Run data through a module in batches and return what its layers held, powers too.

    Parameters
    ----------
    module : QuantizedModule
        The model.
    data : array or tuple of arrays
        Real model inputs, samples along axis 0.
    memo : Memo, optional
        Layers that ran before on the same inputs are not run again.

    Returns
    -------
    dict of str to Seen
        By layer name.

    Raises
    ------
    TensorError
        The data do not fit the model.
    """
    given = data if isinstance(data, tuple) else (data,)
    arrays = check_inputs(module.graph, given, what="data")
    watch = Watch(module, memo=memo, powers=True)
    for call in calls(module.graph, arrays):
        watch.run(call)
    return watch.seen


class Watch:
    """A module that is run batch after batch while someone counts.

    Parameters
    ----------
    module : QuantizedModule
        What runs.
    memo : Memo, optional
        Layers that ran before on the same inputs are not run again.
    powers : bool
        Whether the powers of inputs and outputs are wanted too.

    Attributes
    ----------
    seen : dict of str to Seen
        By layer name, of all batches so far.
    """

    def __init__(
        self, module: QuantizedModule, *, memo: Memo | None = None, powers: bool = False
    ) -> None:
        self.module = module
        self.powers = powers
        self.seen: dict[str, Seen] = {}
        self._memo = Memo(limit_bytes=0) if memo is None else memo

    def run(
        self, inputs: Sequence[AnyArray], exact: Mapping[str, AnyArray] | None = None
    ) -> tuple[Value, ...]:
        """Run one batch; return the outputs.

        Parameters
        ----------
        inputs : sequence of arrays
            Real model inputs; samples along axis 0.
        exact : mapping of str to array, optional
            The float model's tensors on them, to compare with.
        """
        graph, known = self.module.graph, exact or {}
        rows = max(1, n_samples(graph, inputs))
        origin = key_of(graph.identity, digest_of(*inputs), exact is not None, self.powers)
        keys = {
            info.name: key_of(origin, info.name, grid)
            for info, grid in zip(graph.inputs, self.module.inputs, strict=True)
        }

        def execute(layer: QuantizedLayer, values: Mapping[str, Value]) -> Results:
            def compute() -> tuple[Results, Seen]:
                run = layer.run(values)
                compared = known.get(layer.node.outputs[0])
                return run.results, _seen(layer, run, compared, rows, powers=self.powers)

            key = key_of(layer.key, [keys.get(name) for name in layer.node.inputs])
            keys.update((name, key_of(key, name)) for name in layer.node.outputs)
            results, found = self._memo.get(key, compute, lambda pair: _size_of(pair[0]))
            self.seen[layer.name] = self.seen.get(layer.name, Seen()).merge(found)
            return results

        return self.module.run_with(execute, *inputs)


Results = tuple["Value | None", ...]


def _seen(
    layer: QuantizedLayer, run: LayerRun, exact: AnyArray | None, rows: int, *, powers: bool
) -> Seen:
    """Return what one run of a layer on `rows` samples held.

    `exact` is the float model's output, where it is known.
    """
    found = Seen()
    accumulator = run.accumulator
    if accumulator is not None and isinstance(layer.op, MixingOp):
        axis = layer.channel_axis(accumulator.ndim)
        parts = intermediates(layer, run)
        found = Seen(
            accumulator=_range(accumulator, axis),
            parts={part.name: _range(part.values, axis) for part in parts},
            per_sample=-(-accumulator.size // rows),
        )
        if powers:
            found = replace(found, inputs=tuple(_input_energies(layer, run)))
    output = run.results[0]
    values = output.values if isinstance(output, Tensor) else output
    if values is None or values.dtype.kind != "f" or layer.treatment is Treatment.RAW:
        return found
    if powers:
        found = replace(found, output=Energy.of(values))
    if exact is not None and exact.shape == values.shape:
        real = exact.astype(np.float64)
        found = replace(found, signal=Energy.of(real), error=Energy.of(real - values))
    return found


def _input_energies(layer: QuantizedLayer, run: LayerRun) -> Iterable[Energy]:
    for position, _ in layer.variables:
        operand = run.operands[position]
        if isinstance(operand, Tensor):
            yield Energy.of(operand.quantizer.dequant(operand.codes))


def _range(values: AnyArray, axis: int | None) -> ChannelRange:
    """Return the range of integers along a channel axis, None for all together."""
    if axis is None or values.ndim == 0:
        low, high = values.min(), values.max()
    else:
        others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
        low, high = values.min(axis=others), values.max(axis=others)
    return ChannelRange(exact_integers(np.asarray(low)), exact_integers(np.asarray(high)))


def _size_of(results: Results) -> int:
    """Return about how many bytes results take, with what readers will compute from them."""
    arrays = (value.values if isinstance(value, Tensor) else value for value in results)
    return 2048 + sum(2 * array.nbytes for array in arrays if array is not None)
