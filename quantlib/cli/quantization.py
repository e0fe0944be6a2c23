"""``quantlib quantize``: one configuration, measured."""

from pathlib import Path
from typing import Annotated

import typer

from quantlib import wording
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.preflight import inspect_model
from quantlib.analysis.reports import Evaluation
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.criterion import Criterion
from quantlib.cli import choices, options
from quantlib.cli.choices import estimator, given
from quantlib.cli.console import ExitCode, complain, note, say, show_table, write_json
from quantlib.cli.documents import evaluation_document
from quantlib.cli.sources import open_bench, read_config, write_text


def quantize(
    model: options.Model,
    data: options.Data = None,
    synthetic: options.Synthetic = False,
    config: options.Config = None,
    bits: Annotated[
        int | None, typer.Option(help=f"Weights and activations ({choices.DEFAULT_BITS}).")
    ] = None,
    weight_bits: Annotated[int | None, typer.Option(help="Constants of operators.")] = None,
    activation_bits: Annotated[
        int | None, typer.Option(help="Variable inputs of operators.")
    ] = None,
    input_bits: Annotated[
        int | None, typer.Option(help="Model inputs (max(5, activation bits)).")
    ] = None,
    output_bits: Annotated[
        int | None, typer.Option(help="Outputs of operators (max(5, activation bits)).")
    ] = None,
    weights_signed: choices.Signed = None,
    weights_symmetric: choices.Symmetric = None,
    weights_narrow: choices.Narrow = None,
    weights_power_of_two: choices.PowerOfTwo = None,
    weights_per_channel: choices.PerChannel = None,
    weights_estimator: choices.RangeEstimator = None,
    activations_signed: choices.Signed = None,
    activations_symmetric: choices.Symmetric = None,
    activations_narrow: choices.Narrow = None,
    activations_power_of_two: choices.PowerOfTwo = None,
    activations_estimator: choices.RangeEstimator = None,
    calibrate_on: Annotated[
        choices.CalibrateOn | None, typer.Option(help="Tensors whose ranges are measured.")
    ] = None,
    layer_weight_bits: choices.LayerBits = None,
    layer_activation_bits: choices.LayerBits = None,
    rounding: options.Rounding = None,
    limit: options.Limit = None,
    criterion: options.CountedOption = options.Counted.SEEN,
    quantize_rest: Annotated[
        choices.Tristate | None,
        typer.Option(help="Quantize what the model's own grids do not cover."),
    ] = None,
    conventions: Annotated[
        choices.Conventions | None,
        typer.Option(help="Padding of MaxPool, range of BatchNormalization."),
    ] = None,
    output: options.Output = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit 1 if what counts of an accumulator is above the limit, or products are not "
            "looked into.",
        ),
    ] = False,
    save_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the configuration as JSON.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Quantize MODEL and measure it.

    The calibration part of DATA sets the ranges, the evaluation part is measured. Options change
    what --config or --bits sets; auto leaves a choice to Concrete ML's rule.
    """
    chosen = choices.configuration(
        None if config is None else read_config(config),
        bits=bits,
        weights=given(
            n_bits=weight_bits,
            signed=weights_signed,
            symmetric=weights_symmetric,
            narrow=weights_narrow,
            power_of_two=weights_power_of_two,
            per_channel=weights_per_channel,
            estimator=estimator(weights_estimator),
        ),
        activations=given(
            n_bits=activation_bits,
            signed=activations_signed,
            symmetric=activations_symmetric,
            narrow=activations_narrow,
            power_of_two=activations_power_of_two,
            estimator=estimator(activations_estimator),
        ),
        edges=given(
            input_bits=input_bits,
            output_bits=output_bits,
            limit_bits=limit,
            calibrate_on=calibrate_on and calibrate_on.value,
            conventions=conventions and conventions.value,
            quantize_rest=quantize_rest,
        ),
        rounding=rounding,
    )
    chosen = choices.with_layer_bits(
        chosen, weights=layer_weight_bits, activations=layer_activation_bits
    )
    bench = open_bench(model, data, synthetic=synthetic, output=output)
    found, counted = evaluate(bench, chosen), criterion.criterion
    budget = bit_width_budget(bench.module(chosen), seen=found.seen)
    if as_json:
        names = {"model": bench.graph.name, "data": bench.data.name}
        write_json({**names, **evaluation_document(found, budget, counted)})
    else:
        _show(found, budget, counted, title=f"{bench.graph.name} on {bench.data.name}")
        if chosen.conventions == "concrete-ml":
            for layer in inspect_model(bench.graph).conventions:
                note(f"{layer.op_type} {layer.name}: {layer.convention}")
    if save_config is not None:
        write_text(save_config, chosen.to_json() + "\n")
    fits = budget.fits_by(counted)
    if check and not fits:
        verdict = "does not fit" if fits is False else "cannot be confirmed to fit"
        complain(f"the configuration {verdict}: {wording.widest(budget, counted)}.")
        raise typer.Exit(ExitCode.NO)


def _show(found: Evaluation, budget: Budget, criterion: Criterion, *, title: str) -> None:
    """Write headline figures and the table of layers."""
    say(title)
    say(wording.config(found.config))
    say()
    for name, value in headlines(found, budget, criterion).items():
        say(f"{name:<19} {value}")
    say()
    if len(found.outputs) > 1:
        _show_outputs(found)
    limit = found.config.limit_bits
    counted = {layer.name: layer.counted_bits(criterion) for layer in budget.layers}
    columns: dict[str, list[str]] = {
        "layer": [layer.name for layer in found.layers],
        "operator": [layer.op_type for layer in found.layers],
        "inputs": [wording.grid(layer.input_grid) for layer in found.layers],
        "weights": [wording.grid(layer.weight_grid) for layer in found.layers],
        "accumulator": [wording.span(layer.accumulator) for layer in found.layers],
        f"bits, {criterion}": [
            wording.width(counted.get(layer.name), limit_bits=limit) for layer in found.layers
        ],
        "rounded": [wording.whole(layer.lsbs_to_remove or None) for layer in found.layers],
        "SQNR": [wording.decibel(layer.sqnr_db) for layer in found.layers],
    }
    if found.config.rounding_threshold_bits is None:
        del columns["rounded"]
    show_table(
        list(columns),
        zip(*columns.values(), strict=True),
        words=("layer", "operator", "inputs", "weights"),
    )


def _show_outputs(found: Evaluation) -> None:
    """Write the figures of every output; the leading one is marked."""
    show_table(
        ["output", "compared as", "SQNR", "agreement", "score", "largest error"],
        [
            [
                f"{output.name} *" if output.name == found.output else output.name,
                output.reason or str(output.kind),
                wording.decibel(output.sqnr_db),
                wording.share(output.agreement),
                wording.NOTHING
                if output.score is None
                else wording.score(output.score.quantized_value, name=output.score.name),
                wording.number(output.max_error),
            ]
            for output in found.outputs
        ],
        words=("output", "compared as"),
    )
    say()


def headlines(found: Evaluation, budget: Budget, criterion: Criterion) -> dict[str, str]:
    """Return the figures that a configuration is judged by, in words."""
    figures = {"output": found.output} if len(found.outputs) > 1 else {}
    figures["SQNR"] = wording.decibel(found.sqnr_db)
    if found.score is not None:
        figures[found.score.name] = wording.scores(found.score)
    if found.agreement is not None:
        figures["agreement"] = f"{wording.share(found.agreement)} of classes as in float"
    figures["largest error"] = wording.number(found.max_error)
    figures["widest accumulator"] = wording.widest(budget, criterion)
    figures[f"fits {budget.limit_bits} bits"] = (
        f"{wording.fits(budget.fits_by(criterion))}, {criterion}"
    )
    figures["weights"] = wording.sizes(found)
    return figures
