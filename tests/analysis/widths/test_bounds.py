from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import quantlib as ql
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.linear_forms import placements
from quantlib.core.config import QuantizationConfig
from quantlib.core.scheme import Scheme
from quantlib.core.tensor import Tensor
from quantlib.errors import OptionsError
from quantlib.ops.base import MixingOp
from quantlib.ops.windows import Window
from tests import models
from tests.ops.test_conformance import CASES
from tests.ops.test_operators_golden import ARRAYS
from tests.ops.test_operators_golden import CASES as GOLDEN

Array = Any
GRAPHS = {
    name: ql.load_model(models.build(nodes, inputs=inputs, outputs=["y"], constants=constants))
    for name, (nodes, inputs, constants) in CASES.items()
}
SCHEMES = st.builds(
    Scheme,
    n_bits=st.integers(2, 7),
    signed=st.sampled_from([None, True]),
    symmetric=st.sampled_from([None, True, False]),
    narrow=st.booleans(),
    per_channel=st.booleans(),
)
ACTIVATIONS = st.builds(
    Scheme, n_bits=st.integers(1, 7), signed=st.sampled_from([None, True, False])
)
CONFIGS = st.builds(
    QuantizationConfig,
    weights=SCHEMES,
    activations=ACTIVATIONS,
    input_bits=st.integers(2, 8),
    output_bits=st.integers(7, 9),
    rounding_threshold_bits=st.sampled_from([None, 5]),
)


def data_for(case: str, rows: int, seed: int, *, shift: float = 0.0, stretch: float = 1.0) -> Array:
    shape = [rows, *(int(size) for size in CASES[case][1]["x"][1:])]
    return (models.normal(*shape, seed=seed) * stretch + shift).astype(np.float32)


def assert_nested(budget: Budget) -> None:
    for layer in budget.layers:
        assert layer.seen is not None
        assert layer.seen.within(layer.weights)
        assert layer.weights.within(layer.types)
        assert layer.seen.width_bits <= layer.weights.width_bits <= layer.types.width_bits
        assert np.all(layer.weights.channel_widths <= layer.types.channel_widths)
        for part in layer.parts:
            assert part.seen is not None
            assert part.seen.within(part.weights)


@settings(max_examples=200)
@given(
    case=st.sampled_from(sorted(CASES)),
    config=CONFIGS,
    shift=st.sampled_from([0.0, 3.0, -3.0]),
    seed=st.integers(0, 50),
)
def test_seen_lies_within_weights_and_weights_within_types(
    case: str, config: QuantizationConfig, shift: float, seed: int
) -> None:
    calibration = data_for(case, 12, seed, shift=shift)
    try:
        module = ql.quantize(GRAPHS[case], calibration, config)
    except (OptionsError, ql.TensorError):
        return  # a divisor that is 0 on a coarse grid
    beyond = data_for(case, 40, seed + 1, stretch=3.0, shift=shift)
    budget = bit_width_budget(module, beyond)
    integer = [layer.name for layer in module.layers if isinstance(layer.op, MixingOp)]
    assert [layer.name for layer in budget.layers] == integer
    assert not budget.unbounded
    assert_nested(budget)


def attaining(module: ql.QuantizedModule, weight: Array, *, highest: bool) -> Array:
    """Return codes, shaped like `weight`, that take ``sum(w * x)`` to its extreme."""
    (grid,) = module.inputs
    assert grid is not None
    return np.where((weight > 0) == highest, grid.qmax, grid.qmin)


@settings(max_examples=80)
@given(
    config=CONFIGS,
    features=st.integers(1, 9),
    channels=st.integers(1, 5),
    trans=st.booleans(),
    shift=st.sampled_from([0.0, 0.7, -0.7]),
    seed=st.integers(0, 99),
)
def test_an_input_on_the_grid_attains_the_bounds_of_a_matrix_product(
    config: QuantizationConfig,
    features: int,
    channels: int,
    trans: bool,
    shift: float,
    seed: int,
) -> None:
    w = models.normal(features, channels, seed=seed) + np.float32(shift)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "g", transB=int(trans))
    graph = ql.load_model(
        models.build(
            [node],
            inputs={"x": ["n", features]},
            outputs=["y"],
            constants={"w": w.T if trans else w},
        )
    )
    module = ql.quantize(graph, models.normal(20, features, seed=seed + 1), config)
    (layer,) = bit_width_budget(module).layers
    codes = module.layers[0].constants[1].centred()  # type: ignore[union-attr]
    centred = codes.T if trans else codes
    for channel in range(channels):
        for highest, bound in ((True, layer.weights.high), (False, layer.weights.low)):
            x = attaining(module, centred[:, channel], highest=highest)[None]
            found = np.asarray(module.quantized_forward(x))[0, channel]
            assert found == bound[channel]


