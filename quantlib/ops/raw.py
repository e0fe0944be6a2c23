"""Operators that know a tensor's shape and not its values."""

from __future__ import annotations

from quantlib.ops.base import IslandOp, Treatment
from quantlib.ops.registry import register_op


@register_op("Shape", "Size", "ConstantOfShape")
class ShapeOp(IslandOp):
    """Reads a shape, or makes a constant of one: the result depends on no encrypted value."""

    treatment = Treatment.RAW
