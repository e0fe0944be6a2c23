"""Intervals and divergence of an evaluation, recomputed from outputs and labels by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import rel_entr, softmax
from scipy.stats import binomtest

import quantlib as ql
from tests.sample_data import sample


@pytest.mark.parametrize("name", ["digits_mlp", "iris_linear"])
def test_shares_of_an_evaluation_have_their_intervals(name: str) -> None:
    found = sample(name)
    config = ql.QuantizationConfig.from_n_bits(3)
    bench = ql.Workbench(found.graph, found.data)
    evaluation = ql.evaluate(bench, config)
    outputs = bench.module(config).forward(*found.data.evaluation)
    exact = bench.float_model.output()
    labels = found.data.labels
    assert labels is not None
    shares = [
        int((exact.argmax(1) == labels).sum()),
        int((np.asarray(outputs).argmax(1) == labels).sum()),
        int((np.asarray(outputs).argmax(1) == exact.argmax(1)).sum()),
    ]
    expected = [
        (ends.low, ends.high)
        for ends in (
            binomtest(hits, len(labels)).proportion_ci(0.95, method="wilson") for hits in shares
        )
    ]
    assert evaluation.score is not None
    assert evaluation.score.intervals is not None
    assert evaluation.score.intervals[0] == pytest.approx(expected[0])
    assert evaluation.score.intervals[1] == pytest.approx(expected[1])
    assert evaluation.agreement_interval == pytest.approx(expected[2])
    assert evaluation.divergence is not None
    p, q = exact.astype(np.float64), np.asarray(outputs)
    assert not evaluation.divergence.of_probabilities
    p, q = softmax(p, axis=1), softmax(q, axis=1)
    nats = rel_entr(p, q).sum(axis=1).mean()
    assert evaluation.divergence.nats == pytest.approx(nats, rel=1e-9)


def test_a_regression_has_no_share() -> None:
    found = sample("diabetes_mlp")
    evaluation = ql.evaluate(
        ql.Workbench(found.graph, found.data), ql.QuantizationConfig.from_n_bits(5)
    )
    assert evaluation.score is not None
    assert evaluation.score.intervals is None
    assert evaluation.agreement_interval is None
    assert evaluation.divergence is None
