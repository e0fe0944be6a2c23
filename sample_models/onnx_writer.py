"""Write a trained network as an ONNX graph, node by node."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from architectures import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    Gemm,
    Relu,
    Residual,
)
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from architectures import (
        Layer,
        Network,
    )

# Concrete ML reads this operator set only, and wants every attribute of a window spelled out.
OPSET = 14
CONV_WINDOW: dict[str, Any] = {
    "kernel_shape": [3, 3],
    "pads": [1, 1, 1, 1],
    "strides": [1, 1],
    "dilations": [1, 1],
    "group": 1,
}
POOL_WINDOW: dict[str, Any] = {
    "kernel_shape": [2, 2],
    "pads": [0, 0, 0, 0],
    "strides": [2, 2],
    "ceil_mode": 0,
    "count_include_pad": 1,
}
IR_VERSION = 7
PARAMETERS = ("weight", "bias", "running_mean", "running_var")


class GraphWriter:
    """Collects nodes and initializers while following the layers in execution order."""

    def __init__(self, weights: dict[str, np.ndarray[Any, Any]]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._seen: Counter[str] = Counter()

    def _node(self, scope: str, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node named after its scope and return its output tensor."""
        name = f"/{scope}/{operator}" if scope else f"/{operator}"
        repeats = self._seen[name]
        self._seen[name] += 1
        name = f"{name}_{repeats}" if repeats else name
        output = f"{name}_output_0"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def _parameters(self, scope: str) -> list[str]:
        """Store the parameters that the layer has and return their tensor names."""
        keys = [(f"{scope}.{part}", f"{scope.replace('/', '.')}.{part}") for part in PARAMETERS]
        present = [(key, tensor) for key, tensor in keys if key in self.weights]
        for key, tensor in present:
            value = np.ascontiguousarray(self.weights[key], dtype=np.float32)
            self.initializers.append(numpy_helper.from_array(value, tensor))
        return [tensor for _, tensor in present]

    def write(self, layers: tuple[Layer, ...], x: str, scope: str = "") -> str:
        """Append the nodes of `layers` reading tensor `x` and return the last tensor."""
        for layer in layers:
            match layer:
                case Conv(name):
                    x = self._node(name, "Conv", [x, *self._parameters(name)], **CONV_WINDOW)
                case Gemm(name):
                    x = self._node(name, "Gemm", [x, *self._parameters(name)], transB=1)
                case BatchNorm(name, _, epsilon, momentum):
                    inputs = [x, *self._parameters(name)]
                    constants = {"epsilon": epsilon, "momentum": momentum}
                    x = self._node(name, "BatchNormalization", inputs, **constants)
                case Relu():
                    x = self._node(scope, "Relu", [x])
                case AveragePool():
                    x = self._node(scope, "AveragePool", [x], **POOL_WINDOW)
                case Flatten():
                    x = self._node(scope, "Flatten", [x], axis=1)
                case Residual(name, body):
                    x = self._node(name, "Add", [self.write(body, x, name), x])
        return x


def to_onnx(
    name: str, network: Network, weights: dict[str, np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    """Return a checked model with a dynamic batch dimension."""
    writer = GraphWriter(weights)
    writer.write(network.layers, "input")
    writer.nodes[-1].output[0] = "output"
    shape: list[str | int | None] = ["batch", *network.input_shape]
    graph = helper.make_graph(
        writer.nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", network.outputs])],
        writer.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sample_models",
    )
    onnx.checker.check_model(model, full_check=True)
    return model
