from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantlib as ql
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import FeasibleRegion, feasible_region
from quantlib.ops.conv import Conv
from quantlib.ops.linear import Gemm
from tests.analysis.widths.test_bounds import GRAPHS, data_for

PRODUCTS = ["gemm", "matmul", "matmul-3d", "conv", "conv-strided-dilated", "conv-depthwise"]


def region(case: str, config: ql.QuantizationConfig) -> tuple[ql.QuantizedModule, FeasibleRegion]:
    module = ql.quantize(GRAPHS[case], data_for(case, 20, 3, shift=0.3), config)
    facts = layer_facts(module)[-1]
    found = feasible_region(facts, 9, weight_bits=range(1, 9), activation_bits=range(1, 9))
    assert found is not None
    return module, found


@settings(max_examples=60)
@given(
    case=st.sampled_from(PRODUCTS),
    weights=st.integers(2, 8),
    activations=st.integers(1, 8),
    symmetric=st.sampled_from([None, True, False]),
    per_channel=st.booleans(),
)
def test_each_cell_is_the_width_of_the_module_quantized_there(
    case: str, weights: int, activations: int, symmetric: bool | None, per_channel: bool
) -> None:
    scheme = ql.Scheme(4, symmetric=symmetric, per_channel=per_channel)
    base = ql.QuantizationConfig.from_n_bits(4).replace(weights=scheme)
    _, found = region(case, base)
    there = base.replace(
        weights=scheme.replace(n_bits=weights),
        activations=ql.Scheme(activations),
        output_bits=8,
        input_bits=8,
    )
    module = ql.quantize(GRAPHS[case], data_for(case, 20, 3, shift=0.3), there)
    layer = bit_width_budget(module).layers[-1]
    cell = found.width_bits[weights - 1, activations - 1]
    assert cell == layer.weights.width_bits
    assert found.fits[weights - 1, activations - 1] == (layer.weights.width_bits <= 9)


def test_more_bits_never_fit_better() -> None:
    for case in PRODUCTS:
        _, found = region(case, ql.QuantizationConfig.from_n_bits(4))
        widths = found.width_bits[1:]
        assert np.all(np.diff(widths, axis=1) >= 0)
        assert np.all(np.diff(widths, axis=0) >= 0)


def test_one_symmetric_bit_is_no_grid() -> None:
    config = ql.QuantizationConfig.from_n_bits(4).replace(weights=ql.Scheme(4, symmetric=True))
    _, found = region("gemm", config)
    assert not found.width_bits[0].any()
    assert not found.fits[0].any()


def test_the_edge_of_the_region_is_the_most_that_fits() -> None:
    _, found = region("gemm", ql.QuantizationConfig.from_n_bits(4))
    most = found.most_activation_bits(4)
    assert most is not None
    assert found.fits[3, most - 1]
    assert most == 8 or not found.fits[3, most]
    weight = found.most_weight_bits(most)
    assert weight is not None
    assert weight >= 4
    tiny = FeasibleRegion("x", 1, (4,), (4,), np.array([[9]]))
    assert tiny.most_activation_bits(4) is None
    assert tiny.most_weight_bits(4) is None


@pytest.mark.parametrize("case", ["average-pool", "reduce-sum", "max-pool", "mul", "add"])
def test_operators_without_weights_depend_on_activations_alone(case: str) -> None:
    module, found = region(case, ql.QuantizationConfig.from_n_bits(5))
    assert np.all(found.width_bits == found.width_bits[0])
    assert found.width_bits[0, 4] == bit_width_budget(module).layers[-1].weights.width_bits


def test_a_width_out_of_range_is_refused() -> None:
    module, _ = region("gemm", ql.QuantizationConfig.from_n_bits(4))
    with pytest.raises(ql.OptionsError, match="33"):
        feasible_region(layer_facts(module)[0], 8, weight_bits=[33])


def test_every_integer_operator_has_a_region() -> None:
    for case, graph in GRAPHS.items():
        module = ql.quantize(graph, data_for(case, 20, 3), ql.QuantizationConfig.from_n_bits(5))
        for facts in layer_facts(module):
            found = feasible_region(facts, 16, weight_bits=[3], activation_bits=[3])
            assert found is not None
            assert found.width_bits.shape == (1, 1)
            assert isinstance(facts.op, Gemm | Conv) or found.width_bits.all()
