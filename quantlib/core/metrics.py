"""How far two tensors are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray

CONFIDENCE = 0.95
"""Of intervals, unless told otherwise."""

LEAST_PROBABILITY = 2.0**-24
"""What a float32 beside 1 can tell: a probability that a grid rounds to 0 counts as this."""

_SUMS_TO_ONE = 1e-3


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


def wilson_interval(
    share: float, count: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval in which the true share lies, given the share of some samples.

    Parameters
    ----------
    share : float
        Observed share, 0 to 1: an accuracy, or an agreement.
    count : int
        Samples it was observed on, at least 1.
    confidence : float
        How often such intervals hold the true share, between 0 and 1.

    Raises
    ------
    OptionsError
        A number out of its interval.

    Notes
    -----
    The shares whose score test does not reject the observed one (Wilson, *Journal of the American
    Statistical Association* 22, 1927): the roots p of ``(share - p)² = z² p (1 - p) / count``. It
    stays within 0 and 1, and is no single point where all samples agree.
    """
    if not 0.0 <= share <= 1.0 or count < 1 or not 0.0 < confidence < 1.0:
        raise OptionsError(
            f"no interval for the share {share!r} of {count!r} samples with confidence "
            f"{confidence!r}; give a share from 0 to 1, samples, and a confidence between 0 and 1."
        )
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    spread = z * z / count
    centre = share + spread / 2.0
    half = math.sqrt(spread * (share * (1.0 - share) + spread / 4.0))
    # the ends are exact where all samples agree
    low = 0.0 if share == 0.0 else max(0.0, (centre - half) / (1.0 + spread))
    high = 1.0 if share == 1.0 else min(1.0, (centre + half) / (1.0 + spread))
    return low, high


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far score outputs are apart as distributions over the classes.

    Parameters
    ----------
    nats : float
        Mean over the samples of ``sum p ln(p / q)``, p of the reference, at least 0.
    of_probabilities : bool
        Whether the outputs are probabilities themselves; else softmax makes them such.
    """

    nats: float
    of_probabilities: bool


def are_probabilities(scores: FloatArray) -> bool:
    """Tell whether all rows (last axis) hold no negative number and sum to 1 within 0.001."""
    rows = np.asarray(scores, dtype=np.float64)
    return bool(rows.min() >= 0.0 and np.abs(rows.sum(axis=-1) - 1.0).max() <= _SUMS_TO_ONE)


def kl_divergence(reference: FloatArray, approximation: FloatArray) -> Divergence:
    """Return the Kullback-Leibler divergence of score outputs from reference ones.

    Parameters
    ----------
    reference, approximation : float arrays, one shape, classes along the last axis
        Scores of the same samples.

    Notes
    -----
    ``D(p || q) = sum p ln(p / q)`` (Kullback and Leibler, *Annals of Mathematical Statistics* 22,
    1951). Where the reference's rows are probabilities, p and q are the outputs themselves: those
    of the approximation below `LEAST_PROBABILITY` (dequantized probabilities may be 0 or negative)
    are raised to it, and each of its rows is divided by its sum. Else both go through softmax.
    """
    p = np.asarray(reference, dtype=np.float64)
    q = np.asarray(approximation, dtype=np.float64)
    direct = are_probabilities(p)
    if direct:
        p = p / p.sum(axis=-1, keepdims=True)
        q = np.maximum(q, LEAST_PROBABILITY)
        log_q = np.log(q / q.sum(axis=-1, keepdims=True))
        log_p = np.log(np.where(p > 0, p, 1.0))
    else:
        log_p, log_q = _log_softmax(p), _log_softmax(q)
        p = np.exp(log_p)
    nats = float(np.mean(np.sum(p * (log_p - log_q), axis=-1)))
    return Divergence(max(0.0, nats), of_probabilities=direct)


def _log_softmax(scores: FloatArray) -> FloatArray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True)))
