"""Model inputs, checked once before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.arguments import as_numbers
from quantlib.core.stats import check_finite
from quantlib.errors import TensorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Batch, Graph, TensorInfo


def check_inputs(
    graph: Graph, arrays: Sequence[AnyArray], *, what: str = "data"
) -> tuple[AnyArray, ...]:
    """Return `arrays` in the precision they are computed in, or say what does not fit.

    That is the dtype of the model's input, but float64 data for a float input stay float64, as in
    Concrete ML: statistics, ties and the first operator then follow float64.

    Parameters
    ----------
    graph : Graph
        The model.
    arrays : sequence of arrays
        One per model input, in order; the samples along the axis that ``graph.batch`` tells.
    what : str
        What messages call the data.

    Raises
    ------
    TensorError
        Wrong number of arrays, wrong shape, no samples, unequal numbers of samples, NaN or
        infinite values, or no numbers (text, complex numbers, rows of unequal length).
    """
    if len(arrays) != len(graph.inputs):
        names = ", ".join(info.name for info in graph.inputs)
        raise TensorError(
            f"{what} holds {len(arrays)} arrays, the model has {len(graph.inputs)} inputs "
            f"({names}); give one array per input."
        )
    batch = graph.batch
    checked = tuple(
        _fit(as_numbers(array, what=f"{what} for input {info.name!r}"), info, batch, what)
        for array, info in zip(arrays, graph.inputs, strict=True)
    )
    counts = {
        info.name: array.shape[axis]
        for array, info in zip(checked, graph.inputs, strict=True)
        if (axis := batch.axis_of(info.name)) is not None
    }
    if len(set(counts.values())) > 1 and not batch.mixes:
        found = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise TensorError(
            f"{what}: the inputs have {sorted(set(counts.values()))} samples ({found}); give "
            "every input as many."
        )
    return checked


def in_model_precision(graph: Graph, arrays: Sequence[AnyArray]) -> tuple[AnyArray, ...]:
    """Return checked inputs in the dtypes that the model declares.

    For whatever runs the model itself: it takes no float64 where it declares float32.
    """
    return tuple(
        array.astype(info.dtype, copy=False)
        for array, info in zip(arrays, graph.inputs, strict=True)
    )


def _fit(array: AnyArray, info: TensorInfo, batch: Batch, what: str) -> AnyArray:
    wanted = np.dtype(info.dtype)
    label = f"{what} for input {info.name!r}"
    if wanted.kind in "iu" and array.dtype.kind == "f":
        raise TensorError(f"{label} has dtype {array.dtype}; the model wants {wanted}.")
    axis = batch.axis_of(info.name)
    words = ["N" if i == axis else "any" if s is None else str(s) for i, s in enumerate(info.shape)]
    shape = " x ".join(words) or "a single number"
    found = " x ".join(map(str, array.shape)) or "a single number"
    fits = array.ndim == len(info.shape) and all(
        i == axis or not isinstance(size, int) or size == actual
        for i, (size, actual) in enumerate(zip(info.shape, array.shape, strict=True))
    )
    if not fits:
        once = "" if axis is not None else "; it has no samples, every call gets it as it is"
        raise TensorError(
            f"{label} has shape {found}; the model wants {shape}{once}.{_repair(array, info, axis)}"
        )
    if axis is not None and batch.size is not None and array.shape[axis] % batch.size:
        raise TensorError(
            f"{label} has {array.shape[axis]} samples; this model is fixed to batches of "
            f"{batch.size} by a shape inside it. Give a multiple, or export it with a free batch "
            "axis (PyTorch: dynamic_shapes)."
        )
    if array.size == 0:
        raise TensorError(f"{label} has no samples (shape {found}); give at least one.")
    with np.errstate(over="ignore"):
        converted = np.asarray(array, dtype=wanted, order="C")
    check_finite(array, what=label)
    # the float model runs in its own precision, whatever the data's
    check_finite(converted, what=f"{label}, as {wanted},")
    keeps = wanted.kind == "f" and array.dtype == np.float64
    return np.asarray(array, order="C") if keeps else converted


def _repair(array: AnyArray, info: TensorInfo, axis: int | None) -> str:
    """Return a hint at what was probably meant, or nothing."""
    sizes = [size for size in info.shape[1:] if isinstance(size, int)]
    if axis != 0 or len(sizes) != len(info.shape) - 1:
        return ""
    if list(array.shape) == sizes:
        return " A batch axis is missing: use data[None]."
    if array.ndim >= 1 and len(array) and int(np.prod(array.shape[1:])) == int(np.prod(sizes)):
        target = ", ".join(map(str, (-1, *sizes)))
        if sorted(array.shape[1:]) == sorted(sizes) and array.ndim == len(info.shape):
            return " The axes seem to be exchanged (channels last?): transpose the data."
        return f" The values would fit as data.reshape({target})."
    return ""
