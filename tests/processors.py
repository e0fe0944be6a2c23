"""What is promised on every processor: integers up to counted ties, floats to 1e-6.

A sum of products has another last bit in another order, and the order is the processor's. It
reaches the integers in two ways: through a range, which was measured on such sums, and through a
value that lies within that bit of the middle of two codes. Given the ranges nothing is left of it,
and every integer is equal; end to end what differs must be explained by ties, which are counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import quantlib as ql
from quantlib.analysis.ties import count_ties

CLOSE = 1e-6
"""Relative to the largest magnitude of the range."""


def moved_ranges(
    module: ql.QuantizedModule, recorded: dict[str, ql.MinMaxQuantizationStats]
) -> list[str]:
    """Names of the tensors whose measured range is not the recorded one to 1e-6."""
    moved = []
    for layer in module.layers:
        for name, grid in zip(layer.node.outputs, layer.outputs, strict=True):
            if name in recorded and grid is not None and grid.quant_stats is not None:
                found, wanted = grid.quant_stats, recorded[name]
                assert found.rmin.dtype == wanted.rmin.dtype
                if not ranges_are_close(found, wanted, CLOSE):
                    moved.append(name)
    return moved


def ranges_are_close(
    found: ql.MinMaxQuantizationStats, wanted: ql.MinMaxQuantizationStats, rtol: float
) -> bool:
    size = float(max(abs(wanted.rmin), abs(wanted.rmax)))
    ends = [(found.rmin, wanted.rmin), (found.rmax, wanted.rmax)]
    return all(abs(float(a) - float(b)) <= rtol * size for a, b in ends)


def assert_equal_up_to_ties(
    module: ql.QuantizedModule,
    given: ql.QuantizedModule,
    recorded: dict[str, ql.MinMaxQuantizationStats],
    evaluation: Any,
    outputs: Any,
) -> bool:
    """Compare a module that measured its own ranges with recorded integers.

    `given` is the same module with the ranges `recorded`. Returns whether a tie of the calibration
    moved a range, after which the integers are another model's.
    """
    codes = module.quantized_forward(module.quantize_input(evaluation))  # type: ignore[arg-type]
    reals, wanted = (np.asarray(m.forward(evaluation)) for m in (module, given))
    if moved_ranges(module, recorded):
        assert count_ties(given, calibrating=True).decided_inside > 0
        assert np.abs(reals - wanted).max() < 0.05 * np.ptp(wanted)
        return True
    differs = (codes != outputs).reshape(len(codes), -1).any(axis=1)
    tied = count_ties(module, evaluation).samples
    assert not (differs & ~tied).any()
    steady = ~differs
    size = np.abs(wanted).max()
    assert np.allclose(reals[steady], wanted[steady], rtol=0, atol=CLOSE * size)
    return False
