"""Options beyond the reference: per channel, narrow, powers of two, one layer at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.core.metrics import sqnr_db
from quantlib.core.tensor import Tensor
from quantlib.data import load_data
from quantlib.execution.layer import QuantizedLayer
from tests.models import build, normal
from tests.paths import SAMPLES

BASE = ql.QuantizationConfig.from_n_bits(4)


def sample(name: str) -> tuple[ql.Graph, Any]:
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    return graph, load_data((SAMPLES / f"{name}.npz").read_bytes(), graph, name=name)


def weight_of(module: ql.QuantizedModule, layer: int) -> Tensor:
    products: list[QuantizedLayer] = [
        part for part in module.layers if isinstance(part.constants.get(1), Tensor)
    ]
    weight = products[layer].constants[1]
    assert isinstance(weight, Tensor)
    return weight


def with_weights(**changes: Any) -> ql.QuantizationConfig:
    return BASE.replace(weights=BASE.weights.replace(**changes))


@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp", "digits_resnet"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_each_channel_is_quantized_as_if_it_were_alone(name: str, symmetric: bool) -> None:
    graph, data = sample(name)
    config = with_weights(per_channel=True, symmetric=symmetric, signed=symmetric)
    weight = weight_of(ql.quantize(graph, data.calibration, config), 0)
    axis = int(np.argmax(np.shape(weight.quantizer.scale)))
    assert np.size(weight.quantizer.scale) == weight.shape[axis] > 1
    for channel in range(weight.shape[axis]):
        values = np.take(weight.values, [channel], axis=axis)
        alone = ql.UniformQuantizer.from_stats(
            weight.quantizer.quant_options, ql.MinMaxQuantizationStats.from_values(values)
        )
        assert np.array_equal(alone.quant(values), np.take(weight.codes, [channel], axis=axis))


@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp", "diabetes_mlp"])
def test_integers_of_a_per_channel_model_stand_for_the_product_of_its_grids(name: str) -> None:
    graph, data = sample(name)
    module = ql.quantize(graph, data.calibration, with_weights(per_channel=True))

    def check(layer: QuantizedLayer, run: Any) -> None:
        if not isinstance(layer.constants.get(1), Tensor):
            return
        reals = [part.rounded().values if part is not None else None for part in run.operands[:2]]
        bias = [part.values if part is not None else None for part in run.operands[2:]]
        expected = layer.op.float_results(*reals, *bias)[0]
        actual = run.results[0].values
        assert np.allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())

    module.run(*data.evaluation, observe=check)
    codes: Any = module.quantized_forward(np.asarray(module.quantize_input(*data.evaluation)))
    forward: Any = module.forward(*data.evaluation)
    assert np.array_equal(np.asarray(module.dequantize_output(codes)), forward)


def test_a_grid_per_channel_is_closer_to_the_weights() -> None:
    graph, data = sample("digits_cnn")
    errors = []
    for per_channel in (False, True):
        module = ql.quantize(graph, data.calibration, with_weights(per_channel=per_channel))
        weight = weight_of(module, 1)
        errors.append(sqnr_db(weight.values, weight.rounded().values))
    assert errors[1] > errors[0] + 1


def test_a_channel_of_one_constant_keeps_its_value_and_zeros_stay_zero() -> None:
    low = np.array([[0.0], [0.5], [-0.25]])
    for signed in (False, True):
        grid = ql.UniformQuantizer.from_channels(
            ql.QuantizationOptions(3, is_signed=signed), low, low
        )
        assert np.allclose(grid.dequant(grid.quant(low)), low, rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", ["weights", "activations"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_scales_are_powers_of_two_and_nothing_is_clipped_far(part: str, symmetric: bool) -> None:
    graph, data = sample("digits_cnn")
    scheme = getattr(BASE, part).replace(power_of_two=True, symmetric=symmetric)
    module = ql.quantize(graph, data.calibration, BASE.replace(**{part: scheme}))
    scales = []
    for layer in module.layers:
        weight = layer.constants.get(1)
        grid = weight.quantizer if isinstance(weight, Tensor) else None
        grid = grid if part == "weights" else (layer.operand_grid if grid else None)
        if grid is not None:
            scales.append(float(np.log2(grid.scale)))
            assert grid.rmin is not None and grid.rmax is not None
            half = grid.scale / 2 * (1 + 1e-9)
            top, bottom = grid.dequant(grid.qmax), grid.dequant(grid.qmin)
            assert bottom - half <= grid.rmin
            assert top + half >= grid.rmax
    assert len(scales) >= 3
    assert scales == [float(round(s)) for s in scales]


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_narrow_grid_leaves_its_lowest_code_out_and_clips_nothing(symmetric: bool) -> None:
    graph, data = sample("digits_mlp")
    config = with_weights(narrow=True, symmetric=symmetric, signed=True)
    weight = weight_of(ql.quantize(graph, data.calibration, config), 0)
    assert weight.codes.min() >= -7
    assert weight.codes.max() == 7 or symmetric
    error = np.abs(weight.values - weight.rounded().values)
    assert error.max() <= weight.quantizer.scale * (0.5 + 1e-6)


def test_an_override_changes_its_layer_and_no_grid_before_it() -> None:
    graph, data = sample("digits_cnn")
    names = [n.name for n in graph.nodes if n.op_type in {"Conv", "Gemm"}]
    override = ql.LayerOverride(weights=ql.Scheme(7), activations=ql.Scheme(6))
    module = ql.quantize(graph, data.calibration, BASE.with_override(names[1], override))
    plain = ql.quantize(graph, data.calibration, BASE)
    for before, after in zip(plain.layers, module.layers, strict=True):
        weight = after.constants.get(1)
        if not isinstance(weight, Tensor):
            continue
        changed = after.name == names[1]
        assert weight.n_bits == (7 if changed else 4)
        assert after.input_options.n_bits == (6 if changed else 4)
        if after.name == names[0]:
            assert after.outputs[0] == before.outputs[0]


def test_an_override_of_an_unknown_layer_names_the_layers_there_are() -> None:
    graph, data = sample("digits_mlp")
    config = BASE.with_override("conv9", ql.LayerOverride(weights=ql.Scheme(3)))
    with pytest.raises(ql.OptionsError, match=r"conv9.*its layers are"):
        ql.quantize(graph, data.calibration, config)


def test_an_empty_override_is_no_override() -> None:
    config = BASE.with_override("a", ql.LayerOverride(weights=ql.Scheme(3)))
    assert config.with_override("a", ql.LayerOverride()) == BASE
    assert BASE.is_reference
    assert not config.is_reference


def test_overrides_and_estimators_survive_json() -> None:
    scheme = ql.Scheme(3, True, True, True, True, True, ql.Estimator("percentile", 99.5))
    config = BASE.replace(weights=scheme, calibrate_on="float").with_override(
        'odd "name"', ql.LayerOverride(activations=ql.Scheme(6))
    )
    assert ql.QuantizationConfig.from_json(config.to_json()) == config


def test_a_document_of_the_first_schema_is_read() -> None:
    text = (
        '{"schema_version": 1, "weights": {"n_bits": 4, "signed": null, "symmetric": null}, '
        '"activations": {"n_bits": 4, "signed": null, "symmetric": null}, "input_bits": 5, '
        '"output_bits": 5, "rounding_threshold_bits": null, "limit_bits": 16}'
    )
    assert ql.QuantizationConfig.from_json(text) == BASE


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ('{"a": {"weights": {"n_bits": 99}}}', r'\$\.overrides\["a"\]\.weights: .*99'),
        ('{"a": {"bias": 3}}', r'\$\.overrides\["a"\]\.bias is unknown'),
        ('{"a": 3}', r'\$\.overrides\["a"\]: expected an object'),
        ("[]", r"\$\.overrides: expected an object"),
        ('{"a": {"weights": {"n_bits": 3, "estimator": {"name": "luck"}}}}', "estimator.*luck"),
    ],
)
def test_a_wrong_override_is_named_by_its_path(member: str, message: str) -> None:
    text = BASE.to_json().replace('"overrides": {}', f'"overrides": {member}')
    with pytest.raises(ql.ConfigurationError, match=message):
        ql.QuantizationConfig.from_json(text)


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("constant", [-3.0, 3.0])
def test_a_constant_channel_keeps_its_value_on_a_narrow_grid(
    constant: float, power_of_two: bool
) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "g")]
    weights = normal(6, 4)
    weights[:, 2] = constant
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants={"w": weights})
    scheme = ql.Scheme(4, False, False, narrow=True, power_of_two=power_of_two, per_channel=True)
    module = ql.quantize(ql.load_model(model), normal(50, 6), BASE.replace(weights=scheme))
    weight = weight_of(module, 0)
    assert np.allclose(weight.rounded().values[:, 2], constant, atol=1e-6)
    assert weight.codes.min() >= 1
