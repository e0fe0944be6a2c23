"""What callers may give, and what they are told otherwise."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.core.arguments import as_codes, as_float, as_numbers
from tests.models import mlp

WRONG: dict[str, Any] = {
    "complex": [1 + 2j, 3],
    "complex array": np.array([1j, 0]),
    "text": ["a", "b"],
    "numbers as text": ["1", "2"],
    "ragged": [[1.0, 2.0], [3.0]],
    "none": [None, 1.0],
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "objects": [object()],
    "records": np.zeros(2, dtype=[("a", "f4")]),
}
GRID = ql.UniformQuantizer.from_stats(
    ql.QuantizationOptions(4),
    ql.MinMaxQuantizationStats(rmax=np.float64(1), rmin=np.float64(0)),
)


@pytest.mark.parametrize("kind", sorted(WRONG))
@pytest.mark.parametrize(
    "take",
    [
        as_numbers,
        as_float,
        as_codes,
        lambda v: ql.QuantizedArray(4, v),
        lambda v: ql.QuantizedArray(4, v, value_is_float=False, params=GRID.quant_params),
        lambda v: ql.QuantizedArray(4, [1.0, 2.0]).update_values(v),
        lambda v: ql.QuantizedArray(4, [1.0, 2.0]).update_quantized_values(v),
        GRID.quant,
        GRID.dequant,
        ql.MinMaxQuantizationStats.from_values,
        lambda v: ql.MinMaxQuantizationStats(rmax=v, rmin=v),
    ],
    ids=[
        "as_numbers", "as_float", "as_codes", "array", "codes", "update", "update codes", "quant",
        "dequant", "measured", "given range",
    ],
)  # fmt: skip
def test_what_is_no_number_is_the_projects_own_error(take: Any, kind: str) -> None:
    with pytest.raises(ql.TensorError):
        take(WRONG[kind])


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_a_model_refuses_what_is_no_number(kind: str) -> None:
    graph = ql.load_model(mlp())
    quantizer = ql.PostTrainingAffineQuantization(4, graph)
    with pytest.raises(ql.TensorError):
        quantizer.quantize_module(WRONG[kind])
    module = quantizer.quantize_module(np.random.default_rng(1).normal(size=(9, 6)))
    methods: list[Any] = [module.quantize_input, module.forward, module.quantized_forward]
    for method in methods:
        with pytest.raises(ql.TensorError):
            method(WRONG[kind])
    with pytest.raises(ql.TensorError):
        module.dequantize_output(WRONG[kind])


def test_numbers_keep_their_dtype_and_sequences_become_arrays() -> None:
    for dtype in (np.float32, np.float64, np.int8, np.uint64, np.bool_, np.float16):
        assert as_numbers(np.ones(3, dtype=dtype)).dtype == dtype
    assert as_float(np.ones(2, dtype=np.float16)).dtype == np.float32
    assert as_float(np.ones(2, dtype=np.longdouble)).dtype == np.float64
    assert as_numbers([[1, 2], [3, 4]]).shape == (2, 2)
    objects: Any = [Fraction(1, 2), 2**70]
    assert as_numbers(objects).tolist() == [0.5, float(2**70)]


def test_codes_are_integers_of_at_most_64_bits() -> None:
    assert as_codes(np.array([3], dtype=np.uint64)).dtype == np.int64
    with pytest.raises(ql.TensorError, match="beyond int64"):
        as_codes(np.array([2**64 - 1], dtype=np.uint64))
    with pytest.raises(ql.TensorError, match="must be integers"):
        as_codes([1.5])
    array = ql.QuantizedArray(4, [0.0, 1.0])
    with pytest.raises(ql.TensorError, match="must be integers"):
        array.update_quantized_values([1.7, 2.2])
    assert array.qvalues.tolist() == [0, 15]


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint8, np.uint64, np.array])
def test_numpy_integers_are_widths_everywhere(kind: Any) -> None:
    four, six = kind(4), kind(6)
    assert ql.QuantizationOptions(four).n_bits == 4
    assert ql.QuantizedArray(four, [0.0, 1.0]).qvalues.tolist() == [0, 15]
    plain = ql.QuantizationConfig.from_n_bits(4, rounding_threshold_bits=6)
    config = ql.QuantizationConfig.from_n_bits(four, rounding_threshold_bits=six)
    assert config == plain
    assert config.replace(limit_bits=kind(8)).limit_bits == 8
    mapping = {"op_inputs": four, "op_weights": six}
    assert ql.QuantizationConfig.from_n_bits(mapping) == ql.QuantizationConfig.from_n_bits(
        {"op_inputs": 4, "op_weights": 6}
    )
    scheme = ql.Scheme(four)
    for width in (
        scheme.n_bits, config.input_bits, config.output_bits, config.rounding_threshold_bits,
    ):  # fmt: skip
        assert type(width) is int
    assert ql.QuantizationConfig.from_json(config.to_json()) == plain


@pytest.mark.parametrize(
    "wrong", [4.0, np.float32(4), True, np.bool_(True), "4", None, [4], np.array([4]), 0, 33]
)
def test_what_is_no_width_is_the_projects_own_error(wrong: Any) -> None:
    with pytest.raises(ql.OptionsError):
        ql.QuantizationConfig.from_n_bits(wrong)
    with pytest.raises(ql.OptionsError):
        ql.QuantizationOptions(wrong)
