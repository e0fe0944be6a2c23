"""``quantlib sweep``: a grid of configurations, results as they come."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from quantlib import wording
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.sweep.executors import open_executor
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.measures import MEASURES
from quantlib.analysis.sweep.records import Origin
from quantlib.analysis.sweep.result import SweepResult
from quantlib.analysis.sweep.run import split_known
from quantlib.analysis.sweep.run import sweep as sweep_results
from quantlib.analysis.sweep.store import ResultsFile, check_parquet, write_parquet
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.workbench import Workbench
from quantlib.cli import options
from quantlib.cli.choices import (
    CalibrateOn,
    Choice,
    Tristate,
    configuration,
    given,
    rounding_bits,
)
from quantlib.cli.console import ExitCode, note, notices, say, show_table
from quantlib.cli.options import widths
from quantlib.cli.sources import open_bench, read_config
from quantlib.core.config import QuantizationConfig
from quantlib.core.estimator import Estimator
from quantlib.errors import SweepError

_W = TypeVar("_W")
_V = TypeVar("_V")

WIDTHS = ["2-8"]

_SHOWN = ("sqnr_db", "score", "agreement")

Repeated = Annotated[
    list[Tristate] | None,
    typer.Option(help="May be repeated; contradicting combinations are left out."),
]
Edges = Annotated[
    list[str] | None,
    typer.Option(metavar="BITS|auto", help="May be repeated; auto is max(5, activation bits)."),
]
Estimators = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[:PARAMETER]", help="Ranges to try; may be repeated."),
]


def sweep(
    model: options.Model,
    data: options.Data = None,
    synthetic: options.Synthetic = False,
    weight_bits: Annotated[
        list[str], typer.Option(metavar="BITS", help="Widths of weights; may be repeated.")
    ] = WIDTHS,
    activation_bits: Annotated[
        list[str], typer.Option(metavar="BITS", help="Widths of activations; may be repeated.")
    ] = WIDTHS,
    input_bits: Edges = None,
    output_bits: Edges = None,
    weights_signed: Repeated = None,
    weights_symmetric: Repeated = None,
    weights_per_channel: Annotated[
        list[Choice] | None, typer.Option(help="A grid per output channel; may be repeated.")
    ] = None,
    weights_estimator: Estimators = None,
    activations_signed: Repeated = None,
    activations_symmetric: Repeated = None,
    activations_estimator: Estimators = None,
    calibrate_on: Annotated[
        list[CalibrateOn] | None,
        typer.Option(help="Tensors whose ranges are measured; may be repeated."),
    ] = None,
    rounding: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BITS|off",
            help="Accumulators wider than this lose their lowest bits; may be repeated.",
        ),
    ] = None,
    config: options.Config = None,
    limit: options.Limit = None,
    criterion: options.CountedOption = options.Counted.SEEN,
    output: options.Output = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes.", show_default="one per processor")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Dask scheduler, as in tcp://host:8786."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .jsonl or .csv file that grows as results come; what it holds already is not "
            "computed again.",
        ),
    ] = None,
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A Parquet copy of the results, written at the end."),
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the best are listed.")] = 20,
) -> None:
    """Measure a grid of configurations.

    Every combination of the values given; the rest is as --config says. Widths are written 4,
    2-8 or 2,4-6. Ctrl-C stops and keeps what is finished.
    """
    if parquet is not None:
        check_parquet()
    base = configuration(
        None if config is None else read_config(config),
        weights={},
        activations={},
        edges=given(limit_bits=limit),
    )
    expansion = SweepGrid(
        weight_bits=widths(weight_bits, option="--weight-bits"),
        activation_bits=widths(activation_bits, option="--activation-bits"),
        input_bits=_edges(input_bits, option="--input-bits"),
        output_bits=_edges(output_bits, option="--output-bits"),
        weights_signed=_values(weights_signed, lambda word: word.choice),
        weights_symmetric=_values(weights_symmetric, lambda word: word.choice),
        weights_per_channel=_values(weights_per_channel, lambda word: word is Choice.YES),
        weights_estimator=_values(weights_estimator, Estimator.parse),
        activations_signed=_values(activations_signed, lambda word: word.choice),
        activations_symmetric=_values(activations_symmetric, lambda word: word.choice),
        activations_estimator=_values(activations_estimator, Estimator.parse),
        rounding_threshold_bits=_values(rounding, rounding_bits),
        calibrate_on=_values(calibrate_on, lambda word: word.value),
    ).expand(base)
    configs = expansion.configs
    for why, count in expansion.contradictions:
        note(f"{count} combinations are left out: {why}")
    bench = open_bench(model, data, synthetic=synthetic, output=output)
    with nullcontext() if out is None else ResultsFile(out, Origin.of(bench)) as file:
        there, missing = split_known(configs, [] if file is None else file.results)
        if file is not None and file.was_cut:
            note(f"{out}: the last line was cut short; it is computed again")
        if there:
            note(f"{out}: {len(there)} of {len(configs)} configurations are there already")
        results = list(there)

        def add(result: SweepResult) -> None:
            results.append(result)
            if file is not None:
                file.add(result)

        try:
            with open_executor(scheduler, workers=workers, processes=True) as executor:
                finished = _compute(bench, missing, executor=executor, add=add)
        except SweepError:
            _show(results, criterion.criterion, bench=bench, total=len(configs), top=top)
            raise
    if parquet is not None:
        write_parquet(parquet, results)
        note(f"wrote {parquet}")
    _show(results, criterion.criterion, bench=bench, total=len(configs), top=top)
    if not finished:
        where = "nothing is written" if out is None else f"the same --out {out} goes on from here"
        note(f"stopped after {len(results)} of {len(configs)} configurations; {where}")
        raise typer.Exit(ExitCode.INTERRUPTED)


def _values(given: Iterable[_W] | None, read: Callable[[_W], _V]) -> tuple[_V, ...] | None:
    """Return what a repeated option says; None leaves the base's choice."""
    return tuple(map(read, given)) if given else None


