"""What is taken away from a workbench as a file, and what was proved of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.preflight import inspect_model
from quantlib.export import archive, scripts
from quantlib.export.formats import Subject
from quantlib.export.interchange import remarks
from quantlib.export.offers import FORMATS
from quantlib.export.onnx_files import operator_counts
from quantlib.export.report_content import configuration_report
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.export.formats import Proof, Refusal
    from quantlib.export.report import Figure
    from quantlib.questions.registry import GoOn

PREVIEW_CHARACTERS = 4000
"""How much of a text file is shown before it is taken."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A format as it would carry a configuration.

    Parameters
    ----------
    refusals : tuple of Refusal
        What the format cannot carry: it is not written then.
    losses : tuple of Refusal
        What is not said by the files, which are written all the same.
    notes : tuple of str
        What was decided while writing, and how the files are read.
    sizes : tuple of (str, int)
        Each file and its bytes; empty where the format refuses.
    preview : str
        The beginning of a text file, or a model's operators and how often each occurs.
    """

    refusals: tuple[Refusal, ...]
    losses: tuple[Refusal, ...]
    notes: tuple[str, ...]
    sizes: tuple[tuple[str, int], ...]
    preview: str


@Question
def offer(bench: Workbench, config: QuantizationConfig, name: str, stem: str) -> Offer:
    """Return what a format makes of a configuration.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        What is exported.
    name : str
        A member of `quantlib.export.formats.FORMATS`.
    stem : str
        What file names begin with.
    """
    module = bench.module(config)
    refusals = FORMATS[name].refusals(module)
    if refusals:
        return Offer(refusals, (), (), (), "")
    said = remarks(name, module)
    made = files(bench, config, name, stem)
    first = next(iter(made))
    return Offer(
        refusals=(),
        losses=said.losses,
        notes=said.notes,
        sizes=tuple((file, len(content)) for file, content in made.items()),
        preview=_preview(first, made[first]),
    )


@Question
def files(bench: Workbench, config: QuantizationConfig, name: str, stem: str) -> dict[str, bytes]:
    """Return a format's files by name."""
    return FORMATS[name].export(Subject(bench.module(config), stem, bench))


@Stream
def proof(
    bench: Workbench, go_on: GoOn, config: QuantizationConfig, name: str, stem: str
) -> Iterator[Proof]:
    """Run what a format wrote again, on all evaluation samples, and compare."""
    made = files(bench, config, name, stem)
    if go_on():
        yield FORMATS[name].prove(made, bench.module(config), bench.data.evaluation)


@Question
def quantlib_script(bench: Workbench, config: QuantizationConfig, *, model: str, data: str) -> str:
    """Return the script that quantizes the files of these names with this library."""
    return scripts.quantlib_script(config, model=model, data=data, inputs=_inputs(bench))


@Question
def concrete_ml_script(
    bench: Workbench, config: QuantizationConfig, *, model: str, data: str
) -> tuple[str, tuple[Refusal, ...]]:
    """Return the script for Concrete ML, and what Concrete ML would refuse of the model."""
    found = inspect_model(bench.graph)
    refused = scripts.concrete_ml_refusals(found)
    script = scripts.concrete_ml_script(
        config,
        model=model,
        data=data,
        inputs=_inputs(bench),
        carries_grids=bool(found.carried),
        refused=refused,
    )
    return script, refused


@Question
def report(
    bench: Workbench,
    config: QuantizationConfig,
    *,
    figures: Mapping[str, Figure],
    scripts: Sequence[str],
) -> str:
    """Return the report on a configuration as one HTML document, with drawn figures by slot."""
    return configuration_report(bench, config, figures=figures, scripts=scripts)


@Question
def data_archive(bench: Workbench) -> bytes:
    """Return the data as an .npz that the exported scripts read."""
    return archive.data_archive(bench.data, inputs=_inputs(bench))


def _inputs(bench: Workbench) -> tuple[str, ...]:
    return tuple(info.name for info in bench.graph.inputs)


def _preview(name: str, content: bytes) -> str:
    if not name.endswith(".onnx"):
        return content.decode(errors="replace")[:PREVIEW_CHARACTERS]
    counts = operator_counts(content)
    lines = [f"{count:>6} {kind}" for kind, count in counts.items()]
    return "\n".join([f"{sum(counts.values()):>6} nodes", *lines])
