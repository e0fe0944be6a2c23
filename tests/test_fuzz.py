"""The fuzzing script finds what it looks for."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

import quantlib as ql
from tests import fuzz, models


def test_a_mutant_is_the_same_each_time_and_its_seed_is_another_file() -> None:
    assert fuzz.mutant(1, 5) == fuzz.mutant(1, 5)
    kinds = Counter(fuzz.mutant(1, number)[0] for number in range(60))
    assert kinds["m.onnx"] > 30
    assert len(kinds) > 1
    originals = [*fuzz.model_seeds(), *(content for _, content in fuzz.data_seeds())]
    changed = [fuzz.mutant(1, number)[1] not in originals for number in range(60)]
    assert sum(changed) > 50


@pytest.mark.parametrize(
    ("error", "found"),
    [(ql.ModelLoadError("m"), "refused"), (KeyError("m"), "foreign KeyError"), (None, "ran")],
)
def test_what_is_no_error_of_the_project_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, found: str
) -> None:
    def load(*_: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(fuzz, "loaded", load)
    monkeypatch.setattr(fuzz, "evaluate", lambda *_: None)
    graph = ql.load_model(models.mlp(features=3))
    assert fuzz.verdict("m.onnx", b"", graph) == found


def test_a_process_that_dies_is_counted_and_another_goes_on() -> None:
    runner = fuzz.Runner(1, 0, 1)
    runner.process.kill()
    while not runner.counts["death"]:
        runner.look()
    assert runner.number == 1
    assert runner.faults == ["mutant 0 of seed 1: death"]
    runner.close()


def test_a_mutant_that_computes_for_ever_is_counted_as_a_hang() -> None:
    runner = fuzz.Runner(1, 0, 1)
    runner.process.send_signal(signal.SIGXCPU)
    while not runner.counts:
        runner.look()
    assert runner.counts == {"hang": 1}
    runner.close()
