"""What an evaluation says, as frozen and bounded values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from quantlib.core.metrics import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.observation import Seen
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.metrics import Divergence
    from quantlib.core.quantizer import UniformQuantizer


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """How well outputs match labels; NaN-free.

    Parameters
    ----------
    name : str
        Accuracy or R².
    float_value, quantized_value : float
        Of the float model, and of the quantized one.
    n_labels : int or None
        Labels that an accuracy counts; None for R², which is no share of them.
    """

    name: str
    float_value: float
    quantized_value: float
    n_labels: int | None = None

    @property
    def intervals(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Wilson intervals (95 %) of both accuracies, float first; None for R²."""
        if self.n_labels is None:
            return None
        first, later = (
            wilson_interval(value, self.n_labels)
            for value in (self.float_value, self.quantized_value)
        )
        return first, later


@dataclass(frozen=True, slots=True, eq=False)
class LayerSummary:
    """One node under one configuration.

    Parameters
    ----------
    name, op_type, treatment : str
        Which node, and how it is treated.
    input_name, weight_name, output_name : str
        Tensors it reads and makes; ``""`` without weights.
    fan_in : int or None
        Products that one accumulator sums, for Gemm, MatMul and Conv.
    input_range : (float, float) or None
        What the first variable input was measured to hold when its producer was calibrated:
        on the quantized path, or in float.
    input_grid, weight_grid : UniformQuantizer or None
        Grid of the first variable input and of the weights, for integer operators.
    accumulator : (int, int) or None
        Smallest and largest accumulator on calibration and evaluation data.
    width_bits : int or None
        Width of the integer type that holds them.
    widest_channel : int or None
        Channel (axis 1) that sets the width; None without channels.
    n_accumulators : int
        Accumulators per sample, each of which enters a table look-up.
    lsbs_to_remove : int
        Low bits that rounding takes.
    sqnr_db : float or None
        Output of the node against the float model, evaluation data; None for raw outputs.
    """

    name: str
    op_type: str
    treatment: str
    input_name: str
    weight_name: str
    output_name: str
    fan_in: int | None
    input_range: tuple[float, float] | None
    input_grid: UniformQuantizer | None
    weight_grid: UniformQuantizer | None
    accumulator: tuple[int, int] | None
    width_bits: int | None
    widest_channel: int | None
    n_accumulators: int
    lsbs_to_remove: int
    sqnr_db: float | None


class OutputKind(StrEnum):
    """How a model output is compared with the float model's."""

    VALUES = "values"
    """Real numbers: their difference."""

    CLASSES = "classes"
    """Class numbers, truth values or labels: equal or not, never subtracted."""

    NOT_COMPARED = "not compared"
    """Shapes that differ, or values that are not finite."""


@dataclass(frozen=True, slots=True, eq=False)
class OutputSummary:
    """One model output against the float model, evaluation data.

    Parameters
    ----------
    name : str
        The output.
    kind : OutputKind
        How it is compared.
    sqnr_db, mse, max_error, cosine : float or None
        Of its values; of class numbers those of indicator vectors, one entry per class, so that
        a changed class counts as much as any other. None where nothing is compared.
    agreement : float or None
        Share of samples with the float model's class: of class numbers, and of scores by their
        largest; None for other values.
    n_answers : int
        Classes that `agreement` counts; 0 where there are none.
    divergence : Divergence or None
        Of scores from the float model's, as distributions over the classes; None for others.
    score : Score or None
        Against the labels, where they fit this output.
    reason : str
        Why it is not compared; empty where it is.
    """

    name: str
    kind: OutputKind
    sqnr_db: float | None = None
    mse: float | None = None
    max_error: float | None = None
    cosine: float | None = None
    agreement: float | None = None
    n_answers: int = 0
    divergence: Divergence | None = None
    score: Score | None = None
    reason: str = ""

    @property
    def agreement_interval(self) -> tuple[float, float] | None:
        """Wilson interval (95 %) of the agreement; None for outputs without classes."""
        return _interval(self.agreement, self.n_answers)


