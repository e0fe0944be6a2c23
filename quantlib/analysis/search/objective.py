"""What a search makes small."""

from __future__ import annotations

from enum import StrEnum


class Objective(StrEnum):
    """What a search makes as small, or for quality as large, as it can.

    Examples
    --------
    >>> import quantlib as ql
    >>> [str(objective) for objective in ql.Objective]
    ['size', 'bit operations', 'look-up cost', 'SQNR']
    """

    SIZE = "size"
    """Memory of the constants, bits."""

    BIT_OPERATIONS = "bit operations"
    """Products, each times both widths."""

    LOOKUPS = "look-up cost"
    """Table look-ups, each counted at what it costs under encryption, floating-point operations;
    see `quantlib.analysis.widths.table_costs`."""

    SQNR = "SQNR"
    """Output signal over noise."""


COSTS = (Objective.SIZE, Objective.BIT_OPERATIONS, Objective.LOOKUPS)
"""The objectives that are sums over layers."""
