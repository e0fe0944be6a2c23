"""What a model and its data are, and what a configuration comes to."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.outputs import check_labels_fit
from quantlib.analysis.preflight import Preflight, inspect_model
from quantlib.analysis.workbench import Workbench
from quantlib.core.config import QuantizationConfig
from quantlib.errors import OptionsError, TensorError, name_file
from quantlib.execution.calls import n_samples, samples_of
from quantlib.questions.registry import Question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.reports import Evaluation
    from quantlib.arrays import AnyArray
    from quantlib.data import Dataset
    from quantlib.graph.model import Graph, TensorInfo

TRIED_SAMPLES = 4
"""How many samples a new model or new data are quantized on before they are taken."""

TRIED_BITS = 8
"""At which width."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is, before anything is quantized.

    Parameters
    ----------
    name : str
        File stem or graph name.
    inputs, outputs : tuple of str
        Name, shape and element type of each, in words.
    n_parameters, size_bytes : int
        Numbers in floating-point constants; size of the model.
    preflight : Preflight
        How each node will be treated.
    notes : tuple of str
        What was mended or decided while reading, in words.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    n_parameters: int
    size_bytes: int
    preflight: Preflight
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspected:
    """A model before anything runs, whole.

    Parameters
    ----------
    name, digest : str
        What messages call it; SHA-256 of its file.
    opsets : tuple of (str, int)
        Domains and versions of operators.
    inputs, outputs : tuple of TensorInfo
    samples_per_call : int or None
        How many samples a call takes, None for any number.
    mixes_samples : bool
        Whether samples of a call change each other's outputs.
    samples_words : str
        What was found about samples, in words.
    n_parameters, n_nodes : int
        Numbers in floating-point constants; nodes as they are run.
    notes : tuple of str
        What was mended or decided while reading, in words.
    preflight : Preflight
        How each node will be treated.
    """

    name: str
    digest: str
    opsets: tuple[tuple[str, int], ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    samples_per_call: int | None
    mixes_samples: bool
    samples_words: str
    n_parameters: int
    n_nodes: int
    notes: tuple[str, ...]
    preflight: Preflight

    @classmethod
    def of(cls, graph: Graph) -> Inspected:
        """Inspect a loaded model."""
        return cls(
            name=graph.name,
            digest=graph.digest,
            opsets=tuple(dict(graph.opsets).items()),
            inputs=tuple(graph.inputs),
            outputs=tuple(graph.outputs),
            samples_per_call=graph.batch.size,
            mixes_samples=graph.batch.mixes,
            samples_words=graph.batch.words,
            n_parameters=graph.n_parameters,
            n_nodes=len(graph.nodes),
            notes=tuple(graph.notes),
            preflight=inspect_model(graph),
        )


@dataclass(frozen=True, slots=True)
class DataCard:
    """What the data are.

    Parameters
    ----------
    name : str
        The file's, or ``"synthetic"``.
    n_calibration, n_evaluation : int
        Samples.
    has_labels, is_synthetic : bool
        Whether answers are known; whether the data were generated.
    notes : tuple of str
        What was decided while reading, in words.
    """

    name: str
    n_calibration: int
    n_evaluation: int
    has_labels: bool
    is_synthetic: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timed:
    """An evaluation and how long it took, s."""

    evaluation: Evaluation
    seconds: float


@Question
def model_card(bench: Workbench) -> ModelCard:
    """Return what the model is and how each node will be treated."""
    graph = bench.graph
    return ModelCard(
        name=graph.name,
        inputs=tuple(f"{i.name} {_shape(i.shape)} {i.dtype}" for i in graph.inputs),
        outputs=tuple(f"{o.name} {_shape(o.shape)} {o.dtype}" for o in graph.outputs),
        n_parameters=graph.n_parameters,
        size_bytes=len(graph.source),
        preflight=inspect_model(graph),
        notes=graph.notes,
    )


@Question
def inspected(bench: Workbench) -> Inspected:
    """Return the model before anything runs, whole."""
    return Inspected.of(bench.graph)


@Question
def data_card(bench: Workbench) -> DataCard:
    """Return what the data are."""
    data = bench.data
    return DataCard(
        name=data.name,
        n_calibration=n_samples(bench.graph, data.calibration),
        n_evaluation=n_samples(bench.graph, data.evaluation),
        has_labels=data.labels is not None,
        is_synthetic=data.is_synthetic,
        notes=data.notes,
    )


@Question
def check(bench: Workbench) -> None:
    """Run the float model; raise what is wrong with it, its data or labels, or all together.

    A few samples are quantized too: what cannot be is told now and not on the next screen. What
    only a configuration is to blame for is not told here.
    """
    outputs = [bench.float_model.output(name) for name in bench.graph.output_names]
    try:
        check_labels_fit(outputs, bench.data.labels)
    except TensorError as error:
        name_file(error, bench.data.name)
        raise
    with suppress(OptionsError):
        evaluate(Workbench(bench.graph, _few(bench)), QuantizationConfig.from_n_bits(TRIED_BITS))


def _few(bench: Workbench) -> Dataset:
    """Return the first samples of each set: one call, and no labels."""
    graph, data = bench.graph, bench.data
    first = slice(0, graph.batch.size or TRIED_SAMPLES)
    parts = [data.calibration, data.evaluation]
    if not graph.batch.mixes:
        parts = [samples_of(graph, part, first) for part in parts]
    return replace(data, calibration=parts[0], evaluation=parts[1], labels=None)


@Question
def evaluation(bench: Workbench, config: QuantizationConfig) -> Timed:
    """Return the figures of a configuration."""
    started = time.perf_counter()
    found = evaluate(bench, config)
    return Timed(found, time.perf_counter() - started)


@Question
def evaluation_inputs(bench: Workbench, samples: Sequence[int]) -> AnyArray:
    """Return a few samples of the first model input."""
    chosen = samples_of(bench.graph, bench.data.evaluation, np.array(samples, dtype=np.int64))
    return np.array(chosen[0])


@Question
def output_names(bench: Workbench) -> tuple[str, ...]:
    """Return the names of the model's outputs."""
    return bench.graph.output_names


def _shape(shape: tuple[int | str | None, ...]) -> str:
    return " × ".join("?" if size is None else str(size) for size in shape)
