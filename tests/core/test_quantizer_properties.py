from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import quantlib as ql

finite = st.floats(-(2.0**100), 2.0**100, allow_nan=False, width=32)
values = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=3, max_side=6), elements=finite)
)


@st.composite
def options(draw: st.DrawFn) -> ql.QuantizationOptions:
    n_bits = draw(st.integers(1, 32))
    signed = draw(st.booleans())
    symmetric = signed and n_bits > 1 and draw(st.booleans())
    return ql.QuantizationOptions(n_bits, is_signed=signed, is_symmetric=symmetric)


@given(values, options())
def test_codes_stay_on_the_grid(x: Any, chosen: ql.QuantizationOptions) -> None:
    array = ql.QuantizedArray(chosen.n_bits, x, options=chosen)
    assert array.qvalues.min() >= array.quantizer.qmin
    assert array.qvalues.max() <= array.quantizer.qmax


@given(values, options())
def test_requantizing_dequantized_values_changes_nothing(
    x: Any, chosen: ql.QuantizationOptions
) -> None:
    array = ql.QuantizedArray(chosen.n_bits, x, options=chosen)
    codes = array.qvalues.copy()
    assert np.array_equal(array.quantizer.quant(array.dequant()), codes)


@given(values, options())
def test_the_error_inside_the_grid_is_at_most_half_a_step(
    x: Any, chosen: ql.QuantizationOptions
) -> None:
    x = x.astype(np.float64)
    array = ql.QuantizedArray(chosen.n_bits, x, options=chosen)
    quantizer = array.quantizer
    inside = (array.qvalues > quantizer.qmin) & (array.qvalues < quantizer.qmax)
    error = np.abs(array.dequant() - x)[inside]
    scale = abs(float(quantizer.scale))
    assert np.all(error <= scale / 2 * (1 + 1e-6) + 1e-9 * np.abs(x[inside]))


@given(values, options())
def test_every_part_survives_json(x: Any, chosen: ql.QuantizationOptions) -> None:
    quantizer = ql.QuantizedArray(chosen.n_bits, x, options=chosen).quantizer
    assert ql.QuantizationOptions.loads(chosen.dumps()) == chosen
    assert quantizer.quant_stats is not None
    stats = ql.MinMaxQuantizationStats.loads(quantizer.quant_stats.dumps())
    assert stats == quantizer.quant_stats
    assert stats.rmax.dtype == quantizer.quant_stats.rmax.dtype
    params = quantizer.quant_params
    assert ql.UniformQuantizationParameters.loads(params.dumps()) == params
    assert ql.UniformQuantizer.loads(quantizer.dumps()) == quantizer


def test_parameters_with_a_zero_point_per_channel_survive_json() -> None:
    params = ql.UniformQuantizationParameters(np.float64(0.5), np.array([[0.25, -3.0]]), 0)
    assert ql.UniformQuantizationParameters.loads(params.dumps()) == params


@pytest.mark.parametrize(
    ("constant", "scale", "zero_point"),
    [(0.0, 1.0, 0), (123.0, 123.0, 0), (-4.0, -4.0, 0), (5e-7, 1.0, 0)],
)
def test_a_constant_has_a_defined_grid(constant: float, scale: float, zero_point: int) -> None:
    quantizer = ql.QuantizedArray(4, np.full(3, constant)).quantizer
    assert (quantizer.scale, quantizer.zero_point, quantizer.offset) == (scale, zero_point, 0)


@pytest.mark.parametrize("n_bits", [0, 33, -1, 2.5, True, None, "4"])
def test_a_width_out_of_range_is_refused(n_bits: Any) -> None:
    with pytest.raises(ql.OptionsError, match="1 to 32"):
        ql.QuantizationOptions(n_bits)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([]), "no elements"),
        (np.array([1.0, np.nan]), "NaN or infinite"),
        (np.array([np.inf]), "NaN or infinite"),
    ],
)
def test_values_without_a_range_are_refused(bad: Any, message: str) -> None:
    with pytest.raises(ql.TensorError, match=message):
        ql.QuantizedArray(4, bad)


def test_symmetric_needs_signed() -> None:
    with pytest.raises(ql.OptionsError, match="is_signed"):
        ql.QuantizedArray(4, np.ones(3), is_symmetric=True)


def test_codes_need_parameters_and_integers() -> None:
    with pytest.raises(ql.OptionsError, match="params"):
        ql.QuantizedArray(4, [1, 2], value_is_float=False)
    with pytest.raises(ql.TensorError, match="integers"):
        ql.QuantizedArray(
            4, np.array([1.5]), value_is_float=False, scale=1.0, zero_point=0, offset=0
        )


def test_partial_parameters_and_unknown_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="without offset, zero_point"):
        ql.QuantizedArray(4, np.ones(2), scale=1.0)
    with pytest.raises(TypeError, match="colour"):
        ql.QuantizedArray(4, np.ones(2), colour="blue")


def test_updating_values_keeps_the_grid() -> None:
    array = ql.QuantizedArray(4, np.array([0.0, 15.0]))
    assert array.update_values(np.array([3.2, 40.0])).tolist() == [3, 15]
    assert array.update_quantized_values([2, 7]).tolist() == [2.0, 7.0]
    assert array().tolist() == [2, 7]