@settings(max_examples=60)
@given(
    config=CONFIGS,
    shape=st.tuples(st.integers(1, 2), st.integers(2, 5), st.integers(2, 5)),
    group=st.sampled_from([1, 2]),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    strides=st.lists(st.integers(1, 2), min_size=2, max_size=2),
    shift=st.sampled_from([0.0, 4.0, -4.0]),
    seed=st.integers(0, 99),
)
def test_an_input_on_the_grid_attains_the_bounds_of_a_convolution(
    config: QuantizationConfig,
    shape: tuple[int, int, int],
    group: int,
    pads: list[int],
    strides: list[int],
    shift: float,
    seed: int,
) -> None:
    """The images are built for each position in turn; one of them must reach the bound."""
    depth, *size = shape
    w = models.normal(2 * group, depth, 2, 2, seed=seed)
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c", pads=pads, strides=strides, group=group)
    graph = ql.load_model(
        models.build(
            [node], inputs={"x": ["n", depth * group, *size]}, outputs=["y"], constants={"w": w}
        )
    )
    x = models.normal(20, depth * group, *size, seed=seed + 1) + np.float32(shift)
    module = ql.quantize(graph, x, config)
    (layer,) = bit_width_budget(module).layers
    assert layer.exact
    centred = module.layers[0].constants[1].centred()  # type: ignore[union-attr]
    (grid,) = module.inputs
    assert grid is not None
    for channel in range(2 * group):
        first = channel // 2 * depth
        for highest, bound in ((True, layer.weights.high), (False, layer.weights.low)):
            best = attaining(module, centred[channel], highest=highest)
            images = []
            steps = [
                range(0, n + before + after - 1, stride)
                for n, before, after, stride in zip(size, pads[:2], pads[2:], strides, strict=True)
            ]
            for top, left in itertools.product(*steps):
                image = np.full((depth * group, size[0] + 8, size[1] + 8), grid.qmin)
                rows, columns = top - pads[0] + 4, left - pads[1] + 4
                image[first : first + depth, rows : rows + 2, columns : columns + 2] = best
                images.append(image[:, 4 : 4 + size[0], 4 : 4 + size[1]])
            found = np.asarray(module.quantized_forward(np.stack(images)))[:, channel]
            assert (found.max() if highest else found.min()) == bound[channel]


@pytest.mark.parametrize(
    "case", ["average-pool-padded", "average-pool-ceil-padded", "average-pool-excluding-pad",
             "max-pool", "max-pool-ceil", "global-average-pool", "reduce-sum", "reduce-mean"],
)  # fmt: skip
@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0])
def test_constant_images_attain_the_bounds_of_sums_and_maxima(case: str, shift: float) -> None:
    config = QuantizationConfig.from_n_bits(3)
    module = ql.quantize(GRAPHS[case], data_for(case, 20, 3, shift=shift), config)
    (layer,) = bit_width_budget(module).layers
    assert layer.exact
    (grid,) = module.inputs
    assert grid is not None
    shape = (1, *(int(size) for size in CASES[case][1]["x"][1:]))
    ends = np.concatenate([np.full(shape, grid.qmin), np.full(shape, grid.qmax)])
    seen = bit_width_budget(module, grid.dequant(ends).astype(np.float32)).layers[0].seen
    assert seen is not None
    assert seen.range == layer.weights.range


