"""Every output of a model against the float model: values by difference, classes as classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.analysis.decisions import check_labels, flips_of, score_of
from quantlib.analysis.reports import Flip, OutputKind, OutputSummary
from quantlib.core import metrics
from quantlib.core.stats import check_finite
from quantlib.core.tensor import Tensor
from quantlib.errors import OptionsError, TensorError
from quantlib.execution.calls import joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.core.tensor import Value
    from quantlib.graph.model import Graph


@dataclass(frozen=True, slots=True, eq=False)
class ComparedOutput:
    """One output with the arrays that its figures are of.

    Parameters
    ----------
    summary : OutputSummary
        Its figures.
    expected, produced : array
        The float model's and the quantized module's, all samples; class numbers as indicator
        vectors.
    step : float or None
        Scale of the grid that it is rounded to; None where it leaves as an accumulator, which
        nothing rounds, or in float.
    flips : tuple of Flip
        Samples whose class changes, of scores.
    """

    summary: OutputSummary
    expected: AnyArray
    produced: AnyArray
    step: float | None
    flips: tuple[Flip, ...]


def check_name(graph: Graph, output: str | None) -> None:
    """Raise OptionsError when a model has no output of this name."""
    if output is not None and output not in graph.output_names:
        known = ", ".join(map(repr, graph.output_names))
        raise OptionsError(f"the model has no output {output!r}; its outputs are {known}.")


def compared(
    graph: Graph,
    produced: Sequence[Sequence[Value]],
    expected: Sequence[Mapping[str, AnyArray]],
    labels: AnyArray | None,
    n_samples: int,
) -> tuple[ComparedOutput, ...]:
    """Compare every output.

    Parameters
    ----------
    graph : Graph
        The model.
    produced : sequence of sequences of tensor or array
        What a module returned, by call and output.
    expected : sequence of mappings of str to array
        The float model's outputs by name, by call.
    labels : array or None
        What the answers should be; they must fit one of the outputs.
    n_samples : int
        How many samples there are.

    Raises
    ------
    TensorError
        No output can be compared, or the labels fit none.
    """
    found = []
    for i, name in enumerate(graph.output_names):
        parts = [results[i] for results in produced]
        steps = [
            float(p.quantizer.quant_params.mean_scale)
            for p in parts
            if isinstance(p, Tensor) and not isinstance(p.quantizer.zero_point, np.ndarray)
        ]
        arrays = [p.rounded().values if isinstance(p, Tensor) else p for p in parts]
        y_float = joined(graph, name, [batch[name] for batch in expected])
        y = joined(graph, name, arrays)
        found.append(_compared(name, y_float, y, n_samples, steps[-1] if steps else None))
    if all(c.summary.kind is OutputKind.NOT_COMPARED for c in found):
        raise TensorError(found[0].summary.reason)
    return _scored(found, labels)


def check_labels_fit(outputs: Sequence[AnyArray], labels: AnyArray | None) -> None:
    """Raise TensorError when labels fit none of the float model's outputs."""
    refusals = []
    for y_float in outputs:
        try:
            check_labels(_as_numbers(y_float), labels)
        except TensorError as error:
            refusals.append(error)
        else:
            return
    if refusals:
        raise refusals[0]


def leading(found: Sequence[ComparedOutput], output: str | None) -> ComparedOutput:
    """Return the output whose figures lead.

    The named one; else the worst by SQNR of those that hold real values, and of class numbers
    where there are no others.
    """
    if output is not None:
        (chosen,) = [c for c in found if c.summary.name == output]
        if chosen.summary.kind is OutputKind.NOT_COMPARED:
            raise TensorError(chosen.summary.reason)
        return chosen
    for kind in (OutputKind.VALUES, OutputKind.CLASSES):
        of_kind = [c for c in found if c.summary.kind is kind]
        if of_kind:
            return min(of_kind, key=lambda c: known(c.summary.sqnr_db))
    raise TensorError(found[0].summary.reason)


def known(figure: float | None) -> float:
    """Return a figure of an output that is compared."""
    assert figure is not None
    return figure


