"""Questions about ranges and calibration sets, asked through the engine's door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pages.ui import engine
from quantlib.analysis.distributions import exact_fit, given_choice, grid_fit, range_choices
from quantlib.calibration.sufficiency import Sufficiency, assess_samples
from quantlib.core.options import QuantizationOptions
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.execution.float_run import BATCH
from quantlib.execution.weights import SymmetryVerdict, weight_symmetry

if TYPE_CHECKING:
    from quantlib.analysis.distributions import Distribution, GridFit, RangeChoice
    from quantlib.analysis.reports import Evaluation, LayerSummary
    from quantlib.arrays import AnyArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.scheme import Scheme
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.quantized_module import QuantizedModule

SEED = 0
"""Of the bootstrap: the same screen shows the same bands."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorView:
    """One tensor that a layer reads, with the grid it is read on.

    Parameters
    ----------
    title, layer, tensor : str
        What to call it, the layer, the tensor's name.
    kind : str
        ``"activations"`` or ``"weights"``.
    measured : Distribution
        Its values: of the float model, or the weights themselves.
    grid : UniformQuantizer
        The grid.
    fit : GridFit
        How the grid fits.
    path_range : (float, float) or None
        Range on the path that calibrated it.
    """

    title: str
    layer: str
    tensor: str
    kind: str
    measured: Distribution
    grid: UniformQuantizer
    fit: GridFit
    path_range: tuple[float, float] | None

    @property
    def options(self) -> QuantizationOptions:
        """Width and signs of the grid."""
        return self.grid.quant_options

    @property
    def badges(self) -> tuple[str, ...]:
        """What is suspicious about the tensor, in a word or two each."""
        channels = self.measured.channels
        found = []
        if self.measured.range_setter is not None:
            found.append("one sample sets the range")
        if channels is not None and channels.dead:
            found.append(f"{len(channels.dead)} dead")
        if self.fit.clipped_share > 0.01:
            found.append(f"{100 * self.fit.clipped_share:.0f} % clipped")
        return tuple(found)


def tensors(source: engine.Source, found: Evaluation, kind: str) -> list[TensorView]:
    """Return the tensors of one kind that integer operators read, in graph order."""
    measured = engine.distributions(source)
    views = []
    for place, layer in enumerate(found.layers, start=1):
        name, grid, values = _of_kind(layer, kind, measured)
        if values is not None and grid is not None:
            path = layer.input_range if kind == "activations" else None
            fit = _weight_fit(source, name, grid) if kind == "weights" else grid_fit(values, grid)
            title = f"{place} {layer.name}"
            views.append(TensorView(title, layer.name, name, kind, values, grid, fit, path))
    return views


def _weight_fit(source: engine.Source, name: str, grid: UniformQuantizer) -> GridFit:
    return engine.study(
        source,
        ("weight fit", name, grid),
        lambda space: exact_fit(space.graph.constants[name], grid),
    )


def _of_kind(
    layer: LayerSummary, kind: str, measured: engine.Distributions
) -> tuple[str, UniformQuantizer | None, Distribution | None]:
    if kind == "weights":
        return layer.weight_name, layer.weight_grid, measured.weights.get(layer.weight_name)
    return layer.input_name, layer.input_grid, measured.activations.get(layer.input_name)


def choices(source: engine.Source, view: TensorView, scheme: Scheme) -> tuple[RangeChoice, ...]:
    """Return what every estimator makes of a tensor at its width."""
    key = ("choices", view.kind, view.tensor, view.options, scheme.power_of_two)
    return engine.study(
        source, key,
        lambda _: range_choices(view.measured, view.options, power_of_two=scheme.power_of_two),
    )  # fmt: skip


def by_hand(view: TensorView, low: float, high: float) -> RangeChoice:
    """Return what a range chosen by hand makes of a tensor."""
    stats = MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
    return given_choice(view.measured, stats, view.options)


def sqnr_at(view: TensorView, n_bits: int) -> float | None:
    """Return the SQNR of the tensor alone over the same range at another width, dB."""
    stats = view.grid.quant_stats
    if stats is None or not 2 <= n_bits <= 16 or view.grid.is_per_channel:
        return None
    options = QuantizationOptions(
        n_bits, is_signed=view.grid.is_signed, is_symmetric=view.grid.is_symmetric
    )
    return given_choice(view.measured, stats, options).fit.sqnr_db


def symmetry(source: engine.Source, view: TensorView) -> SymmetryVerdict:
    """Return what the automatic rule finds about a weight tensor."""
    return engine.study(
        source, ("symmetry", view.tensor), lambda space: weight_symmetry(space.graph, view.tensor)
    )


def range_sufficiency(source: engine.Source, view: TensorView) -> Sufficiency:
    """Assess the calibration set by a tensor's extremes per sample."""
    step = abs(view.grid.quant_params.mean_scale)
    return engine.study(
        source,
        ("range sufficiency", view.tensor, view.options, step),
        lambda _: assess_samples(
            view.measured.sample_low, view.measured.sample_high, view.options,
            rng=np.random.default_rng(SEED), step=step,
        ),
    )  # fmt: skip


def width_sufficiency(
    source: engine.Source, config: QuantizationConfig, layer: str
) -> Sufficiency | None:
    """Assess the calibration set by a layer's accumulators per sample; None without such."""

    def compute(space: engine.Workspace) -> Sufficiency | None:
        module = engine.module(source, config)
        low, high = _sample_accumulators(module, space.data.calibration, layer)
        if not len(low):
            return None
        options = QuantizationOptions(8, is_signed=bool(low.min() < 0))
        return assess_samples(low, high, options, rng=np.random.default_rng(SEED))

    return engine.study(source, ("width sufficiency", config, layer), compute)


def _sample_accumulators(
    module: QuantizedModule, data: tuple[AnyArray, ...], name: str
) -> tuple[AnyArray, AnyArray]:
    """Return smallest and largest accumulator of each sample in one layer."""
    lows: list[AnyArray] = []
    highs: list[AnyArray] = []

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        if layer.name == name and run.accumulator is not None and run.accumulator.ndim:
            rows = run.accumulator.reshape(len(run.accumulator), -1)
            lows.append(rows.min(axis=1))
            highs.append(rows.max(axis=1))

    for start in range(0, len(data[0]), BATCH):
        module.run(*(array[start : start + BATCH] for array in data), observe=note)
    if not lows:
        return np.empty(0), np.empty(0)
    return np.concatenate(lows), np.concatenate(highs)
