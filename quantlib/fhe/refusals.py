"""What no circuit can hold, said before anything is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.widths.table_costs import WIDEST_TABLE_BITS
from quantlib.errors import OptionsError
from quantlib.fhe.widths import table_width, widths_of

if TYPE_CHECKING:
    from quantlib.analysis.widths.cost import RoundingMethod
    from quantlib.fhe.plan import Plan
    from quantlib.program.program import IntegerProgram

ROUNDED_BITS = 8
"""Width to which rounding is proposed: beyond it tables cost many times more."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a layer cannot be computed under encryption.

    Parameters
    ----------
    layer : str
        Where.
    reason, remedy : str
        What is wrong, and what to do.
    rounding_bits : int or None
        The ``rounding_threshold_bits`` that make it possible, where rounding does.
    """

    layer: str
    reason: str
    remedy: str
    rounding_bits: int | None = None

    def __str__(self) -> str:
        return f"layer {self.layer!r}: {self.reason}; {self.remedy}"


def refused(found: tuple[Refusal, ...]) -> OptionsError:
    """Return the error that tells all refusals."""
    return OptionsError(
        "this model cannot be computed under encryption as it is: "
        + ". ".join(map(str, found))
        + "."
    )


def islands(program: IntegerProgram) -> tuple[Refusal, ...]:
    """Return what stays in float, between integers or at the end."""
    return tuple(
        Refusal(island.layer, f"{island.op_type} stays in float, as {island.reason}", island.remedy)
        for island in program.islands
    )


def check_convertible(program: IntegerProgram) -> None:
    """Raise OptionsError where something stays in float."""
    found = islands(program)
    if found:
        raise refused(found)


def too_wide(plan: Plan, method: RoundingMethod) -> tuple[Refusal, ...]:
    """Return the layers whose integers are too wide for the tables that they enter."""
    widths = widths_of(plan)
    by_name = {gate.name: gate for gate in plan.gates}
    found: dict[str, Refusal] = {}
    for gate in plan.lookups:
        entering = table_width(gate, by_name, widths, method)
        if entering <= WIDEST_TABLE_BITS or gate.layer in found:
            continue
        own = widths[gate.sources[0]].needed_bits - gate.lsbs
        found[gate.layer] = Refusal(
            gate.layer,
            f"{entering} bits enter a table, and a table takes {WIDEST_TABLE_BITS} at most",
            f"round accumulators to {ROUNDED_BITS} bits, or give weights or activations fewer bits"
            if own > ROUNDED_BITS
            else "give weights or activations fewer bits",
            rounding_bits=ROUNDED_BITS if own > ROUNDED_BITS else None,
        )
    return tuple(found.values())


def check_widths(plan: Plan, method: RoundingMethod) -> None:
    """Raise OptionsError where an integer is too wide for a table."""
    found = too_wide(plan, method)
    if found:
        raise refused(found)
