"""What an integer operator computes, with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.ops.base import WeightedOp
from quantlib.ops.linear import Gemm

if TYPE_CHECKING:
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.execution.layer import QuantizedLayer


@dataclass(frozen=True, slots=True)
class ProductFormula:
    """``y = factor · scale_x · scale_w · Σ (x - zero_x) (w - zero_w) + bias``, one channel of it.

    Parameters
    ----------
    factor : float
        Gemm's alpha; 1 elsewhere.
    scale_x, zero_x, scale_w, zero_w : float, int, float, int
        Step and code of 0.0 of the first and of the second factor, in the order of the formula:
        variable first. Of a grid per channel those of `channel`.
    fan_in : int or None
        Products that are summed; None where the shapes do not say it.
    bias : (float, float) or None
        Smallest and largest constant that is added; None without one.
    channel : int or None
        The output channel that scales and zero points are of; None where they hold for all.
    """

    factor: float
    scale_x: float
    zero_x: int
    scale_w: float
    zero_w: int
    fan_in: int | None
    bias: tuple[float, float] | None
    channel: int | None

    def latex(self) -> str:
        """Return the formula for KaTeX on two lines, numbers with four significant digits."""
        scales = [_digits(self.scale_x), _digits(self.scale_w)]
        if self.factor != 1.0:
            scales.insert(0, _digits(self.factor))
        factors = r" \cdot ".join(scales)
        count = "" if self.fan_in is None else rf"\limits_{{{self.fan_in}}}"
        product = rf"{_less('x', self.zero_x)}\,{_less('w', self.zero_w)}"
        added = "" if self.bias is None else " + b"
        return (
            rf"\begin{{aligned}} y = {{}} & {factors} \\ & \cdot \sum{count} {product}{added}"
            r" \end{aligned}"
        )


def product_formula(
    layer: QuantizedLayer, weight: UniformQuantizer | None, fan_in: int | None
) -> ProductFormula | None:
    """Return the formula of an operator that sums products; None for others.

    Parameters
    ----------
    layer : QuantizedLayer
        Calibrated.
    weight : UniformQuantizer or None
        Grid of its constant factor; None where both are variable.
    fan_in : int or None
        Products that one accumulator sums.

    Notes
    -----
    Eq. 4 of Jacob et al. 2018 (arXiv:1712.05877). The accumulator itself is ``Σ x (w - zero_w)``;
    the rest of the product with ``zero_x`` is a constant of the channel.
    """
    grids = [grid for grid in (*layer.input_grids, weight) if grid is not None]
    if not isinstance(layer.op, WeightedOp) or len(grids) < 2:
        return None
    x, w = grids[0], grids[1]
    gemm = layer.op if isinstance(layer.op, Gemm) else None
    added = layer.constants.get(2)
    bias = None
    if added is not None and (gemm is None or gemm.beta != 0.0):
        values = np.asarray(added.values if isinstance(added, Tensor) else added, dtype=np.float64)
        values = values * (1.0 if gemm is None else gemm.beta)
        bias = float(values.min()), float(values.max())
    return ProductFormula(
        factor=1.0 if gemm is None else float(gemm.alpha),
        scale_x=float(np.ravel(x.scale)[0]),
        zero_x=int(np.ravel(np.asarray(x.zero_point))[0]),
        scale_w=float(np.ravel(w.scale)[0]),
        zero_w=int(np.ravel(np.asarray(w.zero_point))[0]),
        fan_in=fan_in,
        bias=bias,
        channel=0 if w.is_per_channel else None,
    )


def _digits(value: float) -> str:
    """Return a number for KaTeX: ``0.0123``, ``1.2·10⁻⁷``."""
    text = f"{value:.4g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return rf"{mantissa}\cdot 10^{{{int(exponent)}}}"


def _less(name: str, zero_point: int) -> str:
    """Return a code less its zero point, in brackets where that is not 0."""
    if zero_point == 0:
        return name
    return f"({name} {'-' if zero_point > 0 else '+'} {abs(zero_point)})"
