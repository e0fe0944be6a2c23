"""Where along a graph a decision is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.attribution.partial_run import PartialRun, is_integer, samples_per_state
from quantlib.errors import TensorError
from quantlib.execution.calls import n_samples, samples_of, samples_per_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quantlib.arrays import AnyArray, IntArray
    from quantlib.core.tensor import Value
    from quantlib.quantized_module import QuantizedModule

AT_INPUT, AT_OUTPUT = "input", "output"


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where one sample's decision is lost.

    Parameters
    ----------
    sample : int
        Its number.
    layer : str
        A layer's name; ``"input"`` where entering the first grid is enough, ``"output"`` where
        only the output's own rounding decides; ``""`` where the decision is not lost.
    position : int
        The layer's place in execution order; -1 for the input, the number of layers for the
        output and where nothing is lost.
    """

    sample: int
    layer: str
    position: int


def divergences(
    module: QuantizedModule, inputs: Sequence[AnyArray], samples: Sequence[int]
) -> Iterator[Divergence]:
    """Yield, for each sample, the first layer from which its decision differs for good.

    Parameters
    ----------
    module : QuantizedModule
        Its lead output holds scores, (N, C).
    inputs : sequence of arrays
        Real model inputs; samples along axis 0.
    samples : sequence of int
        Rows of `inputs`, most often those whose class changes.

    Notes
    -----
    Let ``f_k`` be the class when everything up to layer k runs in integers and everything after
    it in float. Before the first layer it is the float class, after the last the quantized one.
    A sample diverges at the first k from which on ``f_k`` differs from the float class: as long
    as quantization stops before k, exact arithmetic still recovers the decision at some later
    point; from k on the tensors no longer hold it. In a graph with branches, tensors of layers
    before k are quantized and those of layers after k exact, whatever branch they are on.

    Layers are tried from the last to the first, so that a sample costs what lies behind the
    layer at which it diverges.
    """
    graph = module.graph
    chosen = _checked(np.asarray(samples), n_samples(graph, inputs))
    if len(chosen) and (graph.batch.mixes or graph.batch.size not in (None, 1)):
        raise TensorError(
            "samples of this model depend on those beside them; no sample's decision can be "
            "traced without the others."
        )
    room = samples_per_state(graph, max(1, len(chosen)))
    step = samples_per_call(graph, inputs, room)
    for start in range(0, len(chosen), step):
        part = chosen[start : start + step]
        run = PartialRun(module, samples_of(graph, inputs, part))
        if run.exact_output.ndim != 2:
            raise TensorError(
                f"the output has the shape {run.exact_output.shape}; only scores of classes, "
                "one row per sample, decide anything."
            )
        lost = run.output.argmax(axis=1) != run.exact_output.argmax(axis=1)
        for sample, position, is_lost in zip(part, _positions(run), lost, strict=True):
            name = _name(module, int(position)) if is_lost else ""
            yield Divergence(int(sample), name, int(position))


def _checked(samples: AnyArray, count: int) -> IntArray:
    """Return sample numbers, or raise TensorError for what are none."""
    if samples.size == 0:
        return samples.astype(np.int64)
    if samples.dtype.kind not in "iu" or samples.min() < 0 or samples.max() >= count:
        raise TensorError(f"samples must be whole numbers from 0 to {count - 1}.")
    return samples.astype(np.int64)


def _name(module: QuantizedModule, position: int) -> str:
    if position < 0:
        return AT_INPUT
    return module.layers[position].name if position < len(module.layers) else AT_OUTPUT


def _positions(run: PartialRun) -> IntArray:
    """Return the place of divergence of each sample of a run."""
    wanted = run.exact_output.argmax(axis=1)
    last = len(run.layers)
    found = np.full(len(wanted), last)
    lost = run.output.argmax(axis=1) != wanted
    places = [i for i, layer in enumerate(run.layers) if is_integer(layer)]
    if any(True for _ in run.entries()):
        places.insert(0, -1)
    for k in reversed(places):
        lost &= _classes(run, k) != wanted
        if not lost.any():
            break
        found[lost] = k
    return found


def _classes(run: PartialRun, position: int) -> IntArray:
    """Return the classes when layers up to `position` run in integers, the others in float."""
    inputs = {info.name: run.real[info.name] for info in run.module.graph.inputs}
    made: dict[str, Value] = {
        name: run.real[name]
        for layer in run.layers[: position + 1]
        for name in layer.node.outputs
        if name in run.real
    }
    different = run.propagated(run.exact, inputs | made, position, run.exact_results)
    return np.asarray(run.output_of(different, run.exact).argmax(axis=1))
