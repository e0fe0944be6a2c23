"""Every format there is: importing this module offers them all."""

from __future__ import annotations

from quantlib.export import interchange
from quantlib.export.formats import FORMATS

__all__ = ["FORMATS", "interchange"]
