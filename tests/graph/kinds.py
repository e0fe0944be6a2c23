"""Models of each kind that people bring, made by code; ONNX Runtime says what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models import build, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MADE: dict[str, Callable[[], tuple[onnx.ModelProto, tuple[Any, ...]]]] = {}
"""Model and inputs by the name of the case."""

node = helper.make_node


def made(function: Callable[[], tuple[onnx.ModelProto, tuple[Any, ...]]]) -> Any:
    MADE[function.__name__] = function
    return function


def typed_input(model: onnx.ModelProto, kind: int) -> None:
    model.graph.input[0].type.tensor_type.elem_type = kind


# Resize, Scan and Loop: sizes and counts are constants


@made
def resize_to_sizes_of_one_axis() -> Any:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Resize", ["c", "", "", "sizes"], ["r"], mode="linear",
             coordinate_transformation_mode="align_corners"),
        node("ReduceMean", ["r"], ["y"], axes=[2], keepdims=0),
    ]  # fmt: skip
    constants = {"w": normal(3, 2, 3), "sizes": np.array([12, 3, 17])}
    model = build(nodes, inputs={"x": [12, 2, 10]}, outputs=["y"], opset=13, constants=constants)
    return model, (normal(12, 2, 10),)


@made
def resize_by_scales_and_region() -> Any:
    nodes = [
        node("Resize", ["x", "roi", "scales"], ["r"], mode="nearest",
             coordinate_transformation_mode="tf_crop_and_resize"),
        node("Mul", ["r", "k"], ["y"]),
    ]  # fmt: skip
    constants = {
        "roi": np.array([0, 0, 0.2, 0.2, 1, 1, 0.9, 0.8], np.float32),
        "scales": np.array([1, 1, 2, 1.5], np.float32),
        "k": np.float32(0.3),
    }
    model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], opset=13, constants=constants)
    return model, (normal(8, 2, 6, 6),)


@made
def scan_over_columns() -> Any:
    body = helper.make_graph(
        [node("Add", ["s", "e"], ["s2"]), node("Identity", ["s2"], ["o"])],
        "body",
        [helper.make_tensor_value_info(n, 1, ("b",)) for n in "se"],
        [helper.make_tensor_value_info(n, 1, ["b"]) for n in ("s2", "o")],
    )
    nodes = [
        node("ReduceSum", ["x", "axes"], ["start"], keepdims=0),
        node("Scan", ["start", "x"], ["last", "all"], body=body, num_scan_inputs=1,
             scan_input_axes=[1], scan_output_axes=[1]),
        node("Gemm", ["all", "w"], ["y"]),
    ]  # fmt: skip
    constants = {"w": normal(5, 3), "axes": np.array([1])}
    model = build(nodes, inputs={"x": ["b", 5]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(30, 5),)


@made
def loop_of_three_rounds() -> Any:
    body = helper.make_graph(
        [
            node("MatMul", ["h", "w"], ["m"]),
            node("Tanh", ["m"], ["h2"]),
            node("Identity", ["go"], ["go2"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", 1, ["n", 4]),
        ],
        [
            helper.make_tensor_value_info("go2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h2", 1, ["n", 4]),
        ],
    )
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Loop", ["times", "", "r"], ["h_end"], body=body),
        node("Gemm", ["h_end", "v"], ["y"]),
    ]
    constants = {"times": np.array(3), "w": normal(4, 4), "v": normal(4, 2, seed=1)}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(40, 4),)


# Stricter rules than ONNX Runtime's


@made
def reversed_nodes() -> Any:
    nodes = [
        node("Add", ["a", "b"], ["y"]),
        node("MatMul", ["r", "w"], ["b"]),
        node("Neg", ["r"], ["a"]),
        node("Relu", ["x"], ["r"]),
    ]
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants={"w": normal(4, 4)})
    return model, (normal(30, 4),)


STALE: dict[str, Sequence[str | int]] = {
    "c": ["n", 3, 4, 4], "r": ["n", 3, 4, 4], "p": ["n", 3],
    "a": ["n", 5], "b": ["n", 3],
}  # fmt: skip
"""What files note that is no longer so."""


@made
def stale_shapes_of_convolutions() -> Any:
    nodes = [
        node("Conv", ["x", "w"], ["c"], "c", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], "r"),
        node("GlobalAveragePool", ["r"], ["p"], "p"),
        node("Flatten", ["p"], ["y"], "f"),
    ]
    model = build(
        nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], constants={"w": normal(3, 2, 3, 3)}
    )
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, 1, shape) for name, shape in list(STALE.items())[:3]
    )
    return model, (normal(20, 2, 6, 6),)


@made
def stale_shapes_of_two_outputs() -> Any:
    nodes = [
        node("Gemm", ["x", "w"], ["a"]),
        node("Unsqueeze", ["a", "axis"], ["b"]),
    ]
    constants = {"w": normal(4, 3), "axis": np.array([1])}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["a", "b"], constants=constants)
    for value in model.graph.output:
        value.CopyFrom(helper.make_tensor_value_info(value.name, 1, STALE[value.name]))
    return model, (normal(20, 4),)


@made
def initializers_that_are_no_inputs_in_an_old_file() -> Any:
    nodes = [node("Gemm", ["x", "w", "b"], ["h"]), node("Sigmoid", ["h"], ["y"])]
    constants = {"w": normal(4, 3), "b": normal(3)}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=8, constants=constants)
    model.ir_version = 3
    return model, (normal(20, 4),)


@made
def old_file_with_half_of_its_initializers_as_inputs() -> Any:
    nodes = [node("Conv", ["x", "w", "b"], ["h"]), node("Relu", ["h"], ["y"])]
    constants = {"w": normal(3, 2, 3), "b": normal(3)}
    model = build(nodes, inputs={"x": ["n", 2, 8]}, outputs=["y"], opset=7, constants=constants)
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [3, 2, 3]))
    model.ir_version = 3
    return model, (normal(20, 2, 8),)


@made
def outputs_without_a_type() -> Any:
    nodes = [node("Gemm", ["x", "w"], ["h"]), node("TopK", ["h", "k"], ["v", "i"])]
    constants = {"w": normal(4, 6), "k": np.array([2])}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["v"], constants=constants)
    model.graph.output[0].ClearField("type")
    return model, (normal(20, 4),)


@made
def an_untyped_output_of_an_operator_of_the_runtime() -> Any:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("QuickGelu", ["h"], ["y"], domain="com.microsoft"),
    ]
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants={"w": normal(4, 6)})
    model.graph.output[0].ClearField("type")
    return model, (normal(20, 4),)


def sparse(name: str, dense: Any, *, by_axis: bool) -> onnx.SparseTensorProto:
    places = np.argwhere(dense) if by_axis else np.flatnonzero(dense)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(dense[dense != 0], name),
        numpy_helper.from_array(places.astype(np.int64), f"{name}_indices"),
        dense.shape,
    )


@made
def sparse_weights_by_place() -> Any:
    weights = normal(6, 4) * (normal(6, 4, seed=3) > 0.5)
    model = build([node("MatMul", ["x", "w"], ["y"])], inputs={"x": ["n", 6]}, outputs=["y"])
    model.graph.sparse_initializer.append(sparse("w", weights, by_axis=False))
    return model, (normal(20, 6),)


@made
def sparse_weights_by_axis() -> Any:
    weights = normal(6, 4) * (normal(6, 4, seed=3) > 0.3)
    nodes = [node("Gemm", ["x", "w", "b"], ["c"], transB=1), node("Relu", ["c"], ["y"])]
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], constants={"b": normal(6)})
    model.graph.sparse_initializer.append(sparse("w", weights, by_axis=True))
    return model, (normal(20, 4),)


@made
def no_graph_name_and_unknown_sizes_as_minus_one() -> Any:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("GlobalMaxPool", ["c"], ["y"])]
    model = build(
        nodes, inputs={"x": [-1, 2, -1, -1]}, outputs=["y"], constants={"w": normal(3, 2, 3, 3)}
    )
    model.graph.name = ""
    return model, (normal(12, 2, 7, 9),)


# ONNX Runtime's own operators


@made
def skip_layer_norm() -> Any:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("SkipLayerNormalization", ["h", "x", "g", "b"], ["s"], domain="com.microsoft",
             epsilon=1e-5),
        node("BiasGelu", ["s", "c"], ["e"], domain="com.microsoft"),
        node("MatMul", ["e", "v"], ["y"]),
    ]  # fmt: skip
    constants = {"w": normal(8, 8), "g": normal(8), "b": normal(8, seed=1), "c": normal(8, seed=2),
                 "v": normal(8, 3)}  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 5, 8]}, outputs=["y"], opset=17, constants=constants,
                  domains=[("com.microsoft", 1)])  # fmt: skip
    return model, (normal(16, 5, 8),)


@made
def fused_convolution_without_an_import() -> Any:
    nodes = [
        node("FusedConv", ["x", "w", "b"], ["c"], domain="com.microsoft", activation="Relu",
             kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "v"], ["y"]),
    ]  # fmt: skip
    constants = {"w": normal(4, 2, 3, 3), "b": normal(4), "v": normal(4, 3)}
    model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], opset=14, constants=constants)
    return model, (normal(16, 2, 6, 6),)


@made
def layer_normalization_before_its_time() -> Any:
    nodes = [node("LayerNormalization", ["x", "g"], ["l"]), node("MatMul", ["l", "w"], ["y"])]
    constants = {"g": normal(8), "w": normal(8, 3)}
    model = build(nodes, inputs={"x": ["n", 8]}, outputs=["y"], opset=12, constants=constants)
    return model, (normal(30, 8),)


# Narrow types


@made
def half_precision_network() -> Any:
    half = np.float16
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("InstanceNormalization", ["c", "g", "b"], ["i"]),
        node("Relu", ["i"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "v"], ["y"]),
    ]
    constants = {"w": normal(4, 2, 3, 3).astype(half), "g": normal(4).astype(half),
                 "b": normal(4, seed=1).astype(half), "v": normal(4, 3).astype(half)}  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], constants=constants,
                  opset=17, output_type=TensorProto.FLOAT16)  # fmt: skip
    typed_input(model, TensorProto.FLOAT16)
    return model, (normal(16, 2, 6, 6).astype(half),)


@made
def half_precision_inside_an_if() -> Any:
    def branch(name: str, op_type: str) -> onnx.GraphProto:
        constant = numpy_helper.from_array(normal(4).astype(np.float16), f"{name}_k")
        return helper.make_graph(
            [node(op_type, ["h", f"{name}_k"], [name])], name, [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT16, None)], [constant],
        )  # fmt: skip

    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("If", ["c"], ["i"], then_branch=branch("a", "Mul"), else_branch=branch("b", "Add")),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    constants = {"w": normal(4, 3), "c": np.array(True)}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(30, 4),)


def with_narrow(model: onnx.ModelProto, name: str, values: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(values, name))


@made
def bfloat16_kernel() -> Any:
    nodes = [
        node("Cast", ["w"], ["wf"], to=TensorProto.FLOAT),
        node("Conv", ["x", "wf"], ["c"]),
        node("Relu", ["c"], ["y"]),
    ]
    model = build(nodes, inputs={"x": ["n", 2, 6, 6]}, outputs=["y"], opset=17)
    with_narrow(model, "w", normal(3, 2, 3, 3).astype(ml_dtypes.bfloat16))
    return model, (normal(16, 2, 6, 6),)


@made
def float8_weights_with_a_scale() -> Any:
    nodes = [
        node("DequantizeLinear", ["w", "s"], ["wf"]),
        node("Gemm", ["x", "wf"], ["h"]),
        node("QuantizeLinear", ["h", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = build(
        nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=21, constants={"s": np.float32(0.5)}
    )
    with_narrow(model, "w", normal(6, 4).astype(ml_dtypes.float8_e4m3fn))
    with_narrow(model, "z", np.zeros((), dtype=ml_dtypes.float8_e4m3fn))
    return model, (normal(30, 6),)


@made
def a_tensor_rounded_to_bfloat16() -> Any:
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16),
        node("Cast", ["h"], ["f"], to=TensorProto.FLOAT),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    model = build(
        nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=17, constants={"w": normal(6, 4)}
    )
    return model, (normal(30, 6),)


# Pad before operator set 11


@made
def negative_border_of_one_axis() -> Any:
    nodes = [
        node("Pad", ["x"], ["p"], pads=[0, 0, 2, 0, 0, 1], value=-1.5, mode="constant"),
        node("Conv", ["p", "w"], ["y"]),
    ]
    model = build(
        nodes, inputs={"x": ["n", 2, 8]}, outputs=["y"], opset=10, constants={"w": normal(3, 2, 3)}
    )
    return model, (normal(20, 2, 8),)


@made
def reflected_border() -> Any:
    nodes = [
        node("Pad", ["x"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"),
        node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3]),
    ]
    model = build(nodes, inputs={"x": ["n", 1, 6, 6]}, outputs=["y"], opset=7)
    return model, (normal(20, 1, 6, 6),)


@made
def a_crop_by_negative_pads() -> Any:
    nodes = [
        node("Pad", ["x"], ["p"], pads=[0, -1, 0, 2], value=0.75),
        node("Neg", ["p"], ["y"]),
    ]
    model = build(nodes, inputs={"x": ["n", 5]}, outputs=["y"], opset=9)
    return model, (normal(30, 5),)


# Lists, optional values, dictionaries, text


@made
def a_list_with_integers_between() -> Any:
    nodes = [
        node("SplitToSequence", ["x", "two"], ["s"], axis=1),
        node("SequenceAt", ["s", "zero"], ["a"]),
        node("MatMul", ["a", "w"], ["m"]),
        node("SequenceInsert", ["s", "m"], ["t"]),
        node("ConcatFromSequence", ["t"], ["c"], axis=1),
        node("Gemm", ["c", "v"], ["y"]),
    ]
    constants = {"two": np.array(2), "zero": np.array(0), "w": normal(2, 2), "v": normal(6, 3)}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(30, 4),)


@made
def an_optional_value() -> Any:
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Optional", ["r"], ["o"]),
        node("OptionalGetElement", ["o"], ["g"]),
        node("MatMul", ["g", "w"], ["y"]),
    ]
    model = build(
        nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=18, constants={"w": normal(4, 3)}
    )
    return model, (normal(30, 4),)


@made
def two_lists_that_feed_each_other() -> Any:
    nodes = [
        node("SequenceConstruct", ["x", "x"], ["s"]),
        node("ConcatFromSequence", ["s"], ["a"], axis=1),
        node("Tanh", ["a"], ["b"]),
        node("SplitToSequence", ["b", "four"], ["t"], axis=1),
        node("SequenceAt", ["t", "one"], ["c"]),
        node("SequenceAt", ["s", "one"], ["d"]),
        node("Add", ["c", "d"], ["e"]),
        node("MatMul", ["e", "w"], ["y"]),
    ]
    constants = {"four": np.array(4), "one": np.array(1), "w": normal(4, 3)}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(30, 4),)


# A vector times a matrix


@made
def a_squeezed_row_times_a_matrix() -> Any:
    nodes = [
        node("Squeeze", ["x", "axes"], ["v"]),
        node("MatMul", ["v", "w"], ["m"]),
        node("Add", ["b", "m"], ["a"]),
        node("Relu", ["a"], ["y"]),
    ]
    constants = {"axes": np.array([0]), "w": normal(6, 4), "b": normal(4)}
    model = build(nodes, inputs={"x": [1, 6]}, outputs=["y"], opset=13, constants=constants)
    return model, (normal(1, 6),)


@made
def a_flattened_picture_times_a_matrix() -> Any:
    nodes = [
        node("Conv", ["x", "k"], ["c"]),
        node("Reshape", ["c", "shape"], ["v"]),
        node("MatMul", ["v", "w"], ["m"]),
        node("Add", ["m", "b"], ["y"]),
    ]
    constants = {"k": normal(2, 1, 3, 3), "shape": np.array([-1]), "w": normal(32, 5),
                 "b": normal(1, 5)}  # fmt: skip
    model = build(nodes, inputs={"x": [1, 1, 6, 6]}, outputs=["y"], opset=14, constants=constants)
    return model, (normal(1, 1, 6, 6),)


# Tensors without elements


@made
def an_empty_cache_in_front() -> Any:
    nodes = [
        node("MatMul", ["x", "w"], ["k"]),
        node("Slice", ["k", "zero", "zero", "one"], ["old"]),
        node("Concat", ["old", "k"], ["all"], axis=1),
        node("MatMul", ["all", "v"], ["y"]),
    ]
    constants = {"w": normal(4, 4), "v": normal(4, 3), "zero": np.array([0]), "one": np.array([1])}
    model = build(nodes, inputs={"x": ["n", 5, 4]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(20, 5, 4),)


@made
def a_split_that_leaves_nothing() -> Any:
    nodes = [
        node("Split", ["x", "parts"], ["a", "e"], axis=1),
        node("Mul", ["e", "k"], ["e2"]),
        node("Concat", ["a", "e2"], ["c"], axis=1),
        node("Gemm", ["c", "w"], ["y"]),
    ]
    constants = {"parts": np.array([4, 0]), "w": normal(4, 3), "k": np.float32(2)}
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(30, 4),)


@made
def a_product_over_nothing() -> Any:
    nodes = [
        node("Slice", ["x", "zero", "zero", "one"], ["e"]),
        node("Gemm", ["e", "w0", "b"], ["bias"]),
        node("Gemm", ["x", "w", "b"], ["h"]),
        node("Add", ["h", "bias"], ["y"]),
    ]
    constants = {"w0": normal(0, 3), "w": normal(4, 3), "b": normal(3), "zero": np.array([0]),
                 "one": np.array([1])}  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 4]}, outputs=["y"], opset=17, constants=constants)
    return model, (normal(30, 4),)


# Grids in ONNX Runtime's own domain


def quantized(kind: int, weight_kind: int, *, low: int, high: int, scale: float) -> Any:
    domain = "com.microsoft"
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], "q", domain=domain),
        node("DequantizeLinear", ["q", "s", "z"], ["d"], "dq", domain=domain),
        node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], "dw", domain=domain),
        node("MatMul", ["d", "wd"], ["y"], "mm"),
    ]
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=13,
                  domains=[(domain, 1)])  # fmt: skip
    codes = np.random.default_rng(3).integers(low, high + 1, size=(6, 4))
    model.graph.initializer.extend([
        helper.make_tensor("s", TensorProto.FLOAT, [], [scale]),
        helper.make_tensor("z", kind, [], [3]),
        helper.make_tensor("sw", TensorProto.FLOAT, [], [0.125]),
        helper.make_tensor("zw", weight_kind, [], [0]),
        helper.make_tensor("w", weight_kind, codes.shape, codes.ravel().tolist()),
    ])  # fmt: skip
    return model, (normal(40, 6),)


@made
def grids_of_16_bits_of_the_runtime() -> Any:
    return quantized(TensorProto.UINT16, TensorProto.INT16, low=-900, high=900, scale=1e-3)


@made
def grids_of_4_bits_of_the_runtime() -> Any:
    return quantized(TensorProto.UINT4, TensorProto.INT4, low=-8, high=7, scale=0.5)


@made
def integer_weights_of_the_runtime_in_blocks() -> Any:
    rng = np.random.default_rng(0)
    nodes = [
        node("MatMulNBits", ["x", "w", "s"], ["h"], domain="com.microsoft", K=32, N=5, bits=4,
             block_size=16),
        node("Gemm", ["h", "v"], ["y"]),
    ]  # fmt: skip
    constants = {
        "w": rng.integers(0, 256, size=(5, 2, 8)).astype(np.uint8),
        "s": rng.uniform(0.1, 0.2, size=(10,)).astype(np.float32),
        "v": normal(5, 3),
    }
    model = build(nodes, inputs={"x": ["n", 32]}, outputs=["y"], opset=17, constants=constants,
                  domains=[("com.microsoft", 1)])  # fmt: skip
    return model, (normal(40, 32),)
