from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantlib as ql
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import FeasibleRegion, feasible_region
from quantlib.core.estimator import ESTIMATORS, WEIGHT_ESTIMATORS
from quantlib.data import load_data
from quantlib.execution.memo import Memo
from quantlib.ops.conv import Conv
from quantlib.ops.linear import Gemm
from tests.analysis.widths.test_bounds import GRAPHS, data_for
from tests.paths import SAMPLES
from tests.sample_data import NAMES

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


def test_what_fits_is_what_is_within_the_limit() -> None:
    _, found = region("gemm", ql.QuantizationConfig.from_n_bits(4))
    assert found.fits[3].any()
    assert np.array_equal(
        found.fits, (found.width_bits <= found.limit_bits) & (found.width_bits > 0)
    )
    tiny = FeasibleRegion("x", 1, (4,), (4,), np.array([[9]]))
    assert not tiny.fits.any()


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


BITS = range(2, 9)
SCHEMES = list(itertools.product([False, True], repeat=2))
"""Power of two, per channel."""


def cells_of_a_sample(
    name: str, base: ql.QuantizationConfig, *, cells_per_layer: int | None, seed: int = 0
) -> int:
    """Compare cells of every layer's map with the model quantized there; return how many."""
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    data = load_data((SAMPLES / f"{name}.npz").read_bytes(), graph, name=name)
    x = tuple(part[:40] for part in data.calibration)
    rng, memo, compared = np.random.default_rng(seed), Memo(), 0
    for facts in layer_facts(ql.quantize(graph, x, base, memo=memo)):
        layer = facts.layer.name
        cells = list(itertools.product(BITS, BITS))
        if cells_per_layer is not None:
            cells = [cells[i] for i in rng.permutation(len(cells))[:cells_per_layer]]
        rows, columns = (sorted(set(axis)) for axis in zip(*cells, strict=True))
        found = feasible_region(facts, 16, weight_bits=rows, activation_bits=columns)
        assert found is not None
        for w, a in cells:
            override = ql.LayerOverride(
                base.weights_of(layer).replace(n_bits=w),
                base.activations_of(layer).replace(n_bits=a),
            )
            module = ql.quantize(graph, x, base.with_override(layer, override), memo=memo)
            width = bit_width_budget(module)[layer].weights.width_bits
            assert found.width_bits[rows.index(w), columns.index(a)] == width, (layer, w, a)
            compared += 1
    return compared


def scheme_of(
    estimator: str, power_of_two: bool, per_channel: bool, calibrate_on: str = "quantized"
) -> ql.QuantizationConfig:
    chosen = ql.Estimator(estimator)
    of_weights = chosen if estimator in WEIGHT_ESTIMATORS else ql.Estimator("min-max")
    return ql.QuantizationConfig(
        ql.Scheme(5, per_channel=per_channel, power_of_two=power_of_two, estimator=of_weights),
        ql.Scheme(5, power_of_two=power_of_two, estimator=chosen),
        input_bits=8,
        output_bits=8,
        calibrate_on=calibrate_on,
    )


@pytest.mark.parametrize("estimator", list(ESTIMATORS))
def test_a_cell_follows_the_estimator_and_powers_of_two(estimator: str) -> None:
    for i, (power_of_two, per_channel) in enumerate(SCHEMES):
        base = scheme_of(estimator, power_of_two, per_channel)
        for name in ("diabetes_mlp", "wine_sklearn"):
            assert cells_of_a_sample(name, base, cells_per_layer=3, seed=i)


@pytest.mark.parametrize("estimator", ["min-max", "percentile", "aciq-gauss"])
def test_a_cell_follows_ranges_of_the_float_model(estimator: str) -> None:
    for i, (power_of_two, per_channel) in enumerate(SCHEMES):
        base = scheme_of(estimator, power_of_two, per_channel, calibrate_on="float")
        assert cells_of_a_sample("digits_cnn", base, cells_per_layer=2, seed=i)


@pytest.mark.exhaustive
@pytest.mark.parametrize("estimator", list(ESTIMATORS))
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_of_every_sample_is_the_model_quantized_there(name: str, estimator: str) -> None:
    for power_of_two, per_channel in SCHEMES:
        base = scheme_of(estimator, power_of_two, per_channel)
        assert cells_of_a_sample(name, base, cells_per_layer=None)


def test_a_range_fitted_already_is_not_fitted_twice() -> None:
    """Seen before: 7 bits on the map, 9 when quantized."""
    base = scheme_of("min-max", power_of_two=True, per_channel=False)
    assert cells_of_a_sample("digits_mlp", base, cells_per_layer=None) == 49 * 3


def test_rounded_factors_of_a_product_are_learnt_and_have_no_map() -> None:
    graph, x = GRAPHS["mul"], data_for("mul", 20, 3)
    config = ql.QuantizationConfig.from_n_bits(6)
    for rounding, expected in ((None, False), (4, True)):
        module = ql.quantize(graph, x, config.replace(rounding_threshold_bits=rounding))
        facts = layer_facts(module)[-1]
        assert (feasible_region(facts, 16) is None) is expected