def _edges(words: list[str] | None, *, option: str) -> tuple[int | None, ...]:
    """Return the widths of a model edge; None follows the activations."""
    if not words:
        return (None,)
    numbers = [word for word in words if word.lower() != "auto"]
    follows: tuple[None, ...] = (None,) if len(numbers) < len(words) else ()
    return (*follows, *(widths(numbers, option=option) if numbers else ()))


def _compute(
    bench: Workbench,
    configs: Sequence[QuantizationConfig],
    *,
    executor: Executor,
    add: Callable[[SweepResult], None],
) -> bool:
    """Hand over results as they come; return False when Ctrl-C ended it."""
    console = notices()
    columns = (TextColumn("sweep"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found = sweep_results(bench, configs, executor=executor)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            for result in progress.track(found, total=len(configs)):
                add(result)
    except KeyboardInterrupt:
        return False
    return True


def _show(
    results: Sequence[SweepResult],
    criterion: Criterion,
    *,
    bench: Workbench,
    total: int,
    top: int,
) -> None:
    """Write the best results: those that fit by the criterion first, then by SQNR."""
    ranked = sorted(
        results, key=lambda found: (not found.fits_by(criterion), -(found["sqnr_db"] or 0.0))
    )
    fitting = sum(result.fits_by(criterion) for result in results)
    say(f"{len(results)} of {total} configurations, {fitting} fit their limit, {criterion}")
    if not top or not ranked:
        return
    score = evaluate(bench, ranked[0].config).score
    score_name = score.name if score else "score"
    show_table(
        (
            *("weights", "activations", "SQNR", score_name, "agreement"),
            *("accumulator", f"fits, {criterion}", "size"),
        ),
        [
            (
                wording.scheme(found.config.weights),
                wording.scheme(found.config.activations),
                *(wording.figure(MEASURES[member], found[member], score_name) for member in _SHOWN),
                wording.figure(MEASURES["counted_seen_bits"], found.counted_bits(criterion)),
                wording.fits(found.fits_by(criterion)),
                wording.figure(MEASURES["weight_bytes"], found["weight_bytes"]),
            )
            for found in ranked[:top]
        ],
        words=("weights", "activations"),
    )
    if len(ranked) > top:
        say(f"… {len(ranked) - top} more; --top lists them")
