"""``quantlib search``: widths for each layer, beside one width for all."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quantlib import wording
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.search import search as searches
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.search import Candidate, SearchResult
from quantlib.analysis.workbench import Workbench
from quantlib.cli import options
from quantlib.cli.choices import configuration, given
from quantlib.cli.console import ExitCode, complain, notices, say, show_table, write_json
from quantlib.cli.documents import search_document
from quantlib.cli.options import widths
from quantlib.cli.sources import open_bench, read_config, write_text
from quantlib.core.config import QuantizationConfig
from quantlib.errors import UnreachableError
from quantlib.execution.treatments import plan, unseen_nodes

WIDTHS = ["2-8"]


class Wanted(StrEnum):
    """What is made as small, or for SQNR as large, as it can be."""

    SIZE = "size"
    BIT_OPERATIONS = "bit-operations"
    LOOK_UPS = "look-ups"
    SQNR = "sqnr"

    @property
    def objective(self) -> Objective:
        """The objective as the library takes it."""
        return {
            "size": Objective.SIZE,
            "bit-operations": Objective.BIT_OPERATIONS,
            "look-ups": Objective.LOOKUPS,
            "sqnr": Objective.SQNR,
        }[self.value]


def search(
    model: options.Model,
    data: options.Data = None,
    synthetic: options.Synthetic = False,
    objective: Annotated[
        Wanted, typer.Option(help="What to make small; sqnr is made large.")
    ] = Wanted.SIZE,
    floor: Annotated[
        float | None,
        typer.Option(
            metavar="DB",
            help="SQNR to keep, dB.",
            show_default="that of the best uniform configuration; none for sqnr",
        ),
    ] = None,
    weight_bits: Annotated[
        list[str], typer.Option(metavar="BITS", help="Widths of weights to choose from.")
    ] = WIDTHS,
    activation_bits: Annotated[
        list[str], typer.Option(metavar="BITS", help="Widths of activations to choose from.")
    ] = WIDTHS,
    config: options.Config = None,
    rounding: options.Rounding = None,
    limit: options.Limit = None,
    criterion: options.CountedOption = options.Counted.SEEN,
    output: options.Output = None,
    save_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what was found as JSON.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Choose widths for each layer of MODEL.

    Every accumulator fits --limit by --criterion. Signs, ranges and rounding are as --config says;
    its widths and layers' own choices are replaced. Widths are written 4, 2-8 or 2,4-6. Exits 1
    when nothing meets limit and floor, or products are not looked into.
    """
    base = configuration(
        None if config is None else read_config(config),
        weights={},
        activations={},
        edges=given(limit_bits=limit),
        rounding=rounding,
    )
    offered = {
        "weight_bits": widths(weight_bits, option="--weight-bits"),
        "activation_bits": widths(activation_bits, option="--activation-bits"),
    }
    bench = open_bench(model, data, synthetic=synthetic, output=output)
    try:
        found = _found(
            bench,
            base,
            objective=objective.objective,
            criterion=criterion.criterion,
            floor_db=floor,
            **offered,
        )
    except UnreachableError as error:
        complain(str(error))
        raise typer.Exit(ExitCode.NO) from None
    if as_json:
        names = {"model": bench.graph.name, "data": bench.data.name}
        write_json({**names, **search_document(found)})
    else:
        score = evaluate(bench, found.best.config, output=bench.graph.lead_output).score
        _show(
            found,
            title=f"{bench.graph.name} on {bench.data.name}",
            limit_bits=base.limit_bits,
            score_name=score.name if score else None,
        )
    if save_config is not None:
        write_text(save_config, found.best.config.to_json() + "\n")
    unseen = unseen_nodes(bench.graph, plan(bench.graph, quantize_rest=base.quantize_rest))
    if unseen:
        complain(f"no limit is confirmed: products in {wording.names(unseen)} are not looked into.")
        raise typer.Exit(ExitCode.NO)


def _found(bench: Workbench, base: QuantizationConfig, **question: Any) -> SearchResult:
    """Return the result of a search, with its progress on a terminal."""
    console = notices()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    steps = searches.search(bench, base, **question)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("search", total=None)
        for step in steps:
            if isinstance(step, SearchResult):
                return step
            progress.update(task, description=step.stage, completed=step.done, total=step.total)
    raise AssertionError("a search ends with its result")


def _show(found: SearchResult, *, title: str, limit_bits: int, score_name: str | None) -> None:
    """Write widths by layer, figures predicted and measured, and the verdict."""
    floor = "" if found.floor_db is None else f", SQNR at least {wording.decibel(found.floor_db)}"
    say(title)
    say(
        f"smallest {wording.OBJECTIVES[found.objective]}, "
        f"accumulators of at most {limit_bits} bits, {found.criterion}{floor}"
    )
    say()
    both = [candidate for candidate in (found.best, found.uniform) if candidate is not None]
    names = ["found", "uniform"][: len(both)]
    say("widths, bits")
    show_table(
        ["layer", *(f"{kind}, {name}" for name in names for kind in ("weights", "activations"))],
        [
            [layer, *(wording.whole(bits or None) for c in both for bits in c.widths[layer])]
            for layer in found.best.widths
        ],
        words=("layer",),
    )
    say()
    show_table(("", *names), _figures(found, both, score_name), words=("",))
    say()
    say(f"{wording.verdict_of_search(found)} {found.runs} configurations were run.")


def _figures(
    found: SearchResult, both: list[Candidate], score_name: str | None
) -> list[tuple[str, ...]]:
    """Return one row per figure of each candidate."""
    rows = [
        (wording.OBJECTIVES[found.objective], *(_cost(found.objective, c.cost) for c in both)),
        ("SQNR, predicted", *(wording.decibel(c.predicted_sqnr_db) for c in both)),
        ("SQNR, measured", *(wording.decibel(c.sqnr_db) for c in both)),
    ]
    if score_name is not None:
        rows.append((score_name, *(wording.score(c.score, name=score_name) for c in both)))
    if found.best.agreement is not None:
        rows.append(("agreement", *(wording.share(c.agreement) for c in both)))
    rows.append((f"widest accumulator, {found.criterion}", *(f"{c.width_bits} bits" for c in both)))
    return rows


def _cost(objective: Objective, value: float) -> str:
    """Return what was made small, with its unit."""
    match objective:
        case Objective.SIZE:
            return f"{round(value):,} bits"
        case Objective.BIT_OPERATIONS:
            return f"{round(value):,}"
        case Objective.LOOKUPS:
            return f"{wording.number(value)} floating-point operations"
        case Objective.SQNR:
            return wording.number(value)
