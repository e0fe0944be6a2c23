"""The float model on some data, computed once and shared by every configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.execution.calls import calls, joined
from quantlib.execution.float_run import float_batches, float_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph

KEEP_BYTES = 256 * 2**20
"""Intermediate tensors up to this size stay in memory; beyond, they are computed again."""


class FloatModel:
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
        self.tensors = float_names(graph)
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
        yield from calls(self.graph, self.inputs)

    def output(self, name: str | None = None) -> AnyArray:
        """Return a model output for all samples; the lead output when none is named."""
        name = name or self.graph.lead_output
        return joined(self.graph, name, [batch[name] for _, batch in self.batches()])
