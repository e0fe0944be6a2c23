"""What becomes of a model that somebody brings: right, poor, refused, or an error of others."""

from __future__ import annotations

import os
import pickle
import signal
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import quantlib as ql

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx

ENOUGH_DB = 25.0
"""SQNR from which an answer at 8 bits counts as right, dB."""

LIMIT_S = 60


@dataclass(frozen=True)
class Verdict:
    """`kind` is right, poor, refused or foreign; `reason` a message or a figure."""

    kind: str
    reason: str


def sqnr_db(expected: Any, actual: Any) -> float:
    """Return the signal-to-noise ratio over all outputs, dB; places that are not finite must
    agree exactly and are then left out."""
    signal_power = noise = 0.0
    for a, b in zip(expected, actual, strict=True):
        right, found = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        if right.shape != found.shape:
            return -np.inf
        finite = np.isfinite(right)
        if not np.array_equal(right[~finite], found[~finite], equal_nan=True):
            return -np.inf
        largest = np.max(np.abs(right[finite]), initial=0.0)
        unit = 1.0 if 1e-150 < largest < 1e150 else largest or 1.0  # squares stay finite
        signal_power += float(np.sum((right[finite] / unit) ** 2))
        noise += float(np.sum((right[finite] / unit - found[finite] / unit) ** 2))
    if noise == 0.0:
        return np.inf
    return float(10 * np.log10(signal_power / noise)) if signal_power else -np.inf


def judge(model: onnx.ModelProto, inputs: Sequence[Any], expected: Sequence[Any]) -> Verdict:
    """Load, quantize to 8 bits on the inputs themselves and compare with the right outputs."""
    try:
        graph = ql.load_model(model, name="model")
        module = ql.quantize(graph, tuple(inputs), ql.QuantizationConfig.from_n_bits(8))
        found: Any = module.forward(*inputs)
    except ql.QuantlibError as error:
        return Verdict("refused", f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict("foreign", f"{type(error).__name__}: {error}")
    outputs = found if isinstance(found, tuple) else (found,)
    quality = sqnr_db(expected, outputs) if len(outputs) == len(expected) else -np.inf
    return Verdict("right" if quality >= ENOUGH_DB else "poor", f"{quality:.1f} dB")


def apart(work: Callable[[], Verdict]) -> Verdict:
    """Run `work` in a process of its own: models can end it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            signal.alarm(LIMIT_S)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                verdict = work()
            os.write(writer, pickle.dumps((verdict.kind, verdict.reason[:4000])))
        finally:
            os._exit(0)  # whatever happens, the child is not a second pytest
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    _, status = os.waitpid(child, 0)
    if not data:
        return Verdict("foreign", f"the process ended with status {status}")
    return Verdict(*pickle.loads(data))
