"""Questions about single layers, and the search over their widths."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from pages.ui import engine
from pages.ui.jobs import Job
from quantlib.analysis.search.search import Progress, SearchResult, search
from quantlib.analysis.sensitivity import Sensitivity, sensitivity
from quantlib.core.estimator import Estimator
from quantlib.core.scheme import LayerOverride, Scheme
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from quantlib.analysis.reports import Evaluation
    from quantlib.analysis.search.program import Objective
    from quantlib.core.config import QuantizationConfig

WORDS = {None: "auto", True: "yes", False: "no"}
VALUES = {word: value for value, word in WORDS.items()}


@dataclass(frozen=True, slots=True)
class SearchQuestion:
    """What a search was started for: its answer belongs to nothing else."""

    source: engine.Source
    config: QuantizationConfig
    objective: Objective
    floor_db: float | None


def measured(source: engine.Source, config: QuantizationConfig) -> Sensitivity:
    """Return what each layer does alone, and what leaving it in float gives back."""

    def compute(space: engine.Workspace) -> Sensitivity:
        with ThreadPoolExecutor(engine.SWEEP_WORKERS) as executor:
            return sensitivity(
                engine.module(source, config), space.reference, space.data.labels,
                executor=executor,
            )  # fmt: skip

    return engine.study(source, ("sensitivity", config), compute)


def search_job(
    question: SearchQuestion, weight_bits: tuple[int, ...], activation_bits: tuple[int, ...]
) -> Job[Progress | SearchResult]:
    """Start a search in the background; the last result in the job is the answer."""

    def compute(space: engine.Workspace) -> Job[Progress | SearchResult]:
        def work(go_on: Callable[[], bool], add: Callable[[Progress | SearchResult], None]) -> None:
            for step in search(
                space.graph, space.data, question.config, reference=space.reference,
                objective=question.objective, floor_db=question.floor_db,
                weight_bits=weight_bits, activation_bits=activation_bits, memo=space.memo,
            ):  # fmt: skip
                add(step)
                if not go_on():
                    return

        return Job.start(work, total=0, source=question)

    return engine.unremembered(question.source, compute)


def layer_rows(found: Evaluation, config: QuantizationConfig) -> pd.DataFrame:
    """Return the editable table: one row per integer operator, its choices spelled out."""
    layers = [layer for layer in found.layers if layer.input_grid is not None]
    weights = [config.weights_of(layer.name) if layer.weight_grid else None for layer in layers]
    activations = [config.activations_of(layer.name) for layer in layers]
    bits = [w.n_bits if w else None for w in weights]
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "operator": [layer.op_type for layer in layers],
            "weight bits": pd.array(bits, dtype="Int64"),
            "activation bits": [a.n_bits for a in activations],
            "weights signed": [WORDS[w.signed] if w else None for w in weights],
            "weights symmetric": [WORDS[w.symmetric] if w else None for w in weights],
            "weights range": [w.estimator.words if w else None for w in weights],
            "per channel": [w.per_channel if w else None for w in weights],
            "activations signed": [WORDS[a.signed] for a in activations],
            "activations symmetric": [WORDS[a.symmetric] for a in activations],
            "activations range": [a.estimator.words for a in activations],
            "seen (bits)": pd.array([layer.width_bits for layer in layers], dtype="Int64"),
            "SQNR (dB)": [layer.sqnr_db for layer in layers],
        }
    )


EDITABLE = (
    "weight bits", "activation bits", "weights signed", "weights symmetric", "weights range",
    "per channel", "activations signed", "activations symmetric", "activations range",
)  # fmt: skip


def edited(config: QuantizationConfig, rows: pd.DataFrame) -> QuantizationConfig:
    """Return the configuration that an edited table means.

    Raises
    ------
    OptionsError
        A row contradicts itself; the message names the layer.
    """
    overrides = dict(config.overrides)
    for row in rows.to_dict("records"):
        layer = str(row["layer"])
        try:
            weights = None
            if not pd.isna(row["weight bits"]):
                weights = _scheme(row, "weights", int(row["weight bits"]), config.weights_of(layer))
            activations = _scheme(
                row, "activations", int(row["activation bits"]), config.activations_of(layer)
            )
        except OptionsError as error:
            raise OptionsError(f"layer {layer!r}: {error}") from None
        overrides[layer] = LayerOverride(
            None if weights in (None, config.weights) else weights,
            None if activations == config.activations else activations,
        )
    return config.replace(
        overrides=overrides,
        output_bits=max(config.output_bits, *(int(a) for a in rows["activation bits"])),
    )


def _scheme(row: Mapping[Hashable, Any], part: str, n_bits: int, before: Scheme) -> Scheme:
    return before.replace(
        n_bits=n_bits,
        signed=VALUES[str(row[f"{part} signed"])],
        symmetric=VALUES[str(row[f"{part} symmetric"])],
        estimator=Estimator.parse(str(row[f"{part} range"])),
        per_channel=part == "weights" and bool(row["per channel"]),
    )
