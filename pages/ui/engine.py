"""The one door to computation: digests and a configuration in, frozen summaries out.

What is computed stays with the user's session, under keys that name everything it depends on,
in bounded caches. No page sees a module, a session of ONNX Runtime or a whole activation.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import streamlit as st

import quantlib as ql
from pages.ui.jobs import Job
from quantlib.analysis.attribution.ledger import ErrorLedger, error_ledgers
from quantlib.analysis.decisions import check_labels
from quantlib.analysis.distributions import (
    Distribution,
    activation_distributions,
    weight_distributions,
)
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.float_model import FloatReference
from quantlib.analysis.preflight import Preflight, inspect_model
from quantlib.analysis.sweep.executors import open_executor
from quantlib.analysis.sweep.records import Origin
from quantlib.analysis.sweep.result import SweepResult, measure
from quantlib.analysis.sweep.run import split_known, sweep
from quantlib.analysis.sweep.store import read_results
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset, load_data, synthetic_data
from quantlib.execution.memo import Memo
from quantlib.export import archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from quantlib.analysis.reports import Evaluation
    from quantlib.core.config import QuantizationConfig
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule

_T = TypeVar("_T")

_BOUNDS = {
    "workspace": 3,
    "evaluation": 64,
    "module": 4,
    "distributions": 3,
    "study": 256,
    "seconds": 16,
}
"""How many entries each cache of a session holds."""

SWEEP_WORKERS = 2

AGAIN_S = 2.0
"""Longest first evaluation that is followed by a second one for its time."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which model on which data; the bytes behind the digests are registered in the session.

    Parameters
    ----------
    model, data : str
        SHA-256 digests; ``data`` is ``""`` for generated data.
    """

    model: str
    data: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is, before anything is quantized."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    n_parameters: int
    size_bytes: int
    preflight: Preflight


@dataclass(frozen=True, slots=True)
class DataCard:
    """What the data are."""

    name: str
    n_calibration: int
    n_evaluation: int
    has_labels: bool
    is_synthetic: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Distributions:
    """What tensors hold, by tensor name."""

    activations: dict[str, Distribution]
    weights: dict[str, Distribution]


@dataclass(frozen=True, slots=True, eq=False)
class Workspace:
    """A loaded model with its data, behind the door."""

    graph: Graph
    data: Dataset
    reference: FloatReference
    memo: Memo


def register(data: bytes, *, name: str) -> str:
    """Keep bytes in the session under their digest; return the digest."""
    digest = hashlib.sha256(data).hexdigest()
    st.session_state.setdefault("engine.bytes", {})[digest] = (name, data)
    return digest


def forget(digest: str) -> None:
    """Drop bytes that were refused."""
    st.session_state.get("engine.bytes", {}).pop(digest, None)


def check(source: Source) -> None:
    """Load model and data once, raising what is wrong with either or with both together."""
    space = _workspace(source)
    if space.data.labels is not None:
        check_labels(space.reference.output(), space.data.labels)


def model_card(source: Source) -> ModelCard:
    """Return what the model is and how each node will be treated."""
    graph = _workspace(source).graph
    return ModelCard(
        name=graph.name,
        inputs=tuple(f"{i.name} {_shape(i.shape)} {i.dtype}" for i in graph.inputs),
        outputs=tuple(f"{o.name} {_shape(o.shape)} {o.dtype}" for o in graph.outputs),
        n_parameters=graph.n_parameters,
        size_bytes=len(graph.source),
        preflight=inspect_model(graph),
    )


def data_card(source: Source) -> DataCard:
    """Return what the data are."""
    data = _workspace(source).data
    return DataCard(
        name=data.name,
        n_calibration=len(data.calibration[0]),
        n_evaluation=len(data.evaluation[0]),
        has_labels=data.labels is not None,
        is_synthetic=data.is_synthetic,
        notes=data.notes,
    )


def evaluation(source: Source, config: QuantizationConfig) -> Evaluation:
    """Return the figures of a configuration."""

    def compute() -> Evaluation:
        space = _workspace(source)
        started = time.perf_counter()
        found = evaluate(
            space.graph, space.data, config, reference=space.reference, memo=space.memo
        )
        _remember("seconds", source, lambda: time.perf_counter() - started)
        return found

    return _remember("evaluation", (source, config), compute)


def distributions(source: Source) -> Distributions:
    """Return what all weights hold, and all activations on the calibration data."""

    def compute() -> Distributions:
        space = _workspace(source)
        reference = FloatReference(space.graph, space.data.calibration)
        return Distributions(activation_distributions(reference), weight_distributions(space.graph))

    return _remember("distributions", source, compute)


def study(source: Source, key: object, compute: Callable[[Workspace], _T]) -> _T:
    """Return what a smaller question about a model and its data comes to, asked once per key.

    `compute` returns a frozen and bounded value; modules and activations stay behind the door.
    """
    return _remember("study", (source, key), lambda: compute(_workspace(source)))


def is_known(source: Source, key: object) -> bool:
    """Tell whether a study was asked before and is still remembered."""
    return (source, key) in st.session_state.get("engine.study", {})


def unremembered(source: Source, compute: Callable[[Workspace], _T]) -> _T:
    """Return what a question comes to that must not be answered from memory: starting a job."""
    return compute(_workspace(source))


def module(source: Source, config: QuantizationConfig) -> QuantizedModule:
    """Return the quantized module of a configuration, for questions asked behind the door."""

    def compute() -> QuantizedModule:
        space = _workspace(source)
        return ql.quantize(space.graph, space.data.calibration, config, memo=space.memo)

    return _remember("module", (source, config), compute)


def evaluation_inputs(source: Source, samples: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return a few samples of the first model input."""
    return np.array(_workspace(source).data.evaluation[0][list(samples)])


