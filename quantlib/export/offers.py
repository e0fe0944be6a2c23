"""Every format there is: importing this module offers them all."""

from __future__ import annotations

from quantlib.export import interchange, numpy_script, onnx_integers
from quantlib.export.c import format as c_format
from quantlib.export.formats import FORMATS

__all__ = ["FORMATS", "c_format", "interchange", "numpy_script", "onnx_integers"]
