"""Quantize small graphs with a live Concrete ML and keep what it computes.

These scripts run in an environment of their own, never from the tests; `README.md` says how.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from concrete.ml.quantization import PostTrainingAffineQuantization
from concrete.ml.torch.numpy_module import NumpyModule
from onnx import TensorProto, helper, numpy_helper

GOLDEN = Path(__file__).parents[1]
OPSET = 14


def model(nodes, inputs, outputs, constants=None, opset=OPSET):
    """Return a checked model; `inputs` maps names to shapes, the batch axis is ``"n"``."""
    graph = helper.make_graph(
        nodes,
        "recorded",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in inputs.items()],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def several(value):
    """Return a tuple of what may be one array."""
    return value if isinstance(value, tuple) else (value,)


def quantized(made, n_bits, calibration, rounding=None):
    """Return Concrete ML's module of a model."""
    converter = PostTrainingAffineQuantization(n_bits, NumpyModule(made), rounding)
    return converter.quantize_module(*several(calibration))


def integers(module, x):
    """Return quantized inputs and integer outputs on `x`."""
    codes = several(module.quantize_input(*several(x)))
    return codes, several(module.quantized_forward(*codes, fhe="disable"))


def narrow(array):
    """Return integers in the smallest signed type that holds them."""
    array = np.asarray(array)
    assert np.array_equal(array, np.rint(array))
    array = array.astype(np.int64)
    for kind in (np.int8, np.int16, np.int32):
        info = np.iinfo(kind)
        if array.size == 0 or (array.min() >= info.min and array.max() <= info.max):
            return array.astype(kind)
    return array


def packed(made):
    """Return a model's bytes as an array."""
    return np.frombuffer(made.SerializeToString(), dtype=np.uint8)


def save(name, cases, arrays):
    """Write the cases as JSON and the arrays beside them."""
    document = {"concrete_ml": "1.9.0", "numpy": np.__version__, "cases": cases}
    lines = ",\n".join(json.dumps(case) for case in cases)
    head = json.dumps({**document, "cases": []})[:-2]
    (GOLDEN / f"{name}.json").write_text(f"{head}\n{lines}\n]}}\n")
    if arrays:
        np.savez_compressed(GOLDEN / f"{name}.npz", **arrays)
    print(name, len(cases), "cases")
