"""``quantlib fhe``: what a configuration costs under encryption, and whether it runs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from quantlib import wording
from quantlib.analysis.widths.cost import RoundingMethod
from quantlib.cli import options
from quantlib.cli.console import ExitCode, note, say, show_table, write_json
from quantlib.cli.sources import open_bench, read_config
from quantlib.errors import OptionsError
from quantlib.fhe.circuit import DEFAULT_P_ERROR, CircuitReport
from quantlib.fhe.refusals import refused
from quantlib.fhe.widths import Prediction
from quantlib.questions import encrypt

LAYER = "layer"


def fhe(
    model: options.Model,
    config: Annotated[
        Path, typer.Option("--config", help="Configuration from Export or --save-config.")
    ],
    data: options.Data = None,
    synthetic: options.Synthetic = False,
    rounding: Annotated[
        RoundingMethod, typer.Option(help="How low bits go, where the configuration rounds.")
    ] = RoundingMethod.EXACT,
    p_error: Annotated[
        float, typer.Option(help="Probability that a table look-up errs.")
    ] = DEFAULT_P_ERROR,
    on_data: Annotated[
        bool,
        typer.Option("--on-data", help="Ranges as seen on the data: cheaper; right for no others."),
    ] = False,
    simulate: Annotated[
        int, typer.Option(metavar="N", min=0, help="Compile, and simulate N evaluation samples.")
    ] = 0,
    run: Annotated[
        int, typer.Option(metavar="N", min=0, help="Compile, and run N samples encrypted.")
    ] = 0,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep keys here. Who reads them can decrypt."),
    ] = None,
    save_server: Annotated[
        Path | None,
        typer.Option(metavar="FILE.zip", help="Compile, and write what a server needs to run it."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Tell what a configuration costs under encryption; compile and run it.

    Without --simulate, --run and --save-server nothing is compiled and Concrete is not needed:
    widths, bootstraps and cost are predicted. Exit code 1 if an integer is not the module's.
    """
    chosen = read_config(config)
    bench = open_bench(model, data, synthetic=synthetic)
    if not 0 < p_error < 1:
        raise OptionsError(f"--p-error is a probability between 0 and 1, got {p_error}.")
    known = encrypt.outlook(bench, chosen, str(rounding), on_data=on_data)
    if known.prediction is None or known.refusals:
        raise refused(known.refusals)
    document: dict[str, Any] = {"predicted": _document(known.prediction)}
    if not as_json:
        _show(known.prediction)
    is_right = True
    if simulate or run or save_server is not None:
        last: encrypt.Result | None = None
        for found in encrypt.circuit(
            bench, chosen, str(rounding), p_error, on_data=on_data, simulated=simulate,
            encrypted=run, keys=str(keys or ""), save_server=str(save_server or ""),
        ):  # fmt: skip
            if isinstance(found, CircuitReport):
                document["compiled"] = asdict(found)
                note(f"compiled in {wording.seconds(found.compile_s)}")
                if not as_json:
                    _show_compiled(found)
            elif isinstance(found, encrypt.Result):
                last = found
            else:
                is_right &= found.is_equal
                document.setdefault("encrypted", []).append(asdict(found))
                if not as_json:
                    _show_sample(found)
        if last is not None:
            is_right &= last.equal_samples == last.samples
            document["simulated"] = asdict(last)
            if not as_json:
                say(f"simulated: {last.equal_samples} of {last.samples} samples equal")
        if save_server is not None:
            note(f"wrote {save_server}")
    if as_json:
        write_json(document)
    if not is_right:
        raise typer.Exit(ExitCode.NO)


def _document(found: Prediction) -> dict[str, Any]:
    """Return a prediction for machines."""
    return {
        **asdict(found),
        "bootstraps": found.bootstraps,
        "n_bootstraps": found.n_bootstraps,
        "complexity": found.complexity,
    }


def _show(found: Prediction) -> None:
    """Draw what is predicted."""
    show_table(
        (LAYER, "lowest", "highest", "bits", "held in", "table bits", "bootstraps", "cost"),
        (
            (
                layer.layer, str(layer.low), str(layer.high), str(layer.needed_bits),
                str(layer.held_bits), str(layer.table_bits or ""), str(layer.n_bootstraps),
                f"{layer.complexity:.2e}",
            )
            for layer in found.layers
        ),
        words=(LAYER,),
    )  # fmt: skip
    say(f"predicted: {found.n_bootstraps} bootstraps, {found.complexity:.2e} operations")


def _show_compiled(found: CircuitReport) -> None:
    """Draw what a circuit tells."""
    sizes = ", ".join(
        f"{name} {wording.size(size)}"
        for name, size in (
            ("bootstrap keys", found.bootstrap_key_bytes),
            ("key switch keys", found.keyswitch_key_bytes),
            ("encrypted input", found.input_bytes),
            ("encrypted output", found.output_bytes),
        )
    )
    say(f"compiled: {found.n_bootstraps} bootstraps, {found.complexity:.2e} operations; {sizes}")


def _show_sample(found: encrypt.Sample) -> None:
    """Draw what came out of an encrypted run."""
    verdict = "equal" if found.is_equal else "not equal"
    say(
        f"encrypted: {verdict}; keys {wording.seconds(found.keys_s)}, encrypt "
        f"{wording.seconds(found.encrypt_s)}, run {wording.seconds(found.run_s)}, decrypt "
        f"{wording.seconds(found.decrypt_s)}"
    )
