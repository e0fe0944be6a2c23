"""What the formats made of an integer program share: refusals, and equal integers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from quantlib.export.formats import Proof, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.program.program import IntegerProgram
    from quantlib.quantized_module import QuantizedModule


def island_refusals(program: IntegerProgram) -> tuple[Refusal, ...]:
    """Return what stays in float: integers alone cannot compute it."""
    return tuple(
        Refusal(s.layer, f"{s.op_type} stays in float ({s.reason})", s.remedy)
        for s in program.islands
    )


def expected_integers(
    module: QuantizedModule, data: Sequence[AnyArray]
) -> tuple[tuple[AnyArray, ...], tuple[AnyArray, ...]]:
    """Return the codes of real inputs, and the module's integers for them."""
    codes = module.quantize_input(*data)
    inputs = codes if isinstance(codes, tuple) else (codes,)
    made = module.quantized_forward(*inputs)
    return inputs, made if isinstance(made, tuple) else (made,)


def compare_integers(
    module: QuantizedModule,
    data: Sequence[AnyArray],
    runs: Mapping[str, Sequence[AnyArray]],
    machine: str,
    started: float,
) -> Proof:
    """Compare the output integers of one or more runs with the module's.

    Parameters
    ----------
    module : QuantizedModule
        What they must equal.
    data : sequence of arrays
        Real model inputs that were run.
    runs : mapping of str to sequence of arrays
        By the way in which they were made: integers of each output.
    machine : str
        What ran.
    started : float
        `time.perf_counter` when the proof began.
    """
    _, wanted = expected_integers(module, data)
    samples = len(wanted[0])
    every = np.ones(samples, dtype=bool)
    lines = []
    for way, found in runs.items():
        same = np.ones(samples, dtype=bool)
        for mine, theirs in zip(wanted, found, strict=True):
            equal = (
                np.asarray(theirs) == mine if np.shape(theirs) == mine.shape else np.array(False)
            )
            same &= np.broadcast_to(equal, mine.shape).reshape(samples, -1).all(axis=1)
        title = f"{machine}, {way}" if way else machine
        lines.append(f"{title}: {int(same.sum())} of {samples} samples, every integer equal.")
        every &= same
    equal_samples = int(every.sum())
    return Proof(
        machine=machine,
        holds=equal_samples == samples,
        samples=samples,
        equal=equal_samples,
        ties=0,
        different=samples - equal_samples,
        what="samples",
        lines=tuple(lines),
        elapsed_s=time.perf_counter() - started,
    )
