"""Small models made by code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RNG_SEED = 7


def build(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = 21,
    output_type: int = TensorProto.FLOAT,
    domains: Sequence[tuple[str, int]] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, output_type, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def normal(*shape: int, seed: int = RNG_SEED) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def mlp(features: int = 6, hidden: int = 8, classes: int = 3) -> onnx.ModelProto:
    return build(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "g1", transB=1),
            helper.make_node("Relu", ["h"], ["r"], "act"),
            helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], "g2", transB=1),
        ],
        inputs={"x": ["batch", features]},
        outputs=["y"],
        constants={
            "w1": normal(hidden, features),
            "b1": normal(hidden, seed=1),
            "w2": normal(classes, hidden, seed=2),
            "b2": normal(classes, seed=3),
        },
    )


def residual(layers: int, *, width: int = 8, seed: int = RNG_SEED) -> onnx.ModelProto:
    """Blocks of Gemm, Relu, Gemm and an Add around them; two integer products each."""
    rng = np.random.default_rng(seed)
    nodes, constants, last = [], {}, "x"
    for i in range(layers // 2):
        # a branch adds little to its block, so that hundreds of them stay finite
        constants[f"u{i}"] = (rng.normal(size=(width, width)) / width**0.5).astype(np.float32)
        constants[f"v{i}"] = (0.2 * rng.normal(size=(width, width)) / width**0.5).astype(np.float32)
        result = "y" if i == layers // 2 - 1 else f"h{i}"
        nodes += [
            helper.make_node("Gemm", [last, f"u{i}"], [f"a{i}"], f"/layer.{i}/fc1/Gemm"),
            helper.make_node("Relu", [f"a{i}"], [f"r{i}"], f"/layer.{i}/Relu"),
            helper.make_node("Gemm", [f"r{i}", f"v{i}"], [f"b{i}"], f"/layer.{i}/fc2/Gemm"),
            helper.make_node("Add", [f"b{i}", last], [result], f"/layer.{i}/Add"),
        ]
        last = result
    return build(nodes, inputs={"x": ["batch", width]}, outputs=["y"], constants=constants)
