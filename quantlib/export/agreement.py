"""An exported float graph against the module, grid by grid."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.core.ties import decided_by_the_last_bit
from quantlib.execution.calls import calls, n_samples
from quantlib.execution.inputs import in_model_precision
from quantlib.export.marks import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.export.marks import Mark
    from quantlib.quantized_module import QuantizedModule

    Run = Callable[[Sequence[str], Mapping[str, AnyArray]], Sequence[AnyArray]]
    Watch = Callable[[Sequence[AnyArray], Seen, Mapping[str, AnyArray]], None]

_FLOAT64 = 2.0**-36
"""Distance from the middle between two codes that float64 itself leaves, in codes."""

ULPS = 32.0
"""How many units in the last place of float32 a real value may be off: sums of many products."""

BATCH = 64
"""Samples per run: every tensor of both sides is in memory at once."""


@dataclass(slots=True)
class Agreement:
    """How many samples and integers of two runs agree.

    Parameters
    ----------
    samples, equal, ties, different : int
        Samples: all integers equal; the first that differ off by one where the module's own
        real value lies between two codes; the rest. The three add up.
    codes, tied_codes, different_codes : int
        Integers that were compared, those off by one at a tie and those that differ otherwise; in
        a sample that differs already, what follows from it is not counted.
    exact_ties : int
        Of the tied codes, those that lie exactly between two codes.
    places : Counter of str
        Samples by the layer at which they first differ.
    largest_gap : float
        Largest distance of a tie from the middle between two codes, in codes.
    """

    samples: int = 0
    equal: int = 0
    ties: int = 0
    different: int = 0
    codes: int = 0
    tied_codes: int = 0
    different_codes: int = 0
    exact_ties: int = 0
    places: Counter[str] = field(default_factory=Counter)
    largest_gap: float = 0.0


def agreement(
    module: QuantizedModule,
    marks: Sequence[Mark],
    run: Run,
    inputs: Sequence[AnyArray],
    *,
    watch: Watch | None = None,
) -> Agreement:
    """Compare a written model with the module at every grid and at the outputs.

    Parameters
    ----------
    module : QuantizedModule
        What was written.
    marks : sequence of Mark
        Where the module rounds; those of constants are left out.
    run : callable
        Gets tensor names and the inputs by name; returns the tensors.
    inputs : sequence of arrays
        Real model inputs.
    watch : callable, optional
        Gets each batch of inputs, what the module did on it, and the tensors made by name.

    Notes
    -----
    Real values that both sides compute differ in the last bits of float32, and ONNX rounds before
    it adds a zero point. Either can only move a value that lies between two codes: what counts as
    such is told by `quantlib.core.ties.decided_by_the_last_bit`.
    """
    found = Agreement()
    checked = [mark for mark in marks if mark.reals is not None]
    names = [info.name for info in module.graph.inputs]
    for rows in calls(module.graph, inputs, BATCH):
        # the file takes what the model takes; the module then sees the very same numbers
        part = in_model_precision(module.graph, rows)
        seen = Seen(module, part)
        wanted = [*(mark.output for mark in checked), *module.graph.output_names]
        results = run(wanted, dict(zip(names, part, strict=True)))
        made = dict(zip(wanted, results, strict=True))
        _compare(module, checked, seen, made, n_samples(module.graph, part), found)
        if watch is not None:
            watch(part, seen, made)
    return found


def _compare(
    module: QuantizedModule,
    marks: Sequence[Mark],
    seen: Seen,
    made: Mapping[str, AnyArray],
    rows: int,
    found: Agreement,
) -> None:
    clean = np.ones(rows, dtype=bool)
    tied = np.zeros(rows, dtype=bool)
    for mark in marks:
        assert mark.reals is not None
        reals, grid = mark.reals(seen), mark.quantizer
        codes = grid.quant(reals)
        given = np.asarray(made[mark.output], dtype=np.float64)
        other = np.rint(given / grid.scale + np.asarray(grid.zero_point, dtype=np.float64))
        found.codes += codes.size
        wrong = _by_sample(codes != other, rows)
        if not (wrong.any(axis=1) & clean).any():
            continue
        position = reals.astype(np.float64) / grid.scale + grid.zero_point
        gap = np.abs(position - np.floor(position) - 0.5)
        loose = decided_by_the_last_bit(reals, grid, precision=np.float32, ulps=ULPS)
        at_tie = (np.abs(codes - other) == 1) & loose
        at_tie, gaps = _by_sample(at_tie, rows), _by_sample(gap, rows)
        first = wrong & clean[:, None]
        found.tied_codes += int((first & at_tie).sum())
        found.exact_ties += int((first & at_tie & (gaps <= _FLOAT64)).sum())
        found.different_codes += int((first & ~at_tie).sum())
        found.largest_gap = max(found.largest_gap, float(gaps[first & at_tie].max(initial=0)))
        hit = first.any(axis=1)
        only_ties = hit & ~(first & ~at_tie).any(axis=1)
        found.places[mark.layer] += int(hit.sum())
        tied |= only_ties
        clean &= ~hit
    wrong_rows = wrong_outputs(module, seen, made, rows)
    found.different_codes += int((wrong_rows & clean).sum())
    found.places["outputs"] += int((wrong_rows & clean).sum())
    clean &= ~wrong_rows
    found.samples += rows
    found.equal += int(clean.sum())
    found.ties += int(tied.sum())
    found.different += int((~clean & ~tied).sum())
    found.places = +found.places


def undecided(marks: Sequence[Mark], seen: Seen, rows: int) -> AnyArray:
    """Tell which samples have a value that lies between two codes: its last bit decides."""
    found = np.zeros(rows, dtype=bool)
    for mark in marks:
        if mark.reals is not None:
            reals = mark.reals(seen)
            loose = decided_by_the_last_bit(reals, mark.quantizer, precision=np.float32, ulps=ULPS)
            found |= _by_sample(loose, rows).any(axis=1)
    return found


def wrong_outputs(
    module: QuantizedModule, seen: Seen, made: Mapping[str, AnyArray], rows: int
) -> AnyArray:
    """Tell which samples' outputs are other integers.

    Raw outputs must be equal: to the last bit for integers, in float32 else.
    """
    wrong = np.zeros(rows, dtype=bool)
    for name, value in zip(module.graph.output_names, seen.outputs, strict=True):
        other = np.asarray(made[name])
        if isinstance(value, Tensor):
            wrong |= _by_sample(~same_codes(value, other), rows).any(axis=1)
        else:
            in_float = np.asarray(value).dtype.kind == "f"
            near = np.isclose(value, other, rtol=1e-5, atol=1e-6) if in_float else value == other
            wrong |= _by_sample(~np.asarray(near), rows).any(axis=1)
    return wrong


def same_codes(value: Tensor, reals: AnyArray) -> AnyArray:
    """Tell where real outputs stand for the integers of a module's output.

    An accumulator leaves the graph with a zero point that holds the bias and is no integer: the
    real values are the integer's if they are within half a step of it.
    """
    step = np.asarray(value.quantizer.scale)
    exact: FloatArray = value.rounded().values
    return np.asarray(np.abs(np.asarray(reals, dtype=np.float64) - exact) < 0.5 * np.abs(step))


def _by_sample(array: AnyArray, rows: int) -> AnyArray:
    """Return one row per sample; what has no axis of samples counts for each."""
    if array.ndim and array.shape[0] == rows:
        return array.reshape(rows, -1)
    return np.broadcast_to(array.reshape(1, -1), (rows, array.size))
