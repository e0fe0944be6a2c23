"""Tables as pictures, against counting."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantlib.errors import OptionsError
from quantlib.ops.kernels import round_low_bits
from quantlib.program.view import TableView
from tests.integer_programs import configuration, module
from tests.sample_data import sample


def code_at(view: TableView, function: int, integers: Any) -> Any:
    """Return the codes of integers, step by step."""
    codes = np.full(len(integers), view.values[function][0])
    for threshold, code in zip(view.thresholds[function], view.values[function][1:], strict=True):
        codes[integers >= threshold] = code
    return codes


@pytest.mark.parametrize(
    ("name", "kind", "layer"),
    [("digits_mlp", "plain", 0), ("digits_cnn", "round6", 0), ("digits_resnet", "channels", 1),
     ("digits_cnn", "plain", 1)],
)  # fmt: skip
def test_steps_that_rounding_leaves_are_those_of_rounded_accumulators(
    name: str, kind: str, layer: int
) -> None:
    made = module(name, kind, 4)
    products = [item for item in made.layers if item.node.op_type in ("Gemm", "Conv")]
    (view,) = made.tables(products[layer].name)
    every = np.arange(view.low, view.high + 1)
    assert view.rounded[0].bits == view.width_bits - view.lsbs
    for left in view.rounded:
        rounded = round_low_bits(every, left.lsbs)
        different, steps = set(), 0
        for function in range(len(view.thresholds)):
            codes = code_at(view, function, rounded)
            different.update(codes.tolist())
            steps += int((codes[1:] != codes[:-1]).sum())
        assert left.codes == len(different)
        assert left.vanished == sum(map(len, view.thresholds)) - steps
    json.dumps(view.dump_dict())


def test_the_staircase_is_the_program_s_table() -> None:
    made = module("digits_cnn", "round6", 6)
    program, compared = made.program(), 0
    for table in program.tables:
        for view in made.tables(table.layer):
            if view.reader != table.reader:
                continue
            source = program.step(table.source)
            integers = np.arange(view.low, view.high + 1)
            if view.lsbs:
                offset = getattr(source, "offset", 0)
                table_codes = table.staircases[0](
                    (integers + offset + 2 ** (view.lsbs - 1)) >> view.lsbs
                )
            else:
                table_codes = table.staircases[0](integers)
            assert np.array_equal(code_at(view, 0, integers), table_codes)
            compared += 1
    assert compared == len(program.tables) == 4


@pytest.mark.parametrize(
    ("name", "n_bits", "layer", "words"),
    [("digits_mlp", 4, "nowhere", "tables begin at: /f1/Gemm, /f2/Gemm"),
     ("digits_mlp", 4, "/Relu", "it is inside the one of '/f1/Gemm'"),
     ("digits_mlp", 4, "/f3/Gemm", "its integers are the model's output 'output'"),
     ("digits_cnn", 8, "/Flatten", "'/f/Gemm' takes its integers as they are"),
     ("wine_sklearn", 4, "Gemm_Node_2", "what reads it stays in float, as Softmax computes")],
)  # fmt: skip
def test_a_layer_without_tables_is_said_with_the_reason(
    name: str, n_bits: int, layer: str, words: str
) -> None:
    with pytest.raises(OptionsError, match=words):
        module(name, "plain", n_bits).tables(layer)


def without_and_with_rounding(name: str, layer: str, bits: int) -> list[TableView]:
    """Return a layer's table in two modules; the float model's ranges are those of both."""
    base = configuration("float", 4)
    return [
        sample(name).bench.module(replace(base, rounding_threshold_bits=r)).tables(layer)[0]
        for r in (None, bits)
    ]


@pytest.mark.parametrize(
    ("name", "layer", "bits"),
    [("digits_cnn", "/c1/Conv", 3), ("digits_cnn", "/c1/Conv", 5), ("digits_mlp", "/f1/Gemm", 3),
     ("digits_mlp", "/f1/Gemm", 5), ("digits_mlp", "/f1/Gemm", 6)],
)  # fmt: skip
def test_bytes_after_rounding_are_those_of_a_module_that_rounds(
    name: str, layer: str, bits: int
) -> None:
    plain, rounding = without_and_with_rounding(name, layer, bits)
    assert rounding.lsbs > 0
    [same] = [left for left in plain.rounded if left.lsbs == rounding.lsbs]
    assert same.cost == rounding.cost
    assert same.cost == rounding.rounded[0].cost
    assert same.codes == rounding.codes


def test_only_a_multiple_above_all_integers_can_have_a_step_that_no_table_shows() -> None:
    plain, rounding = without_and_with_rounding("digits_cnn", "/c1/Conv", 6)
    every = np.arange(plain.low, plain.high + 1)
    rounded = round_low_bits(every, rounding.lsbs)
    differ = np.zeros(len(every), dtype=bool)
    for a, b in zip(plain.rows, rounding.rows, strict=True):
        differ |= code_at(plain, a, rounded) != code_at(rounding, b, every)
    assert set(every[differ]) == {312, 313, 314, 315}
    assert set(rounded[differ]) == {320}
    assert plain.high == 315


def test_the_cheaper_form_is_what_a_count_of_bytes_says() -> None:
    view = module("digits_mlp", "plain", 8).tables(
        next(x.name for x in module("digits_mlp", "plain", 8).layers)
    )[0]
    functions = len(view.thresholds)
    assert view.cost.whole_bytes >= functions * (view.high - view.low + 1)
    steps = sum(map(len, view.thresholds))
    assert steps <= view.cost.threshold_bytes <= 4 * steps + 16 * functions
    assert view.cost.least_bytes == min(view.cost.whole_bytes, view.cost.threshold_bytes)
