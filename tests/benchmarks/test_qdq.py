"""Our QDQ against what ONNX Runtime's own tool makes of the same model and data."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.quantization import QuantType

import quantlib as ql
from quantlib.core.metrics import sqnr_db, top1_agreement
from quantlib.export.proofs import quantized_statically
from quantlib.export.qdq import qdq_model
from tests.sample_data import NAMES, sample

pytestmark = [
    pytest.mark.benchmark_suite,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

WIDTHS = {(8, 8): "QInt8", (4, 8): "QInt4"}
"""Bits of weights and activations, and the tool's name of the weights' type."""

REPEATS = 20


def opened(model: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measured(model: bytes, feeds: Any) -> tuple[Any, float]:
    """Return a model's first output, and microseconds per sample, the best of some runs."""
    session = opened(model)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        output = session.run(None, feeds)[0]
        times.append(time.perf_counter() - start)
    return output, min(times) * 1e6 / len(output)


def test_sqnr_size_and_time_beside_quantize_static(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"{'model':<14} {'W/A':>4} {'':>16} {'SQNR':>7} {'agrees':>7} {'bytes':>7} {'us/sample':>9}"
    ]
    for name in NAMES:
        found = sample(name)
        source = onnx.load_model_from_string(found.graph.source)
        feeds = {i.name: a for i, a in zip(found.graph.inputs, found.data.evaluation, strict=True)}
        exact, float_us = measured(source.SerializeToString(), feeds)
        rows.append(f"{name:<14} {'':>4} {'float':>16} {'':>7} {'':>7} "
                    f"{len(found.graph.source):>7} {float_us:>9.2f}")  # fmt: skip
        for (weights, activations), kind in WIDTHS.items():
            for per_channel in (False, True):
                config = ql.QuantizationConfig.from_n_bits(activations).replace(
                    weights=ql.Scheme(weights, per_channel=per_channel)
                )
                module = found.bench.module(config)
                ours = qdq_model(module).model.SerializeToString()
                theirs = quantized_statically(
                    module, {}, {"weight_type": QuantType[kind], "per_channel": per_channel}
                ).SerializeToString()
                for maker, content in (("this", ours), ("quantize_static", theirs)):
                    output, us = measured(content, feeds)
                    rows.append(
                        f"{name:<14} {f'{weights}/{activations}':>4} "
                        f"{maker + (' ch' if per_channel else ''):>16} "
                        f"{sqnr_db(exact, output):>7.1f} "
                        f"{100 * top1_agreement(exact, output):>6.1f}% {len(content):>7} {us:>9.2f}"
                    )
                    assert np.isfinite(output).all()
    with capsys.disabled():
        print("\n" + "\n".join(rows))
