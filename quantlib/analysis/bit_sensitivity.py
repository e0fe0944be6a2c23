"""What each width of each layer costs: the figures a mixed-precision search adds up."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.partial import Precision, is_integer, partial_runs
from quantlib.analysis.tasks import as_ready
from quantlib.errors import OptionsError
from quantlib.ptq import quantize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from quantlib.analysis.partial import PartialRun
    from quantlib.analysis.reference import FloatReference
    from quantlib.arrays import FloatArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.data import Dataset
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.graph.model import Graph


@dataclass(frozen=True, slots=True)
class BitCost:
    """What one layer costs at some widths when everything else is exact.

    Parameters
    ----------
    layer : str
        Which.
    weight_bits, activation_bits : int or None
        Widths of its grids; None leaves the operand exact.
    mse : float
        Mean squared difference to the float output, output unit squared.
    """

    layer: str
    weight_bits: int | None
    activation_bits: int | None
    mse: float


def bit_sensitivity(
    graph: Graph,
    data: Dataset,
    config: QuantizationConfig,
    reference: FloatReference,
    layers: Sequence[str],
    weight_bits: Sequence[int | None],
    activation_bits: Sequence[int | None],
    *,
    executor: Executor,
) -> Iterator[BitCost]:
    """Yield what each layer costs at each pair of widths, all other layers being exact.

    Parameters
    ----------
    graph, data, config
        The model, its data, and everything about the grids but their widths; ranges are
        measured on the float model's tensors, which is what the layer reads here.
    reference : FloatReference
        The float model on ``data.evaluation``.
    layers : sequence of str
        Names of integer layers.
    weight_bits, activation_bits : sequence of int or None
        Widths to measure, each with each; None leaves weights or activations exact, so that
        ``[None]`` gives the curve of the other alone.
    executor : concurrent.futures.Executor
        Where, as for `sensitivities`.

    Yields
    ------
    BitCost
        In no particular order. A caller that stops reading cancels what has not begun.

    Raises
    ------
    OptionsError
        A width out of range, or one that the configuration's other options exclude; a name that
        is no integer layer of the model.

    Notes
    -----
    Measured, not modelled; low bits that a rounding threshold would remove stay. Sums of these
    costs over layers predict a mixed configuration's error only as far as errors of different
    layers neither reinforce nor cancel each other; measure the result.
    """
    widths = sorted({b for b in (*weight_bits, *activation_bits) if b is not None})
    modules = {bits: quantize(graph, data.calibration, _at(config, bits)) for bits in widths}
    by_name = {bits: {x.name: x for x in m.layers} for bits, m in modules.items()}
    if not widths or not layers:
        return
    known = [layer.name for layer in modules[widths[-1]].layers if is_integer(layer)]
    unknown = [name for name in layers if name not in known]
    if unknown:
        raise OptionsError(
            f"{unknown[0]!r} is no integer layer of this model; give some of {', '.join(known)}."
        )
    runs = list(partial_runs(modules[widths[-1]], reference, keep_runs=False))
    y_float = np.asarray(reference.output(), dtype=np.float64)
    index = {layer.name: i for i, layer in enumerate(modules[widths[-1]].layers)}

    def work(name: str) -> list[BitCost]:
        errors = dict.fromkeys(itertools.product(weight_bits, activation_bits), 0.0)
        start = 0
        for run in runs:
            expected = y_float[start : start + len(run.output)]
            start += len(expected)
            at_bits = {bits: by_name[bits][name] for bits in widths}
            for pair, y in _at_widths(run, index[name], at_bits, list(errors)):
                errors[pair] += float(np.vdot(y - expected, y - expected))
        return [BitCost(name, w, a, error / y_float.size) for (w, a), error in errors.items()]

    yield from as_ready(executor, [partial(work, name) for name in layers])


def _at(config: QuantizationConfig, bits: int) -> QuantizationConfig:
    """Return a configuration with all layers at one width, calibrated on float tensors."""
    overrides = {
        name: type(part)(
            weights=part.weights and part.weights.replace(n_bits=bits),
            activations=part.activations and part.activations.replace(n_bits=bits),
        )
        for name, part in config.overrides
    }
    return config.replace(
        weights=config.weights.replace(n_bits=bits),
        activations=config.activations.replace(n_bits=bits),
        output_bits=max(config.output_bits, bits),
        calibrate_on="float",
        overrides=overrides,
    )


def _at_widths(
    run: PartialRun,
    index: int,
    layers: Mapping[int, QuantizedLayer],
    pairs: Sequence[tuple[int | None, int | None]],
) -> Iterator[tuple[tuple[int | None, int | None], FloatArray]]:
    """Yield the output when one layer has a pair of widths and all else is exact."""
    base = run.layers[index]
    plain = run.operands_at(base, run.exact, weights=Precision.EXACT, activations=Precision.EXACT)
    quantized = {
        bits: run.operands_at(
            layer, run.exact, weights=Precision.QUANTIZED, activations=Precision.QUANTIZED
        )
        for bits, layer in layers.items()
    }
    for w, a in pairs:
        operands = tuple(
            exact if bits is None else quantized[bits][i]
            for i, exact in enumerate(plain)
            for bits in [w if i in base.constants else a]
        )
        results = run.results_of(base, run.exact, operands)
        changed = run.propagated(run.exact, results, index, run.exact_results)
        yield (w, a), run.output_of(changed, run.exact)
