"""How time and memory grow: with samples, 100 to 40,000, and with nodes, 10 to 10,000.

Prints a table and the slope of the logarithms, which is 1 for linear growth and 0 for none. Run
with ``python -m tests.benchmarks.growth``. Times are processor time; memory is how far the peak of
a process of its own rises above that of the same work on two samples.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

import quantlib as ql
from quantlib.execution.threads import one_thread_each
from tests.benchmarks.networks import chain
from tests.paths import ROOT, SAMPLES

SAMPLE_COUNTS = (100, 1000, 10_000, 40_000)
NODE_COUNTS = (10, 100, 1000, 10_000)

WORK = r"""
import re, sys, time
from pathlib import Path
import numpy as np
import quantlib as ql
def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
graph, n = ql.load_model(sys.argv[1]), int(sys.argv[2])
x = np.random.default_rng(0).uniform(size=(n, 1, 8, 8)).astype(np.float32)
config = ql.QuantizationConfig.from_n_bits(8)
ql.quantize(graph, x[:2], config).forward(x[:2])
before, started = peak(), time.process_time()
module = ql.quantize(graph, x, config)
middle = time.process_time()
module.forward(x)
print(middle - started, time.process_time() - middle, peak() - before)
"""


def slope(sizes: Sequence[float], figures: Sequence[float]) -> float:
    """Return the least-squares slope of the figures over the sizes, both as logarithms."""
    x, y = np.log(np.asarray(sizes)), np.log(np.maximum(figures, 1e-9))
    return float(np.polyfit(x, y, 1)[0])


def samples() -> None:
    rows = []
    for count in SAMPLE_COUNTS:
        done = subprocess.run(
            [sys.executable, "-c", WORK, str(SAMPLES / "digits_resnet.onnx"), str(count)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        rows.append([float(part) for part in done.stdout.split()])
        calibrated, ran, grown = rows[-1]
        print(
            f"{count:>6} samples: quantize {calibrated:8.3f} s, forward {ran:8.3f} s, "
            f"peak +{grown:6.0f} MiB"
        )
    columns = list(zip(*rows, strict=True))
    # below 1000 samples the calls themselves are most of it
    found = [slope(SAMPLE_COUNTS[1:], column[1:]) for column in columns]
    print(
        f"slopes from {SAMPLE_COUNTS[1]} on: quantize {found[0]:.2f}, forward {found[1]:.2f}, "
        f"memory {found[2]:.2f}"
    )


def nodes() -> None:
    config = ql.QuantizationConfig.from_n_bits(6)
    x = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    rows = []
    for count in NODE_COUNTS:
        clock = [time.process_time()]
        graph = ql.load_model(chain(count))
        clock.append(time.process_time())
        module = ql.quantize(graph, x, config)
        clock.append(time.process_time())
        module.forward(x)
        clock.append(time.process_time())
        rows.append(np.diff(clock))
        read, calibrated, ran = rows[-1]
        print(
            f"{count:>6} nodes: load {read:8.3f} s, quantize {calibrated:8.3f} s, "
            f"forward {ran:8.3f} s"
        )
    found = [slope(NODE_COUNTS, column) for column in np.transpose(rows)]
    print(f"slopes: load {found[0]:.2f}, quantize {found[1]:.2f}, forward {found[2]:.2f}")


def main() -> None:
    one_thread_each()
    samples()
    nodes()


if __name__ == "__main__":
    main()
