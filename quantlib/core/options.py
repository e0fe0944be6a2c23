"""What is chosen about a quantizer: width, signedness, symmetry."""

from __future__ import annotations

import json
import operator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from quantlib.errors import OptionsError

MAX_BITS = 32
"""Widest grid a quantizer may have."""

_SINGLE_CODE = (
    "one signed {} bit has the single code 0 and an infinite scale; use 2 bits or more, or an "
    "affine grid."
)


def check_n_bits(n_bits: object, *, what: str = "n_bits") -> int:
    """Return `n_bits` as an int, or raise OptionsError when it is not one of 1 to 32.

    NumPy's integers, and arrays of one integer without axes, are integers too.
    """
    try:
        if isinstance(n_bits, bool | np.bool_):
            raise TypeError
        value = operator.index(n_bits)  # type: ignore[arg-type]
    except TypeError:
        raise OptionsError(f"{what} is {n_bits!r}; give an integer from 1 to {MAX_BITS}.") from None
    if not 1 <= value <= MAX_BITS:
        raise OptionsError(f"{what} is {value}; give an integer from 1 to {MAX_BITS}.")
    return value


@dataclass(frozen=True, slots=True)
class QuantizationOptions:
    """What is chosen about a uniform grid.

    Parameters
    ----------
    n_bits : int
        Width of the grid, 1 to 32 bits.
    is_signed : bool
        Codes run from ``-2**(n_bits-1)`` instead of from 0.
    is_symmetric : bool
        Real 0.0 is code 0 and the range is symmetric around it; needs `is_signed`.
    is_qat : bool
        The values already lie on a grid (quantization-aware training): zero point 0.
    is_narrow : bool
        The lowest code is left out, so that signed grids have as many codes on each side.

    Raises
    ------
    OptionsError
        `n_bits` out of range; symmetric without signed; symmetric with QAT; one signed narrow bit
        (its only code would be 0).

    Notes
    -----
    One signed symmetric bit has the single code 0, and no finite scale for a range. A constant has
    a grid of its own, so that these options are refused where a range is met: `check_spans`.

    Examples
    --------
    >>> import quantlib as ql
    >>> options = ql.QuantizationOptions(3, is_signed=True)
    >>> options.offset, options.qmin, options.qmax
    (4, -4, 3)
    """

    n_bits: int
    is_signed: bool = False
    is_symmetric: bool = False
    is_qat: bool = False
    is_narrow: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_bits", check_n_bits(self.n_bits))
        if self.is_symmetric and not self.is_signed:
            raise OptionsError("symmetric quantization needs signed codes; set is_signed=True.")
        if self.is_symmetric and self.is_qat:
            raise OptionsError("QAT values define their own grid; set is_symmetric=False.")
        if self.n_bits == 1 and self.is_narrow and self.is_signed:
            raise OptionsError(_SINGLE_CODE.format("narrow"))

    def check_spans(self) -> None:
        """Raise OptionsError if no scale lets the grid cover a range of more than one value."""
        if self.is_symmetric and self.qmax == 0:
            raise OptionsError(_SINGLE_CODE.format("symmetric"))

    @property
    def offset(self) -> int:
        """How far the grid reaches below 0: ``2**(n_bits-1)`` if signed, else 0."""
        return 1 << (self.n_bits - 1) if self.is_signed else 0

    @property
    def qmin(self) -> int:
        """Lowest code."""
        return -self.offset + int(self.is_narrow)

    @property
    def qmax(self) -> int:
        """Highest code."""
        return (1 << self.n_bits) - 1 - self.offset

    def same_grid(self, other: QuantizationOptions) -> bool:
        """Tell whether codes of `other` need no requantization (the reference's rule)."""
        return (
            self.n_bits == other.n_bits
            and self.is_symmetric == other.is_symmetric
            and self.is_qat == other.is_qat
            and (self.is_signed == other.is_signed or other.is_qat)
        )

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `load_dict` reads back."""
        return asdict(self)

    @classmethod
    def load_dict(cls, metadata: dict[str, Any]) -> QuantizationOptions:
        """Rebuild options from `dump_dict`."""
        return cls(**metadata)

    def dumps(self) -> str:
        """Return the options as JSON text."""
        return json.dumps(self.dump_dict())

    @classmethod
    def loads(cls, text: str) -> QuantizationOptions:
        """Rebuild options from `dumps`."""
        return cls.load_dict(json.loads(text))
