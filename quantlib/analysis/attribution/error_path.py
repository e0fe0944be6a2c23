"""The path from a float run to an integer run, one source of error after another."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.attribution.partial_run import (
    Precision,
    at_precision,
    is_integer,
    nearly,
    same_values,
)
from quantlib.core.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quantlib.analysis.attribution.partial_run import PartialRun
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import QuantizedLayer


class ErrorSource(StrEnum):
    """What a layer can lose, in the order in which it is switched on."""

    WEIGHT_CLIPPING = "weight clipping"
    WEIGHT_ROUNDING = "weight rounding"
    ACTIVATION_CLIPPING = "activation clipping"
    ACTIVATION_ROUNDING = "activation rounding"
    ACCUMULATOR_ROUNDING = "accumulator rounding"


class Sums:
    """Sums of squares by place and source, over samples."""

    def __init__(self) -> None:
        self.shares: dict[tuple[str, ErrorSource], float] = {}
        self.alone: dict[tuple[str, ErrorSource], float] = {}
        self.places: dict[str, None] = {}
        self.error = self.signal = 0.0
        self.n_values = 0

    def merge(self, other: Sums) -> None:
        """Add the sums of other samples."""
        for mine, theirs in ((self.shares, other.shares), (self.alone, other.alone)):
            for key, value in theirs.items():
                mine[key] = mine.get(key, 0.0) + value
        self.places |= other.places
        self.error += other.error
        self.signal += other.signal
        self.n_values += other.n_values


class Walk:
    """The path from the exact to the integer run, for one batch."""

    def __init__(self, run: PartialRun, expected: FloatArray, sums: Sums) -> None:
        self.run = run
        self.sums = sums
        self.error = run.output - expected
        self.state: dict[str, Value] = dict(run.exact)
        self.output = run.exact_output
        sums.error = float(np.vdot(self.error, self.error))
        sums.signal = float(np.vdot(expected, expected))
        sums.n_values = expected.size

    def steps(self) -> Iterator[None]:
        """Switch on one place after another; hand back control after each."""
        for name, grid in self.run.entries():
            self.sums.places[name] = None
            exact = self.run.exact[name]
            assert isinstance(exact, Tensor)
            on_grid = Tensor(grid, values=exact.values)
            before: Mapping[str, Value] = {name: exact}
            for source, precision in _ACTIVATION_STAGES:
                values = at_precision(on_grid, exact.values, precision)
                now = {name: Tensor(grid, values=values)}
                self._switch(name, source, -1, now=now, before=before, alone=(before, now))
                before = now
            yield
        for i, layer in enumerate(self.run.layers):
            if is_integer(layer):
                self.sums.places[layer.name] = None
                self._layer(i, layer)
                yield
        if self.run.rounds_output:
            self._leave()

    def _layer(self, index: int, layer: QuantizedLayer) -> None:
        """Switch on the sources of one layer."""
        run = self.run
        before: Mapping[str, Value] = _outputs(layer, self.state)
        for (source, now), alone in zip(
            _stages(run, layer, self.state), _alone(run, layer), strict=True
        ):
            self._switch(layer.name, source, index, now=now, before=before, alone=alone)
            before = now

    def _switch(
        self,
        place: str,
        source: ErrorSource,
        index: int,
        *,
        now: Mapping[str, Value],
        before: Mapping[str, Value],
        alone: tuple[Mapping[str, Value], Mapping[str, Value]],
    ) -> None:
        """Switch one source on; add its share, and what it does alone."""
        run = self.run
        base, changed = alone
        difference = self._exact_output(base, changed, index)
        if not same_values(before, now):
            self.state |= run.propagated(self.state, now, index, run.exact_results)
            output = run.output_of(self.state)
            self._add(place, source, float(np.vdot(output - self.output, self.error)), difference)
            self.output = output
        elif difference:
            self._add(place, source, 0.0, difference)

    def _exact_output(
        self, base: Mapping[str, Value], changed: Mapping[str, Value], index: int
    ) -> float:
        """Return the energy at the output of a change in an otherwise exact run."""
        if same_values(base, changed):
            return 0.0
        run = self.run
        outputs = [run.exact_output]
        for values in (base, changed):
            if same_values(run.exact, values):
                continue
            different = run.propagated(run.exact, values, index, run.exact_results)
            outputs.append(run.output_of(different, run.exact))
        change = outputs[-1] - outputs[-2]
        return float(np.vdot(change, change))

    def _leave(self) -> None:
        """Round the output to the grid on which it leaves."""
        run, name = self.run, self.run.output_name
        self.sums.places[f"output {name}"] = None
        final, exact = self.state[name], run.exact[name]
        assert isinstance(final, Tensor) and isinstance(exact, Tensor)
        before, base = self.output, run.exact_output
        for source, precision in _ACTIVATION_STAGES:
            now = at_precision(
                Tensor(final.quantizer, values=final.values), final.values, precision
            )
            lone = at_precision(
                Tensor(exact.quantizer, values=exact.values), exact.values, precision
            )
            share = float(np.vdot(now - before, self.error))
            alone = float(np.vdot(lone - base, lone - base))
            if share or alone:
                self._add(f"output {name}", source, share, alone)
            before, base = now, lone

    def _add(self, place: str, source: ErrorSource, share: float, alone: float) -> None:
        key = (place, source)
        self.sums.shares[key] = self.sums.shares.get(key, 0.0) + share
        self.sums.alone[key] = self.sums.alone.get(key, 0.0) + alone


_ACTIVATION_STAGES = (
    (ErrorSource.ACTIVATION_CLIPPING, Precision.CLIPPED),
    (ErrorSource.ACTIVATION_ROUNDING, Precision.QUANTIZED),
)

_EXACT, _CLIPPED, _QUANTIZED = Precision

_PATH = ((_CLIPPED, _EXACT), (_QUANTIZED, _EXACT), (_QUANTIZED, _CLIPPED), (_QUANTIZED, _QUANTIZED))
"""Weights' and activations' precision once a source is on, the ones before it being on too."""

_LONELY = ((_CLIPPED, _EXACT), (_QUANTIZED, _EXACT), (_EXACT, _CLIPPED), (_EXACT, _QUANTIZED))
"""The same with weights or activations on, not both."""


def _outputs(layer: QuantizedLayer, values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: values[name] for name in layer.node.outputs if name in values}


def _computed(
    run: PartialRun,
    layer: QuantizedLayer,
    values: Mapping[str, Value],
    precisions: Sequence[tuple[Precision, Precision]],
) -> list[Mapping[str, Value]]:
    """Return a layer's tensors at each pair of precisions; equal operands are computed once."""
    seen = [run.operands_at(layer, values, weights=_EXACT, activations=_EXACT)]
    found: list[Mapping[str, Value]] = [_outputs(layer, values)]
    for weights, activations in precisions:
        operands = run.operands_at(layer, values, weights=weights, activations=activations)
        known = next((i for i, other in enumerate(seen) if _equal(operands, other)), None)
        found.append(run.results_of(layer, values, operands) if known is None else found[known])
        seen.append(operands)
    return found[1:]


