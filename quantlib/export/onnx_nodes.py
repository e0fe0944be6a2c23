"""A graph of ONNX that grows node by node and knows each tensor's type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from quantlib.arrays import AnyArray


class Nodes:
    """The nodes and constants so far.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
        In the order in which they run.
    constants : list of onnx.TensorProto
        Each once.
    types : dict of str to int
        ``TensorProto`` element type by tensor.
    known : dict of tuple to str
        Tensors that were made before, by what they are.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.known: dict[tuple[Any, ...], str] = {}
        self.types: dict[str, int] = {}
        self.count = 0

    def node(
        self, op_type: str, inputs: Sequence[str], kind: int, *, name: str = "", **attributes: Any
    ) -> str:
        """Add a node; return its output."""
        self.count += 1
        result = name or f"{op_type.lower()}.{self.count}"
        self.nodes.append(
            helper.make_node(op_type, list(inputs), [result], f"n{self.count}", **attributes)
        )
        self.types[result] = kind
        return result

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node whose result has the type of its first input."""
        return self.node(op_type, inputs, self.types[inputs[0]], **attributes)

    def constant(self, array: AnyArray) -> str:
        """Add a constant, once."""
        array = np.asarray(array, order="C")
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            self.count += 1
            name = f"constant.{self.count}"
            self.constants.append(numpy_helper.from_array(array, name))
            self.types[name] = helper.np_dtype_to_tensor_dtype(array.dtype)
            self.known[key] = name
        return self.known[key]

    def number(self, value: float, like: str) -> str:
        """Add a constant of the type of a tensor."""
        kind = helper.tensor_dtype_to_np_dtype(self.types[like])
        return self.constant(np.asarray(value, dtype=kind))

    def cast(self, tensor: str, kind: int) -> str:
        """Return a tensor in a type, converted once."""
        if self.types[tensor] == kind:
            return tensor
        key = ("cast", tensor, kind)
        if key not in self.known:
            self.known[key] = self.node("Cast", [tensor], kind, to=kind)
        return self.known[key]

    def shaped(self, tensor: str, *sizes: int) -> str:
        """Give a tensor another shape behind the batch axis."""
        return self.op("Reshape", tensor, self.constant(np.array([-1, *sizes], dtype=np.int64)))

    def taken(self, table: str, index: str) -> str:
        """Gather entries of a one-dimensional table."""
        return self.node("Gather", [table, index], self.types[table], axis=0)
