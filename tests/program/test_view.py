"""Tables as pictures, against counting."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from quantlib.errors import OptionsError
from quantlib.ops.kernels import round_low_bits
from quantlib.program.view import TableView
from tests.integer_programs import module


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
    program = made.program()
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


def test_a_layer_without_tables_is_said() -> None:
    made = module("digits_mlp", "plain", 4)
    with pytest.raises(OptionsError, match="tables begin at"):
        made.tables("nowhere")


def test_the_cheaper_form_is_what_a_count_of_bytes_says() -> None:
    view = module("digits_mlp", "plain", 8).tables(
        next(x.name for x in module("digits_mlp", "plain", 8).layers)
    )[0]
    functions = len(view.thresholds)
    assert view.cost.whole_bytes >= functions * (view.high - view.low + 1)
    steps = sum(map(len, view.thresholds))
    assert steps <= view.cost.threshold_bytes <= 4 * steps + 16 * functions
    assert view.cost.least_bytes == min(view.cost.whole_bytes, view.cost.threshold_bytes)
