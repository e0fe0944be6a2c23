"""How other tools turn a tensor into integers, from their published definitions."""

from quantlib.conventions.conversion import Conversion, Scheme
from quantlib.conventions.tools import CONVENTIONS, Convention, convert

__all__ = ["CONVENTIONS", "Convention", "Conversion", "Scheme", "convert"]
