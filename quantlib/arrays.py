"""Array types, and the two habits around them: read-only values and finite checks."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[Any]
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[Any]
"""Integers, carried by float32, float64 or int64: whichever is exact for their bound."""

FLOAT32_EXACT = 2**24
"""Every integer of at most this magnitude is a float32."""

FLOAT64_EXACT = 2**53
"""Every integer of at most this magnitude is a float64."""


INT64_SAFE = 2**62
"""Bounds beyond this magnitude are kept as Python ints."""


def read_only(array: AnyArray) -> AnyArray:
    """Return a view of `array` that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def digest_of(*arrays: AnyArray) -> str:
    """Return a digest of the arrays' dtypes, shapes and values, hexadecimal."""
    content = hashlib.blake2b(digest_size=16)
    for array in arrays:
        content.update(repr((array.dtype.str, array.shape)).encode())
        if array.dtype.kind == "O":
            content.update(repr(array.tolist()).encode())
        else:
            content.update(np.ascontiguousarray(array).view(np.uint8).data)
    return content.hexdigest()


def carrier(bound: int) -> npt.DTypeLike:
    """Return the cheapest dtype in which every integer of magnitude up to `bound` is exact."""
    if bound < FLOAT32_EXACT:
        return np.float32
    return np.float64 if bound < FLOAT64_EXACT else np.int64


def exact_kind(bound: int) -> type:
    """Return the dtype that is exact for sums of two integers up to `bound`: int64 or object."""
    return np.int64 if bound < INT64_SAFE else object


def exact_integers(values: AnyArray) -> AnyArray:
    """Return integer-valued numbers of any carrier as int64, or as Python ints beyond it."""
    if values.dtype.kind == "i" or values.size == 0:
        return values.astype(np.int64)
    if float(np.abs(values).max()) < INT64_SAFE:
        return values.astype(np.int64)
    return np.array([int(v) for v in values.ravel()], dtype=object).reshape(values.shape)
