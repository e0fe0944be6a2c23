"""What outputs decide: classes, margins, scores, and which samples change their mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.reports import Flip, Score
from quantlib.core import metrics
from quantlib.errors import TensorError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray


def check_labels(y_float: AnyArray, labels: AnyArray | None) -> None:
    """Refuse labels that the outputs cannot be judged by.

    Parameters
    ----------
    y_float : array
        The float model's first output on the evaluation data.
    labels : array or None
        One class number per sample for scores, or as many targets as outputs.

    Raises
    ------
    TensorError
        Classes the model does not have, or a shape that is neither.
    """
    if labels is None:
        return
    flat = _as_classes(y_float, labels)
    scores = y_float.ndim == 2 and y_float.shape[1] > 1
    if scores and flat.ndim == 1 and flat.dtype.kind in "iu":
        low, high, count = int(flat.min()), int(flat.max()), y_float.shape[1]
        if low < 0 or high >= count:
            raise TensorError(
                f"the labels hold class {low if low < 0 else high}; the model has {count} outputs, "
                f"classes 0 to {count - 1}. Number the classes from 0, or leave the labels out."
            )
    elif flat.size != y_float.size:
        raise TensorError(
            f"labels of shape {labels.shape} ({labels.dtype}) do not fit outputs of shape "
            f"{y_float.shape}; give one class number per sample, or one target per output, or "
            "leave them out."
        )


def _as_classes(y: AnyArray, labels: AnyArray) -> AnyArray:
    """Return labels without axes of size 1, whole numbers beside scores as integers."""
    if labels.size == len(labels) and y.shape != labels.shape:
        labels = labels.reshape(-1)
        if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)) and y.ndim == 2:
            labels = labels.astype(np.int64) if y.shape[1] > 1 else labels
    return labels


def score_of(y_float: AnyArray, y: AnyArray, labels: AnyArray | None) -> Score | None:
    """Return accuracy for class numbers, R² for targets, None without fitting labels."""
    if labels is None:
        return None
    labels = _as_classes(y, labels)
    if y.dtype.kind in "iu" and labels.dtype.kind in "iu" and labels.shape == y.shape:
        exact, rounded = (float(np.mean(values == labels)) for values in (y_float, y))
        return Score("accuracy", exact, rounded, labels.size)
    if y.ndim == 2 and y.shape[1] > 1 and labels.ndim == 1 and labels.dtype.kind in "iu":
        exact, rounded = (metrics.accuracy(values, labels) for values in (y_float, y))
        return Score("accuracy", exact, rounded, labels.size)
    if labels.size == y.size and np.ptp(labels) > 0:
        return Score("R²", metrics.r2(y_float, labels), metrics.r2(y, labels))
    return None


def flips_of(y_float: AnyArray, y: AnyArray, labels: AnyArray | None) -> tuple[Flip, ...]:
    """Return the samples whose class changes, the surest float decisions first."""
    labels = None if labels is None else _as_classes(y_float, labels)
    before, after = y_float.argmax(1), y.argmax(1)
    changed = np.flatnonzero(before != after)
    known = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
    flips = [
        Flip(
            sample=int(i),
            float_class=int(before[i]),
            quantized_class=int(after[i]),
            label=int(labels[i]) if known and labels is not None else None,
            float_margin=_margin(y_float[i]),
            quantized_margin=_margin(y[i]),
        )
        for i in changed
    ]
    return tuple(sorted(flips, key=lambda flip: -flip.float_margin))


def _margin(scores: AnyArray) -> float:
    """Return the distance between the two largest scores."""
    second, first = np.partition(scores, -2)[-2:]
    return float(first - second)
