"""The table of speed: processor time in units of F, everything in one run, interleaved.

F is one float pass of ONNX Runtime over the same samples with every tensor as output. Times are
processor time (of all threads), the best of some rounds, so that other work on the machine counts
little. Run with ``python -m tests.benchmarks.table``; ``--python PATH`` names an interpreter in
whose environment Concrete ML 1.9 is installed, which then runs beside.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx

import quantlib as ql
from quantlib.arrays import AnyArray
from quantlib.execution.float_run import float_batches
from quantlib.execution.threads import one_thread_each
from quantlib.export.proofs import quantized_statically
from tests.benchmarks.networks import NETWORKS
from tests.paths import SAMPLES

CONFIG = ql.QuantizationConfig.from_n_bits(8)
FLOAT = CONFIG.replace(calibrate_on="float")

CONCRETE_ML = r"""
import json, sys, time
import numpy as np, onnx
from concrete.ml.quantization import PostTrainingAffineQuantization
from concrete.ml.torch.numpy_module import NumpyModule
model, data = onnx.load(sys.argv[1]), np.load(sys.argv[2])
def seconds(work):
    started = time.process_time()
    made = work()
    return time.process_time() - started, made
found = {}
try:
    quantizer = PostTrainingAffineQuantization(8, NumpyModule(model))
    found["quantize"], module = seconds(lambda: quantizer.quantize_module(data["calibration"]))
    q = module.quantize_input(data["evaluation"])
    found["forward"], _ = seconds(lambda: module.quantized_forward(q, fhe="disable"))
except Exception as error:
    found["refused"] = f"{type(error).__name__}: {error}"[:200]
print("FOUND", json.dumps(found))
"""


def interleaved(works: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Return the least processor time of each work, in seconds; all run once per round."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            started = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - started)
    return best


def subject(name: str) -> tuple[bytes, AnyArray, AnyArray]:
    """Return a model's bytes, calibration and evaluation data of as many samples."""
    if name in NETWORKS:
        case = NETWORKS[name]
        data = case.data()
        return case.make(), data, data[::-1].copy()
    data = np.load(SAMPLES / f"{name}.npz")
    few = min(len(data["calibration"]), len(data["evaluation"]))
    content = (SAMPLES / f"{name}.onnx").read_bytes()
    return content, data["calibration"][:few], data["evaluation"][:few]


def measured(name: str, rounds: int) -> dict[str, float]:
    """Return seconds by kind of work."""
    content, calibration, evaluation = subject(name)
    graph = ql.load_model(content)
    tensors = [out for node in graph.nodes for out in node.outputs if out]
    module = ql.quantize(graph, calibration, CONFIG)
    codes = module.quantize_input(evaluation)
    assert isinstance(codes, np.ndarray)
    data = ql.Dataset(name, (calibration,), (evaluation,), None, (), name)
    bench = ql.Workbench(graph, data, memo=ql.Memo(limit_bytes=0))
    works: dict[str, Callable[[], object]] = {
        "F": lambda: list(float_batches(graph, (evaluation,), tensors=tensors)),
        "forward": lambda: module.quantized_forward(codes),
        "from reals": lambda: module.forward(evaluation),
        "quantize": lambda: ql.quantize(graph, calibration, CONFIG),
        "float, first": lambda: ql.quantize(graph, calibration, FLOAT),
        "float, again": lambda: bench.module(FLOAT),
        "quantize_static": lambda: statically(module),
    }
    bench.module(FLOAT)
    return interleaved(works, rounds=rounds)


def statically(module: ql.QuantizedModule) -> None:
    """Let ONNX Runtime's own tool quantize the same model: 8 bits, extremes of the float run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized_statically(module, {}, {})


def concrete_ml(python: str, name: str, env: Mapping[str, str]) -> dict[str, float | str]:
    """Return seconds of Concrete ML on the same model and data."""
    content, calibration, evaluation = subject(name)
    with tempfile.TemporaryDirectory() as folder:
        model, data = Path(folder) / "model.onnx", Path(folder) / "data.npz"
        model.write_bytes(content)
        np.savez(data, calibration=calibration, evaluation=evaluation)
        done = subprocess.run(
            [python, "-c", CONCRETE_ML, str(model), str(data)],
            capture_output=True, text=True, env={**os.environ, **env}, check=False,
        )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith("FOUND"):
            return dict(json.loads(line.removeprefix("FOUND")))
    return {"refused": (done.stderr.strip().splitlines() or ["no answer"])[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter with Concrete ML 1.9")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", choices=("one", "default"), default="one")
    parser.add_argument("names", nargs="*", default=["digits_cnn", "digits_resnet", *NETWORKS])
    given = parser.parse_args()
    if given.threads == "one":
        one_thread_each()
    env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if given.threads == "one" else {}
    print(f"NumPy {np.__version__}, onnx {onnx.__version__}, Python {sys.version.split()[0]}")
    for name in given.names:
        found = measured(name, given.rounds)
        unit = found.pop("F")
        print(f"\n{name}: F = {unit:.4f} s")
        for work, seconds in found.items():
            print(f"  {work:<24} {seconds / unit:7.2f} F  {seconds:9.4f} s")
        if given.python:
            for work, theirs in concrete_ml(given.python, name, env).items():
                if isinstance(theirs, str):
                    print(f"  Concrete ML {work}: {theirs}")
                    continue
                print(
                    f"  {f'Concrete ML {work}':<24} {theirs / unit:7.2f} F  {theirs:9.4f} s"
                    f"  {theirs / found[work]:6.1f} times ours"
                )


if __name__ == "__main__":
    main()
