"""Two sets of outputs on the same samples: what one decides differently from the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.decisions import flips_of
from quantlib.core import metrics
from quantlib.core.scheme import Scheme
from quantlib.errors import TensorError
from quantlib.execution.calls import calls, joined

if TYPE_CHECKING:
    from quantlib.analysis.float_model import FloatModel
    from quantlib.analysis.reports import Flip
    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.quantized_module import QuantizedModule

MARGIN_BINS = 8


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionChange:
    """Confusion matrices before and after.

    Parameters
    ----------
    before, after : int arrays, (C, C)
        Samples by class (row) and answer (column).
    by_label : bool
        Rows are labels; else the answers before, so that `before` is diagonal.
    """

    before: IntArray
    after: IntArray
    by_label: bool

    @property
    def change(self) -> IntArray:
        """After less before: each row sums to 0."""
        return self.after - self.before

    @property
    def samples(self) -> IntArray:
        """Samples of each class."""
        return np.asarray(self.before.sum(axis=1))

    @property
    def changed_classes(self) -> IntArray:
        """Classes whose row or column changes, by number."""
        return np.flatnonzero(self._moved())

    def most_changed(self, limit: int) -> IntArray:
        """Return the `limit` classes whose rows and columns change most, by number."""
        changed = self.changed_classes
        ranked = changed[np.argsort(-self._moved()[changed], kind="stable")]
        return np.sort(ranked[:limit])

    def _moved(self) -> IntArray:
        moved = np.abs(self.change)
        return np.asarray(moved.sum(axis=0) + moved.sum(axis=1))


@dataclass(frozen=True, slots=True)
class MarginBin:
    """Samples whose margin before lies in ``[low, high]``: how many, and how many agree.

    A margin is the distance between the two largest outputs, in output units.
    """

    low: float
    high: float
    n_samples: int
    n_agree: int

    @property
    def agreement(self) -> float:
        """Share of samples with the same class."""
        return self.n_agree / self.n_samples


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Outputs after against outputs before.

    Parameters
    ----------
    n_samples : int
        Samples compared.
    mse, max_error : float
        Mean squared (unit squared) and largest difference of the outputs.
    sqnr_db : float
        ``10 log10(sum y² / sum (y - ŷ)²)`` with y before, dB.
    agreement : float or None
        Share of samples with the same class; None for outputs that are no scores.
    divergence : Divergence or None
        Of the outputs after from those before, as distributions over the classes; likewise.
    confusion : ConfusionChange or None
        By label where there are class labels.
    margins : tuple of MarginBin
        Agreement by the margin before, by rising margin; bins hold about as many samples each.
    flips : tuple of Flip
        Samples whose class changes, by falling margin before.
    """

    n_samples: int
    mse: float
    max_error: float
    sqnr_db: float
    agreement: float | None
    divergence: metrics.Divergence | None
    confusion: ConfusionChange | None
    margins: tuple[MarginBin, ...]
    flips: tuple[Flip, ...]

    @property
    def agreement_interval(self) -> tuple[float, float] | None:
        """Wilson interval (95 %) of the agreement; None for outputs that are no scores."""
        if self.agreement is None:
            return None
        return metrics.wilson_interval(self.agreement, self.n_samples)


