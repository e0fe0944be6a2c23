"""Where the output error comes from: source by source and layer by layer, adding up to all of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.partial import (
    PartialRun,
    Precision,
    at_precision,
    is_integer,
    nearly,
    same_values,
    samples_per_state,
)
from quantlib.core.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from quantlib.analysis.reference import FloatReference
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.execution.layer import QuantizedLayer, Value
    from quantlib.quantized_module import QuantizedModule


class ErrorSource(StrEnum):
    """What a layer can lose, in the order in which it is switched on."""

    WEIGHT_CLIPPING = "weight clipping"
    WEIGHT_ROUNDING = "weight rounding"
    ACTIVATION_CLIPPING = "activation clipping"
    ACTIVATION_ROUNDING = "activation rounding"
    ACCUMULATOR_ROUNDING = "accumulator rounding"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What one source of error in one place costs; unit: the output's, squared.

    Parameters
    ----------
    place : str
        A layer's name; a model input's or output's where the error is made before the first or
        after the last layer.
    source : ErrorSource
        What is lost.
    share : float
        Part of the mean squared output error; may be negative where an error cancels others.
    alone : float
        Mean squared output error when nothing else is switched on.
    """

    place: str
    source: ErrorSource
    share: float
    alone: float

    @property
    def interaction(self) -> float:
        """What the other errors change about it: ``share - alone``."""
        return self.share - self.alone


@dataclass(frozen=True, slots=True)
class ErrorLedger:
    """The mean squared error of a module's first output, divided up.

    Parameters
    ----------
    entries : tuple of LedgerEntry
        In execution order; sources that change nothing are left out.
    places : tuple of str
        Every place where something could be lost, in execution order.
    mse : float
        Measured: of ``QuantizedModule.forward`` against the float model, output unit squared.
    signal : float
        Mean square of the float output, output unit squared.
    n_samples : int
        Samples measured so far.

    Notes
    -----
    With y the float model's output, ŷ that of the integer run and ``e = ŷ - y`` over all N
    output values, the measured error is ``<e, e> / N``. The sources are switched on one after
    another in execution order, in each layer in the order of `ErrorSource`; everything after
    the source at work is exact. With ``y_0, y_1, ..., y_K = ŷ`` the outputs on that path and
    ``d_k = y_k - y_(k-1)``::

        share_k       = <d_k, e> / N          sum of shares = <e, e> / N, as sum d_k = e
        alone_k       = <a_k, a_k> / N        a_k: the change when only source k is on
        interaction_k = share_k - alone_k     what errors do to each other: cross terms, and
                                              non-linear layers between them

    So the parts, interaction among them, add up to the measured error, per layer and in all.
    It is the telescoping sum behind a path attribution such as Aumann-Shapley or integrated
    gradients (arXiv:1703.01365), along the edges of the path in execution order.

    *Clipping* saturates values at the ends of the grid, *rounding* is the rest of what the grid
    does. Grids are those of the module. Accumulator rounding is what an integer layer loses
    beyond its operands' grids: the low bits that a threshold removes, the common scale of an
    Add, the inverse in a Div; alone, it is measured on the layer's own grids.
    """

    entries: tuple[LedgerEntry, ...]
    places: tuple[str, ...]
    mse: float
    signal: float
    n_samples: int

    @property
    def explained(self) -> float:
        """Sum of all shares, output unit squared."""
        return float(sum(entry.share for entry in self.entries))

    @property
    def relative_gap(self) -> float:
        """Difference of sum and measured error over the latter; 0.0 where nothing is lost."""
        gap = abs(self.explained - self.mse)
        return gap / self.mse if self.mse else gap

    @property
    def interaction(self) -> float:
        """Sum of all interactions: measured error less what each source does alone."""
        return float(sum(entry.interaction for entry in self.entries))

    def of(self, place: str) -> dict[ErrorSource, LedgerEntry]:
        """Return a place's entries by source."""
        return {entry.source: entry for entry in self.entries if entry.place == place}

    def total_of(self, source: ErrorSource) -> float:
        """Return a source's shares in all places together."""
        return float(sum(entry.share for entry in self.entries if entry.source is source))


def error_ledger(module: QuantizedModule, reference: FloatReference) -> ErrorLedger:
    """Divide the output error up, on all samples of `reference`; see `error_ledgers`."""
    *_, last = error_ledgers(module, reference)
    return last


def error_ledgers(
    module: QuantizedModule,
    reference: FloatReference,
    *,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[ErrorLedger]:
    """Divide the output error up, over more and more samples.

    Parameters
    ----------
    module : QuantizedModule
        What is measured.
    reference : FloatReference
        The float model on the samples.
    go_on : callable
        Asked between layers; after False nothing more is computed or yielded.

    Yields
    ------
    ErrorLedger
        Of all samples so far; the last one of all. What was yielded is complete for its
        samples, so that a caller can stop at any time.

    Notes
    -----
    What a source changes is computed from its layer on, and only what depends on it: the layers
    before it are shared by all later sources.
    """
    expected = np.asarray(reference.output(), dtype=np.float64)
    n_samples = len(reference.inputs[0])
    step = samples_per_state(module.graph, n_samples)
    total = _Sums()
    for start in range(0, n_samples, step):
        inputs = [array[start : start + step] for array in reference.inputs]
        run = PartialRun(module, inputs, keep_runs=False)
        sums = _Sums()
        walk = _Walk(run, expected[start : start + step], sums)
        for _ in walk.steps():
            if not go_on():
                return
        total.merge(sums)
        yield total.ledger(min(n_samples, start + step))


class _Sums:
    """Sums of squares by place and source, over samples."""

    def __init__(self) -> None:
        self.shares: dict[tuple[str, ErrorSource], float] = {}
        self.alone: dict[tuple[str, ErrorSource], float] = {}
        self.places: dict[str, None] = {}
        self.error = self.signal = 0.0
        self.n_values = 0

    def merge(self, other: _Sums) -> None:
        for mine, theirs in ((self.shares, other.shares), (self.alone, other.alone)):
            for key, value in theirs.items():
                mine[key] = mine.get(key, 0.0) + value
        self.places |= other.places
        self.error += other.error
        self.signal += other.signal
        self.n_values += other.n_values

    def ledger(self, n_samples: int) -> ErrorLedger:
        n = max(1, self.n_values)
        order = {place: i for i, place in enumerate(self.places)}
        ranks = {source: i for i, source in enumerate(ErrorSource)}
        keys = sorted(self.shares, key=lambda key: (order[key[0]], ranks[key[1]]))
        entries = tuple(
            LedgerEntry(place, source, self.shares[place, source] / n, self.alone[place, source] / n)
            for place, source in keys
        )
        places = tuple(self.places)
        return ErrorLedger(entries, places, self.error / n, self.signal / n, n_samples)


class _Walk:
    """The path from the exact to the integer run, for one batch."""

    def __init__(self, run: PartialRun, expected: FloatArray, sums: _Sums) -> None:
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
            now = at_precision(Tensor(final.quantizer, values=final.values), final.values, precision)
            lone = at_precision(Tensor(exact.quantizer, values=exact.values), exact.values, precision)
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
