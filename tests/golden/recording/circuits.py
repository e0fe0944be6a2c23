"""Compile small graphs, unrounded and rounded, and record what the circuits hold."""

from __future__ import annotations

import re
from collections import Counter
from math import prod

import numpy as np
from common import model, packed, quantized, save
from concrete import fhe
from onnx import helper

SAMPLES, COMPILED = 100, 60
N_BITS = (3, {"model_inputs": 5, "op_inputs": 4, "op_weights": 3, "model_outputs": 6})
METHODS = {"exact": fhe.Exactness.EXACT, "approximate": fhe.Exactness.APPROXIMATE}


def node(op_type, inputs, output, name, **attributes):
    """Return a node with one output."""
    return helper.make_node(op_type, inputs.split(), [output], name, **attributes)


def conv(inputs, output, name, kernel=2, group=1, pad=0, stride=1):
    """Return a Conv with every attribute spelled out."""
    return node(
        "Conv", inputs, output, name, kernel_shape=[kernel] * 2, pads=[pad] * 4,
        strides=[stride] * 2, dilations=[1, 1], group=group,
    )  # fmt: skip


def gelu(x, output, name):
    """Return ``x / 2 * (1 + erf(x / sqrt(2)))``."""
    return [
        node("Div", f"{x} root", f"{name}a", f"{name}1"),
        node("Erf", f"{name}a", f"{name}b", f"{name}2"),
        node("Add", f"{name}b one", f"{name}c", f"{name}3"),
        node("Mul", f"{x} {name}c", f"{name}d", f"{name}4"),
        node("Mul", f"{name}d half", output, f"{name}5"),
    ]


