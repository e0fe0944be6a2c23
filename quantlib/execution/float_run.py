"""Every tensor of a model in float, from ONNX Runtime."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import onnx

from quantlib.errors import UnsupportedOpError
from quantlib.graph.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnxruntime as ort

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph

BATCH = 256
"""Samples per run; bounds the memory that intermediate tensors take."""


@lru_cache(maxsize=8)
def _session(source: bytes, extra: tuple[str, ...]) -> ort.InferenceSession:
    """Open the model with further tensors as outputs."""
    model = onnx.ModelProto.FromString(source)
    present = {value.name for value in model.graph.output}
    for name in extra:
        if name not in present:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    return open_session(model.SerializeToString())


def float_batches(
    graph: Graph, inputs: Sequence[AnyArray], *, tensors: Sequence[str]
) -> Iterator[dict[str, AnyArray]]:
    """Yield the named tensors for consecutive batches of samples.

    Parameters
    ----------
    graph : Graph
        The model.
    inputs : sequence of arrays
        One per model input; samples along axis 0.
    tensors : sequence of str
        Tensor names of the original model: intermediate ones or outputs.

    Yields
    ------
    dict of str to array
        In the model's own precision (float32 for most models).

    Raises
    ------
    UnsupportedOpError
        ONNX Runtime fails on the data.
    """
    wanted = tuple(dict.fromkeys(tensors))
    session = _session(graph.source, wanted)
    for start in range(0, len(inputs[0]), BATCH):
        feeds = {
            info.name: array[start : start + BATCH]
            for info, array in zip(graph.inputs, inputs, strict=True)
        }
        try:
            results = session.run(list(wanted), feeds)
        except Exception as error:  # ONNX Runtime's own kinds share no base class
            raise UnsupportedOpError(
                f"{graph.name}: ONNX Runtime cannot run the model on this data "
                f"({' '.join(str(error).split())[:300]}); check its shape."
            ) from error
        yield dict(zip(wanted, results, strict=True))


def float_tensors(
    graph: Graph, inputs: Sequence[AnyArray], *, tensors: Sequence[str]
) -> dict[str, AnyArray]:
    """Return the named tensors for all samples; see `float_batches`."""
    batches = list(float_batches(graph, inputs, tensors=tensors))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