def _compared(
    name: str, y_float: AnyArray, y: AnyArray, n_samples: int, step: float | None
) -> ComparedOutput:
    reason = _obstacle(name, y_float, y)
    if reason:
        summary = OutputSummary(name, OutputKind.NOT_COMPARED, reason=reason)
        return ComparedOutput(summary, y_float, y, step, ())
    classes = _holds_classes(y_float)
    agreement, divergence, answers = None, None, 0
    before, after = y_float, y
    if classes:
        agreement, answers = float(np.mean(y_float == y)) if y.size else 1.0, y.size
        before, after = _indicators(y_float, y)
    elif _holds_scores(y_float, n_samples):
        agreement, answers = metrics.top1_agreement(y_float, y), len(y)
        divergence = metrics.kl_divergence(y_float, y)
    if before.dtype.kind in "iub":
        before, after = before.astype(np.float64), after.astype(np.float64)
    summary = OutputSummary(
        name=name,
        kind=OutputKind.CLASSES if classes else OutputKind.VALUES,
        sqnr_db=metrics.sqnr_db(before, after),
        mse=metrics.mse(before, after),
        max_error=metrics.max_abs_error(before, after),
        cosine=metrics.cosine_similarity(before, after),
        agreement=agreement,
        n_answers=answers,
        divergence=divergence,
    )
    return ComparedOutput(summary, y_float, y, step, ())


def _obstacle(name: str, y_float: AnyArray, y: AnyArray) -> str:
    """Return why two arrays cannot be compared; empty if they can."""
    if y_float.shape != y.shape:
        return (
            f"output {name!r} has the shape {y_float.shape} in float and {y.shape} quantized; "
            "only outputs of one shape can be compared."
        )
    if y_float.size == 0:
        return f"output {name!r} has no elements; there is nothing to compare."
    if y_float.dtype.kind == "c":
        return f"output {name!r} holds {y_float.dtype}; only real numbers can be compared."
    if y_float.dtype.kind != "f":
        return ""
    try:
        for array in (y_float, y):
            check_finite(array, what=f"output {name!r} on the evaluation data")
    except TensorError as error:
        return str(error)
    return ""


def _holds_classes(y: AnyArray) -> bool:
    """Tell whether an output numbers or names classes; 8- and 16-bit integers are values."""
    return y.dtype.kind not in "fiu" or y.dtype in (np.int32, np.int64)


def _holds_scores(y: AnyArray, n_samples: int) -> bool:
    return y.ndim == 2 and y.shape[1] > 1 and len(y) == n_samples


def _indicators(before: AnyArray, after: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return class numbers as vectors of 0 and 1, one entry per class that occurs."""
    names, places = np.unique(
        np.concatenate([before.astype(str).ravel(), after.astype(str).ravel()])
        if before.dtype.kind not in "iub"
        else np.concatenate([before.ravel(), after.ravel()]),
        return_inverse=True,
    )
    size = before.size
    if len(names) * size > _MOST_INDICATORS:  # as many as the figures need
        differs = (places[:size] != places[size:]).astype(np.float64)
        equal = np.stack([np.ones(size), np.zeros(size)], axis=1)
        return equal, np.stack([1.0 - differs, differs], axis=1)
    rows = np.eye(len(names))
    return rows[places[:size]], rows[places[size:]]


_MOST_INDICATORS = 4_000_000


def _scored(found: Sequence[ComparedOutput], labels: AnyArray | None) -> tuple[ComparedOutput, ...]:
    """Add scores and flips; labels must fit one output at least."""
    fitting: list[bool] = []
    refusals: list[TensorError] = []
    scored = []
    for entry in found:
        if entry.summary.kind is OutputKind.NOT_COMPARED:
            scored.append(entry)
            continue
        y_float, y = _as_numbers(entry.expected), _as_numbers(entry.produced)
        mine = labels
        try:
            check_labels(y_float, labels)
            fitting.append(True)
        except TensorError as error:
            refusals.append(error)
            mine = None
        changes: dict[str, Any] = {}
        if y_float.dtype.kind in "fiu":
            changes["summary"] = replace(entry.summary, score=score_of(y_float, y, mine))
        if entry.summary.kind is OutputKind.CLASSES:
            before, after = _indicators(entry.expected, entry.produced)
            changes |= {"expected": before, "produced": after}
        elif entry.summary.agreement is not None:
            changes["flips"] = flips_of(y_float, y, mine)
        scored.append(replace(entry, **changes))
    if refusals and not fitting:
        raise refusals[0]
    return tuple(scored)


def _as_numbers(y: AnyArray) -> AnyArray:
    return y.astype(np.int64) if y.dtype.kind in "ub" else y
