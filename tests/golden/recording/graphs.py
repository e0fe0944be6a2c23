"""Record random convolutional graphs end to end: convolutions, norms, pools, sums, gates, GELU."""

from __future__ import annotations

import numpy as np
from circuits import gelu
from common import integers, model, narrow, packed, quantized, save
from concrete import fhe
from onnx import helper

GRAPHS, CALIBRATION, EVALUATION = 90, 60, 30
CHANNELS, SIZE = 2, 6
FUNCTIONS = ("Relu", "Sigmoid", "HardSwish", "Tanh", "LeakyRelu", "Elu", "gelu")


class Builder:
    """A graph that grows block by block from one image."""

    def __init__(self, rng):
        self.rng = rng
        self.nodes, self.constants = [], {
            "root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5),
        }  # fmt: skip
        self.tensor, self.channels, self.size = "x", CHANNELS, SIZE

    def add(self, op_type, *inputs, **attributes):
        """Append a node; return its output."""
        name = f"{op_type}_{len(self.nodes)}"
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name, **attributes))
        return output

    def constant(self, values):
        """Keep a constant; return its name."""
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(values, dtype=np.float32)
        return name

    def normal(self, *shape, shift=0.0, scale=0.5):
        """Keep random weights; return their name."""
        return self.constant(self.rng.normal(shift, scale, shape))

    def function(self, x):
        """Append an activation."""
        kind = self.rng.choice(FUNCTIONS)
        if kind != "gelu":
            return self.add(kind, x)
        name = f"gelu{len(self.nodes)}"
        self.nodes += gelu(x, f"{name}y", name)
        return f"{name}y"

    def conv(self, x, outputs, kernel, pad, stride=1, group=1):
        """Append a Conv, with or without bias; one in five has weights on one side of zero."""
        shift = 0.9 if self.rng.random() < 0.2 else 0.0
        weight = self.normal(outputs, self.channels // group, kernel, kernel, shift=shift)
        bias = [self.normal(outputs)] if self.rng.random() < 0.5 else []
        return self.add(
            "Conv", x, weight, *bias, kernel_shape=[kernel] * 2, pads=[pad] * 4,
            strides=[stride] * 2, dilations=[1, 1], group=group,
        )  # fmt: skip

    def block_conv(self):
        """Conv, then perhaps BatchNormalization, then a function."""
        kernel = int(self.rng.integers(1, min(3, self.size) + 1))
        pad = int(self.rng.integers(0, 2)) if kernel == 3 else 0
        group = self.channels if self.rng.random() < 0.25 else 1
        most = (1, 3) if group > 1 else (2, 5)
        outputs = group * int(self.rng.integers(*most))
        y = self.conv(self.tensor, outputs, kernel, pad, group=group)
        self.channels, self.size = outputs, self.size + 2 * pad - kernel + 1
        if self.rng.random() < 0.5:
            y = self.add(
                "BatchNormalization", y, self.normal(outputs, shift=1.0), self.normal(outputs),
                self.normal(outputs), self.constant(self.rng.uniform(0.5, 2, outputs)),
            )  # fmt: skip
        self.tensor = self.function(y)

    def block_sum(self):
        """A convolution added to its input."""
        y = self.conv(self.tensor, self.channels, 1, 0)
        self.tensor = self.function(self.add("Add", self.tensor, y))

    def block_gate(self):
        """A sigmoid of a convolution that multiplies another."""
        a, b = (self.conv(self.tensor, self.channels, 1, 0) for _ in "ab")
        self.tensor = self.add("Mul", a, self.add("Sigmoid", b))

    def block_pool(self):
        """A mean or a maximum over windows."""
        if self.size < 2:
            return
        kind = self.rng.choice(["AveragePool", "MaxPool"])
        stride = 2 if self.size >= 4 else 1
        more = {"count_include_pad": 1} if kind == "AveragePool" else {}
        self.tensor = self.add(
            kind, self.tensor, kernel_shape=[2, 2], pads=[0] * 4, strides=[stride] * 2, **more
        )
        self.size = (self.size - 2) // stride + 1

    def block_concat(self):
        """A tensor beside itself: Concrete ML joins what has one scale."""
        self.tensor = self.add("Concat", self.tensor, self.tensor, axis=1)
        self.channels *= 2

    def block_function(self):
        """A function alone."""
        self.tensor = self.function(self.tensor)

    def close(self):
        """End in a product, a function of it, or sums over the image."""
        if self.rng.random() < 0.25:
            self.constants["axes"] = np.array([2, 3])
            y = self.add("ReduceSum", self.function(self.tensor), "axes", keepdims=0)
            return self.add("Gemm", y, self.normal(self.channels, 3))
        flat = self.add("Flatten", self.tensor)
        width = self.channels * self.size**2
        y = self.add("Gemm", flat, self.normal(width, 3), self.normal(3))
        return self.function(y) if self.rng.random() < 0.3 else y


def random_graph(rng):
    """Return a random graph of two to four blocks."""
    made = Builder(rng)
    made.block_conv()
    blocks = ["conv", "sum", "gate", "pool", "concat", "function"]
    for kind in rng.choice(blocks, size=int(rng.integers(1, 4))):
        getattr(made, f"block_{kind}")()
    output = made.close()
    read = {name for node in made.nodes for name in node.input}
    constants = {k: v for k, v in made.constants.items() if k in read}
    return model(made.nodes, {"x": ["n", CHANNELS, SIZE, SIZE]}, [output], constants)


def random_bits(rng):
    """Return n_bits as an int or as a dictionary, whole or in part."""
    if rng.random() < 0.4:
        return int(rng.integers(2, 9))
    inputs = int(rng.integers(2, 8))
    found = {"op_inputs": inputs, "op_weights": int(rng.integers(2, 8))}
    if rng.random() < 0.7:
        found["model_inputs"] = int(rng.integers(3, 9))
    if rng.random() < 0.7:
        found["model_outputs"] = int(rng.integers(inputs, 10))
    return found


def statistics(module):
    """Return the range of every operator's result, by tensor: smallest, largest, dtype."""
    found = {}
    for name, (_, op) in module.quant_layers_dict.items():
        low, high = op.output_quant_stats.rmin, op.output_quant_stats.rmax
        found[name] = [float(low), float(high), np.asarray(high).dtype.name]
    return found


def main():
    """Record graphs until there are `GRAPHS` that Concrete ML takes."""
    rng = np.random.default_rng(77)
    shape = (CALIBRATION + EVALUATION, CHANNELS, SIZE, SIZE)
    data = rng.normal(size=shape).astype(np.float32)
    arrays, cases, seed = {"data": data}, [], 0
    while len(cases) < GRAPHS:
        seed += 1
        rng = np.random.default_rng(1000 + seed)
        made, n_bits = random_graph(rng), random_bits(rng)
        rounding = int(rng.integers(4, 9)) if rng.random() < 0.3 else None
        scale = float(rng.choice([0.3, 1.0, 4.0]))
        x = data * np.float32(scale)
        try:
            module = quantized(
                made,
                n_bits,
                x[:CALIBRATION],
                rounding and {"method": fhe.Exactness.EXACT, "n_bits": rounding},
            )
            _, (y,) = integers(module, x[CALIBRATION:])
        except Exception as error:
            print("refused", seed, " ".join(str(error).split())[:150])
            continue
        key = f"graph-{seed}"
        arrays[f"{key}.model"], arrays[f"{key}.y"] = packed(made), narrow(y)
        cases.append(
            {
                "key": key,
                "n_bits": n_bits,
                "scale": scale,
                "calibration": CALIBRATION,
                "rounding_threshold_bits": rounding,
                "statistics": statistics(module),
            }
        )
    save("graphs", cases, arrays)


if __name__ == "__main__":
    main()
