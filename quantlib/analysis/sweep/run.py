"""Many configurations of one model, on any executor."""

from __future__ import annotations

import itertools
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING

from quantlib.analysis.sweep.executors import is_loss, is_lost, open_executor, shared
from quantlib.analysis.sweep.result import SweepResult, measure, same_numbers
from quantlib.errors import QuantlibError, SweepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig

WINDOW = 128
"""Configurations that are with the executor at a time."""

POLL_S = 0.1
"""How often a sweep that waits asks whether to go on."""

PATIENCE_S = 5.0
"""After this long without a result a cluster is asked whether it is still there."""


def split_known(
    configs: Sequence[QuantizationConfig], known: Iterable[SweepResult]
) -> tuple[tuple[SweepResult, ...], tuple[QuantizationConfig, ...]]:
    """Return the results that are there already, and the configurations that are missing.

    Parameters
    ----------
    configs : sequence of QuantizationConfig
        What is wanted.
    known : iterable of SweepResult
        Of the same model and data, in any order; a result for another limit counts.
    """
    by_numbers = {same_numbers(result.config): result for result in known}
    found = [by_numbers.get(same_numbers(config)) for config in configs]
    pairs = list(zip(configs, found, strict=True))
    there = tuple(result.under(config) for config, result in pairs if result is not None)
    return there, tuple(config for config, result in pairs if result is None)


def sweep(
    bench: Workbench,
    configs: Sequence[QuantizationConfig],
    *,
    executor: Executor | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[SweepResult]:
    """Yield results as they are ready; stop early when `go_on` says so.

    Parameters
    ----------
    bench : Workbench
        Model and data; it travels to the workers of a cluster once.
    configs : sequence of QuantizationConfig
        What to compute. Configurations of the same numbers are computed once and yielded each.
    executor : concurrent.futures.Executor, optional
        Where. It stays open. By default threads of this process, one per processor.
    go_on : callable
        Asked several times a second; after False nothing new starts, and what runs is waited for
        and yielded. A cluster drops what it runs.

    Yields
    ------
    SweepResult
        In the order in which they are ready. Figures do not depend on executor or order.

    Raises
    ------
    SweepError
        The workers are gone, at once; or configurations cannot be applied, after all others are
        done. What was yielded before stays valid.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> bench = ql.Workbench(graph, data)
    >>> grid = ql.SweepGrid(weight_bits=(3, 5))
    >>> configs = grid.expand(ql.QuantizationConfig.from_n_bits(4)).configs
    >>> sorted(result.config.weights.n_bits for result in ql.sweep(bench, configs))
    [3, 5]
    """
    if executor is None:
        with open_executor() as threads:
            yield from sweep(bench, configs, executor=threads, go_on=go_on)
        return
    sent: list[Workbench] = []

    def submit(config: QuantizationConfig) -> Future[SweepResult]:
        if not sent:
            sent.append(shared(executor, bench))
        return executor.submit(measure, sent[0], config)

    yield from collected(configs, submit, go_on=go_on, is_gone=lambda: is_lost(executor))


def collected(
    configs: Sequence[QuantizationConfig],
    submit: Callable[[QuantizationConfig], Future[SweepResult]],
    *,
    go_on: Callable[[], bool] = lambda: True,
    is_gone: Callable[[], bool] = lambda: False,
) -> Iterator[SweepResult]:
    """Yield the results of configurations that somebody computes; see `sweep`.

    Parameters
    ----------
    configs : sequence of QuantizationConfig
        What to compute; those of the same numbers once.
    submit : callable
        Starts the computation of a configuration.
    go_on : callable
        After False nothing new starts; what then fails is not told.
    is_gone : callable
        Whether nobody is left to compute; asked after a long silence.

    Raises
    ------
    SweepError
        As `sweep`.
    """
    wanted: dict[QuantizationConfig, list[QuantizationConfig]] = {}
    for config in configs:
        wanted.setdefault(same_numbers(config), []).append(config)
    refused: list[tuple[QuantizationConfig, QuantlibError]] = []
    done = 0
    for config, outcome in _outcomes(list(wanted), submit, go_on, is_gone):
        if isinstance(outcome, QuantlibError):
            if go_on():
                refused.append((config, outcome))
            continue
        for same in wanted[config]:
            done += 1
            yield outcome.under(same)
    if refused:
        config, error = refused[0]
        raise SweepError(
            f"{len(refused)} of {len(wanted)} configurations cannot be applied, {done} results are "
            f"there; the first of them (weights {config.weights.n_bits}, activations "
            f"{config.activations.n_bits} bits): {error}"
        ) from error


def _outcomes(
    configs: Sequence[QuantizationConfig],
    submit: Callable[[QuantizationConfig], Future[SweepResult]],
    go_on: Callable[[], bool],
    is_gone: Callable[[], bool],
) -> Iterator[tuple[QuantizationConfig, SweepResult | QuantlibError]]:
    """Yield each configuration with its result, or with what is wrong with it."""
    at_work: dict[Future[SweepResult], QuantizationConfig] = {}
    queue = iter(configs)
    silence_s = 0.0
    try:
        while True:
            if not go_on():
                # cancel() is False for what runs already
                at_work = {future: c for future, c in at_work.items() if not future.cancel()}
                queue = iter(())
            for config in itertools.islice(queue, WINDOW - len(at_work)):
                at_work[submit(config)] = config
            if not at_work:
                return
            ready, _ = wait(at_work, timeout=POLL_S, return_when=FIRST_COMPLETED)
            silence_s = 0.0 if ready else silence_s + POLL_S
            if silence_s > PATIENCE_S:
                silence_s = 0.0
                if is_gone():
                    raise SweepError(_LOST)
            for future in ready:
                config = at_work.pop(future)
                try:
                    yield config, future.result()
                except QuantlibError as error:
                    yield config, error
    except Exception as error:
        if isinstance(error, QuantlibError) or not is_loss(error):
            raise
        raise SweepError(f"{_LOST} ({type(error).__name__})") from error
    finally:
        for future in at_work:
            future.cancel()


_LOST = (
    "the workers of this sweep are gone; what is finished stays, start them again and resume the "
    "sweep from its results"
)
