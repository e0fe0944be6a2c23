"""Which node of a model ends, halts or swells the program that runs it.

Run in a worker that may be lost: each node is said before it runs for the first time, with the
nodes before it and nothing behind it, so that the last one said is it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from quantlib.graph.batch import random_values
from quantlib.graph.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.arrays import AnyArray

OPEN_SIZE = 2
"""What stands for sizes that a model leaves open."""


def trace(content: bytes, say: Callable[[str], None]) -> None:
    """Run a model's nodes, one more each time; faults that are errors are passed over."""
    model = onnx.ModelProto.FromString(content)
    stored = {tensor.name for tensor in model.graph.initializer}
    feeds = {
        value.name: _drawn(value.type.tensor_type)
        for value in model.graph.input
        if value.name not in stored
    }
    for count, node in enumerate(model.graph.node, start=1):
        name = f" {node.name!r}" if node.name else ""
        say(f"node {count}{name} ({node.op_type})")
        try:
            session = open_session(_beginning(model, count).SerializeToString())
            taken = {value.name for value in session.get_inputs()}
            session.run(None, {name: array for name, array in feeds.items() if name in taken})
        except Exception as error:
            if "alloc" in str(error):
                raise MemoryError from error
    say("")


def _beginning(model: onnx.ModelProto, count: int) -> onnx.ModelProto:
    """Return the first nodes of a model; what the last of them makes comes out."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[count:]
    del part.graph.output[:]
    for name in part.graph.node[-1].output:
        if name:
            part.graph.output.append(onnx.ValueInfoProto(name=name))
    return part


def _drawn(kind: onnx.TypeProto.Tensor) -> AnyArray:
    """Return values for an input."""
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type or TensorProto.FLOAT)
    shape = [dim.dim_value if dim.dim_value > 0 else OPEN_SIZE for dim in kind.shape.dim]
    return random_values(np.random.default_rng(0), dtype, shape)
