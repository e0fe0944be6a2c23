"""The examples of Concrete ML's documentation page "Quantization tools"."""

from __future__ import annotations

import numpy as np

import quantlib as ql

VALUES = np.random.RandomState(0).uniform(-2, 2, 10)


def test_seven_bits() -> None:
    array = ql.QuantizedArray(7, VALUES)
    assert array.qvalues.tolist() == [37, 73, 48, 36, 9, 58, 12, 112, 127, 0]
    assert array.quantizer.scale == 0.018274684777173276
    assert array.quantizer.zero_point == 26
    expected = [0.20102153, 0.85891018, 0.40204307, 0.18274685, -0.31066964]
    assert np.allclose(array.dequant()[:5], expected, atol=1e-8)


def test_three_bits_unsigned() -> None:
    array = ql.QuantizedArray(3, VALUES)
    assert array.qvalues.tolist() == [2, 4, 2, 2, 0, 3, 0, 6, 7, 0]
    assert array.quantizer.zero_point == 1


def test_three_bits_signed_symmetric_and_codes_alone() -> None:
    array = ql.QuantizedArray(3, VALUES, is_signed=True, is_symmetric=True)
    assert array.qvalues.tolist() == [0, 1, 1, 0, 0, 1, 0, 3, 3, -1]
    assert array.quantizer.zero_point == 0
    decoded = ql.QuantizedArray(
        array.quantizer.n_bits,
        [0, 0, 1, 2, 3, -1],
        value_is_float=False,
        options=array.quantizer.quant_options,
        stats=array.quantizer.quant_stats,
        params=array.quantizer.quant_params,
    )
    scale = array.quantizer.scale
    assert decoded.dequant().tolist() == [0, 0, scale, 2 * scale, 3 * scale, -scale]
