"""An integer program as gates: the value, and how it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.fhe.evaluate import evaluate
from quantlib.fhe.gates import Entry, LookUp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import AnyArray, IntArray
    from quantlib.fhe.gates import Gate
    from quantlib.program.program import IntegerProgram

    Compute = Callable[["Gate", Mapping[str, IntArray]], IntArray]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """An integer program as gates, in an order in which each can be computed.

    Parameters
    ----------
    program : IntegerProgram
        What it computes.
    gates : tuple of Gate
        Those that the outputs need, and all inputs.
    outputs : tuple of str
        Tensor of each model output.
    """

    program: IntegerProgram
    gates: tuple[Gate, ...]
    outputs: tuple[str, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The model's inputs, in order."""
        return tuple(gate for gate in self.gates if isinstance(gate, Entry))

    @property
    def lookups(self) -> tuple[LookUp, ...]:
        """The look-ups, in order."""
        return tuple(gate for gate in self.gates if isinstance(gate, LookUp))

    def gate(self, name: str) -> Gate:
        """Return the gate that makes a tensor."""
        return next(gate for gate in self.gates if gate.name == name)

    def run(self, *codes: AnyArray) -> tuple[IntArray, ...]:
        """Return the integers of each output, (N, *shape) int64, as `IntegerProgram.run`."""
        values = self.values(codes, plain)
        return tuple(values[name] for name in self.outputs)

    def values(
        self, codes: tuple[AnyArray, ...], compute: Compute, *, keep: bool = False
    ) -> dict[str, IntArray]:
        """Return tensors by name: the outputs, or all of them with `keep`.

        Parameters
        ----------
        codes : tuple of integer arrays
            Of the inputs, samples along axis 0.
        compute : callable
            Gets a gate and the tensors so far, returns its integers.
        keep : bool
            Whether tensors stay after their last reader.
        """
        given = {step.name: c for step, c in zip(self.program.inputs, codes, strict=True)}
        last = {name: i for i, gate in enumerate(self.gates) for name in gate.sources}
        found: dict[str, IntArray] = {}
        for i, gate in enumerate(self.gates):
            if isinstance(gate, Entry):
                found[gate.name] = np.asarray(given[gate.name]).astype(np.int64)
            else:
                found[gate.name] = compute(gate, found)
            for name in () if keep else gate.sources:
                if last[name] == i and name not in self.outputs:
                    found.pop(name, None)
        return found

    def seen_on(self, *codes: AnyArray) -> Plan:
        """Return the plan with the bounds that its tensors have on data.

        Narrower integers cost less; codes that go beyond them have no right result. This is how
        Concrete sizes a circuit from an inputset.
        """
        reach: dict[str, tuple[int, int]] = {}

        def note(gate: Gate, found: Mapping[str, IntArray]) -> IntArray:
            made = plain(gate, found)
            reach[gate.name] = (int(made.min()), int(made.max()))
            return made

        self.values(codes, note)
        for entry, given in zip(self.entries, codes, strict=True):
            reach[entry.name] = (int(np.min(given)), int(np.max(given)))
        narrowed = tuple(
            dataclasses.replace(gate, low=reach[gate.name][0], high=reach[gate.name][1])
            for gate in self.gates
        )
        return Plan(self.program, narrowed, self.outputs)


def plain(gate: Gate, found: Mapping[str, IntArray]) -> IntArray:
    """Return a gate's integers, without any error."""
    return evaluate(gate, *(found[name] for name in gate.sources))