def data_archive(source: Source) -> bytes:
    """Return the current data as an .npz that the exported scripts read."""
    return archive.data_archive(_workspace(source).data, inputs=input_names(source))


def input_names(source: Source) -> tuple[str, ...]:
    """Return the names of the model's inputs."""
    return tuple(info.name for info in _workspace(source).graph.inputs)


def sweep_job(
    source: Source, configs: Sequence[QuantizationConfig], known: Iterable[SweepResult] = ()
) -> Job[SweepResult]:
    """Start a sweep in the background; results appear in the job as they come.

    What is `known` already begins the job's results and is not computed again.
    """
    space = _workspace(source)
    there, missing = split_known(configs, known)
    bench = Workbench(space.graph, space.data, space.reference)

    def work(go_on: Callable[[], bool], add: Callable[[SweepResult], None]) -> None:
        with open_executor(workers=SWEEP_WORKERS) as executor:
            for result in sweep(bench, missing, executor=executor, go_on=go_on):
                add(result)

    return Job.start(work, total=len(configs), source=source, known=there)


def kept_results(source: Source, content: bytes, *, name: str) -> Job[SweepResult]:
    """Return an ended job with the results of a file; raises what is wrong with the file."""
    found, _ = read_results(content, origin(source), name=name, is_csv=name.endswith(".csv"))
    return Job(total=len(found), source=source, known=found)


def origin(source: Source) -> Origin:
    """Return what results of this model and these data are marked with."""
    space = _workspace(source)
    return Origin(space.graph.digest, space.data.digest)


def seconds_each(source: Source, config: QuantizationConfig) -> float:
    """Return how long one configuration of a sweep takes on this model and these data.

    A quick model is measured once more, when it is warm; a slow one is not made to wait.
    """
    first: float = _remember("seconds", source, lambda: 0.0)
    if first > AGAIN_S:
        return first
    return study(
        source,
        "seconds",
        lambda space: (
            measure(Workbench(space.graph, space.data, space.reference), config).elapsed_s
        ),
    )


def ledger_job(source: Source, config: QuantizationConfig) -> Job[ErrorLedger]:
    """Start an error ledger in the background; it grows with the samples it has seen."""
    space, quantized = _workspace(source), module(source, config)

    def work(go_on: Callable[[], bool], add: Callable[[ErrorLedger], None]) -> None:
        for found in error_ledgers(quantized, space.reference, go_on=go_on):
            add(found)

    return Job.start(work, total=len(space.data.evaluation[0]), source=(source, config))


def _shape(shape: tuple[int | str | None, ...]) -> str:
    return " × ".join("?" if size is None else str(size) for size in shape)


def _workspace(source: Source) -> Workspace:
    def compute() -> Workspace:
        held = st.session_state.get("engine.bytes", {})
        name, model = held[source.model]
        graph = ql.load_model(model, name=name)
        if source.data:
            data_name, content = held[source.data]
            data = load_data(content, graph, name=data_name)
        else:
            data = synthetic_data(graph)
        return Workspace(graph, data, FloatReference(graph, data.evaluation), Memo())

    return _remember("workspace", source, compute)


def _remember(kind: str, key: object, compute: Callable[[], _T]) -> _T:
    """Return a cached value of this session, computing it when it is not there."""
    cache: OrderedDict[object, _T] = st.session_state.setdefault(f"engine.{kind}", OrderedDict())
    if key not in cache:
        cache[key] = compute()
    cache.move_to_end(key)
    while len(cache) > _BOUNDS[kind]:
        cache.popitem(last=False)
    return cache[key]
