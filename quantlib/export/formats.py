"""What every export has in common: its files, what it cannot carry, and how it is proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something a format cannot say.

    Parameters
    ----------
    layer : str
        The node, model input or model output.
    reason, remedy : str
        What the format lacks, and what to change; ``remedy`` ends a sentence.
    """

    layer: str
    reason: str
    remedy: str
