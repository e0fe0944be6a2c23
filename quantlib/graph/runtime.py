"""ONNX Runtime sessions, with the settings that exact and reproducible results need."""

from __future__ import annotations

import onnxruntime as ort

from quantlib import breadcrumbs

_DISABLED = ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def open_session(model: bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Open a CPU session without graph optimizations, memory arena or spinning threads."""
    breadcrumbs.leave("ONNX Runtime")
    options = ort.SessionOptions()
    options.graph_optimization_level = _DISABLED
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def optimized_session(model: bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Open a CPU session as a user does: with every graph optimization."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
