"""QuantizedArray: real values, their codes and the quantizer between them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.core.arguments import as_codes, as_float
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.stats import MinMaxQuantizationStats, check_finite
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlib.arrays import FloatArray, IntArray

_OPTIONS = {"is_signed", "is_symmetric", "is_qat", "is_narrow"}
_STATS = {"rmax", "rmin"}
_PARAMS = {"scale", "zero_point", "offset"}


class QuantizedArray:
    """Real values with their integer codes.

    Parameters
    ----------
    n_bits : int
        Width of the grid, bits.
    values : array_like
        Real values, or codes when `value_is_float` is False.
    value_is_float : bool
        What `values` are. Codes need `params`.
    options, stats, params : optional
        What is known already; statistics and parameters that are missing are computed from
        `values`. The `n_bits` argument wins over the options' own.
    **kwargs
        Members of the three, by name: ``is_signed=True``, ``scale=0.5``, ... Statistics and
        parameters must then be given whole.

    Attributes
    ----------
    values : float array
        The reals that were given, unrounded; after :meth:`dequant` the codes' values.
    qvalues : int64 array, shape of `values`
        Codes.
    quantizer : UniformQuantizer
        The map between the two.

    Raises
    ------
    OptionsError, TensorError
        Options out of range; NaN, no elements, codes that are no integers, or missing `params`.

    Examples
    --------
    >>> import quantlib as ql
    >>> import numpy as np
    >>> x = np.linspace(-1, 2, 7)
    >>> array = ql.QuantizedArray(3, x)
    >>> array.qvalues.tolist(), array.quantizer.zero_point
    ([0, 1, 2, 3, 4, 6, 7], 2)
    >>> float(np.abs(array.dequant() - x).max()) <= float(array.quantizer.scale) / 2
    True
    """

    def __init__(
        self,
        n_bits: int,
        values: npt.ArrayLike,
        value_is_float: bool = True,
        options: QuantizationOptions | None = None,
        stats: MinMaxQuantizationStats | None = None,
        params: UniformQuantizationParameters | None = None,
        **kwargs: Any,
    ) -> None:
        unknown = kwargs.keys() - _OPTIONS - _STATS - _PARAMS
        if unknown:
            raise TypeError(f"QuantizedArray takes no argument {', '.join(sorted(unknown))}.")
        chosen = {name: kwargs[name] for name in _OPTIONS & kwargs.keys()}
        base = options if options is not None else QuantizationOptions(n_bits)
        options = dataclasses.replace(base, n_bits=n_bits, **chosen)
        if _STATS & kwargs.keys():
            stats = MinMaxQuantizationStats(**_all_of(_STATS, kwargs))
        if _PARAMS & kwargs.keys():
            params = UniformQuantizationParameters(**_all_of(_PARAMS, kwargs))

        self.n_bits = options.n_bits
        self.values: FloatArray
        self.qvalues: IntArray
        if value_is_float:
            self.values = np.array(as_float(values))
            check_finite(self.values)
            stats = stats or MinMaxQuantizationStats.from_values(self.values)
            params = params or UniformQuantizationParameters.from_stats(options, stats)
            self.quantizer = UniformQuantizer(options, stats, params)
            self.quant()
        else:
            if params is None:
                raise OptionsError("codes alone have no scale; give params= (or scale=, ...).")
            self.qvalues = as_codes(values)
            self.quantizer = UniformQuantizer(options, stats, params)
            self.dequant()

    def __call__(self) -> IntArray:
        """Return the codes."""
        return self.qvalues

    def quant(self) -> IntArray:
        """Recompute :attr:`qvalues` from :attr:`values`, in place as the reference does."""
        self.qvalues = self.quantizer.quant(self.values)
        return self.qvalues

    def dequant(self) -> FloatArray:
        """Replace :attr:`values` by the codes' values, in place as the reference does."""
        self.values = self.quantizer.dequant(self.qvalues)
        return self.values

    def update_values(self, values: npt.ArrayLike) -> IntArray:
        """Take new real values through the same quantizer; return their codes.

        Raises
        ------
        TensorError
            NaN or infinity, no elements, or no numbers; the array then stays as it was.
        """
        taken = np.array(as_float(values))
        check_finite(taken)
        self.values = taken
        return self.quant()

    def update_quantized_values(self, qvalues: npt.ArrayLike) -> FloatArray:
        """Take new codes through the same quantizer; return their values.

        Raises
        ------
        TensorError
            The codes are no integers; the array then stays as it was.
        """
        self.qvalues = as_codes(qvalues)
        return self.dequant()

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `load_dict` reads back."""
        return {
            "quantizer": self.quantizer.dump_dict(),
            "values": self.values.tolist(),
            "dtype": str(self.values.dtype),
            "qvalues": self.qvalues.tolist(),
        }

    @classmethod
    def load_dict(cls, metadata: dict[str, Any]) -> QuantizedArray:
        """Rebuild an array from `dump_dict`."""
        array = cls.__new__(cls)
        array.quantizer = UniformQuantizer.load_dict(metadata["quantizer"])
        array.n_bits = array.quantizer.n_bits
        array.values = np.asarray(metadata["values"], dtype=metadata["dtype"])
        array.qvalues = np.asarray(metadata["qvalues"], dtype=np.int64)
        return array

    def dumps(self) -> str:
        """Return the array as JSON text."""
        return json.dumps(self.dump_dict())

    @classmethod
    def loads(cls, text: str) -> QuantizedArray:
        """Rebuild an array from `dumps`."""
        return cls.load_dict(json.loads(text))


def _all_of(names: set[str], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Pick `names` from `kwargs`; raise TypeError when only some are there."""
    missing = names - kwargs.keys()
    if missing:
        given = ", ".join(sorted(names & kwargs.keys()))
        raise TypeError(f"{given} given without {', '.join(sorted(missing))}.")
    return {name: kwargs[name] for name in names}
