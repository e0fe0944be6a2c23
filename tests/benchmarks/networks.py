"""Networks of a usual size, made by code with random weights: shapes are real, answers are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantlib.arrays import AnyArray

OPSET, IR_VERSION = 14, 8


class Writer:
    """Nodes and constants so far; every method returns the name of what it adds."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        made = f"{op_type.lower()}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [made], made, **attributes))
        return made

    def constant(self, array: AnyArray) -> str:
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def random(self, *shape: int, spread: float, centre: float = 0.0) -> str:
        return self.constant(self.rng.normal(centre, spread, size=shape).astype(np.float32))

    def conv(
        self, x: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1,
        group: int = 1, normalized: bool = False,
    ) -> str:  # fmt: skip
        """A convolution of "same" size; followed by a BatchNormalization, or with a bias."""
        ins, outs = channels
        fan_in = ins // group * kernel**2
        inputs = [x, self.random(outs, ins // group, kernel, kernel, spread=np.sqrt(2 / fan_in))]
        if not normalized:
            inputs.append(self.random(outs, spread=0.1))
        made = self.node("Conv", *inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2,
                         pads=[kernel // 2] * 4, dilations=[1, 1], group=group)  # fmt: skip
        if not normalized:
            return made
        scale, mean = self.random(outs, spread=0.1, centre=1), self.random(outs, spread=0.1)
        bias, variance = self.random(outs, spread=0.1), self.constant(np.ones(outs, np.float32))
        return self.node("BatchNormalization", made, scale, bias, mean, variance)

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def shape(self, x: str, *sizes: int) -> str:
        return self.node("Reshape", x, self.constant(np.array(sizes, dtype=np.int64)))

    def dense(self, x: str, ins: int, outs: int) -> str:
        weights = self.random(outs, ins, spread=np.sqrt(1 / ins))
        return self.node("Gemm", x, weights, self.random(outs, spread=0.1), transB=1)

    def model(self, shape: tuple[int, ...], outputs: tuple[str, ...]) -> bytes:
        graph = helper.make_graph(
            self.nodes, "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )  # fmt: skip
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        return bytes(onnx.shape_inference.infer_shapes(made).SerializeToString())


def detector() -> bytes:
    """About 300,000 parameters on 240 x 320 pixels: depthwise and pointwise, two heads."""
    w = Writer(1)
    x = w.relu(w.conv("x", (3, 16), kernel=3, stride=2))
    channels = 16
    plan = [(32, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1)]
    for outs, stride in [*plan, (256, 2), (256, 1)]:
        x = w.relu(w.conv(x, (channels, channels), kernel=3, stride=stride, group=channels))
        x = w.relu(w.conv(x, (channels, outs)))
        channels = outs
    head = w.relu(w.conv(x, (256, 64), kernel=3))
    scores = w.conv(head, (64, 6), kernel=3)
    boxes = w.conv(head, (64, 12), kernel=3)
    return w.model((3, 240, 320), (scores, boxes))


def shufflenet() -> bytes:
    """Pointwise convolutions in 4 groups, shuffled channels, depthwise ones, sums and joins."""
    w = Writer(2)
    x = w.relu(w.conv("x", (3, 24), kernel=3, stride=2, normalized=True))
    x = w.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels, size = 24, 56
    for outs, repeats in ((136, 3), (272, 7), (544, 3)):
        for i in range(repeats + 1):
            stride = 2 if i == 0 else 1
            made, middle = (outs - channels if i == 0 else outs), outs // 4 // 4 * 4
            y = w.relu(w.conv(x, (channels, middle), group=4, normalized=True))
            y = w.shape(y, 0, 4, middle // 4, size, size)
            y = w.shape(w.node("Transpose", y, perm=[0, 2, 1, 3, 4]), 0, middle, size, size)
            y = w.conv(y, (middle, middle), kernel=3, stride=stride, group=middle, normalized=True)
            y = w.conv(y, (middle, made), group=4, normalized=True)
            if i == 0:
                size //= 2
                pooled = w.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2],
                                pads=[1, 1, 1, 1], count_include_pad=1)  # fmt: skip
                x = w.relu(w.node("Concat", pooled, y, axis=1))
            else:
                x = w.relu(w.node("Add", x, y))
            channels = outs
    x = w.shape(w.node("AveragePool", x, kernel_shape=[7, 7]), -1, channels)
    return w.model((3, 224, 224), (w.dense(x, channels, 1000),))


def resnet50() -> bytes:
    """Bottlenecks of ResNet-50 with their normalizations folded, as exporters write it."""
    w = Writer(3)
    x = w.relu(w.conv("x", (3, 64), kernel=7, stride=2))
    x = w.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, repeats, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(repeats):
            stride = first if i == 0 else 1
            y = w.relu(w.conv(x, (channels, width)))
            y = w.relu(w.conv(y, (width, width), kernel=3, stride=stride))
            y = w.conv(y, (width, 4 * width))
            if i == 0:
                x = w.conv(x, (channels, 4 * width), stride=stride)
            x = w.relu(w.node("Add", y, x))
            channels = 4 * width
    x = w.shape(w.node("AveragePool", x, kernel_shape=[7, 7]), -1, channels)
    return w.model((3, 224, 224), (w.dense(x, channels, 1000),))


def chain(nodes: int) -> bytes:
    """Gemm and Relu in turn on 8 values: as deep as wanted."""
    w = Writer(4)
    x = "x"
    for i in range(nodes):
        x = w.relu(x) if i % 2 else w.dense(x, 8, 8)
    return w.model((8,), (x,))


@dataclass(frozen=True)
class Case:
    """A model, its pixels, and how many samples are measured."""

    make: Callable[[], bytes]
    shape: tuple[int, ...]
    samples: int

    def data(self) -> AnyArray:
        rng = np.random.default_rng(0)
        return rng.uniform(-1, 1, size=(self.samples, *self.shape)).astype(np.float32)


NETWORKS = {
    "detector": Case(detector, (3, 240, 320), 8),
    "shufflenet": Case(shufflenet, (3, 224, 224), 4),
    "resnet50": Case(resnet50, (3, 224, 224), 2),
}
