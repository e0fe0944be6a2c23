"""The value: a list of steps from the codes of the inputs to the integers of the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import TensorError
from quantlib.program.archive import read_program, write_program
from quantlib.program.interpreter import run_step
from quantlib.program.steps import Input, Island, Output, Step, Table

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class IntegerProgram:
    """A quantized model as steps on integers.

    Parameters
    ----------
    name : str
        The model's.
    steps : tuple of Step
        In an order in which each can be computed.
    outputs : tuple of Output
        The model's outputs, in order.

    Notes
    -----
    `run` gives the integers of `QuantizedModule.quantized_forward`. Tables are made by the code
    that runs the module, at every integer that its weights and grids allow.
    """

    name: str
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The model's inputs, in order."""
        return tuple(step for step in self.steps if isinstance(step, Input))

    @property
    def islands(self) -> tuple[Island, ...]:
        """What stays in float."""
        return tuple(step for step in self.steps if isinstance(step, Island))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables, in order."""
        return tuple(step for step in self.steps if isinstance(step, Table))

    def step(self, name: str) -> Step:
        """Return the step that makes a tensor."""
        return next(step for step in self.steps if step.name == name)

    def last_use(self) -> dict[str, int]:
        """Return, by tensor, the number of the last step that reads it.

        An output's tensor is read after all steps: its number is that of the steps.
        """
        last = {step.name: i for i, step in enumerate(self.steps)}
        for i, step in enumerate(self.steps):
            last.update(dict.fromkeys(step.sources, i))
        last.update(dict.fromkeys((o.source for o in self.outputs), len(self.steps)))
        return last

    def tensors(self, *codes: AnyArray) -> dict[str, IntArray]:
        """Return every tensor's integers, (N, *shape) int64, by name; as `run`."""
        return dict(self._run(codes, keep=True))

    def run(self, *codes: AnyArray) -> IntArray | tuple[IntArray, ...]:
        """Run integers through the program.

        Parameters
        ----------
        *codes : integer arrays
            Codes of the inputs, samples along axis 0.

        Returns
        -------
        int64 array, or a tuple of them
            As from `QuantizedModule.quantized_forward`.

        Raises
        ------
        TensorError
            Codes of the wrong number, type, shape or range.
        """
        values = self._run(codes, keep=False)
        found = tuple(values[output.source] for output in self.outputs)
        return found[0] if len(found) == 1 else found

    def check(self, *codes: AnyArray) -> None:
        """Raise TensorError for codes of the wrong number, type, shape or range."""
        self._entered(codes)

    def _run(self, codes: tuple[AnyArray, ...], *, keep: bool) -> dict[str, IntArray]:
        values = self._entered(codes)
        last = self.last_use()
        for i, step in enumerate(self.steps):
            if not isinstance(step, Input):
                values[step.name] = run_step(step, values)
            for name in () if keep else step.sources:
                if last[name] == i:
                    values.pop(name, None)
        return values

    def _entered(self, codes: tuple[AnyArray, ...]) -> dict[str, IntArray]:
        """Check given codes and name them."""
        if len(codes) != len(self.inputs):
            raise TensorError(
                f"got {len(codes)} arrays; the program has {len(self.inputs)} inputs."
            )
        values: dict[str, IntArray] = {}
        for step, given in zip(self.inputs, codes, strict=True):
            array = np.asarray(given)
            if array.dtype.kind not in "iu" or array.shape[1:] != step.shape or not len(array):
                raise TensorError(
                    f"input {step.input_name!r}: got {array.dtype} of shape {array.shape}; give "
                    f"integers of shape (samples, {', '.join(map(str, step.shape))})."
                )
            if array.min() < step.low or array.max() > step.high:
                raise TensorError(
                    f"input {step.input_name!r}: codes reach from {array.min()} to {array.max()}; "
                    f"its grid from {step.low} to {step.high}."
                )
            values[step.name] = array.astype(np.int64)
        return values

    def dequantize(self, *integers: IntArray) -> FloatArray | tuple[FloatArray, ...]:
        """Return the real values of the outputs' integers, float64."""
        found = tuple(o.dequantize(i) for o, i in zip(self.outputs, integers, strict=True))
        return found[0] if len(found) == 1 else found

    def to_npz(self) -> bytes:
        """Write the program: a .npz of its arrays and a JSON text of everything else.

        Raises
        ------
        OptionsError
            Something stays in float, which no file can hold; the message names it.
        """
        return write_program(self)

    @classmethod
    def from_npz(cls, content: bytes) -> IntegerProgram:
        """Read what `to_npz` wrote.

        Raises
        ------
        ConfigurationError
            It is no such file.
        """
        return cls(*read_program(content))
