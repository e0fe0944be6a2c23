"""Data as the archive that the exported scripts read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.data import Dataset


def data_archive(data: Dataset, *, inputs: Sequence[str]) -> bytes:
    """Return the content of an .npz file that `load_data` and the exported scripts read.

    Parameters
    ----------
    data : Dataset
        What to write.
    inputs : sequence of str
        Names of the model's inputs, one per array of ``data.calibration``.

    Returns
    -------
    bytes
        Compressed arrays ``calibration`` and ``evaluation`` (several inputs:
        ``calibration.NAME``), and ``labels`` where there are any.
    """
    members: dict[str, Any] = {}
    for role, parts in (("calibration", data.calibration), ("evaluation", data.evaluation)):
        for name, part in zip(inputs, parts, strict=True):
            members[member(role, name, inputs=inputs)] = part
    if data.labels is not None:
        members["labels"] = data.labels
    stream = io.BytesIO()
    np.savez_compressed(stream, **members)
    return stream.getvalue()


def member(role: str, name: str, *, inputs: Sequence[str]) -> str:
    """Return what the archive calls the array of one role and model input."""
    return role if len(inputs) == 1 else f"{role}.{name}"
