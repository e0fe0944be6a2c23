"""Programs as files: JSON for the structure, one .npz for the arrays, no pickle."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import AnyArray, read_only
from quantlib.errors import ConfigurationError, OptionsError
from quantlib.program import steps
from quantlib.program.staircase import Staircase

if TYPE_CHECKING:
    from quantlib.program.program import IntegerProgram

SCHEMA = 1
_DOCUMENT = "program"


def smallest_type(low: int, high: int) -> np.dtype[Any]:
    """Return the smallest integer type that holds both ends, unsigned where it can be."""
    kinds = ("uint8", "uint16", "uint32") if low >= 0 else ("int8", "int16", "int32")
    for kind in kinds:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype("int64")


def packed(array: AnyArray) -> AnyArray:
    """Return integers in the smallest type that holds them."""
    if array.size == 0:
        return array.astype(np.uint8)
    return array.astype(smallest_type(int(array.min()), int(array.max())))


def write_program(program: IntegerProgram) -> bytes:
    """Return the bytes of a program; see `IntegerProgram.to_npz`."""
    if program.islands:
        island = program.islands[0]
        raise OptionsError(
            f"layer {island.layer!r} ({island.op_type}) stays in float: {island.reason}; "
            f"{island.remedy}."
        )
    arrays: dict[str, AnyArray] = {}

    def plain(value: Any, key: str) -> Any:
        if isinstance(value, Staircase):
            arrays[f"{key}.thresholds"] = packed(value.thresholds)
            arrays[f"{key}.values"] = packed(value.values)
            return {"staircase": key}
        if isinstance(value, np.ndarray):
            arrays[key] = packed(value) if value.dtype.kind in "iu" else value
            return {"array": key}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, tuple):
            return [plain(item, f"{key}.{i}") for i, item in enumerate(value)]
        return value

    def members(item: Any, key: str) -> dict[str, Any]:
        return {
            member.name: plain(getattr(item, member.name), f"{key}.{member.name}")
            for member in dataclasses.fields(item)
        }

    document = {
        "schema": SCHEMA,
        "name": program.name,
        "steps": [
            {"kind": type(step).__name__, **members(step, f"step{i}")}
            for i, step in enumerate(program.steps)
        ],
        "outputs": [members(output, f"output{i}") for i, output in enumerate(program.outputs)],
    }
    text = json.dumps(document, ensure_ascii=False).encode()
    buffer = io.BytesIO()
    content = {_DOCUMENT: np.frombuffer(text, dtype=np.uint8), **arrays}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in content.items():
            # a fixed date: equal programs are equal bytes
            with archive.open(zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0)), "w") as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def read_program(
    content: bytes,
) -> tuple[str, tuple[steps.Step, ...], tuple[steps.Output, ...]]:
    """Return name, steps and outputs; see `IntegerProgram.from_npz`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        document = json.loads(arrays.pop(_DOCUMENT).tobytes().decode())
        if document["schema"] != SCHEMA:
            raise ConfigurationError(
                f"the program has schema {document['schema']}; this version reads {SCHEMA}. "
                "Export it again."
            )
        made = tuple(
            _made(steps.KINDS[item.pop("kind")], item, arrays) for item in document["steps"]
        )
        outputs = tuple(_made(steps.Output, item, arrays) for item in document["outputs"])
        return str(document["name"]), made, outputs
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"this is no integer program ({type(error).__name__}: {error}); give a file that "
            "IntegerProgram.to_npz wrote."
        ) from error


def _made(kind: type[Any], members: dict[str, Any], arrays: dict[str, AnyArray]) -> Any:
    def read(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(read(item) for item in value)
        if isinstance(value, dict) and "staircase" in value:
            key = value["staircase"]
            return Staircase(_wide(arrays[f"{key}.thresholds"]), _wide(arrays[f"{key}.values"]))
        if isinstance(value, dict):
            return _wide(arrays[value["array"]])
        return value

    return kind(**{key: read(value) for key, value in members.items()})


def _wide(array: AnyArray) -> AnyArray:
    return read_only(array.astype(np.int64) if array.dtype.kind in "iu" else array)
