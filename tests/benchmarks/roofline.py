"""One convolution against its machine: products and bytes a second beside what there is.

Run with ``python -m tests.benchmarks.roofline``; one thread. The machine's figures are measured
here: a large float32 matrix product, and a copy of an array that no cache holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from quantlib.core.rescale import Rescale
from quantlib.execution.threads import one_thread_each
from quantlib.ops import kernels

SAMPLES, CHANNELS, SIZE = 4, 64, 56


def seconds(work: Callable[[], object], rounds: int = 7) -> float:
    """Return the least processor time."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def main() -> None:
    one_thread_each()
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1024, 1024)).astype(np.float32)
    wide = a.astype(np.float64)
    products32 = 1024**3 / seconds(lambda: a @ a)
    products64 = 1024**3 / seconds(lambda: wide @ wide)
    big = np.zeros(1 << 25, dtype=np.float32)
    other = np.empty_like(big)
    bandwidth = 2 * big.nbytes / seconds(lambda: np.copyto(other, big))
    print(
        f"machine: {products32 / 1e9:.1f} G products/s in float32, {products64 / 1e9:.1f} in "
        f"float64, {bandwidth / 1e9:.1f} GB/s"
    )
    x = rng.integers(0, 256, size=(SAMPLES, CHANNELS, SIZE, SIZE)).astype(np.float32)
    w = rng.integers(-64, 64, size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    padded = kernels.pad_spatial(x, (1, 1, 1, 1), 0)
    plain = {"strides": (1, 1), "dilations": (1, 1), "group": 1}
    accumulator = kernels.convolve(x, w, **plain, bound=2**23, pads=(1, 1, 1, 1))  # type: ignore[arg-type]
    line = Rescale(np.array(1e-3), rng.normal(size=(1, CHANNELS, 1, 1)), 0.0, 255.0)
    macs = SAMPLES * CHANNELS**2 * 9 * SIZE**2
    exact = padded.astype(np.float64), w.astype(np.float64)
    rows = [
        ("integers in float32 (ONNX Runtime)", macs, x.nbytes + accumulator.nbytes, products32,
         lambda: kernels.convolve(x, w, **plain, bound=2**23, pads=(1, 1, 1, 1))),  # type: ignore[arg-type]
        ("float64 (calibration)", macs, 2 * (x.nbytes + accumulator.nbytes), products64,
         lambda: kernels.convolve_numpy(*exact, **plain)),  # type: ignore[arg-type]
        ("accumulator to codes", 2 * accumulator.size, 2 * accumulator.nbytes, products64,
         lambda: line(accumulator, np.float32)),
    ]  # fmt: skip
    for name, products, moved, peak, work in rows:
        took = seconds(work)
        bound = max(products / peak, moved / bandwidth)
        print(
            f"{name}: {took * 1e3:.2f} ms, {products / took / 1e9:.1f} G products/s "
            f"({products / took / peak:.0%}), {moved / took / 1e9:.2f} GB/s "
            f"({moved / took / bandwidth:.0%}); {products / moved:.1f} products a byte, "
            f"at least {bound * 1e3:.2f} ms"
        )


if __name__ == "__main__":
    main()
