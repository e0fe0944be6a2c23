"""How far two tensors are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray


def mse(reference: FloatArray, approximation: FloatArray) -> float:
    """Return the mean squared error, in the square of the tensor's unit."""
    difference = np.asarray(reference, dtype=np.float64) - approximation
    return float(np.mean(np.square(difference)))


def max_abs_error(reference: FloatArray, approximation: FloatArray) -> float:
    """Return the largest absolute error, in the tensor's unit."""
    return float(np.max(np.abs(np.asarray(reference, dtype=np.float64) - approximation)))


def sqnr_db(reference: FloatArray, approximation: FloatArray) -> float:
    """Return the signal-to-quantization-noise ratio, ``10 log10(sum x² / sum (x - x̂)²)``, dB.

    Equal tensors give ``inf``; a zero reference with any error gives ``-inf``.
    """
    signal = np.asarray(reference, dtype=np.float64)
    noise_energy = float(np.sum(np.square(signal - approximation)))
    if noise_energy == 0.0:
        return float("inf")
    signal_energy = float(np.sum(np.square(signal)))
    return 10.0 * float(np.log10(signal_energy / noise_energy)) if signal_energy else -float("inf")


def cosine_similarity(reference: FloatArray, approximation: FloatArray) -> float:
    """Return the cosine of the angle between two tensors, 1 for equal directions.

    Two zero tensors are equal (1); one zero tensor has no direction (0).
    """
    a = np.asarray(reference, dtype=np.float64).ravel()
    b = np.asarray(approximation, dtype=np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0.0:
        return float(not a.any() and not b.any())
    return float(a @ b) / norms


def top1_agreement(reference: FloatArray, approximation: FloatArray) -> float:
    """Return the share of rows (axis 0) whose largest entry (last axis) is at the same place."""
    return float(np.mean(np.argmax(reference, -1) == np.argmax(approximation, -1)))


def accuracy(scores: FloatArray, labels: AnyArray) -> float:
    """Return the share of rows whose largest entry is at the class number in `labels`."""
    return float(np.mean(np.argmax(scores, -1).ravel() == np.ravel(labels)))


def r2(prediction: FloatArray, target: FloatArray) -> float:
    """Return the coefficient of determination, ``1 - sum (y - ŷ)² / sum (y - mean y)²``."""
    y = np.asarray(target, dtype=np.float64).ravel()
    residual = float(np.sum(np.square(y - np.asarray(prediction, dtype=np.float64).ravel())))
    total = float(np.sum(np.square(y - y.mean())))
    return 1.0 - residual / total if total else float("nan")
