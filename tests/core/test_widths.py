from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantlib.core.widths import bit_width, bit_widths, needed_bits

INT64 = st.integers(-(2**63), 2**63 - 1)
ANY = st.integers(-(2**80), 2**80)


@given(st.lists(st.tuples(INT64, INT64), min_size=1))
def test_widths_of_arrays_are_the_widths_of_their_pairs(pairs: list[tuple[int, int]]) -> None:
    ordered = [sorted(pair) for pair in pairs]
    low, high = np.array(ordered, dtype=np.int64).T
    assert bit_widths(low, high).tolist() == [bit_width(a, b) for a, b in ordered]


@given(st.lists(st.tuples(ANY, ANY), min_size=1))
def test_widths_of_python_integers_have_no_limit(pairs: list[tuple[int, int]]) -> None:
    ordered = [sorted(pair) for pair in pairs]
    low, high = (np.array(side, dtype=object) for side in zip(*ordered, strict=True))
    assert bit_widths(low, high).tolist() == [bit_width(a, b) for a, b in ordered]


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_the_needed_bits_rounded_up_are_the_width(low: int, span: int) -> None:
    assert math.ceil(needed_bits(low, low + span)) == bit_width(low, low + span)


def test_a_range_that_ends_at_the_limit_has_no_headroom() -> None:
    for bits in range(2, 33):
        assert needed_bits(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) == bits
        assert needed_bits(0, 2**bits - 1) == bits
        assert needed_bits(-(2 ** (bits - 2)), 0) == bits - 1
        assert needed_bits(0, 2**bits) > bits
