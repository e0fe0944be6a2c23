"""What look-ups that err do to a result, in NumPy and without a compiler."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.cost import RoundingMethod
from quantlib.errors import OptionsError
from quantlib.fhe import gates
from quantlib.fhe.plan import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray, IntArray
    from quantlib.fhe.gates import Gate
    from quantlib.fhe.plan import Plan


def run_with_errors(
    plan: Plan,
    *codes: AnyArray,
    p_error: float,
    rounding: RoundingMethod = RoundingMethod.EXACT,
    seed: int = 0,
) -> tuple[IntArray, ...]:
    """Run a plan whose look-ups err.

    Parameters
    ----------
    plan : Plan
        What to run.
    *codes : integer arrays
        Codes of the inputs, samples along axis 0.
    p_error : float
        Probability that a look-up reads another entry than its own.
    rounding : RoundingMethod
        With approximate rounding the low bits stay in the ciphertext: an integer near the middle
        between two steps can round to either.
    seed : int
        Of the errors.

    Returns
    -------
    tuple of int64 arrays
        As from `Plan.run`.

    Raises
    ------
    OptionsError
        `p_error` is no probability between 0 and 1.

    Notes
    -----
    A ciphertext's noise is normal. A table is read one entry off where it exceeds half a step, so
    that its deviation is ``1 / (2 z)`` steps with ``2 P(Z > z) = p_error``. A compiler may choose
    parameters with less noise than it is allowed: these errors are the most that `p_error`
    permits.
    """
    if not 0 < p_error < 1:
        raise OptionsError(f"p_error is a probability between 0 and 1, got {p_error}.")
    rng = np.random.default_rng(seed)
    deviation = 0.5 / -NormalDist().inv_cdf(p_error / 2)
    approximate = rounding is RoundingMethod.APPROXIMATE

    def compute(gate: Gate, found: Mapping[str, IntArray]) -> IntArray:
        if isinstance(gate, gates.Rounded) and approximate:
            return found[gate.sources[0]]
        if not isinstance(gate, gates.LookUp):
            return plain(gate, found)
        steps = found[gate.sources[0]] / 2**gate.lsbs
        noise = rng.normal(0, deviation, steps.shape)
        return gate(np.floor(steps + noise + 0.5).astype(np.int64))

    values = plan.values(codes, compute)
    return tuple(values[name] for name in plan.outputs)
