"""Geometry that convolution and pooling share: kernel, strides, pads, dilations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window as ONNX attributes describe it.

    Parameters
    ----------
    kernel, strides, dilations : tuple of int
        One per spatial axis; missing ones are 1.
    pads : tuple of int
        Begins, then ends.
    auto_pad : str
        ``NOTSET``, ``VALID``, ``SAME_UPPER`` or ``SAME_LOWER``.
    ceil_mode : bool
        Windows may start inside and end outside the padded input.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], kernel: tuple[int, ...]) -> Window:
        """Fill in ONNX defaults for `kernel`."""
        ones = (1,) * len(kernel)
        return cls(
            kernel=kernel,
            strides=tuple(attributes.get("strides", ones)),
            dilations=tuple(attributes.get("dilations", ones)),
            pads=tuple(attributes.get("pads", (0,) * (2 * len(kernel)))),
            auto_pad=attributes.get("auto_pad", "NOTSET"),
            ceil_mode=bool(attributes.get("ceil_mode", 0)),
        )

    @property
    def reach(self) -> tuple[int, ...]:
        """Extent of the dilated kernel."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def pads_for(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Return the explicit pads for an input of this spatial shape."""
        if self.auto_pad == "VALID":
            return (0,) * (2 * len(self.kernel))
        if self.auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            return self.pads
        begins, ends = [], []
        for size, stride, reach in zip(spatial, self.strides, self.reach, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + reach - size)
            less, more = total // 2, total - total // 2
            begins.append(less if self.auto_pad == "SAME_UPPER" else more)
            ends.append(more if self.auto_pad == "SAME_UPPER" else less)
        return (*begins, *ends)

    def overhang_for(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Return how far `ceil_mode` lets the last window reach beyond the padded input."""
        if not self.ceil_mode:
            return (0,) * len(self.kernel)
        pads = self.pads_for(spatial)
        half = len(self.kernel)
        extra = []
        for i, size in enumerate(spatial):
            padded = size + pads[i] + pads[half + i]
            steps = -(-(padded - self.reach[i]) // self.strides[i])
            if steps * self.strides[i] >= size + pads[i]:  # starts in the end padding: dropped
                steps -= 1
            extra.append(max(0, steps * self.strides[i] + self.reach[i] - padded))
        return tuple(extra)
