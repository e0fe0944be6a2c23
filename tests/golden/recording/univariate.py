"""Record functions of one value at many input scales: first, between two products, and last."""

from __future__ import annotations

import numpy as np
from common import integers, model, narrow, packed, quantized, save
from onnx import helper
from scipy import special

FUNCTIONS = {
    "Erf": [{}],
    "HardSigmoid": [{}, {"alpha": 0.3, "beta": 0.4}],
    "LeakyRelu": [{}, {"alpha": 0.2}],
    "Selu": [{}, {"alpha": 1.5, "gamma": 1.1}],
    "Softplus": [{}],
    "Sigmoid": [{}],
    "Log": [{}],
    "Tanh": [{}],
    "Elu": [{}, {"alpha": 0.7}],
    "Celu": [{}, {"alpha": 1.3}],
    "HardSwish": [{}],
    "Exp": [{}],
}
SCALES = (0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)
N_BITS = (4, 8)
SAMPLES = 100


def graphs(op_type, attributes, weights):
    """Yield the function where it is first, between two products, and last."""

    def function(x, y):
        return helper.make_node(op_type, [x], [y], "function", **attributes)

    def product(x, w, y):
        return helper.make_node("Gemm", [x, *w.split()], [y], f"product_{y}")

    for pattern, nodes in {
        "first": [function("x", "f"), product("f", "w0", "y")],
        "between": [product("x", "w1 b1", "h"), function("h", "f"), product("f", "w2", "y")],
        "last": [product("x", "w1 b1", "h"), function("h", "y")],
    }.items():
        read = {name for node in nodes for name in node.input}
        constants = {k: v for k, v in weights.items() if k in read}
        yield pattern, model(nodes, {"x": ["n", 4]}, ["y"], constants)


def main():
    """Record every function, place, scale and width whose results are finite."""
    rng = np.random.default_rng(20)
    shapes = {"w0": (4, 3), "w1": (4, 6), "b1": (6,), "w2": (6, 3)}
    weights = {k: rng.normal(0, 0.6, shape).astype(np.float32) for k, shape in shapes.items()}
    base = {part: rng.normal(size=(SAMPLES, 4)).astype(np.float32) for part in "ce"}
    arrays = {f"data.{part}": x for part, x in base.items()}
    points = np.concatenate([rng.normal(0, 2, 600), rng.uniform(-1, 1, 300), [-7.0, 0.0, 7.0]])
    arrays |= {"erf.x": points, "erf.y": special.erf(points)}
    cases = []
    for op_type, choices in FUNCTIONS.items():
        for i, attributes in enumerate(choices):
            for pattern, made in graphs(op_type, attributes, weights):
                name = f"{op_type}{i}-{pattern}"
                outputs = []
                for scale in SCALES:
                    for n_bits in N_BITS:
                        calibration, x = (base[part] * np.float32(scale) for part in "ce")
                        try:
                            with np.errstate(all="raise", under="ignore"):
                                module = quantized(made, n_bits, calibration)
                                _, (y,) = integers(module, x)
                        except FloatingPointError:  # float32 overflow: there is no grid
                            continue
                        cases.append(
                            {"model": name, "scale": scale, "n_bits": n_bits, "row": len(outputs)}
                        )
                        outputs.append(narrow(y).astype(np.int32))
                arrays[f"{name}.model"] = packed(made)
                arrays[f"{name}.y"] = narrow(np.stack(outputs))
    save("univariate", cases, arrays)


if __name__ == "__main__":
    main()
