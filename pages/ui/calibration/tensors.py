"""The tensors that integer operators read, as the Calibration screen looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.distributions import RangeChoice, RangeOrigin, given_choice, grid_fit
from quantlib.core.options import QuantizationOptions
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.questions import calibration

if TYPE_CHECKING:
    from pages.ui.current import Current
    from quantlib.analysis.distributions import Distribution, GridFit
    from quantlib.analysis.reports import Evaluation, LayerSummary
    from quantlib.calibration.sufficiency import Sufficiency
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.scheme import Scheme


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


def tensors(current: Current, found: Evaluation, kind: str) -> list[TensorView]:
    """Return the tensors of one kind that integer operators read, in graph order."""
    measured = current.ask(calibration.distributions)
    views = []
    for place, layer in enumerate(found.layers, start=1):
        name, grid, values = _of_kind(layer, kind, measured)
        if values is not None and grid is not None:
            path = layer.input_range if kind == "activations" else None
            fit = (
                current.ask(calibration.weight_fit, name, grid)
                if grid.is_per_channel
                else grid_fit(values, grid)
            )
            title = f"{place} {layer.name}"
            views.append(TensorView(title, layer.name, name, kind, values, grid, fit, path))
    return views


def _of_kind(
    layer: LayerSummary, kind: str, measured: calibration.Distributions
) -> tuple[str, UniformQuantizer | None, Distribution | None]:
    if kind == "weights":
        return layer.weight_name, layer.weight_grid, measured.weights.get(layer.weight_name)
    return layer.input_name, layer.input_grid, measured.activations.get(layer.input_name)


def choices(current: Current, view: TensorView, scheme: Scheme) -> tuple[RangeChoice, ...]:
    """Return what every estimator makes of a tensor at its width."""
    return current.ask(
        calibration.choices, view.kind, view.tensor, view.options, power_of_two=scheme.power_of_two
    )


def running(view: TensorView) -> RangeChoice:
    """Return the grid that runs, judged on the values that all other rows are judged on."""
    return RangeChoice(RangeOrigin.CURRENT, None, view.grid, view.fit)


def used_codes(current: Current, view: TensorView) -> int:
    """Count the codes in use: on the values, where the histogram leaves it open."""
    if view.fit.used_codes is not None:
        return view.fit.used_codes
    return current.ask(calibration.used_codes, view.kind, view.tensor, view.grid)


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


def range_sufficiency(current: Current, view: TensorView) -> Sufficiency:
    """Assess the calibration set by a tensor's extremes per sample."""
    step = abs(view.grid.quant_params.mean_scale)
    return current.ask(calibration.range_sufficiency, view.tensor, view.options, step)