ROW, IMAGE = {"x": ["n", 4]}, {"x": ["n", 2, 5, 5]}
POOL = {"kernel_shape": [2, 2], "pads": [0, 0, 0, 0], "strides": [2, 2]}
GRAPHS = {
    "three-products": (ROW, [
        node("Gemm", "x w45 b5", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Gemm", "r w56", "c", "g2"), node("Sigmoid", "c", "s", "s1"),
        node("Gemm", "s w63", "y", "g3")]),
    "one-sided": (ROW, [
        node("Gemm", "x p45 b5", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Gemm", "r p53", "y", "g2")]),
    "conv-bn": (IMAGE, [
        conv("x k32", "a", "c1", pad=1), node("BatchNormalization", "a s3 o3 m3 v3", "n1", "bn"),
        node("Relu", "n1", "r", "r1"), conv("r k23", "y", "c2", stride=2)]),
    "conv-one-sided": (IMAGE, [
        conv("x pk32 b3", "a", "c1"), node("Relu", "a", "r", "r1"), conv("r pk23", "y", "c2")]),
    "mean-pool": (IMAGE, [
        conv("x k32", "a", "c1"), node("Relu", "a", "r", "r1"),
        node("AveragePool", "r", "p", "p1", **POOL), node("Flatten", "p", "f", "f1"),
        node("Gemm", "f w123", "y", "g1")]),
    "max-pool": (IMAGE, [
        conv("x k32", "a", "c1"), node("Relu", "a", "r", "r1"),
        node("MaxPool", "r", "p", "p1", **POOL), node("Flatten", "p", "f", "f1"),
        node("Gemm", "f w123", "y", "g1")]),
    "residual": (ROW, [
        node("Gemm", "x w44", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Gemm", "r v44", "c", "g2"), node("Add", "a c", "d", "add"),
        node("Relu", "d", "e", "r2"), node("Gemm", "e w43", "y", "g3")]),
    "difference": (ROW, [
        node("Gemm", "x w44", "a", "g1"), node("Gemm", "x v44", "c", "g2"),
        node("Sub", "a c", "d", "sub"), node("Tanh", "d", "e", "t"),
        node("Gemm", "e w43", "y", "g3")]),
    "gate": (ROW, [
        node("Gemm", "x w44", "a", "g1"), node("Gemm", "x v44", "c", "g2"),
        node("Sigmoid", "c", "s", "s1"), node("Mul", "a s", "m", "mul"),
        node("Gemm", "m w43", "y", "g3")]),
    "gate-of-input": (ROW, [
        node("Gemm", "x w44", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Mul", "r x", "m", "mul"), node("Gemm", "m w43", "y", "g3")]),
    "gate-last": (ROW, [
        node("Gemm", "x w44", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Mul", "r x", "y", "mul")]),
    "quotient": (ROW, [
        node("Gemm", "x w44", "a", "g1"), node("Gemm", "x v44", "c", "g2"),
        node("Sigmoid", "c", "s", "s1"), node("Add", "s one", "e", "e1"),
        node("Div", "a e", "d", "div"),
        node("Gemm", "d w43", "y", "g3")]),
    "product-of-two": ({"x": ["n", 3, 4]}, [
        node("MatMul", "x w43", "a", "m1"), node("MatMul", "x v43", "c", "m2"),
        node("Transpose", "c", "t", "t1", perm=[0, 2, 1]), node("MatMul", "a t", "d", "m3"),
        node("Relu", "d", "r", "r1"), node("MatMul", "r w33", "y", "m4")]),
    "sum": ({"x": ["n", 3, 4]}, [
        node("MatMul", "x w45", "a", "m1"), node("Relu", "a", "r", "r1"),
        node("ReduceSum", "r axes", "s", "sum", keepdims=0), node("Relu", "s", "q", "r2"),
        node("Gemm", "q w53", "y", "g1")]),
    "gelu": (ROW, [
        node("Gemm", "x w45 b5", "a", "g1"), *gelu("a", "e", "gelu"),
        node("Gemm", "e w53", "y", "g2")]),
    "reshaped": (ROW, [
        node("Gemm", "x w45", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Reshape", "r turned", "t", "t1"), node("MatMul", "t one_by", "m", "m1"),
        node("Relu", "m", "q", "r2"), node("Flatten", "q", "f", "f1"),
        node("Gemm", "f w103", "y", "g2")]),
    "twice": (ROW, [
        node("Gemm", "x w45", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Concat", "r r", "t", "cat", axis=1), node("Gemm", "t w103", "y", "g2")]),
    "depthwise": (IMAGE, [
        conv("x d21", "a", "c1", group=2), node("HardSwish", "a", "h", "h1"),
        conv("h k321", "c", "c2", kernel=1), node("Relu", "c", "r", "r1"),
        node("ReduceSum", "r image", "s", "sum", keepdims=0), node("Gemm", "s w33", "y", "g1")]),
    "function-first": (ROW, [
        node("Sigmoid", "x", "s", "s1"), node("Gemm", "s w45", "a", "g1"),
        node("Relu", "a", "r", "r1"), node("Gemm", "r w53", "y", "g2")]),
    "two-heads": (ROW, [
        node("Gemm", "x w45", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Gemm", "r w53", "y", "g2"), node("Gemm", "r v53", "b", "g3"),
        node("Sigmoid", "b", "z", "s1")]),
    "two-widths": (ROW, [
        node("Gemm", "x w45", "a", "g1"), node("Relu", "a", "r", "r1"),
        node("Gemm", "r w53", "c", "g2"), node("Tanh", "a", "t", "t1"),
        node("Flatten", "t", "f", "f1"), node("Gemm", "f v53", "d", "g3"),
        node("Add", "c d", "y", "add")]),
    "function-last": (ROW, [
        node("Gemm", "x w45 b5", "a", "g1"), node("Tanh", "a", "y", "t1")]),
}  # fmt: skip


def constants(rng):
    """Return weights by name; ``p``: on one side of zero."""

    def normal(*shape):
        return rng.normal(0, 0.6, shape).astype(np.float32)

    made = {
        name: normal(*map(int, shape.split()))
        for name, shape in {
            "w44": "4 4", "v44": "4 4", "w43": "4 3", "v43": "4 3", "w45": "4 5", "b5": "5",
            "w56": "5 6", "w63": "6 3", "w53": "5 3", "v53": "5 3", "w33": "3 3", "w123": "12 3",
            "w103": "10 3", "one_by": "1 2", "k32": "3 2 2 2", "k23": "2 3 2 2", "d21": "2 1 2 2",
            "k321": "3 2 1 1", "b3": "3", "s3": "3", "o3": "3", "m3": "3",
        }.items()
    }  # fmt: skip
    made |= {f"p{k}": np.abs(normal(*made[k].shape)) + np.float32(0.1) for k in ("w45", "w53")}
    made |= {f"p{k}": np.abs(normal(*made[k].shape)) + np.float32(0.1) for k in ("k32", "k23")}
    return {
        **made,
        "p45": made.pop("pw45"),
        "p53": made.pop("pw53"),
        "v3": np.abs(normal(3)) + np.float32(0.5),
        "axes": np.array([1]),
        "image": np.array([2, 3]),
        "turned": np.array([-1, 5, 1]),
        "root": np.float32(np.sqrt(2)),
        "one": np.float32(1),
        "half": np.float32(0.5),
    }


def tables(mlir):
    """Return how many elements enter tables in the compiler's input, by width and kind."""
    counted = Counter()
    pattern = r'"FHE(?:Linalg)?\.(\w+)"\(.*?\).*?: \((?:tensor<([\dx]*)x!|!)FHE\.e(s?)int<(\d+)>>?'
    for line in mlir.splitlines():
        found = re.search(pattern, line)
        if found and re.search("lookup|round|lsb|mul_eint$|maxpool", found[1]):
            elements = prod(map(int, found[2].split("x"))) if found[2] else 1
            counted[f"{found[1]} {found[4]}"] += elements
    return dict(counted)


def described(module, circuit):
    """Return what a compiled circuit tells."""
    return {
        "report": {
            k: {"range": [int(end) for end in v["range"]], "bitwidth": v["bitwidth"]}
            for k, v in module.bitwidth_and_range_report().items()
        },
        "maximum_integer_bit_width": circuit.graph.maximum_integer_bit_width(),
        "programmable_bootstraps": circuit.programmable_bootstrap_count,
        "bootstraps_by_tag": circuit.programmable_bootstrap_count_per_tag,
        "complexity": circuit.complexity,
        "tables": tables(circuit.mlir),
    }


def main():
    """Compile every graph at every width, unrounded and rounded by both methods."""
    rng = np.random.default_rng(50)
    weights = constants(rng)
    arrays, cases = {}, []
    for name, (inputs, nodes) in GRAPHS.items():
        read = {k: weights[k] for item in nodes for k in item.input if k in weights}
        outputs = ["y", "z"] if name == "two-heads" else ["y"]
        made = model(nodes, inputs, outputs, read)
        x = rng.normal(size=(SAMPLES, *inputs["x"][1:])).astype(np.float32)
        arrays[f"{name}.model"], arrays[f"{name}.x"] = packed(made), x
        for i, n_bits in enumerate(N_BITS):
            for method in (None, *METHODS):
                rounding = method and {"method": METHODS[method], "n_bits": 4 + i}
                key = f"{name}-{i}-{method}"
                try:
                    module = quantized(made, n_bits, x, rounding)
                    circuit = module.compile(
                        x[:COMPILED],
                        configuration=fhe.Configuration(fhe_simulation=True, fhe_execution=False),
                    )
                except Exception as error:
                    print("refused", key, " ".join(str(error).split())[-200:])
                    continue
                cases.append({
                    "key": key,
                    "model": name,
                    "n_bits": n_bits,
                    "rounding": method and {"n_bits": 4 + i, "method": method},
                    "compile_samples": COMPILED,
                    **described(module, circuit),
                })  # fmt: skip
    save("circuits_rounded", cases, arrays)


if __name__ == "__main__":
    main()