@pytest.mark.parametrize("case", ["add", "sub", "mul", "div", "matmul-of-two"])
def test_every_pair_of_codes_together_has_the_bounds_of_a_function_of_two(case: str) -> None:
    """All pairs on two 2-bit grids, through the operator itself."""
    module = ql.quantize(GRAPHS[case], data_for(case, 30, 4), QuantizationConfig.from_n_bits(2))
    layer = module.layers[-1]
    assert isinstance(layer.op, MixingOp)
    found = bit_width_budget(module)[layer.name]
    assert found.exact
    grids = layer.input_grids
    codes = [np.arange(grid.qmin, grid.qmax + 1) for grid in grids]
    pairs = np.array(list(itertools.product(*codes)))
    a, b = (
        ql.core.tensor.Tensor(grid, codes=column)
        for grid, column in zip(grids, pairs.T, strict=True)
    )
    if case == "matmul-of-two":
        zero_point = int(np.asarray(grids[1].zero_point))
        products = 5 * pairs[:, 0] * (pairs[:, 1] - zero_point)
    else:
        output = layer.outputs[0]
        assert output is not None
        products = layer.op.accumulate(
            a, b, output=None if layer.is_graph_output else output.quant_params
        )
    assert found.weights.range == (int(products.min()), int(products.max()))


@pytest.mark.parametrize("transposed", [False, True])
def test_a_constant_first_factor_has_bounds_per_row(transposed: bool) -> None:
    w = models.normal(4, 3, seed=5)
    node = (
        helper.make_node("Gemm", ["w", "t"], ["y"], "g", transA=1)
        if transposed
        else helper.make_node("MatMul", ["w", "t"], ["y"], "g")
    )
    nodes = [helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[1, 0]), node]
    graph = ql.load_model(
        models.build(
            nodes,
            inputs={"x": ["n", 3]},
            outputs=["y"],
            constants={"w": w.T if transposed else w},
        )
    )
    module = ql.quantize(graph, models.normal(9, 3), QuantizationConfig.from_n_bits(5))
    budget = bit_width_budget(module, models.normal(300, 3, seed=8) * 3)
    assert_nested(budget)
    layer, (grid,) = module.layers[-1], module.layers[-1].input_grids
    weight = layer.constants[0]
    assert isinstance(weight, Tensor)
    codes = (weight.codes.T if transposed else weight.codes).astype(np.int64)
    ends = np.array([grid.qmin, grid.qmax]) - int(np.asarray(grid.zero_point))
    inputs = np.array(list(itertools.product(ends, repeat=3)))
    products = codes @ inputs.T
    assert budget["g"].weights.high.tolist() == products.max(axis=1).tolist()
    assert budget["g"].weights.low.tolist() == products.min(axis=1).tolist()


LINEAR = [name for name in CASES if name.startswith(("gemm", "matmul-3", "conv", "average"))]


@pytest.mark.parametrize("case", LINEAR)
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_impulses_have_the_bounds_of_a_linear_operator(case: str, shift: float) -> None:
    """Each input code moved by one in turn: an operator's matrix, whatever its geometry."""
    module = ql.quantize(
        GRAPHS[case], data_for(case, 20, 3, shift=shift), QuantizationConfig.from_n_bits(3)
    )
    layer = next(entry for entry in module.layers if isinstance(entry.op, MixingOp))
    assert isinstance(layer.op, MixingOp)
    found = bit_width_budget(module)[layer.name]
    assert found.exact
    (grid,) = layer.input_grids
    shape = tuple(int(size) for size in CASES[case][1]["x"][1:])
    size = int(np.prod(shape))
    codes = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *shape)
    constants = (layer.constants[i] for i in sorted(layer.constants))
    made = layer.op.accumulate(Tensor(grid, codes=codes), *constants, output=None)
    matrix = (made[1:] - made[0]).reshape(size, -1)
    highest = made[0].ravel() + np.where(matrix > 0, matrix * grid.qmax, matrix * grid.qmin).sum(0)
    lowest = made[0].ravel() + np.where(matrix > 0, matrix * grid.qmin, matrix * grid.qmax).sum(0)
    axis = layer.channel_axis(made.ndim)
    assert axis is not None
    others = tuple(i for i in range(made.ndim - 1) if i != axis % made.ndim - 1)
    low = lowest.reshape(made.shape[1:]).min(axis=others)
    high = highest.reshape(made.shape[1:]).max(axis=others)
    if case.startswith("average"):
        low, high = low.min(), high.max()
    assert np.array_equal(found.weights.low, np.broadcast_to(low, found.weights.low.shape))
    assert np.array_equal(found.weights.high, np.broadcast_to(high, found.weights.high.shape))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["key"]) for case in GOLDEN])
