from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlib.arrays import carrier
from quantlib.ops import kernels


@pytest.mark.parametrize(
    ("bound", "kind"),
    [
        (2**24 - 1, np.float32),
        (2**24, np.float64),
        (2**53 - 1, np.float64),
        (2**53, np.int64),
    ],
)
def test_the_bound_picks_the_carrier(bound: int, kind: Any) -> None:
    assert carrier(bound) is kind


@pytest.mark.parametrize("exponent", [23, 24, 25, 52, 53, 54, 60])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_products_are_exact_around_the_limits_of_each_carrier(exponent: int, offset: int) -> None:
    magnitude = 2 ** (exponent // 2)
    weight = 2 ** (exponent - exponent // 2)
    x = np.array([[magnitude, 1, offset]], dtype=np.int64)
    w = np.array([[weight], [offset], [1]], dtype=np.int64)
    exact = int(magnitude) * int(weight) + 2 * offset
    bound = kernels.product_bound(magnitude, kernels.absolute_sum(w, axis=0))
    assert bound >= abs(exact)
    assert int(kernels.matmul(x, w, bound=bound)[0, 0]) == exact
    image = x.reshape(1, 3, 1, 1)
    kernel = w.T.reshape(1, 3, 1, 1)
    ones = (1, 1)
    result = kernels.convolve(image, kernel, strides=ones, dilations=ones, group=1, bound=bound)
    assert int(result[0, 0, 0, 0]) == exact


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    spatial = draw(st.integers(1, 3))
    group = draw(st.sampled_from([1, 2, 3]))
    channels, filters = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(spatial)]
    dilations = tuple(draw(st.integers(1, 2)) for _ in range(spatial))
    strides = tuple(draw(st.integers(1, 2)) for _ in range(spatial))
    sizes = [
        (k - 1) * d + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilations, strict=True)
    ]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.sampled_from([7, 2**11, 2**20, 2**26]))
    return {
        "x": rng.integers(-top, top + 1, (2, channels, *sizes)),
        "w": rng.integers(-top, top + 1, (filters, channels // group, *kernel)),
        "strides": strides,
        "dilations": dilations,
        "group": group,
    }


@given(convolutions())
def test_every_path_of_a_convolution_equals_int64(case: dict[str, Any]) -> None:
    x, w = case.pop("x"), case.pop("w")
    bound = kernels.product_bound(
        int(np.abs(x).max()), kernels.absolute_sum(w, axis=tuple(range(1, w.ndim)))
    )
    exact = kernels.convolve_numpy(x, w, **case)
    assert exact.dtype == np.int64
    chosen = kernels.convolve(x, w, bound=bound, **case)
    assert chosen.dtype == carrier(bound)
    assert np.array_equal(chosen.astype(np.int64), exact)


@given(convolutions())
def test_the_matrix_product_form_equals_the_definition(case: dict[str, Any]) -> None:
    x, w = case["x"], case["w"]
    result = kernels.convolve_numpy(
        x, w, strides=case["strides"], dilations=case["dilations"], group=case["group"]
    )
    rng = np.random.default_rng(0)
    per_group, inputs = w.shape[0] // case["group"], w.shape[1]
    for _ in range(5):
        n, o = rng.integers(x.shape[0]), rng.integers(w.shape[0])
        position = tuple(rng.integers(size) for size in result.shape[2:])
        first = (o // per_group) * inputs
        total = 0
        for c in range(inputs):
            for tap in np.ndindex(*w.shape[2:]):
                at = tuple(
                    p * s + t * d
                    for p, s, t, d in zip(
                        position, case["strides"], tap, case["dilations"], strict=True
                    )
                )
                total += int(x[(n, first + c, *at)]) * int(w[(o, c, *tap)])
        assert int(result[(n, o, *position)]) == total


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.integers(0, 20))
def test_rounding_goes_to_nearest_and_ties_go_up(values: list[int], bits: int) -> None:
    step = 2**bits
    expected = [(v + step // 2) // step * step for v in values]
    for kind in (np.int64, np.float64):
        rounded = kernels.round_low_bits(np.array(values, dtype=kind), bits)
        assert [int(v) for v in rounded] == expected


def test_a_sum_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond 64 bits"):
        kernels.product_bound(2**40, 2**42)


@st.composite
def two_matrices(draw: st.DrawFn) -> tuple[Any, Any]:
    stack = draw(st.sampled_from([(), (1,), (3,)]))
    m, k, n = (draw(st.integers(1, 4)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.sampled_from([3, 100, 2**15]))
    return rng.integers(-top, top, (*stack, m, k)), rng.integers(-top, top, (*stack, k, n))


@given(two_matrices())
def test_a_product_of_squares_without_rounding_is_the_matrix_product(pair: tuple[Any, Any]) -> None:
    a, b = pair
    assert np.array_equal(kernels.product_of_squares(a, b, sum_lsbs=0, difference_lsbs=0), a @ b)


@given(two_matrices(), st.integers(0, 6), st.integers(0, 6))
def test_sums_and_differences_are_rounded_before_they_are_squared(
    pair: tuple[Any, Any], sum_lsbs: int, difference_lsbs: int
) -> None:
    a, b = (np.atleast_3d(x.T).T for x in pair)

    def rounded(value: int, bits: int) -> int:
        step: int = 2**bits
        return (value + step // 2) // step * step

    result = kernels.product_of_squares(a, b, sum_lsbs=sum_lsbs, difference_lsbs=difference_lsbs)
    for s, i, j in np.ndindex(*result.shape):
        total = 0
        for k in range(a.shape[-1]):
            x, y = int(a[s, i, k]), int(b[s, k, j])
            total += rounded(x + y, sum_lsbs) ** 2 // 4
            total -= rounded(x - y, difference_lsbs) ** 2 // 4
        assert int(result[s, i, j]) == total


@pytest.mark.parametrize(
    ("codes", "threshold", "excess"),
    [([0, 15], 4, 0), ([0, 16], 4, 1), ([-16, 3], 4, 1), ([-17, 0], 4, 2), ([0, 1], 8, 0)],
)
def test_the_excess_is_what_the_width_has_above_the_threshold(
    codes: list[int], threshold: int, excess: int
) -> None:
    assert kernels.excess_bits(np.array(codes), threshold) == excess
    a, b = np.array([codes]).T, np.zeros((1, 1), dtype=np.int64)
    assert kernels.excess_bits_of_sums(a, b, threshold) == (excess, excess)


@given(two_matrices(), st.integers(1, 8))
def test_the_excess_of_a_stack_is_that_of_its_widest_matrix(
    pair: tuple[Any, Any], threshold: int
) -> None:
    a, b = (np.atleast_3d(x.T).T for x in pair)
    each = [
        (
            kernels.excess_bits(left[:, :, None] + right[None], threshold),
            kernels.excess_bits(left[:, :, None] - right[None], threshold),
        )
        for left, right in zip(a, b, strict=True)
    ]
    wanted = (max(s for s, _ in each), max(d for _, d in each))
    assert kernels.excess_bits_of_sums(a, b, threshold) == wanted