def compare_outputs(
    before: AnyArray, after: AnyArray, labels: AnyArray | None = None, *, bins: int = MARGIN_BINS
) -> Comparison:
    """Compare outputs of the same samples.

    Parameters
    ----------
    before, after : arrays, one shape
        Outputs of the float model, or of any configuration; samples along axis 0. Two axes with
        two columns or more are scores of classes.
    labels : array, (N,) or (N, 1), optional
        Class numbers; anything else is left aside.
    bins : int
        Most bins of the margin.

    Raises
    ------
    TensorError
        The shapes differ.
    """
    if before.shape != after.shape or before.ndim == 0:
        raise TensorError(
            f"outputs have the shapes {before.shape} and {after.shape}; compare outputs of the "
            "same samples and model."
        )
    if before.dtype.kind in "ub":  # neither subtracts
        before, after = before.astype(np.int64), after.astype(np.int64)
    scores = before.ndim == 2 and before.shape[1] > 1
    labels = _class_numbers(labels, before)
    return Comparison(
        n_samples=len(before),
        mse=metrics.mse(before, after),
        max_error=metrics.max_abs_error(before, after),
        sqnr_db=metrics.sqnr_db(before, after),
        agreement=metrics.top1_agreement(before, after) if scores else None,
        divergence=metrics.kl_divergence(before, after) if scores else None,
        confusion=confusion_change(before, after, labels) if scores else None,
        margins=agreement_by_margin(before, after, bins=bins) if scores else (),
        flips=flips_of(before, after, labels) if scores else (),
    )


def _class_numbers(labels: AnyArray | None, scores: AnyArray) -> IntArray | None:
    """Return labels as numbers of the columns of `scores`, None where they are no such."""
    if labels is None or scores.ndim != 2 or labels.size != len(scores) or not labels.size:
        return None
    flat = labels.reshape(-1)
    if flat.dtype.kind not in "iuf" or not np.array_equal(flat, np.rint(flat)):
        return None
    known = flat.min() >= 0 and flat.max() < scores.shape[1]
    return flat.astype(np.int64) if known else None


def confusion_change(before: AnyArray, after: AnyArray, labels: AnyArray | None) -> ConfusionChange:
    """Count classes and answers before and after.

    Parameters
    ----------
    before, after : arrays, (N, C)
        Scores.
    labels : int array, (N,), or None
        Class numbers below C; None takes the answers before for them.
    """
    n_classes = before.shape[1]
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    rows = (old if labels is None else labels).astype(np.int64)

    def counted(answers: IntArray) -> IntArray:
        counts = np.bincount(rows * n_classes + answers, minlength=n_classes * n_classes)
        return counts.reshape(n_classes, n_classes)

    return ConfusionChange(counted(old), counted(new), by_label=labels is not None)


def agreement_by_margin(
    before: AnyArray, after: AnyArray, *, bins: int = MARGIN_BINS
) -> tuple[MarginBin, ...]:
    """Return the share of equal answers by the margin before.

    Parameters
    ----------
    before, after : arrays, (N, C), C of 2 or more
        Scores.
    bins : int
        Most bins; samples with equal margins share one.

    Notes
    -----
    Edges are the quantiles of the margins, so that every bin's share rests on about ``N / bins``
    samples. An error below half the margin in every score cannot change the answer.
    """
    ordered = np.partition(before.astype(np.float64), -2, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    agree = before.argmax(axis=1) == after.argmax(axis=1)
    inner = np.quantile(margins, np.arange(1, bins) / bins)
    place = np.searchsorted(inner, margins, side="left")
    return tuple(
        MarginBin(
            float(margins[chosen].min()),
            float(margins[chosen].max()),
            int(chosen.sum()),
            int(agree[chosen].sum()),
        )
        for chosen in (place == i for i in range(bins))
        if chosen.any()
    )


def dequantized_outputs(module: QuantizedModule, float_model: FloatModel) -> FloatArray:
    """Return a module's lead output on the samples of `float_model`, batch after batch."""
    lead = module.graph.output_names.index(module.graph.lead_output)
    found = []
    for call in calls(module.graph, float_model.inputs):
        outputs = module.forward(*call)
        found.append(outputs[lead] if isinstance(outputs, tuple) else outputs)
    return joined(module.graph, module.graph.lead_output, found)


def reference_scheme(config: QuantizationConfig) -> QuantizationConfig:
    """Return the configuration of the same widths that Concrete ML would use.

    Signs, symmetry and ranges are its rules; nothing is per channel, no layer is an exception.
    """
    return config.replace(
        weights=Scheme(config.weights.n_bits),
        activations=Scheme(config.activations.n_bits),
        calibrate_on="quantized",
        overrides=(),
    )
