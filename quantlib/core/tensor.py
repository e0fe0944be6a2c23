"""What flows along an edge of a quantized graph."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from quantlib.arrays import carrier
from quantlib.core.quantizer import UniformQuantizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.stats import MinMaxQuantizationStats

_T = TypeVar("_T")


class Tensor:
    """A tensor known by its real values or by its codes; the other form is computed when asked.

    Parameters
    ----------
    quantizer : UniformQuantizer
        The map between the two.
    values : float array, optional
        Real values; they may lie off the grid.
    codes : integer-valued array, optional
        Codes, in a float32, float64 or int64 carrier that is exact for them.

    Notes
    -----
    The reference keeps a tensor's unrounded values until an operator needs integers; the same
    is done here, and an operator that only needs one form never pays for the other.
    """

    __slots__ = ("_clipped", "_codes", "_derived", "_values", "quantizer")

    def __init__(
        self,
        quantizer: UniformQuantizer,
        *,
        values: FloatArray | None = None,
        codes: Codes | None = None,
    ) -> None:
        assert values is not None or codes is not None
        self.quantizer = quantizer
        self._values = values
        self._codes = codes
        self._derived: dict[str, Any] = {}
        self._clipped = codes is None and not quantizer.no_clipping

    @classmethod
    def joined(cls, parts: Sequence[Tensor], join: Callable[[list[AnyArray]], AnyArray]) -> Tensor:
        """Return tensors on one grid as one, each form that all are known by joined by `join`."""
        values = [part._values for part in parts if part._values is not None]
        codes = [part._codes for part in parts if part._codes is not None]
        if not values and not codes:  # neither was asked for yet
            values = [part.values for part in parts]
        whole = cls(
            parts[0].quantizer,
            values=join(values) if len(values) == len(parts) else None,
            codes=join(codes) if len(codes) == len(parts) else None,
        )
        whole._clipped = all(part._clipped for part in parts)
        return whole

    @property
    def values(self) -> FloatArray:
        """Real values; unrounded where the tensor was made from reals."""
        if self._values is None:
            assert self._codes is not None
            self._values = self.quantizer.dequant(self._codes)
        return self._values

    @property
    def codes(self) -> Codes:
        """Integers, in the cheapest exact carrier."""
        if self._codes is None:
            assert self._values is not None
            self._codes = self.quantizer.quant(self._values, dtype=carrier(2**self.n_bits))
        return self._codes

    @property
    def is_clipped(self) -> bool:
        """Whether the codes are known to lie on the grid."""
        return self._clipped

    @property
    def magnitude(self) -> int:
        """A bound of the codes' absolute values: the grid's, or measured for given codes."""
        if self._clipped:
            return max(abs(self.quantizer.qmin), abs(self.quantizer.qmax))
        codes = self.codes
        return int(max(abs(codes.max(initial=0)), abs(codes.min(initial=0))))

    def derived(self, key: str, compute: Callable[[], _T]) -> _T:
        """Return something computed from the codes, once per `key`: worth it for weights."""
        if key not in self._derived:
            self._derived[key] = compute()
        found: _T = self._derived[key]
        return found

    def centred(self) -> Codes:
        """Return ``codes - zero_point``, computed once."""
        return self.derived(
            "centred",
            lambda: self.codes - np.asarray(self.quantizer.zero_point, dtype=self.codes.dtype),
        )

    @property
    def n_bits(self) -> int:
        """Width of the grid, bits."""
        return self.quantizer.n_bits

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of either form."""
        known = self._values if self._values is not None else self._codes
        assert known is not None
        return known.shape

    def rounded(self) -> Tensor:
        """Return the tensor on its grid: values are those of the codes."""
        return Tensor(self.quantizer, codes=self.codes)

    def requantized(
        self, options: QuantizationOptions, stats: MinMaxQuantizationStats | None = None
    ) -> Tensor:
        """Return the tensor on the grid that `options` and a range define.

        Without `stats` the range is the tensor's own, and codes that have these options
        already are used as they are. A tensor without a range lies on a grid that was given
        with the model; it keeps it.
        """
        own = self.quantizer
        if own.is_carried:
            return Tensor(own, codes=self.codes)
        per_channel = isinstance(own.zero_point, np.ndarray)  # a graph's output
        if stats is None and options.same_grid(own.quant_options) and not per_channel:
            return Tensor(own, codes=self.codes)
        found = stats or own.quant_stats
        assert found is not None
        grid = UniformQuantizer.from_stats(options, found)
        if grid.quant_params == own.quant_params and options == own.quant_options:
            return Tensor(own, codes=self.codes)
        return self.on(grid)

    def on(self, quantizer: UniformQuantizer) -> Tensor:
        """Return the real values on another grid."""
        return Tensor(quantizer, values=self.values)

    def extremes(self) -> tuple[np.floating[Any], np.floating[Any]]:
        """Return the smallest and the largest real value of a tensor that is not empty."""
        return self.values.min(), self.values.max()

    def labelled(self, n_bits: int) -> Tensor:
        """Return the same codes and scale under another width; the next reader compares it."""
        options = dataclasses.replace(self.quantizer.quant_options, n_bits=n_bits)
        grid = dataclasses.replace(self.quantizer, quant_options=options)
        return Tensor(grid, codes=self.codes)

    def with_codes(self, codes: Codes) -> Tensor:
        """Return other codes on the same grid (a moved, padded or selected tensor)."""
        return Tensor(dataclasses.replace(self.quantizer), codes=codes)


Value: TypeAlias = "Tensor | AnyArray"
"""What flows along an edge: a quantized tensor, or a raw array (shapes, indices, truth values)."""


def as_tensor(value: Value | None) -> Tensor:
    """Return an operand that must be a quantized tensor, as one."""
    assert isinstance(value, Tensor)
    return value
