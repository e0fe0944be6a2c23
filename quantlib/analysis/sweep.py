"""Many configurations of one model, on any executor."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.evaluation import evaluate
from quantlib.core.config import QuantizationConfig
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from quantlib.analysis.reference import FloatReference
    from quantlib.data import Dataset
    from quantlib.graph.model import Graph


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The figures of one configuration.

    Parameters
    ----------
    config : QuantizationConfig
        Which.
    sqnr_db, mse, max_error : float
        First model output against the float model.
    agreement, score : float or None
        Same class as the float model; accuracy or R² against the labels.
    widest_bits : int or None
        Widest accumulator seen.
    weight_bytes : int
        Size of the quantized constants.
    elapsed_s : float
        Time to quantize and evaluate.
    """

    config: QuantizationConfig
    sqnr_db: float
    mse: float
    max_error: float
    agreement: float | None
    score: float | None
    widest_bits: int | None
    weight_bytes: int
    elapsed_s: float


def grid(
    base: QuantizationConfig,
    *,
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    weight_schemes: Sequence[tuple[bool | None, bool | None]] = ((None, None),),
    activation_schemes: Sequence[tuple[bool | None, bool | None]] = ((None, None),),
) -> tuple[QuantizationConfig, ...]:
    """Return every valid combination, each once.

    Parameters
    ----------
    base : QuantizationConfig
        Everything that is not varied; input and output widths follow Concrete ML's rule
        ``max(5, activation bits)``.
    weight_bits, activation_bits : sequence of int
        Widths.
    weight_schemes, activation_schemes : sequence of (signed, symmetric)
        None is automatic. Contradicting pairs (symmetric and unsigned) are left out.

    Raises
    ------
    OptionsError
        Nothing is left to compute.
    """
    configs: dict[QuantizationConfig, None] = {}
    for w, a, ws, as_ in itertools.product(
        weight_bits, activation_bits, weight_schemes, activation_schemes
    ):
        widths = QuantizationConfig.from_n_bits({"op_weights": w, "op_inputs": a})
        try:
            config = base.replace(
                weights=base.weights.replace(n_bits=w, signed=ws[0], symmetric=ws[1]),
                activations=base.activations.replace(n_bits=a, signed=as_[0], symmetric=as_[1]),
                input_bits=max(widths.input_bits, a),
                output_bits=widths.output_bits,
            )
        except OptionsError:
            continue
        configs[config] = None
    if not configs:
        raise OptionsError("the grid is empty; choose at least one width and one valid scheme.")
    return tuple(configs)


def sweep(
    graph: Graph,
    data: Dataset,
    configs: Sequence[QuantizationConfig],
    *,
    reference: FloatReference,
    executor: Executor,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[SweepResult]:
    """Yield results as they are ready; stop early when `go_on` says so.

    Parameters
    ----------
    graph, data, reference
        As for `evaluate`.
    configs : sequence of QuantizationConfig
        What to compute.
    executor : concurrent.futures.Executor
        Where.
    go_on : callable
        Asked between results; after False nothing new starts.

    Raises
    ------
    QuantlibError
        A configuration cannot be applied; results yielded before stay with the caller.
    """
    futures = [executor.submit(_one, graph, data, config, reference) for config in configs]
    try:
        for future in as_completed(futures):
            if not go_on():
                return
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _one(
    graph: Graph, data: Dataset, config: QuantizationConfig, reference: FloatReference
) -> SweepResult:
    """Evaluate one configuration."""
    started = time.perf_counter()
    found = evaluate(graph, data, config, reference=reference)
    return SweepResult(
        config=config,
        sqnr_db=found.sqnr_db,
        mse=found.mse,
        max_error=found.max_error,
        agreement=found.agreement,
        score=found.score.quantized_value if found.score else None,
        widest_bits=found.widest.width_bits if found.widest else None,
        weight_bytes=found.weight_bytes,
        elapsed_s=time.perf_counter() - started,
    )
