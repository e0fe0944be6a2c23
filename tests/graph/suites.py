"""The test suites inside the onnx wheel: models with inputs and their right outputs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import TensorProto, numpy_helper

import quantlib as ql
from tests.verdicts import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(onnx.backend.test.__file__).parent / "data"
SUITES = ("pytorch-converted", "pytorch-operator", "simple", "node")


@dataclass(frozen=True)
class SuiteCase:
    """`inputs` and `outputs` are None where they are no arrays (lists, optional values)."""

    name: str
    model: onnx.ModelProto
    inputs: list[Any] | None
    outputs: list[Any] | None


def cases(suite: str) -> Iterator[SuiteCase]:
    if suite == "node":
        yield from _node_cases()
        return
    for folder in sorted((FOLDER / suite).iterdir()):
        model = folder / "model.onnx"
        if model.is_file():
            data = folder / "test_data_set_0"
            arrays = [_stored(data, kind) for kind in ("input", "output")]
            yield SuiteCase(folder.name, onnx.load(model), *arrays)


def _node_cases() -> Iterator[SuiteCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    for case in found:
        if case.model is not None and case.data_sets:
            given, expected = case.data_sets[0]
            yield SuiteCase(case.name, case.model, _arrays(given), _arrays(expected))


def _stored(folder: Path, kind: str) -> list[Any] | None:
    tensors = []
    for i in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = TensorProto.FromString((folder / f"{kind}_{i}.pb").read_bytes())
        tensors.append(tensor)
    return _arrays(tensors)


def _arrays(values: Any) -> list[Any] | None:
    """Return arrays of numbers, or None when one is something else."""
    found = []
    for value in values:
        try:
            array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
        except (TypeError, ValueError):
            return None
        if not isinstance(array, np.ndarray | np.generic | int | float):
            return None
        array = np.asarray(array)
        if array.dtype.kind in "OUSc":
            return None
        if array.dtype.kind == "V":
            array = array.astype(np.float32 if "float" in array.dtype.name else np.int8)
        found.append(array)
    return found


def verdict(case: SuiteCase) -> Verdict:
    """Judge a case; its data are one call, so what varies with the sample is the first input.

    The suites test operators, and hand over weights, shapes and axes as inputs. Where these do
    not have as many rows as the first input they become stored tensors, as models have them.
    """
    if case.inputs is None or case.outputs is None:
        try:
            ql.load_model(case.model, name="model")
        except ql.QuantlibError as error:
            return Verdict("refused", f"{type(error).__name__}: {error}")
        except Exception as error:
            return Verdict("foreign", f"{type(error).__name__}: {error}")
        return Verdict("loaded", "its data are no arrays")
    model, inputs = case.model, case.inputs
    lengths = {np.shape(array)[:1] for array in inputs}
    if len(lengths) > 1:
        model, inputs = with_stored_inputs(model, inputs)
    return judge(model, inputs, case.outputs)


def with_stored_inputs(model: onnx.ModelProto, inputs: list[Any]) -> tuple[Any, list[Any]]:
    """Return a model whose inputs after the first are stored in it."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    stored = {tensor.name for tensor in changed.graph.initializer}
    values = [value for value in changed.graph.input if value.name not in stored]
    for value, array in list(zip(values, inputs, strict=True))[1:]:
        kind = value.type.tensor_type.elem_type
        typed = array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        changed.graph.initializer.append(numpy_helper.from_array(typed, value.name))
    del changed.graph.input[:]
    changed.graph.input.append(values[0])
    return changed, inputs[:1]
