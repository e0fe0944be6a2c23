from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quantlib as ql
from tests import reference

CASES = list(enumerate(reference.quantizer_cases()))


def infinite(case: dict[str, Any]) -> bool:
    return not np.isfinite(case["scale"])


def options(case: dict[str, Any]) -> dict[str, Any]:
    return {"is_signed": case["is_signed"], "is_symmetric": case["is_symmetric"]}


@pytest.mark.parametrize("case", [pytest.param(c, id=str(i)) for i, c in CASES if not infinite(c)])
def test_a_quantized_array_equals_the_reference(case: dict[str, Any]) -> None:
    values = np.array(case["values"], dtype=case["dtype"]).reshape(case["shape"])
    array = ql.QuantizedArray(case["n_bits"], values, **options(case))
    quantizer = array.quantizer
    assert (quantizer.scale, quantizer.zero_point, quantizer.offset) == (
        case["scale"],
        case["zero_point"],
        case["offset"],
    )
    assert array.qvalues.ravel().tolist() == case["qvalues"]
    assert array.qvalues.dtype == np.int64
    new = np.array(case["new_values"], dtype=case["new_dtype"])
    assert quantizer.quant(new).tolist() == case["new_qvalues"]
    assert np.array_equal(array.values, values)
    assert array.dequant().ravel().tolist() == case["dequant"]
    again = ql.QuantizedArray.loads(array.dumps())
    assert again.quantizer == quantizer
    assert np.array_equal(again.qvalues, array.qvalues)


def test_the_two_infinite_scales_are_refused() -> None:
    refused = [case for _, case in CASES if infinite(case)]
    assert len(refused) == 2
    for case in refused:
        with pytest.raises(ql.OptionsError, match="single code 0"):
            ql.QuantizedArray(case["n_bits"], np.array(case["values"]), **options(case))
