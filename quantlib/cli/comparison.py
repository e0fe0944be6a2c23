"""``quantlib compare``: two configurations side by side, and against float."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from quantlib import wording
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.reports import Evaluation, Flip
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.criterion import Criterion
from quantlib.cli import options
from quantlib.cli.console import say, show_table, write_json
from quantlib.cli.documents import evaluation_document
from quantlib.cli.sources import open_bench, read_config
from quantlib.errors import OptionsError

N_CONFIGS = 2


def compare(
    model: options.Model,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA A.json B.json",
            help="Samples and two configurations; with --synthetic the configurations alone.",
        ),
    ],
    synthetic: options.Synthetic = False,
    max_flips: Annotated[
        int, typer.Option(min=0, help="How many samples whose class changes are listed.")
    ] = 20,
    output: options.Output = None,
    criterion: options.CountedOption = options.Counted.SEEN,
    as_json: options.Json = False,
) -> None:
    """Compare two configurations, and both with float."""
    expected = N_CONFIGS if synthetic else N_CONFIGS + 1
    if len(files) != expected:
        wanted = "A.json B.json" if synthetic else "DATA A.json B.json"
        raise OptionsError(f"got {len(files)} files after MODEL; give {wanted}.")
    configs = [read_config(path) for path in files[-N_CONFIGS:]]
    bench = open_bench(model, None if synthetic else files[0], synthetic=synthetic, output=output)
    of_a, of_b = configs
    a = evaluate(bench, of_a)
    b = evaluate(bench, of_b, output=a.output)
    counted = criterion.criterion
    budgets = [bit_width_budget(bench.module(x.config), seen=x.seen) for x in (a, b)]
    flips = changed_samples(a, b)
    if as_json:
        write_json(
            {
                "model": bench.graph.name,
                "data": bench.data.name,
                "a": evaluation_document(a, budgets[0], counted),
                "b": evaluation_document(b, budgets[1], counted),
                "flips": flips,
            }
        )
        return
    say(f"{bench.graph.name} on {bench.data.name}")
    say(f"A  {wording.config(a.config)}")
    say(f"B  {wording.config(b.config)}")
    say()
    show_table(("", "float", "A", "B"), _figures(a, b, budgets, counted), words=("",))
    say()
    _show_layers(a, b)
    if a.agreement is not None:
        say()
        _show_flips(flips, limit=max_flips)


def changed_samples(a: Evaluation, b: Evaluation) -> list[dict[str, Any]]:
    """Return the samples whose class differs from float under A or B.

    Parameters
    ----------
    a, b : Evaluation
        Two configurations on the same data.

    Returns
    -------
    list of dict
        ``sample``, ``label``, ``float``, ``a``, ``b`` (class numbers) and ``float_margin``, the
        surest float decisions first.
    """
    of_a = {flip.sample: flip for flip in a.flips}
    of_b = {flip.sample: flip for flip in b.flips}

    def row(flip: Flip) -> dict[str, Any]:
        in_a, in_b = of_a.get(flip.sample), of_b.get(flip.sample)
        return {
            "sample": flip.sample,
            "label": flip.label,
            "float": flip.float_class,
            "a": in_a.quantized_class if in_a else flip.float_class,
            "b": in_b.quantized_class if in_b else flip.float_class,
            "float_margin": flip.float_margin,
        }

    rows = [row(flip) for flip in {**of_a, **of_b}.values()]
    return sorted(rows, key=lambda found: (-found["float_margin"], found["sample"]))


def _figures(
    a: Evaluation, b: Evaluation, budgets: Sequence[Budget], criterion: Criterion
) -> list[tuple[str, ...]]:
    """Return one row per figure: its name, float, A, B."""
    fit = [
        f"{wording.fits(found.fits_by(criterion))}, {found.limit_bits} bits" for found in budgets
    ]
    both = (a, b)
    rows = [("output", *(x.output for x in (a, a, b)))] if len(a.outputs) > 1 else []
    rows += [("SQNR", "exact", *(wording.decibel(x.sqnr_db) for x in both))]
    if a.score is not None:
        scores = [x.score.quantized_value if x.score else None for x in both]
        values = [
            wording.score(value, name=a.score.name) for value in (a.score.float_value, *scores)
        ]
        rows.append((a.score.name, *values))
    if a.agreement is not None:
        rows.append(("agreement", "100.0 %", *(wording.share(x.agreement) for x in both)))
    rows += [
        ("largest error", "0", *(wording.number(x.max_error) for x in both)),
        ("mean squared error", "0", *(wording.number(x.mse) for x in both)),
        ("widest accumulator", wording.NOTHING, *(wording.widest(x, criterion) for x in budgets)),
        (f"fits, {criterion}", wording.NOTHING, *fit),
        ("weights", *map(wording.size, (a.float_weight_bytes, a.weight_bytes, b.weight_bytes))),
    ]
    return rows


def _show_layers(a: Evaluation, b: Evaluation) -> None:
    show_table(
        ("layer", "operator", "bits A", "bits B", "SQNR A", "SQNR B"),
        [
            (
                in_a.name,
                in_a.op_type,
                wording.whole(in_a.width_bits),
                wording.whole(in_b.width_bits),
                wording.decibel(in_a.sqnr_db),
                wording.decibel(in_b.sqnr_db),
            )
            for in_a, in_b in zip(a.layers, b.layers, strict=True)
        ],
        words=("layer", "operator"),
    )


def _show_flips(flips: list[dict[str, Any]], *, limit: int) -> None:
    if not flips:
        say("No evaluation sample changes its class.")
        return
    between = sum(flip["a"] != flip["b"] for flip in flips)
    say(f"{len(flips)} samples change their class; A and B differ on {between} of them.")
    if limit:
        names = ("sample", "label", "float", "a", "b")
        show_table(
            ("sample", "label", "float", "A", "B", "float margin"),
            [
                (
                    *(wording.whole(flip[name]) for name in names),
                    wording.number(flip["float_margin"]),
                )
                for flip in flips[:limit]
            ],
        )
    if len(flips) > limit:
        say(f"… {len(flips) - limit} more; --max-flips lists them.")
