"""Where the output error comes from: by source and layer, in parts that add up to all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.attribution.error_path import ErrorSource, Sums, Walk
from quantlib.analysis.attribution.partial_run import partial_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quantlib.analysis.float_model import FloatModel
    from quantlib.quantized_module import QuantizedModule

__all__ = ["ErrorLedger", "ErrorSource", "LedgerEntry", "error_ledger", "error_ledgers"]


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
        Mean squared change of the output when nothing else is switched on; of rounding, on top
        of the same operand's clipping.
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
    """The mean squared error of a module's lead output, divided up.

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


def error_ledger(module: QuantizedModule, float_model: FloatModel) -> ErrorLedger:
    """Divide the output error up, on all samples of `float_model`; see `error_ledgers`."""
    *_, last = error_ledgers(module, float_model)
    return last


def error_ledgers(
    module: QuantizedModule,
    float_model: FloatModel,
    *,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[ErrorLedger]:
    """Divide the output error up, over more and more samples.

    Parameters
    ----------
    module : QuantizedModule
        What is measured.
    float_model : FloatModel
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
    expected = np.asarray(float_model.output(), dtype=np.float64)
    total = Sums()
    n_samples = 0
    for run in partial_runs(module, float_model, keep_runs=False):
        sums = Sums()
        walk = Walk(run, expected[n_samples : n_samples + len(run.output)], sums)
        for _ in walk.steps():
            if not go_on():
                return
        total.merge(sums)
        n_samples += len(run.output)
        yield _ledger(total, n_samples)


def _ledger(sums: Sums, n_samples: int) -> ErrorLedger:
    """Turn sums over samples into means."""
    n = max(1, sums.n_values)
    order = {place: i for i, place in enumerate(sums.places)}
    ranks = {source: i for i, source in enumerate(ErrorSource)}
    entries = tuple(
        LedgerEntry(place, source, sums.shares[place, source] / n, sums.alone[place, source] / n)
        for place, source in sorted(sums.shares, key=lambda key: (order[key[0]], ranks[key[1]]))
    )
    return ErrorLedger(entries, tuple(sums.places), sums.error / n, sums.signal / n, n_samples)
