"""Compile random graphs, unrounded and rounded, and record what the circuits hold."""

from __future__ import annotations

import time

import numpy as np
from circuits import METHODS, described
from common import packed, quantized, save
from concrete import fhe
from concrete.fhe.tracing import Tracer
from graphs import CHANNELS, SIZE, random_graph

GRAPHS, SAMPLES, COMPILED, SECONDS = 20, 60, 40, 420


def random_bits(rng):
    """Return few bits: circuits of wide integers take long."""
    if rng.random() < 0.4:
        return int(rng.integers(2, 4))
    inputs = int(rng.integers(2, 5))
    return {"op_inputs": inputs, "op_weights": int(rng.integers(2, 4)),
            "model_inputs": int(rng.integers(3, 6)),
            "model_outputs": int(rng.integers(inputs, 6))}  # fmt: skip


def main():
    """Compile until there are `GRAPHS` graphs, or the time is over."""
    data = np.random.default_rng(78).normal(size=(SAMPLES, CHANNELS, SIZE, SIZE))
    x = data.astype(np.float32)
    arrays, cases, seed, start = {"data": x}, [], 5000, time.monotonic()
    while len({case["model"] for case in cases}) < GRAPHS and time.monotonic() - start < SECONDS:
        seed += 1
        rng = np.random.default_rng(seed)
        made, n_bits, threshold = random_graph(rng), random_bits(rng), int(rng.integers(3, 6))
        name = f"random-{seed}"
        for method in (None, *METHODS):
            rounding = method and {"method": METHODS[method], "n_bits": threshold}
            try:
                module = quantized(made, n_bits, x, rounding)
                circuit = module.compile(
                    x[:COMPILED],
                    configuration=fhe.Configuration(fhe_simulation=True, fhe_execution=False),
                )
            except Exception as error:
                print("refused", name, " ".join(str(error).split())[-150:])
                continue
            finally:
                Tracer._is_tracing = False  # it stays set after a failure
            arrays[f"{name}.model"] = packed(made)
            cases.append({
                "key": f"{name}-{method}", "model": name, "n_bits": n_bits,
                "rounding": method and {"n_bits": threshold, "method": method},
                "compile_samples": COMPILED, **described(module, circuit),
            })  # fmt: skip
    save("circuits_random", cases, arrays)


if __name__ == "__main__":
    main()
