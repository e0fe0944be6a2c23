"""Transposed convolution against its definition and against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import quantlib as ql
from quantlib.arrays import carrier
from quantlib.execution.float_run import float_tensors
from quantlib.ops import kernels
from quantlib.ops.conv_transpose import ConvTranspose
from tests import models


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    spatial = draw(st.integers(1, 3))
    group = draw(st.sampled_from([1, 2, 3]))
    channels, per_group = group * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(spatial)]
    sizes = [draw(st.integers(1, 4)) for _ in range(spatial)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.sampled_from([7, 2**11, 2**20, 2**26]))
    return {
        "x": rng.integers(-top, top + 1, (2, channels, *sizes)),
        "w": rng.integers(-top, top + 1, (channels, per_group, *kernel)),
        "strides": tuple(draw(st.integers(1, 3)) for _ in range(spatial)),
        "dilations": tuple(draw(st.integers(1, 2)) for _ in range(spatial)),
        "group": group,
    }


def by_definition(x: Any, w: Any, *, strides: Any, dilations: Any, group: int) -> Any:
    """Add every product where it belongs, one by one, in Python integers."""
    per_group, each = w.shape[1], x.shape[1] // group
    full = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(x.shape[2:], strides, w.shape[2:], dilations, strict=True)
    ]
    result = np.zeros((x.shape[0], per_group * group, *full), dtype=object)
    for n, c, m in np.ndindex(x.shape[0], x.shape[1], per_group):
        for place in np.ndindex(*x.shape[2:]):
            for tap in np.ndindex(*w.shape[2:]):
                at = tuple(
                    p * s + t * d for p, s, t, d in zip(place, strides, tap, dilations, strict=True)
                )
                product = int(x[(n, c, *place)]) * int(w[(c, m, *tap)])
                result[(n, c // each * per_group + m, *at)] += product
    return result


@given(cases())
def test_every_path_equals_the_definition(case: dict[str, Any]) -> None:
    x, w = case.pop("x"), case.pop("w")
    grouped = w.reshape(case["group"], -1, *w.shape[1:])
    largest = kernels.absolute_sum(grouped, axis=(1, *range(3, grouped.ndim)))
    bound = kernels.product_bound(int(np.abs(x).max()), largest)
    exact = by_definition(x, w, **case)
    assert bound >= int(np.abs(exact).max())
    chosen = kernels.convolve_transposed(x, w, bound=bound, **case)
    assert chosen.dtype == carrier(bound)
    assert np.array_equal(chosen.astype(np.int64), exact.astype(np.int64))
    assert np.array_equal(kernels.convolve_transposed_numpy(x, w, **case), exact)


GEOMETRIES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((5, 4), (3, 2), {}),
    "strides": ((5, 4), (3, 2), {"strides": [2, 3]}),
    "stride beyond the kernel": ((4, 3), (2, 1), {"strides": [3, 4]}),
    "pads": ((5, 4), (3, 4), {"strides": [2, 1], "pads": [1, 0, 2, 3]}),
    "dilations": ((4, 4), (3, 2), {"dilations": [2, 3], "strides": [2, 1]}),
    "groups": ((4, 4), (2, 2), {"group": 2}),
    "output padding": ((4, 3), (2, 2), {"strides": [3, 2], "output_padding": [2, 1]}),
    "output shape": ((4, 3), (3, 3), {"strides": [2, 2], "output_shape": [8, 6]}),
    "odd cut": ((4, 3), (4, 3), {"strides": [2, 2], "output_shape": [9, 6]}),
    "odd cut, upper": (
        (4, 3), (4, 3), {"strides": [2, 2], "output_shape": [9, 6], "auto_pad": "SAME_UPPER"}
    ),
    "same upper": ((4, 3), (4, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": ((4, 3), (4, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "valid": ((4, 3), (2, 3), {"auto_pad": "VALID", "strides": [2, 1]}),
    "one axis": ((6,), (3,), {"strides": [2], "pads": [1, 0]}),
    "three axes": ((3, 2, 4), (2, 3, 2), {"strides": [1, 2, 2], "pads": [0, 1, 0, 1, 1, 0]}),
}  # fmt: skip


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_geometry_is_that_of_onnx_runtime(name: str) -> None:
    sizes, kernel, attributes = GEOMETRIES[name]
    rng = np.random.default_rng(3)
    x = rng.integers(-8, 9, (2, 4, *sizes)).astype(np.float32)
    w = rng.integers(-8, 9, (4, 3, *kernel)).astype(np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", **attributes)
    model = models.build([node], inputs={"x": ["n", 4, *sizes]}, outputs=["y"], constants={"w": w})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    graph = ql.load_model(model)
    op = ConvTranspose.from_node(graph.nodes[0], graph.opsets)
    (result,) = op.float_results(x, w)
    assert result.shape == expected.shape
    assert np.array_equal(result, expected)


@pytest.mark.parametrize(
    ("kernel", "strides", "dilations"),
    [((3,), (1,), (1,)), ((3,), (2,), (1,)), ((4, 3), (2, 3), (2, 1)), ((5,), (4,), (6,))],
)
def test_fan_in_is_the_most_products_an_output_sums(
    kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> None:
    op = ConvTranspose({"strides": strides, "dilations": dilations}, 2)
    ones = np.ones((2, 4, *(9 for _ in kernel)), dtype=np.int64)
    weights = np.ones((4, 3, *kernel), dtype=np.int64)
    sums = kernels.convolve_transposed_numpy(
        ones, weights, strides=strides, dilations=dilations, group=2
    )
    assert op.fan_in(weights.shape) == sums.max()


def upsampler(*, last: bool) -> Any:
    nodes = [
        helper.make_node(
            "ConvTranspose", ["x", "w", "b"], ["y" if last else "c"], "up", strides=[2, 2],
            pads=[1, 1, 0, 0],
        )
    ]  # fmt: skip
    if not last:
        nodes.append(helper.make_node("Relu", ["c"], ["y"], "act"))
    constants = {"w": np.abs(models.normal(2, 3, 3, 3)) + 2.0, "b": models.normal(3)}
    return models.build(nodes, inputs={"x": ["n", 2, 4, 5]}, outputs=["y"], constants=constants)


@pytest.mark.parametrize("last", [True, False])
def test_zero_points_vanish_at_borders_and_between_strides(last: bool) -> None:
    """The layer equals the real operator on the values that its codes stand for."""
    graph = ql.load_model(upsampler(last=last))
    x = models.normal(6, 2, 4, 5) + 3.0
    module = ql.PostTrainingAffineQuantization(3, graph).quantize_module(x)
    seen: dict[str, Any] = {}

    def note(layer: Any, run: Any) -> None:
        if layer.name == "up":
            seen["operands"], seen["accumulator"] = run.operands, run.accumulator

    module.run(x, observe=note)
    left, weights, bias = seen["operands"]
    assert int(weights.quantizer.zero_point) != 0
    real = by_definition(
        np.asarray(left.codes - left.quantizer.zero_point),
        np.asarray(weights.codes - weights.quantizer.zero_point),
        strides=(2, 2), dilations=(1, 1), group=1,
    )[:, :, 1:, 1:]  # fmt: skip
    assert np.array_equal(seen["accumulator"].astype(np.int64), real.astype(np.int64))
    if last:
        y = np.asarray(module.forward(x))
        scale = float(left.quantizer.scale * weights.quantizer.scale)
        wanted = real.astype(np.float64) * scale + bias.values.reshape(1, -1, 1, 1)
        assert np.allclose(y, wanted, rtol=0, atol=1e-9)
        codes = np.asarray(module.quantized_forward(np.asarray(module.quantize_input(x))))
        assert np.array_equal(codes, real.astype(np.int64))
        assert np.array_equal(module.dequantize_output(codes), y)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("last", [True, False])
def test_a_grid_per_output_channel_is_shared_by_the_groups(group: int, last: bool) -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w", "b"], ["y" if last else "c"], "up",
                         group=group, strides=[2])
    ]  # fmt: skip
    if not last:
        nodes.append(helper.make_node("Relu", ["c"], ["y"], "act"))
    spread = np.array([0.1, 1.0, 10.0], dtype=np.float32).reshape(1, 3, 1)
    constants = {"w": models.normal(4, 3, 3) * spread, "b": models.normal(3 * group)}
    graph = ql.load_model(
        models.build(nodes, inputs={"x": ["n", 4, 5]}, outputs=["y"], constants=constants)
    )
    base = ql.QuantizationConfig.from_n_bits(5)
    config = base.replace(weights=base.weights.replace(per_channel=True))
    x = models.normal(8, 4, 5)
    module = ql.quantize(graph, x, config)

    def check(layer: Any, run: Any) -> None:
        if layer.name != "up":
            return
        left, weights, bias = run.operands
        assert np.shape(weights.quantizer.scale) == (1, 3, 1)
        (wanted,) = layer.op.float_results(
            left.rounded().values, weights.rounded().values, bias.values
        )
        reach = float(np.abs(wanted).max())
        assert np.allclose(run.results[0].values, wanted, rtol=0, atol=1e-5 * reach)

    module.run(x, observe=check)
    codes = np.asarray(module.quantized_forward(np.asarray(module.quantize_input(x))))
    assert np.array_equal(np.asarray(module.dequantize_output(codes)), module.forward(x))


def test_preflight_counts_its_products_and_says_that_concrete_ml_lacks_it() -> None:
    graph = ql.load_model(upsampler(last=True))
    (report,) = ql.inspect_model(graph).nodes
    assert report.fan_in == 2 * 2 * 2  # channels, and two of three taps per axis
    assert report.macs == 2 * 4 * 5 * 3 * 9
    assert "does not know ConvTranspose" in report.refusal
    (reference,) = float_tensors(graph, [models.normal(3, 2, 4, 5)], tensors=["y"]).values()
    assert reference.shape == (3, 3, 8, 10)
