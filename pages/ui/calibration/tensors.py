"""The tensors that integer operators read, as the Calibration screen looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pages.ui import text
from quantlib.analysis.distributions import RangeChoice, RangeOrigin, given_choice, grid_fit
from quantlib.core.options import QuantizationOptions
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.questions import calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.current import Current
    from quantlib.analysis.distributions import Distribution, GridFit
    from quantlib.analysis.reports import Evaluation, LayerSummary
    from quantlib.calibration.sufficiency import Sufficiency
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.estimator import Estimator
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.scheme import Scheme


MAX_CLIPPED = 1e-3
"""Share of values beyond the grid that is not worth a word: what percentile ranges give up."""


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
        if self.fit.clipped_share > MAX_CLIPPED:
            found.append(f"clips {100 * self.fit.clipped_share:.2g} %")
        return tuple(found)

    @property
    def badness(self) -> tuple[int, float]:
        """What the worst tensor is first by: suspicious ones, then by falling noise."""
        return -len(self.badges), self.fit.sqnr_db


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


def best_of(found: Sequence[RangeChoice]) -> int | None:
    """Return the place of the range with the highest SQNR, the first of equal ones."""
    return max(range(len(found)), key=lambda i: found[i].fit.sqnr_db, default=None)


def axis_ends(view: TensorView, found: Sequence[RangeChoice]) -> tuple[float, float]:
    """Return where the axis of a tensor's values ends: around them, and around all ranges."""
    low, high = float(view.measured.extremes.rmin), float(view.measured.extremes.rmax)
    ends = np.array([c.quantizer.dequant(np.array([c.quantizer.qmin, c.quantizer.qmax]))
                     for c in found if not c.quantizer.is_per_channel]).ravel()  # fmt: skip
    if ends.size and (ends.min() < low or ends.max() > high):
        # symmetric grids: half as much again holds the step that they reach further
        reach = 1.5 * max(abs(low), abs(high))
        return (-reach if ends.min() < low else low), (reach if ends.max() > high else high)
    return low, high


def adopted(
    config: QuantizationConfig, view: TensorView, estimator: Estimator
) -> QuantizationConfig:
    """Return the configuration in which only this tensor's range comes from an estimator."""
    override = config.override(view.layer)
    if view.kind == "weights":
        scheme = config.weights_of(view.layer).replace(estimator=estimator)
        return config.with_override(view.layer, override.replace(weights=scheme))
    scheme = config.activations_of(view.layer).replace(estimator=estimator)
    return config.with_override(view.layer, override.replace(activations=scheme))


def verdict(views: Sequence[TensorView], kind: str) -> str:
    """Return in a sentence how many ranges are fine, and what is wrong with the others."""
    bad = sorted((view for view in views if view.badges), key=lambda view: view.badness)
    fine = len(views) - len(bad)
    said = f"**{fine} of {len(views)} ranges of {kind} fine**"
    if not bad:
        return f"{said}: none clips more than {100 * MAX_CLIPPED:g} %, none hangs on one sample."
    told = [f"{text.plain(view.title, 40)} {_fault(view)}" for view in bad[:MAX_TOLD]]
    more = f"; and {len(bad) - MAX_TOLD} more" if len(bad) > MAX_TOLD else ""
    return f"{said}; {'; '.join(told)}{more}."


MAX_TOLD = 3
"""Tensors of a verdict that are named."""


def _fault(view: TensorView) -> str:
    words = ", ".join(view.badges)
    return words.replace("one sample sets", "has one sample that sets").replace(
        " dead", " dead channels"
    )
