"""Write a trained network as an ONNX graph, node by node."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from architectures import (
    CONCRETE_ML_OPSET,
    Attention,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Gelu,
    Gemm,
    LayerNorm,
    MaxPool,
    Patches,
    Positions,
    Quantize,
    Relu,
    Residual,
    TokenMean,
)
from onnx import TensorProto, helper, numpy_helper
from quantization import code_range, codes_of, step_of

if TYPE_CHECKING:
    from architectures import (
        Layer,
        Network,
    )

# Concrete ML wants every attribute of a window spelled out.
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
MAX_WINDOW = {key: value for key, value in POOL_WINDOW.items() if key != "count_include_pad"} | {
    "dilations": [1, 1],
    "storage_order": 0,
}
IR_VERSIONS = {CONCRETE_ML_OPSET: 7, 17: 8}
PARAMETERS = ("weight", "bias", "running_mean", "running_var")


class GraphWriter:
    """Collects nodes and initializers while following the layers in execution order."""

    def __init__(self, weights: dict[str, np.ndarray[Any, Any]]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._seen: Counter[str] = Counter()
        self._step = 0.0  # of the grid that the tensor written last lies on

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

    def _constant(self, name: str, value: Any) -> str:
        """Store a constant once; a name always stands for the same value."""
        if all(tensor.name != name for tensor in self.initializers):
            self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _quantized(self, layer: Quantize, x: str) -> str:
        """Append QuantizeLinear, Clip to the width, DequantizeLinear."""
        low, high = code_range(layer.n_bits, signed=False)
        step = step_of(self.weights[f"{layer.name}.exponent"])
        grid = [
            self._constant(f"{layer.name}.scale", np.float32(step)),
            self._constant(f"{layer.name}.zero_point", np.uint8(0)),
        ]
        codes = self._node(layer.name, "QuantizeLinear", [x, *grid])
        limits = [
            self._constant(f"{layer.name}.low", np.uint8(low)),
            self._constant(f"{layer.name}.high", np.uint8(high)),
        ]
        codes = self._node(layer.name, "Clip", [codes, *limits])
        self._step = step
        return self._node(layer.name, "DequantizeLinear", [codes, *grid])

    def _rounded_parameters(self, layer: Conv | Gemm) -> list[str]:
        """Store codes of weights and bias; return the tensors that DequantizeLinear gives."""
        assert layer.weight_bits is not None
        name, exponent = layer.name, self.weights[f"{layer.name}.weight_exponent"]
        low, high = code_range(layer.weight_bits, signed=True)
        codes = codes_of(self.weights[f"{name}.weight"], exponent, layer.weight_bits)
        clipped = self._node(
            name,
            "Clip",
            [
                self._constant(f"{name}.weight", codes),
                self._constant(f"{name}.weight_low", np.int8(low)),
                self._constant(f"{name}.weight_high", np.int8(high)),
            ],
        )
        scale = self._constant(f"{name}.weight_scale", np.float32(step_of(exponent)))
        weight = self._node(name, "DequantizeLinear", [clipped, scale])
        step = self._step * step_of(exponent)
        sums = np.round(self.weights[f"{name}.bias"] / step).astype(np.int32)
        bias = [
            self._constant(f"{name}.bias", sums),
            self._constant(f"{name}.bias_scale", np.float32(step)),
        ]
        return [weight, self._node(name, "DequantizeLinear", bias)]

    def _operands(self, layer: Conv | Gemm) -> list[str]:
        """Return the names of weights and bias."""
        if layer.weight_bits is None:
            return self._parameters(layer.name)
        return self._rounded_parameters(layer)

    def _dense(self, name: str, x: str) -> str:
        weight, bias = self._parameters(name)
        return self._node(name, "Add", [self._node(name, "MatMul", [x, weight]), bias])

    def _shape(self, name: str, *sizes: int) -> str:
        return self._constant(name, np.array(sizes, np.int64))

    def _attention(self, layer: Attention, x: str) -> str:
        """Append the projections, the scores of every head and the mixture of values."""
        name, size = layer.name, layer.width // layer.heads
        split = self._shape(f"{name}.split", 0, layer.tokens, layer.heads, size)
        order = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
        query, key, value = (
            self._node(
                projected := layer.projections[part].name,
                "Transpose",
                [self._node(projected, "Reshape", [self._dense(projected, x), split])],
                perm=perm,
            )
            for part, perm in order.items()
        )
        root = self._constant(f"{name}.root", np.sqrt(np.float32(size)))
        scores = self._node(name, "Div", [self._node(name, "MatMul", [query, key]), root])
        weights = self._node(name, "Softmax", [scores], axis=-1)
        mixed = self._node(name, "MatMul", [weights, value])
        mixed = self._node(name, "Transpose", [mixed], perm=[0, 2, 1, 3])
        joined = self._shape(f"{name}.join", 0, layer.tokens, layer.width)
        mixed = self._node(name, "Reshape", [mixed, joined])
        return self._dense(layer.projections["out"].name, mixed)

    def _patches(self, layer: Patches, x: str) -> str:
        """Append Reshape, Transpose, Reshape."""
        rows, patch = layer.rows, layer.patch
        cut = self._shape("patches.cut", 0, rows, patch, rows, patch)
        tokens = self._shape("patches.tokens", 0, rows * rows, patch * patch)
        x = self._node("patches", "Reshape", [x, cut])
        x = self._node("patches", "Transpose", [x], perm=[0, 1, 3, 2, 4])
        return self._node("patches", "Reshape", [x, tokens])

    def _gelu(self, x: str, scope: str) -> str:
        """Append x / 2 * (1 + erf(x / sqrt 2)) as PyTorch's exporter does."""
        root = self._constant("gelu.root", np.sqrt(np.float32(2)))
        inner = self._node(scope, "Erf", [self._node(scope, "Div", [x, root])])
        inner = self._node(scope, "Add", [inner, self._constant("gelu.one", np.float32(1))])
        inner = self._node(scope, "Mul", [x, inner])
        return self._node(scope, "Mul", [inner, self._constant("gelu.half", np.float32(0.5))])

    def write(self, layers: tuple[Layer, ...], x: str, scope: str = "") -> str:
        """Append the nodes of `layers` reading tensor `x` and return the last tensor."""
        for layer in layers:
            match layer:
                case Conv(name):
                    x = self._node(name, "Conv", [x, *self._operands(layer)], **CONV_WINDOW)
                case Gemm(name):
                    x = self._node(name, "Gemm", [x, *self._operands(layer)], transB=1)
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
                case MaxPool():
                    x = self._node(scope, "MaxPool", [x], **MAX_WINDOW)
                case Quantize():
                    x = self._quantized(layer, x)
                case Patches():
                    x = self._patches(layer, x)
                case Dense(name):
                    x = self._dense(name, x)
                case Positions(name):
                    x = self._node(name, "Add", [x, *self._parameters(name)])
                case LayerNorm(name, _, epsilon):
                    inputs = [x, *self._parameters(name)]
                    x = self._node(name, "LayerNormalization", inputs, axis=-1, epsilon=epsilon)
                case Attention():
                    x = self._attention(layer, x)
                case Gelu():
                    x = self._gelu(x, scope)
                case TokenMean():
                    x = self._node(scope, "ReduceMean", [x], axes=[1], keepdims=0)
                case Residual(name, body):
                    x = self._node(name, "Add", [self.write(body, x, name), x])
        return x


def to_onnx(
    name: str, network: Network, weights: dict[str, np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    """Return a checked model with a dynamic batch dimension.

    A head without layers of its own names the last shared tensor.
    """
    writer = GraphWriter(weights)
    shared = writer.write(network.layers, "input")
    for head in network.heads:
        writer.write(head.layers, shared)
        writer.nodes[-1].output[0] = head.name
    shape: list[str | int | None] = ["batch", *network.input_shape]
    graph = helper.make_graph(
        writer.nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(head.name, TensorProto.FLOAT, ["batch", head.width])
            for head in network.heads
        ],
        writer.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", network.opset)],
        ir_version=IR_VERSIONS[network.opset],
        producer_name="sample_models",
    )
    onnx.checker.check_model(model, full_check=True)
    return model
