from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.special import rel_entr, softmax
from scipy.stats import binomtest

from quantlib.core import metrics
from quantlib.errors import OptionsError

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


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "count"), [(0, 7), (1, 9), (148, 150), (150, 150), (311, 500)])
def test_the_interval_of_a_share_is_that_of_the_score_test(
    hits: int, count: int, confidence: float
) -> None:
    low, high = metrics.wilson_interval(hits / count, count, confidence=confidence)
    expected = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    assert math.isclose(low, expected.low, abs_tol=1e-12)
    assert math.isclose(high, expected.high, abs_tol=1e-12)
    assert 0.0 <= low <= hits / count <= high <= 1.0


@pytest.mark.parametrize("true", [0.5, 0.8, 0.9, 0.96])
@pytest.mark.parametrize("count", [150, 500])
def test_intervals_hold_the_true_share_as_often_as_they_say(true: float, count: int) -> None:
    covered = 0.0
    for hits in range(count + 1):
        low, high = metrics.wilson_interval(hits / count, count)
        chance = math.comb(count, hits) * true**hits * (1 - true) ** (count - hits)
        covered += chance * (low <= true <= high)
    assert 0.92 < covered < 0.98


@pytest.mark.parametrize(("share", "count"), [(1.1, 5), (-0.1, 5), (math.nan, 5), (0.5, 0)])
def test_an_interval_of_no_share_is_refused(share: float, count: int) -> None:
    with pytest.raises(OptionsError, match="no interval"):
        metrics.wilson_interval(share, count)


def test_the_divergence_of_scores_is_that_of_their_softmax() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 4, size=(2, 50, 7))
    found = metrics.kl_divergence(a, b)
    assert not found.of_probabilities
    p, q = softmax(a, axis=1), softmax(b, axis=1)
    assert math.isclose(found.nats, float(rel_entr(p, q).sum(axis=1).mean()), rel_tol=1e-12)
    # by its definition in digits beyond float64, for one sample
    with localcontext() as context:
        context.prec = 50
        powers = [[Decimal(float(x)).exp() for x in row] for row in (a[0], b[0])]
        shares = [[x / sum(row) for x in row] for row in powers]
        exact = sum(x * (x / y).ln() for x, y in zip(*shares, strict=True))
    assert math.isclose(metrics.kl_divergence(a[:1], b[:1]).nats, float(exact), rel_tol=1e-12)


def test_scores_that_differ_by_a_constant_are_one_distribution() -> None:
    scores = np.random.default_rng(2).normal(0, 300, size=(20, 5))
    assert metrics.kl_divergence(scores, scores + 1000.0).nats < 1e-10
    assert metrics.kl_divergence(scores, scores).nats == 0.0


def test_outputs_that_are_probabilities_are_compared_as_they_are() -> None:
    rng = np.random.default_rng(3)
    p = softmax(rng.normal(0, 2, size=(40, 4)), axis=1)
    q = softmax(rng.normal(0, 2, size=(40, 4)), axis=1)
    found = metrics.kl_divergence(p.astype(np.float32), q)
    assert found.of_probabilities
    assert math.isclose(found.nats, float(rel_entr(p, q).sum(axis=1).mean()), rel_tol=1e-5)


def test_a_probability_that_is_rounded_away_counts_as_the_least_one() -> None:
    p = np.array([[0.75, 0.25, 0.0]])
    found = metrics.kl_divergence(p, np.array([[1.0, 0.0, -0.02]]))
    least = metrics.LEAST_PROBABILITY
    total = 1 + 2 * least
    expected = 0.75 * math.log(0.75 * total) + 0.25 * math.log(0.25 * total / least)
    assert math.isclose(found.nats, expected, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("scores", "probabilities"),
    [
        ([[0.5, 0.5], [1.0, 0.0]], True),
        ([[0.5, 0.4999], [1.0, 0.0]], True),
        ([[0.5, 0.5], [1.1, -0.1]], False),
        ([[0.5, 0.7]], False),
    ],
)
def test_probabilities_are_told_from_scores(scores: list[list[float]], probabilities: bool) -> None:
    assert metrics.are_probabilities(np.array(scores)) == probabilities