def _equal(a: tuple[AnyArray | None, ...], b: tuple[AnyArray | None, ...]) -> bool:
    return all(
        x is y or (x is not None and y is not None and np.array_equal(x, y))
        for x, y in zip(a, b, strict=True)
    )


def _stages(
    run: PartialRun, layer: QuantizedLayer, values: Mapping[str, Value]
) -> list[tuple[ErrorSource, Mapping[str, Value]]]:
    """Return a layer's tensors after each source on the path; the last are the integer run's."""
    found = _computed(run, layer, values, _PATH)
    real = run.real_of(layer, values)
    if nearly(found[-1], real):
        found[-1] = real
    return list(zip(ErrorSource, [*found, real], strict=True))


def _alone(
    run: PartialRun, layer: QuantizedLayer
) -> list[tuple[Mapping[str, Value], Mapping[str, Value]]]:
    """Return a layer's tensors before and after each source, all else being exact."""
    exact = run.exact
    base = _outputs(layer, exact)
    w_clipped, weights, a_clipped, activations = _computed(run, layer, exact, _LONELY)
    (both,) = _computed(run, layer, exact, [(_QUANTIZED, _QUANTIZED)])
    real = run.real_of(layer, exact)
    return [
        (base, w_clipped),
        (w_clipped, weights),
        (base, a_clipped),
        (a_clipped, activations),
        (real if nearly(both, real) else both, real),
    ]
