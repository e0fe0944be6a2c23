"""Networks of the size of real ones, made by code, with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper

from tests.models import build

if TYPE_CHECKING:
    from typing import Any


class _Net:
    """Nodes and weights as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Any] = {}
        self._rng = np.random.default_rng(0)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def conv(
        self, x: str, into: int, out: int, kernel: int, *, stride: int = 1, group: int = 1
    ) -> str:
        shape = (out, into // group, kernel, kernel)
        weight = self._rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) / 2)
        name = f"w{len(self.nodes)}"
        self.weights[name] = weight.astype(np.float32)
        self.weights[f"{name}b"] = np.zeros(out, dtype=np.float32)
        pads = [kernel // 2] * 4
        return self.add(
            "Conv", x, name, f"{name}b", pads=pads, strides=[stride, stride], group=group
        )


def detector() -> onnx.ModelProto:
    """Make a face detector: depthwise and pointwise layers at 240 x 320, 300,000 parameters."""
    net = _Net()
    x = net.add("Relu", net.conv("x", 3, 16, 3, stride=2))
    into = 16
    for out, stride in (
        (32, 1), (32, 1), (32, 2), (64, 1), (64, 1), (64, 2), (128, 1), (128, 1), (128, 1),
        (128, 2), (256, 1), (256, 1), (256, 1),
    ):  # fmt: skip
        x = net.add("Relu", net.conv(x, into, into, 3, stride=stride, group=into))
        x = net.add("Relu", net.conv(x, into, out, 1))
        into = out
    scores, boxes = net.conv(x, into, 6, 3), net.conv(x, into, 12, 3)
    y = net.add("Concat", scores, boxes, axis=1)
    return build(net.nodes, inputs={"x": ["n", 3, 240, 320]}, outputs=[y], constants=net.weights)


def resnet_50() -> onnx.ModelProto:
    """Make a ResNet-50 without its batch normalizations: 25 million parameters at 224 x 224."""
    net = _Net()
    x = net.add("Relu", net.conv("x", 3, 64, 7, stride=2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    into = 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            stride = first if i == 0 else 1
            y = net.add("Relu", net.conv(x, into, width, 1))
            y = net.add("Relu", net.conv(y, width, width, 3, stride=stride))
            y = net.conv(y, width, 4 * width, 1)
            beside = net.conv(x, into, 4 * width, 1, stride=stride) if i == 0 else x
            x = net.add("Relu", net.add("Add", y, beside))
            into = 4 * width
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    net.weights["w"] = np.random.default_rng(1).normal(size=(1000, into)).astype(np.float32) / 45
    y = net.add("Gemm", x, "w", transB=1)
    return build(net.nodes, inputs={"x": ["n", 3, 224, 224]}, outputs=[y], constants=net.weights)
