"""How much each layer matters: quantized alone, and left in float alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.attribution.partial_run import (
    Precision,
    is_integer,
    partial_runs,
    weight_positions,
)
from quantlib.analysis.attribution.tasks import as_ready
from quantlib.analysis.comparison import dequantized_outputs
from quantlib.analysis.decisions import check_labels, score_of
from quantlib.core import metrics
from quantlib.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from quantlib.analysis.attribution.partial_run import PartialRun
    from quantlib.analysis.float_model import FloatModel
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.quantized_module import QuantizedModule

SCHEMA_VERSION = 1


class Direction(StrEnum):
    """What is done to the one layer; all others are the opposite."""

    QUANTIZED_ALONE = "quantized alone"
    """Only this layer is quantized: the damage it does."""

    FLOAT_ALONE = "float alone"
    """Only this layer is left in float: what it would give back."""


class Part(StrEnum):
    """Which operands of the layer."""

    BOTH = "weights and activations"
    WEIGHTS = "weights"
    ACTIVATIONS = "activations"


@dataclass(frozen=True, slots=True)
class Effect:
    """The model's output when one layer differs from all others.

    Parameters
    ----------
    layer, op_type : str
        Which, and its operator.
    direction : Direction
        Quantized alone or float alone.
    part : Part
        Which of its operands.
    mse : float
        Mean squared difference to the float output, output unit squared.
    sqnr_db : float
        The same as a signal-to-quantization-noise ratio, dB; ``inf`` without a difference.
    agreement : float or None
        Share of samples with the float model's class; None for outputs that are no scores.
    score : float or None
        Accuracy or R² against the labels.
    """

    layer: str
    op_type: str
    direction: Direction
    part: Part
    mse: float
    sqnr_db: float
    agreement: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Effects of all layers, and of none, as one value.

    Parameters
    ----------
    effects : tuple of Effect
        In execution order of the layers.
    mse, sqnr_db : float
        Of the whole configuration, all layers quantized.
    agreement, score : float or None
        Likewise.
    score_name : str
        ``"accuracy"``, ``"R²"`` or ``""``.
    """

    effects: tuple[Effect, ...]
    mse: float
    sqnr_db: float
    agreement: float | None
    score: float | None
    score_name: str

    def ranked(self, direction: Direction, part: Part = Part.BOTH) -> tuple[Effect, ...]:
        """Return one effect per layer, the layer that matters most first.

        Quantized alone, that is the largest error; float alone, the smallest that remains.
        """
        chosen = [e for e in self.effects if e.direction is direction and e.part is part]
        sign = -1 if direction is Direction.QUANTIZED_ALONE else 1
        return tuple(sorted(chosen, key=lambda effect: sign * effect.mse))

    def to_json(self) -> str:
        """Return the value as JSON text with its schema version; infinite ratios are null."""
        document = asdict(self)
        for part in (document, *document["effects"]):
            part["sqnr_db"] = part["sqnr_db"] if np.isfinite(part["sqnr_db"]) else None
        return json.dumps({"schema_version": SCHEMA_VERSION, **document}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Sensitivity:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigurationError
            Not JSON, another schema version, or members that are unknown, missing or wrong.
        """
        try:
            document = json.loads(text)
            version = document.pop("schema_version", None)
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"the sensitivities are no JSON object ({error}); give what to_json wrote."
            ) from None
        if version != SCHEMA_VERSION:
            raise ConfigurationError(
                f"$.schema_version is {version!r}; this release reads {SCHEMA_VERSION}."
            )
        try:
            effects = tuple(_effect(entry) for entry in document.pop("effects"))
            return cls(effects=effects, **{**document, "sqnr_db": _ratio(document)})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"$: a member of the sensitivities is unknown, missing or wrong ({error})."
            ) from None


def _effect(entry: dict[str, object]) -> Effect:
    direction, part = Direction(str(entry["direction"])), Part(str(entry["part"]))
    changed = {"direction": direction, "part": part, "sqnr_db": _ratio(entry)}
    return Effect(**{**entry, **changed})  # type: ignore[arg-type]


def _ratio(entry: Mapping[str, object]) -> float:
    """Return a ratio of a document; null stands for no difference, or for no signal."""
    ratio, error = entry["sqnr_db"], float(entry["mse"])  # type: ignore[arg-type]
    if ratio is None:
        return -float("inf") if error else float("inf")
    return float(ratio)  # type: ignore[arg-type]


def sensitivity(
    module: QuantizedModule,
    float_model: FloatModel,
    labels: AnyArray | None,
    *,
    executor: Executor,
) -> Sensitivity:
    """Measure every layer; see `sensitivities`."""
    effects = list(sensitivities(module, float_model, labels, executor=executor))
    return gathered(effects, module, float_model, labels)


def gathered(
    effects: Iterable[Effect],
    module: QuantizedModule,
    float_model: FloatModel,
    labels: AnyArray | None,
) -> Sensitivity:
    """Return effects, in whatever order they were ready, as one value."""
    effects = list(effects)
    order = {layer.name: i for i, layer in enumerate(module.layers)}
    effects.sort(key=lambda e: (order[e.layer], list(Direction).index(e.direction)))
    y_float = float_model.output()
    y = np.asarray(dequantized_outputs(module, float_model), dtype=np.float64)
    whole = _figures(y_float, y, labels)
    score = score_of(y_float, _like(y, y_float), labels)
    return Sensitivity(tuple(effects), *whole, score.name if score else "")


def sensitivities(
    module: QuantizedModule,
    float_model: FloatModel,
    labels: AnyArray | None,
    *,
    executor: Executor,
    layers: Sequence[str] | None = None,
) -> Iterator[Effect]:
    """Yield effects as they are ready, layer after layer.

    Parameters
    ----------
    module : QuantizedModule
        Its grids stay as they are, whatever is exact.
    float_model : FloatModel
        The float model on the samples.
    labels : array or None
        Class numbers or targets of the samples.
    executor : concurrent.futures.Executor
        Where; its workers share memory (threads), as all layers share the tensors before them.
    layers : sequence of str, optional
        Which integer layers; all by default.

    Yields
    ------
    Effect
        Two directions and up to three parts per layer. A caller that stops reading cancels
        what has not begun.
    """
    y_float = float_model.output()
    check_labels(y_float, labels)
    runs = list(partial_runs(module, float_model, keep_runs=True))
    places = [
        i
        for i, layer in enumerate(module.layers)
        if is_integer(layer) and (layers is None or layer.name in layers)
    ]

    def work(index: int) -> list[Effect]:
        layer = module.layers[index]
        found = []
        for direction in Direction:
            for part in _parts(layer):
                outputs = [_output(run, index, layer, direction, part) for run in runs]
                figures = _figures(y_float, np.concatenate(outputs), labels)
                effect = Effect(layer.name, layer.node.op_type, direction, part, *figures)
                found.append(effect)
        return found

    yield from as_ready(executor, [partial(work, i) for i in places])


def _parts(layer: QuantizedLayer) -> tuple[Part, ...]:
    """Return the parts that differ: all three for layers with weights."""
    return tuple(Part) if weight_positions(layer) else (Part.BOTH,)


def _output(
    run: PartialRun, index: int, layer: QuantizedLayer, direction: Direction, part: Part
) -> FloatArray:
    """Return the output when a part of one layer is quantized alone, or left in float alone."""
    alone = direction is Direction.QUANTIZED_ALONE
    base = run.exact if alone else run.real
    changed, kept = Precision.QUANTIZED, Precision.EXACT
    if not alone:
        changed, kept = kept, changed
    if alone and part is Part.BOTH:
        results = run.real_of(layer, base)
    else:
        operands = run.operands_at(
            layer,
            base,
            weights=kept if part is Part.ACTIVATIONS else changed,
            activations=kept if part is Part.WEIGHTS else changed,
        )
        results = run.results_of(layer, base, operands)
    if alone:
        return run.output_of(run.propagated(base, results, index, run.exact_results), base)
    return run.leaving(run.propagated(base, results, index, run.real_results), base)


def _figures(
    y_float: AnyArray, y: FloatArray, labels: AnyArray | None
) -> tuple[float, float, float | None, float | None]:
    """Return mean squared error, SQNR, agreement and score of outputs."""
    classes = y_float.ndim == 2 and y_float.shape[1] > 1
    score = score_of(y_float, _like(y, y_float), labels)
    return (
        metrics.mse(y_float, y),
        metrics.sqnr_db(y_float, y),
        metrics.top1_agreement(y_float, y) if classes else None,
        score.quantized_value if score else None,
    )


def _like(y: FloatArray, y_float: AnyArray) -> AnyArray:
    """Return outputs as class numbers where the float model gives such."""
    return y.astype(y_float.dtype) if y_float.dtype.kind in "iu" else y
