"""The search against all assignments of three layers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.search.descent import Ending
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.runs import Run, Runner
from quantlib.analysis.search.search import SearchResult, search
from quantlib.analysis.search.space import space_of, widest
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from tests.models import build, normal
from tests.sample_data import sample

if TYPE_CHECKING:
    import onnx

BITS = (2, 3, 4, 5)
WITHIN = 0.02
"""How far from the optimum the search may stay, of its cost or its dB."""


def gemms(seed: int, activation: str) -> tuple[onnx.ModelProto, Any]:
    scale = np.float32(0.5)
    constants = {
        "w1": normal(8, 12, seed=seed),
        "b1": normal(12, seed=seed + 1) * scale,
        "w2": normal(12, 10, seed=seed + 2) * scale,
        "b2": normal(10, seed=seed + 3) * scale,
        "w3": normal(10, 4, seed=seed + 4) * scale,
        "b3": normal(4, seed=seed + 5),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"], "g1"),
        helper.make_node(activation, ["a"], ["r"], "r1"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["b"], "g2"),
        helper.make_node(activation, ["b"], ["s"], "r2"),
        helper.make_node("Gemm", ["s", "w3", "b3"], ["y"], "g3"),
    ]
    model = build(nodes, inputs={"x": ["n", 8]}, outputs=["y"], constants=constants)
    return model, normal(120, 8, seed=seed + 9)


def convolutions(seed: int) -> tuple[onnx.ModelProto, Any]:
    constants = {
        "w1": normal(4, 2, 3, 3, seed=seed) * np.float32(0.4),
        "w2": normal(5, 4, 3, 3, seed=seed + 2) * np.float32(0.3),
        "w3": normal(20, 3, seed=seed + 4) * np.float32(0.4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "c1"),
        helper.make_node("Relu", ["a"], ["r"], "r1"),
        helper.make_node("Conv", ["r", "w2"], ["b"], "c2"),
        helper.make_node("Relu", ["b"], ["s"], "r2"),
        helper.make_node("Flatten", ["s"], ["f"], "fl"),
        helper.make_node("MatMul", ["f", "w3"], ["y"], "g3"),
    ]
    model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], constants=constants)
    return model, normal(80, 2, 6, 6, seed=seed + 9)


def gated(seed: int) -> tuple[onnx.ModelProto, Any]:
    """Mul(Relu(Gemm(x)), x): a product of two inputs, without weights of its own."""
    constants = {"w1": normal(8, 8, seed=seed), "w3": normal(8, 4, seed=seed + 4)}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "g1"),
        helper.make_node("Relu", ["a"], ["r"], "r1"),
        helper.make_node("Mul", ["r", "x"], ["m"], "m"),
        helper.make_node("MatMul", ["m", "w3"], ["y"], "g3"),
    ]
    model = build(nodes, inputs={"x": ["n", 8]}, outputs=["y"], constants=constants)
    return model, normal(80, 8, seed=seed + 9)


MADE: dict[str, Any] = {
    "gated": lambda: gated(0),
    "relu": lambda: gemms(20, "Relu"),
    "tanh": lambda: gemms(40, "Tanh"),
    "conv": lambda: convolutions(0),
    "gated-other": lambda: gated(900),
    "relu-other": lambda: gemms(100, "Relu"),
    "tanh-other": lambda: gemms(300, "Tanh"),
    "conv-other": lambda: convolutions(700),
}


@cache
def workspace(name: str) -> Workbench:
    if name in MADE:
        model, x = MADE[name]()
        graph, half = ql.load_model(model), len(x) // 2
        return Workbench(graph, Dataset(name, (x[:half],), (x[half:],), None, (), name))
    graph, data = sample(name).graph, sample(name).data
    seen, unseen = (tuple(x[:100] for x in part) for part in (data.calibration, data.evaluation))
    return Workbench(graph, Dataset(name, seen, unseen, None, (), name))


def config_of(rounding: int | None) -> ql.QuantizationConfig:
    return ql.QuantizationConfig.from_n_bits(5, rounding_threshold_bits=rounding)


@cache
def every_run(name: str, criterion: Criterion, rounding: int | None) -> tuple[Run, ...]:
    """Run all assignments; none of the search's own order or choice takes part."""
    bench = workspace(name)
    module = bench.module(widest(config_of(rounding), BITS, BITS))
    space = space_of(module, lambda _: BITS, lambda _: BITS)
    runner = Runner(bench, space, criterion)
    runs = [runner.run(widths) for widths in space.assignments()]
    assert len(runs) == space.n_assignments
    return tuple(run for run in runs if run is not None)


def gap_of(
    name: str,
    objective: Objective,
    limit_bits: int,
    criterion: Criterion = Criterion.ANY_INPUT,
    rounding: int | None = None,
) -> float:
    """Return how far the search's answer is from the optimum; check what else it says."""
    config = config_of(rounding).replace(limit_bits=limit_bits)
    *_, found = search(
        workspace(name), config, objective=objective, criterion=criterion,
        weight_bits=BITS, activation_bits=BITS,
    )  # fmt: skip
    assert isinstance(found, SearchResult)
    every = every_run(name, criterion, rounding)
    fitting = [run for run in every if run.width_bits <= limit_bits]
    alike = [run for run in fitting if _is_uniform(run)]
    if objective is not Objective.SQNR:
        assert found.floor_db == max((run.sqnr_db for run in alike), default=None)
    kept = [run for run in fitting if found.floor_db is None or run.sqnr_db >= found.floor_db]
    assert found.best.width_bits <= limit_bits
    assert found.ending is Ending.NOTHING_PROMISED
    assert found.n_assignments == len(every)
    assert found.runs < len(every)
    if objective is Objective.SQNR:
        optimum = max(run.sqnr_db for run in kept)
        if found.uniform is not None:
            assert found.best.sqnr_db >= found.uniform.sqnr_db
        return (optimum - found.best.sqnr_db) / abs(optimum)
    assert found.floor_db is None or found.best.sqnr_db >= found.floor_db
    if found.uniform is not None:
        assert found.uniform.sqnr_db >= (found.floor_db or 0)
        assert found.best.cost <= found.uniform.cost
    return found.best.cost / min(run.cost(objective) for run in kept) - 1.0


def _is_uniform(run: Run) -> bool:
    """Tell whether all layers with weights share their width, and all layers the other."""
    parts = zip(*run.widths.values(), strict=True)
    weights, activations = ({bits for bits in part if bits} for part in parts)
    return len(weights) == len(activations) == 1


@pytest.mark.parametrize("objective", list(Objective))
def test_the_answer_is_near_the_optimum_of_all_assignments(objective: Objective) -> None:
    for limit_bits in (10, 8):
        assert gap_of("gated", objective, limit_bits) <= WITHIN


@pytest.mark.exhaustive
@pytest.mark.parametrize("rounding", [None, 6])
@pytest.mark.parametrize("criterion", list(Criterion))
@pytest.mark.parametrize("name", [*MADE, "digits_mlp"])
def test_every_answer_is_near_the_optimum_of_all_assignments(
    name: str, criterion: Criterion, rounding: int | None
) -> None:
    gaps = {
        (objective, limit_bits): gap_of(name, objective, limit_bits, criterion, rounding)
        for objective in Objective
        for limit_bits in (16, 10, 9, 8)
    }
    assert max(gaps.values()) <= WITHIN, gaps