def test_every_golden_graph_lies_within_its_bounds(case: dict[str, Any]) -> None:
    """Quantizers of the model's own, movers before integers, rounding of factors."""

    def arrays(part: str) -> tuple[Array, ...]:
        return tuple(ARRAYS[f"{case['key']}.{part}{i}"] for i in range(case["inputs"]))

    module = ql.PostTrainingAffineQuantization(
        case["n_bits"],
        ARRAYS[f"{case['key']}.model"].tobytes(),
        rounding_threshold_bits=case["rounding_threshold_bits"],
    ).quantize_module(*arrays("c"))
    budget = bit_width_budget(module, arrays("e"))
    assert not budget.unbounded
    assert_nested(budget)
    spent = cost(module, budget)
    assert all(entry.count > 0 and entry.width_bits > 0 for entry in spent.lookups)


def test_a_sum_over_samples_is_only_bounded() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], "g"),
        helper.make_node("ReduceSum", ["h", "axes"], ["s"], "over-samples", keepdims=1),
        helper.make_node("Add", ["h", "s"], ["y"], "sum"),
    ]
    constants = {"w": models.normal(3, 4), "axes": np.array([0])}
    graph = ql.load_model(
        models.build(nodes, inputs={"x": ["n", 3]}, outputs=["y"], constants=constants)
    )
    module = ql.quantize(graph, models.normal(20, 3), QuantizationConfig.from_n_bits(4))
    budget = bit_width_budget(module, models.normal(300, 3, seed=2))
    assert not budget["over-samples"].exact
    assert budget["g"].exact
    assert_nested(budget)


def test_padding_beside_the_grid_counts_as_what_it_is() -> None:
    """Images far from 0: the zero point is no code of the grid, and the border decides."""
    graph = ql.load_model(
        models.build(
            [helper.make_node("Conv", ["x", "w"], ["y"], "c", pads=[2, 2])],
            inputs={"x": ["n", 1, 6]},
            outputs=["y"],
            constants={"w": -np.ones((1, 1, 3), dtype=np.float32)},
        )
    )
    x = models.normal(30, 1, 6) * np.float32(0.1) + 8
    module = ql.quantize(graph, x, QuantizationConfig.from_n_bits(4))
    (grid,) = module.inputs
    assert grid is not None
    zero_point = int(np.asarray(grid.zero_point))
    assert zero_point < grid.qmin
    (layer,) = bit_width_budget(module).layers
    w = int(np.ravel(module.layers[0].constants[1].centred())[0])  # type: ignore[union-attr]
    inside = sorted((3 * w * grid.qmin, 3 * w * grid.qmax))
    border = sorted(w * (2 * zero_point + code) for code in (grid.qmin, grid.qmax))
    assert layer.weights.range == (min(inside[0], border[0]), max(inside[1], border[1]))
    assert layer.weights.range != tuple(inside)


def test_thirty_two_bits_do_not_overflow() -> None:
    """Types of 32 bits reach beyond 64; the exact weights of one channel do not."""
    w = np.zeros((4, 2), dtype=np.float32)
    w[0] = [1.0, -0.5]
    graph = ql.load_model(
        models.build(
            [helper.make_node("MatMul", ["x", "w"], ["y"], "m")],
            inputs={"x": ["n", 4]},
            outputs=["y"],
            constants={"w": w},
        )
    )
    config = QuantizationConfig(Scheme(31, symmetric=True), Scheme(32), 32, 32)
    module = ql.quantize(graph, np.abs(models.normal(9, 4)), config)
    (layer,) = bit_width_budget(module).layers
    assert layer.types.range[1] == 4 * (2**32 - 1) * (2**30 - 1)
    assert layer.weights.range[1] == (2**32 - 1) * (2**30 - 1)


def test_placements_of_a_kernel_are_those_of_its_positions() -> None:
    window = Window(kernel=(3,), strides=(2,), dilations=(2,), pads=(3, 1))
    starts = range(-3, 7 + 1 - 5 + 1, 2)
    expected = {tuple(int(0 <= s + 2 * k < 7) for k in range(3)) for s in starts}
    assert {tuple(row) for row in placements(window, (7,)).tolist()} == expected
