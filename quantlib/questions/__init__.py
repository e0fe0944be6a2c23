"""Questions about a model on its data, asked by name: a workbench and arguments in, a value out.

A question answers with a frozen, bounded value (numbers, bins, tables), never with a module, a
session of ONNX Runtime or a whole activation. So it can be asked from a screen, the command line, a
test or another process alike, and its answer kept under its name and arguments.
"""

from quantlib.questions import (
    bitwidths,
    calibration,
    compare,
    encrypt,
    evaluations,
    export,
    first_minute,
    graph,
    layers,
    learn,
    sweep,
)
from quantlib.questions.registry import QUESTIONS, Question, Stream, ask

__all__ = [
    "QUESTIONS",
    "Question",
    "Stream",
    "ask",
    "bitwidths",
    "calibration",
    "compare",
    "encrypt",
    "evaluations",
    "export",
    "first_minute",
    "graph",
    "layers",
    "learn",
    "sweep",
]
