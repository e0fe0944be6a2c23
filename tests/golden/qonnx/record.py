"""Make small models of the shapes of QONNX's model zoo and record what qonnx executes.

Run where the package qonnx is installed: ``python tests/golden/qonnx/record.py``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper  # type: ignore[import-not-found]
from qonnx.core.onnx_exec import execute_onnx  # type: ignore[import-not-found]
from qonnx.transformation.infer_shapes import InferShapes  # type: ignore[import-not-found]

FOLDER = Path(__file__).parent
GENERAL = "qonnx.custom_op.general"
LAST = "qonnx.custom_op.channels_last"


class Writer:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def const(self, value: Any) -> str:
        array = np.asarray(value)
        array = array if array.dtype.kind in "iu" else array.astype(np.float32)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, op_type: str, inputs: list[str], domain: str = "", **named: Any) -> str:
        place = len(self.nodes) + 1
        name = f"t{place}"
        self.nodes.append(
            helper.make_node(op_type, inputs, [name], f"{op_type}_{place}", domain=domain, **named)
        )
        return name

    def quant(
        self,
        x: str,
        scale: Any,
        bits: int,
        signed: int = 1,
        narrow: int = 0,
        point: float = 0.0,
        mode: str = "ROUND",
        op_type: str = "Quant",
    ) -> str:
        inputs = [x, *map(self.const, (scale, point, float(bits)))]
        return self.op(op_type, inputs, GENERAL, signed=signed, narrow=narrow, rounding_mode=mode)

    def bipolar(self, x: str) -> str:
        return self.op("BipolarQuant", [x, self.const(1.0)], GENERAL)

    def weights(self, *shape: int) -> str:
        return self.const(0.5 * self.rng.normal(size=shape))

    def normalization(self, x: str, channels: int, domain: str = "") -> str:
        rng = self.rng
        drawn = (rng.uniform(0.5, 1.5, channels), 0.3 * rng.normal(size=channels),
                 0.3 * rng.normal(size=channels), rng.uniform(0.5, 2, channels))  # fmt: skip
        inputs = [x, *map(self.const, drawn)]
        return self.op("BatchNormalization", inputs, domain, epsilon=1e-5, momentum=0.9)

    def record(
        self,
        name: str,
        x: Any,
        output: list[int],
        opset: int,
        *,
        domains: tuple[tuple[str, int], ...] = ((GENERAL, 1),),
        sizes: dict[str, list[int]] | None = None,
    ) -> None:
        """Save the model, inputs and what qonnx makes of them, sample by sample."""
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "made",
            [helper.make_tensor_value_info("x", 1, [1, *x.shape[1:]])],
            [helper.make_tensor_value_info("y", 1, output)],
            self.constants,
        )
        imports = [helper.make_opsetid(domain, n) for domain, n in (("", opset), *domains)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=5 if opset < 10 else 7)
        wrapped = ModelWrapper(model)
        for tensor, shape in (sizes or {}).items():
            wrapped.set_tensor_shape(tensor, shape)
        wrapped = wrapped.transform(InferShapes())
        x = x.astype(np.float32)
        rows = [execute_onnx(wrapped, {"x": x[i : i + 1]})["y"] for i in range(len(x))]
        onnx.save(model, FOLDER / f"{name}.onnx")
        np.savez_compressed(FOLDER / f"{name}.npz", x0=x, y0=np.concatenate(rows))


def tfc(bits: int, rng: np.random.Generator) -> None:
    """Matrices on a flattened image of 8 bits, BatchNormalization between (operator set 9)."""
    m = Writer(1)
    x = m.op("Reshape", ["x", m.const(np.array([1, -1]))])
    x = m.op("Sub", [m.op("Mul", [x, m.const(2.0)]), m.const(1.0)])

    def rounded(y: str) -> str:
        return m.bipolar(y) if bits == 1 else m.quant(y, 1.0, bits, narrow=1)

    x = rounded(x)
    for before, after in itertools.pairwise((36, 16, 16, 10)):
        w = m.weights(before, after)
        w = m.bipolar(w) if bits == 1 else m.quant(w, 0.3, 2, narrow=1)
        x = m.normalization(m.op("MatMul", [x, w]), after)
        x = rounded(x) if after != 10 else x
    m.record(f"tfc_w{bits}a{bits}", rng.integers(0, 256, size=(24, 1, 6, 6)) / 255, [1, 10], 9)


def cnv(rng: np.random.Generator) -> None:
    """Bipolar convolutions and pools (operator set 9)."""
    m = Writer(2)
    x = m.quant("x", 1 / 128, 8, narrow=1)
    for before, after, pooled in ((3, 4, False), (4, 4, True), (4, 6, False)):
        x = m.op("Conv", [x, m.bipolar(m.weights(after, before, 3, 3))], kernel_shape=[3, 3],
                 strides=[1, 1], pads=[0] * 4, dilations=[1, 1], group=1)  # fmt: skip
        x = m.bipolar(m.normalization(x, after))
        if pooled:
            x = m.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    x = m.op("Reshape", [x, m.const(np.array([1, -1]))])
    x = m.op("MatMul", [x, m.bipolar(m.weights(6, 10))])
    m.op("Add", [m.op("Mul", [x, m.const(0.4)]), m.const(-0.2)])
    m.record("cnv_w1a1", rng.integers(-127, 128, size=(12, 3, 10, 10)) / 128, [1, 10], 9)


def jet_tagging(rng: np.random.Generator) -> None:
    """Gemm with 6-bit weights and 8-bit biases, Softmax at the end (operator set 9)."""
    m = Writer(3)
    x = m.quant("x", 1 / 16, 8)
    for before, after in itertools.pairwise((16, 24, 12, 5)):
        w = m.quant(m.weights(after, before), 1 / 16, 6, narrow=1)
        b = m.quant(m.weights(after), 1 / 64, 8, narrow=1)
        x = m.op("Gemm", [x, w, b], transB=1, alpha=1.0, beta=1.0)
        x = m.quant(m.op("Relu", [x]), 1 / 8, 6, signed=0) if after != 5 else x
    m.op("Softmax", [x], axis=1)
    m.record("jet_tagging", rng.normal(size=(40, 16)), [1, 5], 9)


def keyword(rng: np.random.Generator) -> None:
    """Transposed 3-bit weights (operator set 9)."""
    m = Writer(4)
    x = m.quant("x", 1 / 32, 8)
    for before, after in itertools.pairwise((49, 20, 20, 12)):
        w = m.op("Transpose", [m.quant(m.weights(after, before), 0.25, 3, narrow=1)], perm=[1, 0])
        x = m.op("MatMul", [x, w])
        if after != 12:
            x = m.quant(m.op("Relu", [m.normalization(x, after)]), 0.3, 3, signed=0)
    m.op("Add", [x, m.const(m.rng.normal(size=12))])
    m.record("keyword", rng.normal(size=(30, 49)), [1, 12], 9)


def intrusion(rng: np.random.Generator) -> None:
    """2-bit weights with a scale per channel, one bipolar answer (operator set 10)."""
    m = Writer(5)
    x = m.op("Div", [m.op("Add", ["x", m.const(np.ones(30))]), m.const(2.0)])
    x = m.bipolar(m.op("Sub", [x, m.const(0.5)]))
    for before, after in itertools.pairwise((30, 16, 8, 1)):
        scales = m.rng.uniform(0.2, 0.6, size=(1, after))
        w = m.quant(m.weights(before, after), scales, 2, narrow=1)
        x = m.op("Add", [m.op("MatMul", [x, w]), m.const(0.2 * m.rng.normal(size=after))])
        if after != 1:
            x = m.quant(m.op("Relu", [m.normalization(x, after)]), 0.25, 2, signed=0)
    m.bipolar(x)
    m.record("intrusion", np.sign(rng.normal(size=(40, 30))), [1, 1], 10)


def modes(opset: int) -> None:
    """Every rounding mode, an odd zero point, and Trunc before Round existed."""
    m = Writer(6)
    x = m.quant("x", 0.25, 6, point=3.0, op_type="IntQuant")
    x = m.op("Mul", [x, m.const(0.75)])
    for mode in ("HALF_UP", "HALF_DOWN", "CEIL", "FLOOR", "UP", "DOWN"):
        x = m.op("Add", [x, m.quant("x", 0.5, 5, mode=mode)])
    x = m.quant(x, 0.125, 9)
    numbers = map(m.const, (0.125, 0.0, 9.0, 1.0, 6.0))
    m.op("Trunc", [x, *numbers], GENERAL, rounding_mode="FLOOR", signed=1, narrow=0)
    steps = np.arange(-80, 80).reshape(20, 8) / 16
    m.record(f"modes_opset_{opset}", steps, [1, 8], opset, domains=((GENERAL, 2),))


def one_bit(narrow: int, rng: np.random.Generator) -> None:
    """Quant of one signed bit, with a zero point where it is narrow."""
    m = Writer(7)
    x = m.quant("x", 0.5, 1, narrow=narrow, point=float(narrow))
    m.op("MatMul", [x, m.quant(m.weights(6, 4), 0.4, 1, narrow=narrow)])
    m.record(f"one_bit_narrow_{narrow}", rng.normal(size=(20, 6)), [1, 4], 11)


def small_floats(
    name: str, numbers: tuple[float, ...], mode: str, opset: int, rng: np.random.Generator
) -> None:
    """FloatQuant: exponent and mantissa bits, bias and largest value; powers of two as data."""
    m = Writer(8)

    def rounded(x: str, scale: float) -> str:
        inputs = [x, m.const(scale), *map(m.const, numbers)]
        return m.op("FloatQuant", inputs, GENERAL, has_inf=0, has_nan=0, has_subnormal=1,
                    saturation=1, rounding_mode=mode)  # fmt: skip

    x = m.op("MatMul", [rounded("x", 0.5), rounded(m.weights(8, 6), 1.0)])
    rounded(m.op("Relu", [x]), 0.25)
    signs = np.where(np.arange(160) % 2, 1, -1)
    powers = (signs * 2.0 ** np.arange(-80, 80)).reshape(20, 8)
    data = np.concatenate([rng.normal(size=(20, 8)), powers])
    m.record(f"float_{name}", data, [1, 6], opset)


def channels_last(rng: np.random.Generator) -> None:
    """Wrapped Conv, BatchNormalization and MaxPool on two axes and on one."""
    domains = ((GENERAL, 1), (LAST, 11))
    m = Writer(9)
    w = m.quant(m.weights(5, 3, 3, 2), 0.125, 4, narrow=1)
    x = m.quant("x", 1 / 16, 6)
    x = m.op("Conv", [x, w], LAST, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4,
             dilations=[1, 1], group=1)  # fmt: skip
    x = m.quant(m.op("Relu", [m.normalization(x, 5, LAST)]), 1 / 8, 4, signed=0)
    x = m.op("MaxPool", [x], LAST, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    x = m.op("Reshape", [x, m.const(np.array([1, -1]))])
    m.op("MatMul", [x, m.quant(m.weights(45, 4), 0.125, 4, narrow=1)])
    wide, narrow = [1, 6, 6, 5], [1, 6, 6, 2]
    sizes = {"t1": [5, 3, 3, 2], "t2": narrow, **{f"t{i}": wide for i in (3, 4, 5, 6)},
             "t7": [1, 3, 3, 5]}  # fmt: skip
    m.record("channels_last_2d", rng.normal(size=(16, 6, 6, 2)), [1, 4], 11, domains=domains,
             sizes=sizes)  # fmt: skip
    m = Writer(10)
    x, w = m.quant("x", 1 / 8, 5), m.quant(m.weights(4, 3, 2), 0.25, 3, narrow=1)
    x = m.op("Conv", [x, w], LAST, kernel_shape=[3], strides=[2], pads=[0, 0], dilations=[1],
             group=1)  # fmt: skip
    m.op("MaxPool", [m.quant(x, 0.3, 6)], LAST, kernel_shape=[2], strides=[2], pads=[0, 0])
    sizes = {"t1": [1, 13, 2], "t2": [4, 3, 2], "t3": [1, 6, 4], "t4": [1, 6, 4]}
    m.record("channels_last_1d", rng.normal(size=(16, 13, 2)), [1, 3, 4], 13, domains=domains,
             sizes=sizes)  # fmt: skip


def main() -> None:
    rng = np.random.default_rng(0)
    tfc(1, rng)
    tfc(2, rng)
    cnv(rng)
    jet_tagging(rng)
    keyword(rng)
    intrusion(rng)
    for opset in (9, 10):
        modes(opset)
    for narrow in (0, 1):
        one_bit(narrow, rng)
    small_floats("e4m3", (4, 3, 7, 480.0), "ROUND", 9, rng)
    small_floats("e5m2", (5, 2, 15, 57344.0), "FLOOR", 13, rng)
    small_floats("e2m1", (2, 1, 1, 6.0), "CEIL", 14, rng)
    channels_last(rng)


if __name__ == "__main__":
    main()
