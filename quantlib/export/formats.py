"""What every export has in common: its files, what it cannot carry, and how it is proved."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray
    from quantlib.quantized_module import QuantizedModule

    Files: TypeAlias = dict[str, bytes]
    """Content by file name."""


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


@dataclass(frozen=True, slots=True)
class Proof:
    """A format that was run, or read, again and compared with the module.

    Parameters
    ----------
    machine : str
        What ran it, with its version.
    holds : bool
        Whether nothing differs that has no stated reason.
    samples, equal, ties, different : int
        Of the things compared (`what`): all integers equal; off by one first where the module's
        value lies between two codes; the rest. The last three add up to the first.
    what : str
        What is counted, ``"samples"``, ``"grids"`` or ``"tensors"``.
    lines : tuple of str
        Everything found, in sentences.
    elapsed_s : float
        How long it took, seconds.
    """

    machine: str
    holds: bool
    samples: int
    equal: int
    ties: int
    different: int
    what: str
    lines: tuple[str, ...]
    elapsed_s: float

    @property
    def sentence(self) -> str:
        """The outcome in one line: machine, and how many are equal."""
        if self.equal == self.samples:
            return f"{self.machine}: {self.equal} of {self.samples} {self.what}, all equal"
        rest = [f"{n} {word}" for n, word in
                ((self.ties, "at ties"), (self.different, "different")) if n]  # fmt: skip
        counts = ", ".join([f"{self.equal} equal", *rest])
        return f"{self.machine}: of {self.samples} {self.what} {counts}"


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is exported.

    Parameters
    ----------
    module : QuantizedModule
        The model in integers.
    stem : str
        What file names begin with.
    bench : Workbench, optional
        Model and data with what was found out about them, for documents that tell of it.
    """

    module: QuantizedModule
    stem: str
    bench: Workbench | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ExportFormat:
    """A form in which a quantized module leaves.

    Parameters
    ----------
    name : str
        As the command line takes it, ``"onnx-integers"``.
    title, reader, carries, loses : str
        What it is called; who reads it; what it holds; what it leaves out.
    suffix : str
        Ending of its main file, ``".onnx"``.
    export : callable
        Gets a `Subject`, returns content by file name; the main file first. Raises OptionsError
        for what `refusals` lists.
    refusals : callable
        Gets the module, returns what the format cannot carry; nothing is exported then.
    prove : callable
        Gets the files, the module and real model inputs; runs or reads the files again and
        compares.
    """

    name: str
    title: str
    reader: str
    carries: str
    loses: str
    suffix: str
    export: Callable[[Subject], Files]
    refusals: Callable[[QuantizedModule], tuple[Refusal, ...]]
    prove: Callable[[Mapping[str, bytes], QuantizedModule, Sequence[AnyArray]], Proof]


FORMATS: dict[str, ExportFormat] = {}
"""Every format by name, in the order in which they are offered; see `register`."""


def register(form: ExportFormat) -> ExportFormat:
    """Offer a format; its name must be new."""
    assert form.name not in FORMATS, f"{form.name} is offered already"
    FORMATS[form.name] = form
    return form


def raise_refusals(title: str, found: Sequence[Refusal]) -> None:
    """Raise OptionsError when a format cannot carry something; the message names each layer."""
    if found:
        said = "; ".join(f"layer {r.layer!r}: {r.reason}; {r.remedy}" for r in found)
        raise OptionsError(f"{title} cannot carry this model. {said}.")


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of files, by their names."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()
