"""No model of onnx's own test suites ends in somebody else's error."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.graph.suites import SUITES, cases, verdict
from tests.verdicts import Verdict, apart

SAMPLED = {"pytorch-converted": 8, "pytorch-operator": 5, "simple": 3, "node": 40}
"""One case of so many is tried in every run."""

FEWEST_RIGHT = {"pytorch-converted": 81, "pytorch-operator": 32, "simple": 14, "node": 1430}
"""Of all cases, as measured: a change that loses one must say so."""


@pytest.mark.parametrize("suite", SUITES)
def test_a_sample_of_the_suites_is_right_or_refused_in_our_own_words(suite: str) -> None:
    found = {
        case.name: apart(lambda case=case: verdict(case))  # type: ignore[misc]
        for i, case in enumerate(cases(suite))
        if i % SAMPLED[suite] == 0
    }
    foreign = {name: said for name, said in found.items() if said.kind == "foreign"}
    assert not foreign
    kinds = Counter(said.kind for said in found.values())
    assert kinds["right"] > 0.4 * len(found)
    for name, said in found.items():
        if said.kind == "refused":
            assert said.reason.rstrip().endswith("."), name


@pytest.mark.benchmark_suite
@pytest.mark.parametrize("suite", SUITES)
def test_all_of_a_suite(suite: str) -> None:
    found = {
        case.name: apart(lambda case=case: verdict(case))  # type: ignore[misc]
        for case in cases(suite)
    }
    _print(suite, found)
    assert not any(said.kind == "foreign" for said in found.values())
    assert sum(said.kind == "right" for said in found.values()) >= FEWEST_RIGHT[suite]


def _print(suite: str, found: dict[str, Verdict]) -> None:
    kinds = Counter(said.kind for said in found.values())
    print(f"\n{suite}: {len(found)} cases, {dict(kinds)}")  # noqa: T201
    for name, said in found.items():
        if said.kind not in {"right", "loaded"}:
            print(f"  {said.kind:8} {name}: {said.reason[:160]}")  # noqa: T201
