"""``quantlib sweep``: a grid of configurations, results as they come."""

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from quantlib.analysis.sweep import SweepResult, grid
from quantlib.analysis.sweep import sweep as sweep_results
from quantlib.cli import options, words
from quantlib.cli.choices import Tristate, configuration, given
from quantlib.cli.console import ExitCode, note, notices, say, show_table
from quantlib.cli.options import widths
from quantlib.cli.results_file import ResultsFile
from quantlib.cli.sources import Bench, open_bench, read_config
from quantlib.core.config import QuantizationConfig
from quantlib.core.scheme import Scheme

WIDTHS = ["2-8"]

Repeated = Annotated[
    list[Tristate] | None,
    typer.Option(help="May be repeated; contradicting pairs are left out."),
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
    weights_signed: Repeated = None,
    weights_symmetric: Repeated = None,
    activations_signed: Repeated = None,
    activations_symmetric: Repeated = None,
    config: options.Config = None,
    rounding: options.Rounding = None,
    limit: options.Limit = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Threads.", show_default="one per processor")
    ] = os.cpu_count() or 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .jsonl or .csv file that grows as results come; what it holds already is not "
            "computed again.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the best are listed.")] = 20,
) -> None:
    """Measure a grid of configurations.

    Every combination of the widths and signs given; the rest is as --config says. Widths are
    written 4, 2-8 or 2,4-6. Ctrl-C stops and keeps what is finished.
    """
    base = configuration(
        None if config is None else read_config(config),
        weights={},
        activations={},
        edges=given(limit_bits=limit),
        rounding=rounding,
    )
    configs = grid(
        base,
        weight_bits=widths(weight_bits, option="--weight-bits"),
        activation_bits=widths(activation_bits, option="--activation-bits"),
        weight_schemes=_pairs(base.weights, weights_signed, weights_symmetric),
        activation_schemes=_pairs(base.activations, activations_signed, activations_symmetric),
    )
    bench = open_bench(model, data, synthetic=synthetic)
    with nullcontext() if out is None else ResultsFile(out, bench) as file:
        kept = {} if file is None else file.done
        results = [kept[chosen] for chosen in configs if chosen in kept]
        if results:
            note(f"{out}: {len(results)} of {len(configs)} configurations are there already")
        missing = [chosen for chosen in configs if chosen not in kept]

        def add(result: SweepResult) -> None:
            results.append(result)
            if file is not None:
                file.add(result)

        finished = _compute(bench, missing, workers=workers, add=add)
    _show(results, total=len(configs), top=top)
    if not finished:
        where = "nothing is written" if out is None else f"the same --out {out} goes on from here"
        note(f"stopped after {len(results)} of {len(configs)} configurations; {where}")
        raise typer.Exit(ExitCode.INTERRUPTED)


def _pairs(
    base: Scheme, signed: list[Tristate] | None, symmetric: list[Tristate] | None
) -> list[tuple[bool | None, bool | None]]:
    """Return every combination of two choices; what is not given stays as in `base`."""
    return list(
        itertools.product(
            [word.choice for word in signed] if signed else [base.signed],
            [word.choice for word in symmetric] if symmetric else [base.symmetric],
        )
    )


def _compute(
    bench: Bench,
    configs: Sequence[QuantizationConfig],
    *,
    workers: int,
    add: Callable[[SweepResult], None],
) -> bool:
    """Hand over results as they come; return False when Ctrl-C ended it."""
    console = notices()
    columns = (TextColumn("sweep"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    executor = ThreadPoolExecutor(workers)
    found = sweep_results(
        bench.graph, bench.data, configs, reference=bench.reference, executor=executor
    )
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            for result in progress.track(found, total=len(configs)):
                add(result)
    except KeyboardInterrupt:
        return False
    finally:
        executor.shutdown(cancel_futures=True)
    return True


def _show(results: Sequence[SweepResult], *, total: int, top: int) -> None:
    """Write the best results: those that fit first, then by SQNR."""
    ranked = sorted(results, key=lambda found: (not _fits(found), -found.sqnr_db))
    fitting = sum(map(_fits, results))
    say(f"{len(results)} of {total} configurations, {fitting} fit their limit")
    if not top or not ranked:
        return
    show_table(
        ("weights", "activations", "SQNR", "score", "agreement", "accumulator", "fits", "size"),
        [
            (
                words.scheme(found.config.weights),
                words.scheme(found.config.activations),
                words.decibel(found.sqnr_db),
                words.NOTHING if found.score is None else f"{found.score:.4f}",
                words.share(found.agreement),
                words.NOTHING if found.widest_bits is None else f"{found.widest_bits} bits",
                "yes" if _fits(found) else "no",
                words.size(found.weight_bytes),
            )
            for found in ranked[:top]
        ],
        words=("weights", "activations"),
    )
    if len(ranked) > top:
        say(f"… {len(ranked) - top} more; --top lists them")


def _fits(found: SweepResult) -> bool:
    return found.widest_bits is None or found.widest_bits <= found.config.limit_bits
