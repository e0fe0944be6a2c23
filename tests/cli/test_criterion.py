"""What counts against the limit: seen on the data, or for any input; by corners and by runs."""

from __future__ import annotations

import itertools
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import quantlib as ql
from tests.cli.running import DIGITS, IRIS, document, run, save

if TYPE_CHECKING:
    from pathlib import Path

WORDS = {"seen": "seen on the data", "any-input": "any input"}


def width(low: int, high: int) -> int:
    """Return the bits of the narrowest integer type that holds a range with 0."""
    if low >= 0:
        return max(1, high.bit_length())
    return max(high.bit_length(), (-low - 1).bit_length()) + 1


def first_operands(files: tuple[Path, Path], config: ql.QuantizationConfig) -> tuple[Any, Any]:
    """Return the codes and grid that the first product reads, and its weights less zero point."""
    data = np.load(files[1])
    module: Any = ql.quantize(ql.load_model(files[0]), data["calibration"], config)
    layer = next(layer for layer in module.layers if 1 in layer.constants)
    weight = layer.constants[1]
    codes = weight.codes.astype(np.int64) - int(weight.quantizer.zero_point)
    samples = np.concatenate([data["calibration"], data["evaluation"]])
    _, trace = module.forward(samples, debug=True)
    return trace[layer.name][0], codes.T if layer.node.attributes.get("transB") else codes


def products(files: tuple[Path, Path], config: ql.QuantizationConfig) -> Any:
    """Return the first product's sums on calibration and evaluation data."""
    x, weights = first_operands(files, config)
    return x.qvalues.astype(np.int64) @ weights


@cache
def widths(n_bits: int) -> dict[str, int]:
    """Width of the one accumulator of the iris model: of a run, and of every corner of the grid."""
    config = ql.QuantizationConfig.from_n_bits(n_bits)
    x, weights = first_operands(IRIS, config)
    seen = products(IRIS, config)
    ends = (int(x.quantizer.qmin), int(x.quantizer.qmax))
    corners = np.array(list(itertools.product(ends, repeat=len(weights)))) @ weights
    return {
        "seen": width(int(seen.min()), int(seen.max())),
        "any-input": width(int(corners.min()), int(corners.max())),
    }


def test_the_two_criteria_differ_where_these_tests_look() -> None:
    assert any(widths(bits)["seen"] < widths(bits)["any-input"] for bits in (4, 5, 6))


@pytest.mark.parametrize("bits", [4, 5, 6])
@pytest.mark.parametrize("criterion", list(WORDS))
def test_check_holds_what_the_criterion_counts_to_the_limit(criterion: str, bits: int) -> None:
    words = ("quantize", *IRIS, "--bits", bits, "--criterion", criterion, "--check")
    counted, name = widths(bits)[criterion], WORDS[criterion]
    fits = run(*words, "--limit", counted).stdout
    assert f"{counted} of {counted} bits in /f/Gemm, {name}" in fits
    assert f"yes, {name}" in fits
    beyond = run(*words, "--limit", counted - 1, code=1)
    assert f"does not fit: {counted} of {counted - 1} bits in /f/Gemm, {name}" in beyond.stderr
    assert f"{counted} > {counted - 1}" in beyond.stdout
    written = json.loads(run(*words, "--limit", counted - 1, "--json", code=1).stdout)
    assert (written["criterion"], written["counted_bits"], written["fits"]) == (
        name,
        counted,
        False,
    )


def test_what_is_seen_counts_when_nothing_is_said() -> None:
    for command in ("quantize", "sweep", "search"):
        small = ("--weight-bits", 4, "--activation-bits", 4)
        given, silent = (
            run(command, *IRIS, *small, *words).stdout for words in (("--criterion", "seen"), ())
        )
        assert given == silent
        assert WORDS["seen"] in silent
        assert WORDS["any-input"] not in silent


@pytest.mark.parametrize("criterion", list(WORDS))
def test_a_sweep_marks_and_orders_by_the_criterion(criterion: str) -> None:
    bits = [4, 5, 6]
    limit = widths(5)["seen"]
    found = run(
        *("sweep", *IRIS, "--weight-bits", "4-6", "--activation-bits", "4-6"),
        *("--limit", limit, "--criterion", criterion),
    )
    lines = found.stdout.splitlines()
    assert f"fits, {WORDS[criterion]}" in lines[1]
    rows = [line.split() for line in lines[2:]]
    fits = [row[-3] == "yes" for row in rows]
    assert fits == sorted(fits, reverse=True)
    assert lines[0] == f"9 of 9 configurations, {sum(fits)} fit their limit, {WORDS[criterion]}"
    for n in bits:
        (row,) = [row for row in rows if row[0] == row[2] == str(n)]
        assert row[-5] == str(widths(n)[criterion])
        assert (row[-3] == "yes") == (widths(n)[criterion] <= limit)


@pytest.mark.parametrize("criterion", list(WORDS))
def test_a_search_holds_to_the_limit_what_the_criterion_counts(criterion: str) -> None:
    words = ("search", *IRIS, "--weight-bits", "4-6", "--activation-bits", "4-6")
    limit = widths(5)["seen"]
    written = document(
        *words, "--objective", "sqnr", "--limit", limit, "--criterion", criterion, "--json"
    )
    assert written["criterion"] == WORDS[criterion]
    assert written["best"]["widest_bits"] <= limit
    allowed = [n for n in (4, 5, 6) if widths(n)[criterion] <= limit]
    best = max(
        document("quantize", *IRIS, "--bits", n, "--input-bits", n, "--json")["sqnr_db"]
        for n in allowed
    )
    assert written["best"]["sqnr_db"] >= best - 1e-9
    said = run(*words, "--limit", limit, "--criterion", criterion).stdout
    assert f"accumulators of at most {limit} bits, {WORDS[criterion]}" in said
    assert f"widest accumulator, {WORDS[criterion]}" in said


@pytest.mark.parametrize("criterion", list(WORDS))
def test_a_comparison_says_by_which_criterion_each_fits(criterion: str, tmp_path: Path) -> None:
    limit = widths(5)[criterion]
    files = [
        save(ql.QuantizationConfig.from_n_bits(n).replace(limit_bits=limit), tmp_path / f"{n}.json")
        for n in (5, 6)
    ]
    lines = run("compare", *IRIS, *files, "--criterion", criterion).stdout.splitlines()
    (row,) = [line for line in lines if line.startswith(f"fits, {WORDS[criterion]}")]
    expected = ["yes" if widths(n)[criterion] <= limit else "no" for n in (5, 6)]
    assert [word.strip(",") for word in row.split() if word.strip(",") in ("yes", "no")] == expected


def test_what_rounding_leaves_counts_as_on_the_screens() -> None:
    """The first product is rounded to 6 bits; the last leaves the graph whole."""
    words = ("quantize", *DIGITS, "--bits", 6, "--rounding", 6, "--limit", 13)
    lines = run(*words).stdout.splitlines()
    first, last = (
        next(line for line in lines if line.startswith(name)).split()
        for name in ("/f1/Gemm", "/f3/Gemm")
    )
    config = ql.QuantizationConfig.from_n_bits(6).replace(rounding_threshold_bits=6)
    seen = products(DIGITS, config)
    assert width(int(seen.min()), int(seen.max())) == 14
    removed = np.floor((seen + 2**7) / 2**8)  # 14 bits to 6, halves upwards
    assert first[-4:-2] == [str(width(int(removed.min()), int(removed.max()))), "8"]
    assert ">" in last
