"""What integers occurred on given data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.facts import channel_axis
from quantlib.analysis.widths.ranges import ChannelRange
from quantlib.arrays import exact_integers
from quantlib.core.tensor import Tensor
from quantlib.execution.float_run import BATCH
from quantlib.execution.inputs import check_inputs
from quantlib.execution.intermediates import intermediates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.quantized_module import QuantizedModule


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one integer operator held on some data.

    Parameters
    ----------
    accumulator : ChannelRange
        Its accumulator, per output channel.
    parts : mapping of str to ChannelRange
        Intermediate integers; names as in `quantlib.analysis.widths.ranges.Part`.
    input_powers : tuple of float
        Mean square of each variable input on its grid, in the square of its unit.
    output_power : float
        Mean square of the output, likewise.
    """

    accumulator: ChannelRange
    parts: Mapping[str, ChannelRange]
    input_powers: tuple[float, ...]
    output_power: float


@dataclass(slots=True)
class _MeanSquare:
    """A mean of squares, batch by batch."""

    total: float = 0.0
    count: int = 0

    def add(self, values: AnyArray) -> None:
        flat = np.ravel(values).astype(np.float64, copy=False)
        self.total += float(np.vdot(flat, flat))
        self.count += flat.size

    @property
    def mean(self) -> float:
        return self.total / max(1, self.count)


@dataclass(slots=True)
class _Tally:
    """What one layer held so far."""

    accumulator: ChannelRange | None = None
    parts: dict[str, ChannelRange] = field(default_factory=dict)
    inputs: tuple[_MeanSquare, ...] = ()
    output: _MeanSquare = field(default_factory=_MeanSquare)

    def note(self, layer: QuantizedLayer, run: LayerRun) -> None:
        accumulator = run.accumulator
        assert accumulator is not None
        axis = channel_axis(layer, accumulator.ndim)
        found = _range(accumulator, axis)
        self.accumulator = found if self.accumulator is None else self.accumulator.merge(found)
        for name, values, _ in intermediates(layer, run):
            part = _range(values, axis)
            self.parts[name] = self.parts[name].merge(part) if name in self.parts else part
        variables = [
            operand
            for i, operand in enumerate(run.operands)
            if isinstance(operand, Tensor) and i not in layer.constants
        ]
        self.inputs = self.inputs or tuple(_MeanSquare() for _ in variables)
        for tally, variable in zip(self.inputs, variables, strict=True):
            tally.add(variable.quantizer.dequant(variable.codes))
        output = run.results[0]
        assert isinstance(output, Tensor)
        self.output.add(output.values)


def observe(module: QuantizedModule, data: AnyArray | tuple[AnyArray, ...]) -> dict[str, Seen]:
    """Run data through a module in batches and return what its integer operators held.

    Parameters
    ----------
    module : QuantizedModule
        The model.
    data : array or tuple of arrays
        Real model inputs, samples along axis 0.

    Returns
    -------
    dict of str to Seen
        By operator name.

    Raises
    ------
    TensorError
        The data do not fit the model.
    """
    given = data if isinstance(data, tuple) else (data,)
    arrays = check_inputs(module.graph, given, what="data")
    tallies: dict[str, _Tally] = {}

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        if run.accumulator is not None:
            tallies.setdefault(layer.name, _Tally()).note(layer, run)

    for start in range(0, len(arrays[0]), BATCH):
        module.run(*(array[start : start + BATCH] for array in arrays), observe=note)
    return {
        name: Seen(
            accumulator=tally.accumulator,
            parts=tally.parts,
            input_powers=tuple(part.mean for part in tally.inputs),
            output_power=tally.output.mean,
        )
        for name, tally in tallies.items()
        if tally.accumulator is not None
    }


def _range(values: AnyArray, axis: int | None) -> ChannelRange:
    """Return the range of integers along a channel axis, None for all together."""
    if axis is None or values.ndim == 0:
        low, high = values.min(), values.max()
    else:
        others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
        low, high = values.min(axis=others), values.max(axis=others)
    return ChannelRange(exact_integers(np.asarray(low)), exact_integers(np.asarray(high)))
