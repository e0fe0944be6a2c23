from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

import quantlib as ql
from tests.cli.running import DIGITS, IRIS, document, measured, refused, run, save

if TYPE_CHECKING:
    from pathlib import Path

FEW = ("--weight-bits", "3,5", "--activation-bits", "4", "--activation-bits", "6")


def weight_bits(config: ql.QuantizationConfig, layer: str) -> int:
    return config.weights_of(layer).n_bits


def test_what_is_found_is_saved_and_measures_as_written(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    written = document("search", *DIGITS, *FEW, "--json", "--save-config", path)
    config = ql.QuantizationConfig.from_json(path.read_bytes())
    assert written["best"]["config"] == json.loads(config.to_json())
    found = measured(DIGITS, config)
    assert found.score is not None
    assert written["best"]["sqnr_db"] == found.sqnr_db
    assert written["best"]["score"] == found.score.quantized_value
    for layer, bits in written["best"]["widths"].items():
        assert bits["weight_bits"] in (3, 5)
        assert bits["activation_bits"] in (4, 6)
        assert weight_bits(config, layer) == bits["weight_bits"]


def test_the_cost_is_the_memory_of_the_weights_and_the_uniform_one_is_no_smaller() -> None:
    written = document("search", *DIGITS, *FEW, "--json")
    graph = ql.load_model(DIGITS[0])
    names = {node.name: node.inputs[1] for node in graph.nodes if node.op_type == "Gemm"}
    biases = sum(graph.constants[n.inputs[2]].size for n in graph.nodes if n.op_type == "Gemm")
    for candidate in (written["best"], written["uniform"]):
        sizes = [
            math.prod(graph.constants[names[layer]].shape) * bits["weight_bits"]
            for layer, bits in candidate["widths"].items()
        ]
        assert candidate["cost"] == sum(sizes) + 32 * biases
        assert candidate["sqnr_db"] >= written["floor_db"]
        assert candidate["widest_bits"] <= 16
    pairs = {tuple(bits.values()) for bits in written["uniform"]["widths"].values()}
    assert len(pairs) == 1
    assert written["best"]["cost"] <= written["uniform"]["cost"]
    assert written["beats_uniform"] == (written["best"]["cost"] < written["uniform"]["cost"])


@pytest.mark.parametrize(
    ("objective", "heading"),
    [
        pytest.param("size", "memory of weights and biases", id="size"),
        pytest.param("bit-operations", "bit operations", id="bit-operations"),
        pytest.param("look-ups", "cost of table look-ups", id="look-ups"),
        pytest.param("sqnr", "mean squared error", id="sqnr"),
    ],
)
def test_each_objective_has_widths_figures_and_a_verdict(objective: str, heading: str) -> None:
    lines = run("search", *IRIS, *FEW, "--objective", objective).stdout.splitlines()
    assert lines[1].startswith(f"smallest {heading}, accumulators of at most 16 bits")
    assert sum(line.startswith("/f/Gemm") for line in lines) == 1
    for figure in ("SQNR, predicted", "SQNR, measured", "agreement", "widest accumulator"):
        assert sum(line.startswith(figure) for line in lines) == 1
    assert "best uniform configuration" in lines[-1]
    assert lines[-1].endswith("configurations were run.")


def test_the_verdict_says_beats_exactly_when_the_document_does() -> None:
    widths = ("search", *DIGITS, "--weight-bits", "2-6", "--activation-bits", "4-6")
    words = (*widths, "--floor", document(*widths, "--json")["floor_db"] - 1)
    written, said = document(*words, "--json"), run(*words).stdout
    assert written["beats_uniform"] is True
    assert f"{100 * written['gain']:.1f} % less memory of weights and biases" in said
    one = ("search", *IRIS, "--weight-bits", 4, "--activation-bits", 5)
    assert document(*one, "--json")["beats_uniform"] is False
    assert (
        "Nothing better than the best uniform configuration was found. All 1 assignments"
        in run(*one).stdout
    )


def test_every_accumulator_of_what_is_found_fits_the_limit() -> None:
    written = document("search", *DIGITS, "--limit", 11, "--objective", "sqnr", "--json")
    assert written["best"]["config"]["limit_bits"] == 11
    assert written["best"]["widest_bits"] <= 11
    assert written["best"]["sqnr_db"] >= written["uniform"]["sqnr_db"]


def test_signs_and_ranges_are_as_the_configuration_says(tmp_path: Path) -> None:
    base = ql.QuantizationConfig(
        ql.Scheme(4, True, True, per_channel=True), ql.Scheme(4), 5, 5, 9, 14
    )
    path = save(base, tmp_path / "a.json")
    found: Any = document("search", *IRIS, *FEW, "--config", path, "--json")["best"]["config"]
    assert (found["weights"]["signed"], found["weights"]["symmetric"]) == (True, True)
    assert found["weights"]["per_channel"] is True
    assert (found["rounding_threshold_bits"], found["limit_bits"]) == (9, 14)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(["--floor", "200"], "lower the floor", id="floor"),
        pytest.param(["--weight-bits", "8", "--limit", "4"], "raise the limit", id="limit"),
        pytest.param(
            ["--objective", "sqnr", "--floor", "200"], "keeps 200.0 dB", id="floor-of-sqnr"
        ),
    ],
)
@pytest.mark.parametrize("json", [False, True])
def test_when_nothing_meets_limit_and_floor_the_answer_is_no(
    words: list[str], complaint: str, json: bool, tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    form = ["--json"] if json else []
    result = run("search", *IRIS, *FEW[2:], *words, *form, "--save-config", path, code=1)
    assert complaint in result.stderr
    assert result.stdout == ""
    assert not path.exists()


def test_wrong_widths_and_objectives_are_refused() -> None:
    assert "--weight-bits is 'x'" in refused("search", *IRIS, "--weight-bits", "x")
    assert "write the range as 3-8" in refused("search", *IRIS, "--activation-bits", "8-3")
    assert "--objective" in refused("search", *IRIS, "--objective", "beauty")
    assert "DATA is missing" in refused("search", IRIS[0])
