"""Every format there is: importing this module offers them all."""

from __future__ import annotations

import importlib
import pkgutil

import quantlib.export
from quantlib.export.formats import FORMATS

__all__ = ["FORMATS"]

# a module offers its formats when it is imported; the order of names is the order of offers
for _found in pkgutil.walk_packages(quantlib.export.__path__, "quantlib.export."):
    importlib.import_module(_found.name)
