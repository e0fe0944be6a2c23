"""Which tensors exist in memory, and which share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.export.c.text import c_type, size_of
from quantlib.program import steps

if TYPE_CHECKING:
    from quantlib.program.program import IntegerProgram

_HEADS = (
    steps.MatMul, steps.Conv, steps.PairMatMul, steps.Centre, steps.Sum, steps.Pool, steps.Add,
    steps.Multiply, steps.Round, steps.Table,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Steps that are computed element by element in one loop.

    Parameters
    ----------
    head : Step
        What gives each element.
    rest : tuple of Step
        Rounding and tables that follow at once, each the only reader of the one before.
    """

    head: steps.Step
    rest: tuple[steps.Step, ...]

    @property
    def result(self) -> steps.Step:
        """The step whose tensor is stored."""
        return self.rest[-1] if self.rest else self.head


@dataclass(frozen=True, slots=True)
class Slot:
    """Memory that tensors use one after the other.

    Parameters
    ----------
    members : dict of str to int
        Elements by type, the most that any of its tensors needs.
    """

    members: dict[str, int]

    @property
    def size_bytes(self) -> int:
        """Bytes of the longest member, rounded up to the widest type."""
        widest = max(map(size_of, self.members))
        longest = max(size_of(kind) * count for kind, count in self.members.items())
        return -(-longest // widest) * widest


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The loops of a program and where their results lie.

    Parameters
    ----------
    loops : tuple of Loop
        In order.
    alias : dict of str to str
        Tensors that only have another shape than the tensor they are in.
    places : dict of str to int
        Slot of each stored tensor.
    given : dict of str to str
        Parameter of the function that holds a tensor: inputs, and outputs written in place.
    slots : tuple of Slot
        The memory.
    """

    loops: tuple[Loop, ...]
    alias: dict[str, str]
    places: dict[str, int]
    given: dict[str, str]
    slots: tuple[Slot, ...]

    def root(self, name: str) -> str:
        """Return the tensor whose memory holds a tensor."""
        while name in self.alias:
            name = self.alias[name]
        return name

    @property
    def ram_bytes(self) -> int:
        """Bytes of all slots."""
        return sum(slot.size_bytes for slot in self.slots)


def stored_type(step: steps.Step) -> str:
    """Return the smallest type that holds a tensor's integers."""
    return c_type(step.low, step.high)


def is_identity(step: steps.Step, program: IntegerProgram) -> bool:
    """Tell whether a move only gives another shape."""
    return (
        isinstance(step, steps.Move)
        and len(step.parts) == 1
        and np.array_equal(step.index.ravel(), np.arange(program.step(step.parts[0]).size))
    )


def plan(program: IntegerProgram) -> Plan:
    """Return the loops of a program, and a memory for their results.

    Notes
    -----
    Each result goes to the free slot that grows least; a slot is free after its tensor's last
    reader. A result that is a model output and has no other reader is written to the caller's
    memory at once.
    """
    alias = {s.name: s.sources[0] for s in program.steps if is_identity(s, program)}

    def root(name: str) -> str:
        while name in alias:
            name = alias[name]
        return name

    readers: dict[str, int] = {}
    for step in program.steps:
        for name in () if step.name in alias else {root(n) for n in step.sources}:
            readers[name] = readers.get(name, 0) + 1
    leaving = [root(output.source) for output in program.outputs]
    outputs = {name: leaving.count(name) for name in leaving}
    found = _loops(program, alias, readers, outputs)
    given = {s.name: f"in{i}" for i, s in enumerate(program.inputs)}
    for i, name in enumerate(leaving):
        if name not in readers and outputs[name] == 1 and name not in given:
            given[name] = f"out{i}"
    last: dict[str, int] = dict.fromkeys(leaving, len(found))
    for i, loop in enumerate(found):
        for step in (loop.head, *loop.rest):
            for name in map(root, step.sources):
                last[name] = max(i, last.get(name, 0))
    places, slots = _placed(found, given, last)
    return Plan(tuple(found), alias, places, given, tuple(slots))


def _loops(
    program: IntegerProgram, alias: dict[str, str], readers: dict[str, int],
    outputs: dict[str, int],
) -> list[Loop]:  # fmt: skip
    """Join each step with the rounding and the table that follow it."""
    only = {s.sources[0]: s for s in program.steps if isinstance(s, steps.Round | steps.Table)}
    taken: set[str] = set()
    loops = []
    for step in program.steps:
        if step.name in taken or step.name in alias or isinstance(step, steps.Input):
            continue
        rest: list[steps.Step] = []
        current = step
        while (
            isinstance(step, _HEADS)
            and readers.get(current.name) == 1
            and current.name not in outputs
            and current.name in only
        ):
            current = only[current.name]
            rest.append(current)
            taken.add(current.name)
        loops.append(Loop(step, tuple(rest)))
    return loops


def _placed(
    loops: list[Loop], given: dict[str, str], last: dict[str, int]
) -> tuple[dict[str, int], list[Slot]]:
    places: dict[str, int] = {}
    slots: list[Slot] = []
    busy: dict[int, int] = {}
    for i, loop in enumerate(loops):
        step = loop.result
        if step.name not in given:
            kind, count = stored_type(step), step.size
            free = [s for s in range(len(slots)) if busy.get(s, -1) < i]

            def growth(s: int, kind: str = kind, count: int = count) -> tuple[int, int]:
                grown = Slot({**slots[s].members,
                              kind: max(count, slots[s].members.get(kind, 0))})  # fmt: skip
                return grown.size_bytes - slots[s].size_bytes, slots[s].size_bytes

            if free:
                slot = min(free, key=growth)
                slots[slot].members[kind] = max(count, slots[slot].members.get(kind, 0))
            else:
                slot = len(slots)
                slots.append(Slot({kind: count}))
            places[step.name] = slot
            busy[slot] = last.get(step.name, i)
    return places, slots
