"""Data cut into the calls that a model takes, and the results of calls joined."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.graph.shapes import shapes_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.core.tensor import Value
    from quantlib.graph.model import Graph, Shape

BATCH = 256
"""Most samples of one call."""

CALL_BYTES = 256 * 2**20
"""About what all tensors of one call may take in float32."""


def n_samples(graph: Graph, arrays: Sequence[AnyArray]) -> int:
    """Return how many samples arrays hold, one array per model input.

    A model whose inputs have no samples has as many as its calls: one.
    """
    for info, array in zip(graph.inputs, arrays, strict=True):
        axis = graph.batch.axis_of(info.name)
        if axis is not None:
            return int(array.shape[axis])
    return 1


def samples_of(
    graph: Graph, arrays: Sequence[AnyArray], chosen: slice | AnyArray
) -> tuple[AnyArray, ...]:
    """Return some samples of each input; what has no samples as it is."""
    found = []
    for info, array in zip(graph.inputs, arrays, strict=True):
        axis = graph.batch.axis_of(info.name)
        found.append(array if axis is None else array[(slice(None),) * axis + (chosen,)])
    return tuple(found)


def samples_per_call(graph: Graph, arrays: Sequence[AnyArray], at_most: int | None = None) -> int:
    """Return how many samples one call gets.

    Parameters
    ----------
    graph : Graph
        The model.
    arrays : sequence of arrays
        One per model input.
    at_most : int, optional
        How many the caller has room for, where any number is right; by default what `BATCH` and
        `CALL_BYTES` allow.
    """
    batch = graph.batch
    total = n_samples(graph, arrays)
    if batch.size is not None:
        return batch.size
    if batch.mixes:
        return max(1, total)
    if at_most is None:
        at_most = min(BATCH, CALL_BYTES // max(1, 4 * values_per_sample(graph, arrays)))
    return max(1, min(total, at_most))


def rows_together(graph: Graph, arrays: Sequence[AnyArray]) -> int:
    """Return how many samples an axis that numbers them may hold, at most."""
    return graph.batch.size or max(BATCH, n_samples(graph, arrays))


def values_per_sample(graph: Graph, arrays: Sequence[AnyArray] | None = None) -> int:
    """Return how many values the tensors of one sample hold together, as far as is known.

    Sizes that the model leaves open are those with which it was run when it was loaded; larger
    data count as many times more.
    """
    shapes = sized_shapes(graph)
    known = sum(
        math.prod(size for size in shapes.get(name, ())[1:] if isinstance(size, int))
        for node in graph.nodes
        for name in node.outputs
    )
    tried = sum(math.prod(shape) for shape in graph.batch.sizes.values()) // (graph.batch.size or 1)
    if arrays is None or not tried or shapes is graph.shapes:
        return known
    given = sum(array.size for array in arrays) // max(1, n_samples(graph, arrays))
    return known * max(1, given // tried)


def sized_shapes(graph: Graph) -> Mapping[str, Shape]:
    """Return inferred shapes, with the sizes that a model leaves open as it was run with them."""
    is_open = any(
        not isinstance(size, int)
        for info in graph.inputs
        for i, size in enumerate(info.shape)
        if i != graph.batch.axis_of(info.name)
    )
    if not is_open or not graph.batch.sizes:
        return graph.shapes

    def inferred() -> Mapping[str, Shape]:
        return {**graph.shapes, **shapes_with(graph.source, graph.batch.sizes)}

    return graph.fact("sized shapes", inferred)


def calls(
    graph: Graph, arrays: Sequence[AnyArray], at_most: int | None = None
) -> Iterator[tuple[AnyArray, ...]]:
    """Yield the inputs of consecutive calls; see `samples_per_call`."""
    step = samples_per_call(graph, arrays, at_most)
    for start in range(0, n_samples(graph, arrays), step):
        yield samples_of(graph, arrays, slice(start, start + step))


def joined(graph: Graph, name: str, parts: Sequence[AnyArray]) -> AnyArray:
    """Return an output of consecutive calls as one array.

    Along the axis of the samples. Numbers without axes become one per call; of other outputs
    without samples, which are the same in every call, the first is returned.
    """
    if len(parts) == 1:
        return parts[0]
    axis = graph.batch.axis_of(name)
    if axis is not None:
        return np.concatenate(parts, axis=axis)
    return np.stack(parts) if graph.batch.size is not None else parts[0]


def joined_values(graph: Graph, name: str, parts: Sequence[Value]) -> Value:
    """Return an output of consecutive calls of a module, on its grid where it has one."""
    if len(parts) == 1:
        return parts[0]
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if tensors:
        return Tensor.joined(tensors, lambda arrays: joined(graph, name, arrays))
    return joined(graph, name, [part for part in parts if isinstance(part, np.ndarray)])
