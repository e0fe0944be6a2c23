from __future__ import annotations

import math

import numpy as np

from quantlib.core import metrics

EXACT = np.array([[1.0, 2.0], [3.0, 0.0]])
NOISY = EXACT + np.array([[0.1, -0.1], [0.0, 0.2]])


def test_sqnr_is_the_ratio_of_energies() -> None:
    assert math.isclose(metrics.sqnr_db(EXACT, NOISY), 10 * math.log10(14 / 0.06), rel_tol=1e-9)
    assert metrics.sqnr_db(EXACT, EXACT) == math.inf
    assert metrics.sqnr_db(np.zeros(2), np.ones(2)) == -math.inf


def test_errors_have_their_unit() -> None:
    assert math.isclose(metrics.mse(EXACT, NOISY), 0.06 / 4)
    assert math.isclose(metrics.max_abs_error(EXACT, NOISY), 0.2)


def test_cosine_of_zero_tensors_is_defined() -> None:
    assert metrics.cosine_similarity(np.zeros(3), np.zeros(3)) == 1.0
    assert metrics.cosine_similarity(np.zeros(3), np.ones(3)) == 0.0
    assert math.isclose(metrics.cosine_similarity(EXACT, 3 * EXACT), 1.0)


def test_scores_count_rows() -> None:
    assert metrics.top1_agreement(EXACT, EXACT[:, ::-1]) == 0.0
    assert metrics.accuracy(EXACT, np.array([1, 1])) == 0.5
    assert metrics.r2(EXACT, EXACT) == 1.0
    assert math.isnan(metrics.r2(np.ones(3), np.ones(3)))
