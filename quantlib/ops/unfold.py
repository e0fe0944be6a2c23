"""Windows of an image as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from quantlib.core.tensor import as_tensor
from quantlib.ops import kernels
from quantlib.ops.base import SelectingOp
from quantlib.ops.registry import register_op
from quantlib.ops.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray, Codes
    from quantlib.core.params import UniformQuantizationParameters
    from quantlib.core.tensor import Value
    from quantlib.graph.model import Node
    from quantlib.ops.inside import Place


@register_op("Unfold")
@dataclass(frozen=True, slots=True)
class Unfold(SelectingOp):
    """The values under each window as one column, (N, C, *spatial) to (N, C * places, windows).

    Codes are selected, not combined; padding is the zero point. Concrete ML takes two spatial
    axes and no dilation, and counts the operator among those that mix integers: inputs have the
    activations' width.

    Notes
    -----
    Row ``c * places + p`` holds what place p of the kernel (in C order) sees of channel c, as in
    torch.nn.Unfold; the operator is no part of ONNX.
    """

    window: Window

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the window; it has no `auto_pad`."""
        given = {k: v for k, v in node.attributes.items() if k in ("strides", "dilations", "pads")}
        return cls(Window.from_attributes(given, tuple(node.attributes["kernel_shape"])))

    def _columns(self, x: AnyArray, pad_value: float) -> AnyArray:
        window = self.window
        columns = kernels.unfold(
            kernels.pad_spatial(x, window.pads, pad_value),
            kernel=window.kernel,
            strides=window.strides,
            dilations=window.dilations,
        )
        n, channels, places = columns.shape[:3]
        return columns.reshape(n, channels * places, int(np.prod(columns.shape[3:])))

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Move real values as float64; data that is padded is rounded to float32 first."""
        (x,) = inputs
        assert x is not None
        if any(self.window.pads):
            x = x.astype(np.float32)
        return (self._columns(x.astype(np.float64), 0.0),)

    def held_constants(self, *operands: Value | None, place: Place) -> list[list[int]]:
        """Return the kernels of one 1 that select each place."""
        return [[0, 1]]

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        x = as_tensor(operands[0])
        return self._columns(x.codes, int(np.asarray(x.quantizer.zero_point)))
