"""Shapes of tensors: inferred, or observed on one sample and on two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from quantlib.execution.calls import n_samples, samples_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.quantized_module import QuantizedModule

Sizes: TypeAlias = "tuple[int | None, ...]"
"""A shape; None for an axis that grows with the number of samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Shapes of a layer's operands and accumulator; its raw operands."""

    operands: tuple[Sizes, ...]
    accumulator: Sizes
    raw: tuple[AnyArray | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Shapes by layer and by tensor name."""

    layers: dict[str, Observed]
    tensors: dict[str, Sizes]


def inferred_sizes(shapes: Mapping[str, tuple[int | str | None, ...]], name: str) -> Sizes | None:
    """Return an inferred shape whose axes are all known but the samples', or None."""
    shape = shapes.get(name)
    if shape is None or not all(isinstance(size, int) for size in shape[1:]):
        return None
    return tuple(size if isinstance(size, int) else None for size in shape)


def probe(module: QuantizedModule) -> Probe:
    """Return the shapes that one and two samples have in common."""
    one, two = (_observe(module, count) for count in (1, 2))  # one call each where that is fixed
    layers = {
        name: Observed(
            tuple(map(_agreed, found.operands, two.layers[name].operands)),
            _agreed(found.accumulator, two.layers[name].accumulator),
            found.raw,
        )
        for name, found in one.layers.items()
    }
    return Probe(layers, {n: _agreed(sizes, two.tensors[n]) for n, sizes in one.tensors.items()})


def _observe(module: QuantizedModule, count: int) -> Probe:
    """Return all shapes on `count` samples."""
    found = Probe({}, {})
    graph, data = module.graph, module.calibration
    rows = np.arange(graph.batch.size or count) % n_samples(graph, data)
    samples = samples_of(graph, data, rows)

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        for name, value in zip(layer.node.outputs, run.results, strict=True):
            if value is not None:
                found.tensors[name] = tuple(value.shape)
        if run.accumulator is not None:
            shapes = tuple(() if o is None else tuple(o.shape) for o in run.operands)
            raw = tuple(o if isinstance(o, np.ndarray) else None for o in run.operands)
            found.layers[layer.name] = Observed(shapes, run.accumulator.shape, raw)

    module.run(*samples, observe=note)
    found.tensors.update(
        (info.name, x.shape) for info, x in zip(module.graph.inputs, samples, strict=True)
    )
    return found


def _agreed(one: Sizes, two: Sizes) -> Sizes:
    if len(one) != len(two):  # a Squeeze that removes the axis of a single sample
        return (None,) * len(two)
    return tuple(a if a == b else None for a, b in zip(one, two, strict=True))
