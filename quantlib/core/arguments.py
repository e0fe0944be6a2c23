"""Arrays as callers give them: numbers, or an error that says what else they are."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import TensorError

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlib.arrays import AnyArray, FloatArray, IntArray


def as_numbers(values: npt.ArrayLike, *, what: str = "values") -> AnyArray:
    """Return `values` as an array of real numbers or truth values.

    Parameters
    ----------
    values : array_like
        Arrays of floats, integers or bools stay as they are; sequences become arrays. Python
        integers beyond 64 bits become float64.
    what : str
        What messages call them.

    Raises
    ------
    TensorError
        Complex numbers, text, dates, objects that are no numbers, or rows of unequal length.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            if not all(isinstance(item, Real) for item in array.flat):
                raise TypeError("not all objects are numbers")
            array = array.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise TensorError(
            f"{what} are no array of numbers ({error}); give rows of equal length that hold "
            "numbers alone."
        ) from None
    if array.dtype.kind not in "fiub":
        hint = "give real and imaginary part apart" if array.dtype.kind == "c" else "give numbers"
        raise TensorError(f"{what} are of dtype {array.dtype}; {hint}.")
    return array


def as_float(values: npt.ArrayLike, *, what: str = "values") -> FloatArray:
    """Return `values` as a float32 or float64 array: float32 stays, float16 widens to it.

    Raises
    ------
    TensorError
        As from `as_numbers`.
    """
    array = as_numbers(values, what=what)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def as_codes(values: npt.ArrayLike, *, what: str = "codes") -> IntArray:
    """Return integers as an int64 array.

    Raises
    ------
    TensorError
        No integers, or one beyond int64.
    """
    array = as_numbers(values, what=what)
    if array.dtype.kind not in "iu":
        raise TensorError(f"{what} must be integers; got an array of {array.dtype}.")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise TensorError(f"{what} reach {array.max()}, beyond int64; they are no codes.")
    return array.astype(np.int64)
