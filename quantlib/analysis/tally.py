"""What one layer did on some samples, in a few numbers that merge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.facts import channel_axis
from quantlib.core.tensor import Tensor
from quantlib.execution.memo import Memo, key_of
from quantlib.ops.base import MixingOp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.execution.layer import LayerRun, QuantizedLayer, Value
    from quantlib.quantized_module import QuantizedModule


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """A layer's figures over the samples seen so far.

    Parameters
    ----------
    low, high : int arrays or None
        Extremes of the accumulator by output channel; of all together where batches have
        different numbers of channels; None without an accumulator.
    per_sample : int
        Accumulators per sample.
    signal, noise : float
        Sums of squares of the float output, and of its difference to the dequantized one.
    compared : bool
        Whether any output was compared.
    """

    low: AnyArray | None = None
    high: AnyArray | None = None
    per_sample: int = 0
    signal: float = 0.0
    noise: float = 0.0
    compared: bool = False

    def merge(self, other: Tally) -> Tally:
        """Return the figures of both sets of samples."""
        low, high = other.low, other.high
        if self.low is not None and self.high is not None:
            if low is None or high is None:
                low, high = self.low, self.high
            elif low.shape != self.low.shape:  # no fixed number of channels
                low = np.minimum(low.min(), self.low.min())
                high = np.maximum(high.max(), self.high.max())
            else:
                low, high = np.minimum(low, self.low), np.maximum(high, self.high)
        return Tally(
            low,
            high,
            self.per_sample or other.per_sample,
            self.signal + other.signal,
            self.noise + other.noise,
            self.compared or other.compared,
        )

    @property
    def sqnr_db(self) -> float | None:
        """Signal-to-quantization-noise ratio, dB; None where nothing was compared."""
        if not self.compared:
            return None
        if self.noise == 0.0:
            return float("inf")
        return 10.0 * float(np.log10(self.signal / self.noise)) if self.signal else -float("inf")


def tally_of(layer: QuantizedLayer, run: LayerRun, exact: AnyArray | None) -> Tally:
    """Return the figures of one run; `exact` is the float model's output, where it is known."""
    tally = Tally()
    if run.accumulator is not None and isinstance(layer.op, MixingOp):
        accumulator = np.atleast_1d(run.accumulator)  # a single number has no axis to count along
        axis = channel_axis(layer, accumulator.ndim)
        kept = -1 if axis is None else axis % accumulator.ndim
        others = tuple(i for i in range(accumulator.ndim) if i != kept)
        tally = Tally(
            accumulator.min(axis=others),
            accumulator.max(axis=others),
            accumulator.size // max(1, len(accumulator)),
        )
    output = run.results[0]
    if isinstance(output, Tensor) and exact is not None and exact.shape == output.shape:
        real = exact.astype(np.float64)
        signal = float(np.dot(real.ravel(), real.ravel()))
        real -= output.values
        noise = float(np.dot(real.ravel(), real.ravel()))
        tally = replace(tally, signal=signal, noise=noise, compared=True)
    return tally


def run_with_tallies(
    module: QuantizedModule,
    inputs: Sequence[AnyArray],
    *,
    exact: Mapping[str, AnyArray],
    tallies: dict[str, Tally],
    memo: Memo,
    batch: str,
) -> tuple[Value, ...]:
    """Run a module on a batch; add each layer's figures to `tallies` and return the outputs.

    Parameters
    ----------
    module, inputs
        What runs on what.
    exact : mapping of str to array
        The float model's tensors on the batch, as far as they are known.
    tallies : dict of str to Tally
        By layer name; changed.
    memo : Memo
        Layers that ran before on the same inputs are not run again.
    batch : str
        What tells this batch from others of the same model and data.
    """
    keys = {
        info.name: key_of(batch, info.name, grid)
        for info, grid in zip(module.graph.inputs, module.inputs, strict=True)
    }

    def execute(layer: QuantizedLayer, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
        def compute() -> tuple[tuple[Value | None, ...], Tally]:
            run = layer.run(values)
            return run.results, tally_of(layer, run, exact.get(layer.node.outputs[0]))

        key = key_of(layer.key, [keys.get(name) for name in layer.node.inputs])
        keys.update((name, key_of(key, name)) for name in layer.node.outputs)
        results, tally = memo.get(key, compute, lambda found: _size_of(found[0]))
        tallies[layer.name] = tallies.get(layer.name, Tally()).merge(tally)
        return results

    return module.run(*inputs, execute=execute)


def _size_of(results: tuple[Value | None, ...]) -> int:
    """Return about how many bytes results take, with what readers will compute from them."""
    arrays = (value.values if isinstance(value, Tensor) else value for value in results)
    return 2048 + sum(2 * array.nbytes for array in arrays if array is not None)
