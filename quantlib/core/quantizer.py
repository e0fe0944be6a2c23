"""A uniform quantizer: options, statistics and parameters together."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.core import affine
from quantlib.core.arguments import as_float, as_numbers
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.rounding import Rounding
from quantlib.core.stats import MinMaxQuantizationStats

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlib.arrays import AnyArray, Codes, FloatArray


@dataclass(frozen=True, slots=True)
class UniformQuantizer:
    """Maps reals to codes and back.

    Parameters
    ----------
    quant_options : QuantizationOptions
        What was chosen.
    quant_stats : MinMaxQuantizationStats or None
        What was measured, where known.
    quant_params : UniformQuantizationParameters
        What follows.
    no_clipping : bool
        Codes outside the grid are kept instead of saturated.
    rounding : Rounding
        Rule between two codes; models that bring their own grids bring their own rule.
    code_range : (int, int), optional
        Lowest and highest code where they are not those of the width (QONNX's unsigned narrow
        and bipolar grids).

    Notes
    -----
    Scale and zero point are float64 and int; the members `n_bits`, `scale`, `zero_point`, ...
    are those of Concrete ML's class of this name.

    Examples
    --------
    >>> import quantlib as ql
    >>> import numpy as np
    >>> stats = ql.MinMaxQuantizationStats(rmax=np.float64(6.0), rmin=np.float64(-1.0))
    >>> quantizer = ql.UniformQuantizer.from_stats(ql.QuantizationOptions(3), stats)
    >>> codes = quantizer.quant(np.array([-1.0, 0.0, 2.4, 9.0]))
    >>> codes.tolist(), quantizer.dequant(codes).tolist()
    ([0, 1, 3, 7], [-1.0, 0.0, 2.0, 6.0])
    """

    quant_options: QuantizationOptions
    quant_stats: MinMaxQuantizationStats | None
    quant_params: UniformQuantizationParameters
    no_clipping: bool = False
    rounding: Rounding = Rounding.NEAREST
    code_range: tuple[int, int] | None = None

    @classmethod
    def from_stats(
        cls, options: QuantizationOptions, stats: MinMaxQuantizationStats
    ) -> UniformQuantizer:
        """Build the quantizer of a measured range."""
        return cls(options, stats, UniformQuantizationParameters.from_stats(options, stats))

    @classmethod
    def from_channels(
        cls, options: QuantizationOptions, rmin: FloatArray, rmax: FloatArray
    ) -> UniformQuantizer:
        """Build the quantizer of one range per channel; see `UniformQuantizationParameters`."""
        stats = MinMaxQuantizationStats(rmax=rmax.max(), rmin=rmin.min())
        return cls(options, stats, UniformQuantizationParameters.per_channel(options, rmin, rmax))

    @property
    def is_carried(self) -> bool:
        """Whether the grid came with the model instead of from a measured range."""
        return self.quant_stats is None

    @property
    def is_per_channel(self) -> bool:
        """Whether each channel has a scale of its own."""
        return isinstance(self.quant_params.scale, np.ndarray)

    def averaged(self) -> UniformQuantizer:
        """Return one grid that stands for those of all channels: mean scale and point."""
        if not self.is_per_channel:
            return self
        point = round(float(np.mean(self.zero_point)))
        params = UniformQuantizationParameters(
            np.float64(self.quant_params.mean_scale), point, self.offset
        )
        return dataclasses.replace(self, quant_params=params)

    @property
    def n_bits(self) -> int:
        """Width of the grid, bits."""
        return self.quant_options.n_bits

    @property
    def is_signed(self) -> bool:
        """Whether codes may be negative."""
        return self.quant_options.is_signed

    @property
    def is_symmetric(self) -> bool:
        """Whether the range is symmetric around 0."""
        return self.quant_options.is_symmetric

    @property
    def scale(self) -> np.float64 | FloatArray:
        """Real step between two codes."""
        return self.quant_params.scale

    @property
    def zero_point(self) -> int | AnyArray:
        """Code of real 0.0."""
        return self.quant_params.zero_point

    @property
    def offset(self) -> int:
        """How far the grid reaches below 0."""
        return self.quant_params.offset

    @property
    def rmin(self) -> np.floating[Any] | None:
        """Smallest real value measured."""
        return self.quant_stats.rmin if self.quant_stats else None

    @property
    def rmax(self) -> np.floating[Any] | None:
        """Largest real value measured."""
        return self.quant_stats.rmax if self.quant_stats else None

    @property
    def qmin(self) -> int:
        """Lowest code that clipping lets through."""
        if self.code_range is not None:
            return self.code_range[0]
        return -self.offset + int(self.quant_options.is_narrow)

    @property
    def qmax(self) -> int:
        """Highest code that clipping lets through."""
        if self.code_range is not None:
            return self.code_range[1]
        return (1 << self.n_bits) - 1 - self.offset

    def quant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.int64) -> Codes:
        """Quantize real values; float32 arrays are divided in float32, all else in float64."""
        return affine.quantize(
            as_float(values),
            scale=self.scale,
            zero_point=self.zero_point,
            qmin=None if self.no_clipping else self.qmin,
            qmax=None if self.no_clipping else self.qmax,
            dtype=dtype,
            rounding=self.rounding,
        )

    def dequant(self, qvalues: npt.ArrayLike) -> FloatArray:
        """Return the float64 values of integer codes."""
        codes = as_numbers(qvalues, what="codes")
        return affine.dequantize(codes, scale=self.scale, zero_point=self.zero_point)

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `load_dict` reads back."""
        return {
            "options": self.quant_options.dump_dict(),
            "stats": self.quant_stats.dump_dict() if self.quant_stats else None,
            "params": self.quant_params.dump_dict(),
            "no_clipping": self.no_clipping,
            "rounding": str(self.rounding),
            "code_range": list(self.code_range) if self.code_range else None,
        }

    @classmethod
    def load_dict(cls, metadata: dict[str, Any]) -> UniformQuantizer:
        """Rebuild a quantizer from `dump_dict`."""
        stats, code_range = metadata["stats"], metadata.get("code_range")
        return cls(
            QuantizationOptions.load_dict(metadata["options"]),
            MinMaxQuantizationStats.load_dict(stats) if stats else None,
            UniformQuantizationParameters.load_dict(metadata["params"]),
            bool(metadata["no_clipping"]),
            Rounding(metadata.get("rounding", Rounding.NEAREST)),
            (int(code_range[0]), int(code_range[1])) if code_range else None,
        )

    def dumps(self) -> str:
        """Return the quantizer as JSON text."""
        return json.dumps(self.dump_dict())

    @classmethod
    def loads(cls, text: str) -> UniformQuantizer:
        """Rebuild a quantizer from `dumps`."""
        return cls.load_dict(json.loads(text))