@dataclass(frozen=True, slots=True, eq=False)
class Flip:
    """A sample whose class changes: its number, both classes, both margins (output units)."""

    sample: int
    float_class: int
    quantized_class: int
    label: int | None
    float_margin: float
    quantized_margin: float


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A configuration's figures on the evaluation data.

    Parameters
    ----------
    config : QuantizationConfig
        What was chosen.
    layers : tuple of LayerSummary
        In topological order.
    seen : mapping of str to Seen
        What each layer held on evaluation and calibration data, by name.
    output : str
        The output that the figures below are of, up to `score` and from `output_step` on: the
        one that was asked for, else the worst of those that are measured.
    outputs : tuple of OutputSummary
        Every output, in the model's order.
    unseen : tuple of str
        Nodes whose products nobody looked into; see `quantlib.execution.treatments`.
    sqnr_db, mse, max_error, cosine : float
        That output against the float model.
    agreement : float or None
        Share of samples with the same class; None for outputs that are no scores.
    divergence : Divergence or None
        Of the outputs from the float model's, as distributions over the classes; likewise.
    n_answers : int
        Classes that `agreement` counts; 0 where there are none.
    score : Score or None
        Against the labels, where there are any.
    weight_bytes, float_weight_bytes : int
        Size of the quantized constants at their widths, and in float32.
    output_step : float or None
        Scale of the grid that the output is rounded to; None where nothing rounds it, as an
        accumulator that leaves the graph.
    scatter : (float array, float array)
        Float and dequantized outputs, at most 4000 pairs, evenly thinned.
    error_edges, error_counts : arrays
        Histogram of all output errors.
    error_std : float
        Standard deviation of the output error.
    flips : tuple of Flip
        Samples whose class changes, by falling float margin.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> found = ql.evaluate(bench, ql.QuantizationConfig.from_n_bits(3))
    >>> f"{found.sqnr_db:.0f} dB, {found.weight_bytes} bytes, fits: {found.fits}"
    '6 dB, 17 bytes, fits: True'
    """

    config: QuantizationConfig
    layers: tuple[LayerSummary, ...]
    seen: Mapping[str, Seen]
    output: str
    outputs: tuple[OutputSummary, ...]
    unseen: tuple[str, ...]
    sqnr_db: float
    mse: float
    max_error: float
    cosine: float
    agreement: float | None
    divergence: Divergence | None
    n_answers: int
    score: Score | None
    weight_bytes: int
    float_weight_bytes: int
    output_step: float | None
    scatter: tuple[FloatArray, FloatArray]
    error_edges: FloatArray
    error_counts: AnyArray
    error_std: float
    flips: tuple[Flip, ...]

    @property
    def agreement_interval(self) -> tuple[float, float] | None:
        """Wilson interval (95 %) of the agreement; None for outputs without classes."""
        return _interval(self.agreement, self.n_answers)

    @property
    def rounding_std(self) -> float | None:
        """Standard deviation that rounding the output alone has, step / √12; None without it."""
        return None if self.output_step is None else abs(self.output_step) / 12**0.5

    @property
    def widest(self) -> LayerSummary | None:
        """The layer with the widest accumulator."""
        measured = [layer for layer in self.layers if layer.width_bits is not None]
        return max(measured, key=lambda layer: layer.width_bits or 0, default=None)

    @property
    def fits(self) -> bool | None:
        """Whether every accumulator on the data is within the configuration's limit.

        The whole accumulator, before rounding; `Budget.fits_by` holds what a look-up reads to it.

        None where those that were looked at are, and products are left that were not.
        """
        widest = self.widest
        within = widest is None or (widest.width_bits or 0) <= self.config.limit_bits
        return None if within and self.unseen else within


def _interval(share: float | None, count: int) -> tuple[float, float] | None:
    return wilson_interval(share, count) if share is not None and count else None
