"""The convention of ONNX Runtime against ONNX Runtime: its parameters, and QuantizeLinear run."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization.quant_utils import compute_scale_zp

from quantlib.conventions import Scheme, convert

if TYPE_CHECKING:
    import numpy.typing as npt

STORED = {
    (4, Scheme.AFFINE): TensorProto.UINT4,
    (8, Scheme.AFFINE): TensorProto.UINT8,
    (16, Scheme.AFFINE): TensorProto.UINT16,
    (4, Scheme.SYMMETRIC): TensorProto.INT4,
    (8, Scheme.SYMMETRIC): TensorProto.INT8,
    (16, Scheme.SYMMETRIC): TensorProto.INT16,
}
UNPACKED: dict[int, int] = {
    TensorProto.UINT4: TensorProto.UINT8,
    TensorProto.INT4: TensorProto.INT8,
}


@cache
def session(stored: int) -> onnxruntime.InferenceSession:
    """QuantizeLinear of a tensor, its codes cast to 32 bits."""
    nodes = [
        helper.make_node("Cast", ["z8"], ["z"], to=stored),
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Cast", ["q"], ["wide"], to=UNPACKED.get(stored, stored)),
        helper.make_node("Cast", ["wide"], ["y"], to=TensorProto.INT32),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
         helper.make_tensor_value_info("s", TensorProto.FLOAT, []),
         helper.make_tensor_value_info("z8", UNPACKED.get(stored, stored), [])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["n"])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def tensors() -> list[npt.NDArray[np.float32]]:
    """Bells, one-sided and far-off tensors, outliers, and one full of ties."""
    rng = np.random.default_rng(0)
    made = [rng.normal(size=40), rng.uniform(1, 4, 40), rng.uniform(-9, -2, 40),
            np.maximum(rng.normal(size=40), 0), np.append(rng.normal(size=39), 50.0),
            np.zeros(5), np.full(5, 2.5), np.array([-1.0, *(np.arange(12) - 3.5), 127.0]),
            rng.normal(size=40) * 1e-6]  # fmt: skip
    made += [rng.normal(loc=rng.normal(), scale=10 ** rng.uniform(-3, 3), size=32)
             for _ in range(40)]  # fmt: skip
    return [array.astype(np.float32) for array in made]


@pytest.mark.parametrize(("n_bits", "scheme"), STORED, ids=lambda value: str(value))
def test_scale_zero_point_and_every_integer_are_those_of_onnx_runtime(
    n_bits: int, scheme: Scheme
) -> None:
    stored = STORED[n_bits, scheme]
    kinds: dict[int, type[np.integer[Any]]] = {
        TensorProto.UINT8: np.uint8, TensorProto.INT8: np.int8,
        TensorProto.UINT16: np.uint16, TensorProto.INT16: np.int16,
    }  # fmt: skip
    kind = kinds[UNPACKED.get(stored, stored)]
    symmetric = scheme is Scheme.SYMMETRIC
    top = 2 ** (n_bits - 1) - 1 if symmetric else 2**n_bits - 1
    low, high = (np.array(-top if symmetric else 0, kind), np.array(top, kind))
    for values in tensors():
        made = convert("ONNX Runtime", values, n_bits=n_bits, scheme=scheme)
        zero_point, scale = compute_scale_zp(
            values.min(), values.max(), low, high, symmetric=symmetric
        )
        assert made.scale == float(scale)
        assert made.zero_point == int(zero_point)
        feeds = {
            "x": values,
            "s": np.asarray(scale, np.float32),
            "z8": np.asarray(zero_point, kind),
        }
        (codes,) = session(stored).run(None, feeds)
        # the stored type has one code more than a symmetric grid; min and max never reach it
        assert np.clip(codes, made.qmin, made.qmax).tolist() == codes.tolist()
        assert made.codes.tolist() == codes.tolist()
