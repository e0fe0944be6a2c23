"""The float model on some data, computed once and shared by every configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.execution.float_run import BATCH, float_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph

KEEP_BYTES = 256 * 2**20
"""Intermediate tensors up to this size stay in memory; beyond, they are computed again."""


class FloatReference:
    """Every tensor a node produces, in float, on the given inputs.

    Parameters
    ----------
    graph : Graph
        The model.
    inputs : tuple of arrays
        One per model input; samples along axis 0.
    """

    def __init__(self, graph: Graph, inputs: tuple[AnyArray, ...]) -> None:
        self.graph = graph
        self.inputs = inputs
        produced = [name for node in graph.nodes for name in node.outputs if name]
        self.tensors = tuple(dict.fromkeys([*produced, *graph.output_names]))
        self._kept: list[dict[str, AnyArray]] | None = None

    def batches(self) -> Iterator[tuple[tuple[AnyArray, ...], dict[str, AnyArray]]]:
        """Yield inputs and tensors of consecutive batches of samples."""
        if self._kept is None:
            yield from self._computed()
            return
        yield from zip(self._inputs(), self._kept, strict=True)

    def _computed(self) -> Iterator[tuple[tuple[AnyArray, ...], dict[str, AnyArray]]]:
        kept: list[dict[str, AnyArray]] = []
        size = 0
        results = float_batches(self.graph, self.inputs, tensors=self.tensors)
        for inputs, batch in zip(self._inputs(), results, strict=True):
            size += sum(array.nbytes for array in batch.values())
            if size <= KEEP_BYTES:
                kept.append(batch)
            yield inputs, batch
        if size <= KEEP_BYTES:
            self._kept = kept

    def _inputs(self) -> Iterator[tuple[AnyArray, ...]]:
        for start in range(0, len(self.inputs[0]), BATCH):
            yield tuple(array[start : start + BATCH] for array in self.inputs)

    def output(self) -> AnyArray:
        """Return the first model output for all samples."""
        name = self.graph.output_names[0]
        return np.concatenate([batch[name] for _, batch in self.batches()])
