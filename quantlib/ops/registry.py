"""Which operator is treated how."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.ops.base import QuantizedOp

ONNX_OPS_TO_QUANTIZED_IMPL: dict[str, type[QuantizedOp]] = {}
"""ONNX operator name to the class that quantizes it; all others run in float."""

_Op = TypeVar("_Op", bound="type[QuantizedOp]")


def register_op(*names: str) -> Callable[[_Op], _Op]:
    """Enter a class under ONNX operator names; a name can be taken once."""

    def enter(cls: _Op) -> _Op:
        for name in names:
            assert name not in ONNX_OPS_TO_QUANTIZED_IMPL, f"{name} is registered twice"
            ONNX_OPS_TO_QUANTIZED_IMPL[name] = cls
        return cls

    return enter
