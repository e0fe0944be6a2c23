"""Tensors of the float model, by ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import quantlib as ql
    from quantlib.arrays import AnyArray


def float_tensors(
    graph: ql.Graph, data: Sequence[AnyArray], names: Iterable[str]
) -> dict[str, AnyArray]:
    """Return tensors by name for float32 inputs; inputs of the model as they are given."""
    given = dict(zip([info.name for info in graph.inputs], data, strict=True))
    model = onnx.load_from_string(graph.source)
    known = {info.name for info in model.graph.output} | set(given)
    inner = list(dict.fromkeys(name for name in names if name not in given))
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in inner if n not in known)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    fed = {name: np.asarray(array, dtype=np.float32) for name, array in given.items()}
    return dict(given) | dict(zip(inner, session.run(inner, fed), strict=True))
