"""Lines and tables from integers to codes, against the function at every integer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantlib.core import affine
from quantlib.core.blocks import blocks
from quantlib.core.rescale import Rescale, Table, line_of


def function(
    scale: float, constant: Any, bias: Any, step: float, point: int, top: int, floor: float
) -> Any:
    """Return codes and positions of a clamped line, rounded as a layer and its reader round."""

    def positions(x: Any) -> Any:
        return np.maximum((x + constant) * scale + bias, floor) / step + point

    def codes(x: Any) -> Any:
        values = np.maximum((x + constant) * scale + bias, floor)
        return affine.quantize(
            values, scale=np.float64(step), zero_point=point, qmin=0, qmax=top, dtype=np.float64
        )

    return codes, positions


@pytest.mark.parametrize("top", [3, 15, 255])
@pytest.mark.parametrize("seed", range(8))
def test_a_line_has_the_codes_of_the_function_at_every_integer(seed: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (1, 5, 1, 1)
    constant = rng.integers(-5000, 5000, size=shape).astype(np.float64)
    bias = rng.normal(size=shape)
    scale, step = rng.uniform(1e-4, 1e-3), rng.uniform(0.5, 2) * 8 / top
    codes, positions = function(scale, constant, bias, step, int(rng.integers(0, top)), top, -1.0)
    line = line_of(codes, positions, -constant - bias / scale)
    assert line is not None
    every = np.broadcast_to(np.arange(-80_000.0, 80_000.0).reshape(-1, 1, 1, 1), (160_000, 5, 1, 1))
    np.testing.assert_array_equal(line(every, np.float32), codes(every))


def test_falling_channels_have_lines_too() -> None:
    # slopes without ties: at a tie a line may round otherwise, and is then refused
    slopes = np.array([np.pi, -2.7182818]).reshape(1, 2)

    def codes(x: Any) -> Any:
        return affine.quantize(
            x * (slopes / 1000),
            scale=np.float64(0.1),
            zero_point=7,
            qmin=0,
            qmax=31,
            dtype=np.float64,
        )

    line = line_of(codes, lambda x: x * (slopes / 1000) / 0.1 + 7, np.zeros((1, 2)))
    assert line is not None
    every = np.repeat(np.arange(-4000.0, 4000.0)[:, None], 2, axis=1)
    np.testing.assert_array_equal(line(every, np.float32), codes(every))


def test_a_function_with_two_slopes_has_no_line() -> None:
    def values(x: Any) -> Any:
        return np.where(x > 0, x, 0.1 * x)

    def codes(x: Any) -> Any:
        return affine.quantize(
            values(x), scale=np.float64(7.0), zero_point=100, qmin=0, qmax=255, dtype=np.float64
        )

    assert line_of(codes, lambda x: values(x) / 7 + 100, np.zeros((1, 1))) is None


@pytest.mark.parametrize("power", [30, 38, 45, 52])
def test_a_function_that_rises_far_from_zero_is_not_cut_short(power: int) -> None:
    codes, positions = function(2.0**-power, 0.0, 0.0, 1.0, 8, 15, -100.0)
    line = line_of(codes, positions, np.zeros((1, 1)))
    if power < 38:
        assert line is not None
    if line is not None:
        every = np.rint(np.linspace(-(2.0 ** (power + 4)), 2.0 ** (power + 4), 4001))[:, None]
        np.testing.assert_array_equal(line(every, np.float32), codes(every))


def test_a_tie_that_falls_to_the_even_code_is_seen() -> None:
    """Halves go to even codes: a rule that no line has which rounds them otherwise."""

    def codes(x: Any) -> Any:
        return np.clip(np.floor(x / 2 + 0.5), 0, 15)  # ties upward

    assert line_of(codes, lambda x: x / 2, np.zeros((1, 1))) is None
    even = line_of(lambda x: np.clip(np.rint(x / 2), 0, 15), lambda x: x / 2, np.zeros((1, 1)))
    assert isinstance(even, Rescale)


def test_a_table_gives_what_it_holds_by_channel() -> None:
    rng = np.random.default_rng(0)
    entries = rng.integers(0, 100, size=(21, 1, 3, 1)).astype(np.float64)
    x = rng.integers(-10, 11, size=(300, 3, 50)).astype(np.float32)
    found = Table(-10, entries)(x, np.float32)
    expected = np.stack([entries[x[:, c].astype(int) + 10, 0, c, 0] for c in range(3)], axis=1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (5, 6, 7), (1, 1, 100), (3, 40, 2)])
def test_blocks_cover_every_element_once_and_are_small(shape: tuple[int, ...]) -> None:
    seen = np.zeros(shape, dtype=int)
    for part in blocks(shape, 16):
        seen[part] += 1
        assert seen[part].size <= 16
    assert (seen == 1).all()
