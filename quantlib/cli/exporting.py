"""``quantlib export``: a configuration as something another program reads."""

import importlib
import importlib.util
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from quantlib import wording
from quantlib.analysis.preflight import inspect_model
from quantlib.analysis.workbench import Workbench
from quantlib.cli import options
from quantlib.cli.console import ExitCode, complain, note, write
from quantlib.cli.sources import open_bench, read_config
from quantlib.core.config import QuantizationConfig
from quantlib.errors import OptionsError
from quantlib.export.archive import data_archive, member
from quantlib.export.formats import ExportFormat, Proof, Subject, raise_refusals, zipped
from quantlib.export.interchange import remarks
from quantlib.export.offers import FORMATS
from quantlib.export.report import Figure
from quantlib.export.report_content import configuration_report
from quantlib.export.scripts import concrete_ml_refusals, concrete_ml_script, quantlib_script

SCRIPTS = ("quantlib-script", "concrete-script")
CONFIG, REPORT = "config", "report"

FORMS = (*SCRIPTS, CONFIG, *FORMATS, REPORT)

SCREEN_FIGURES = "pages.ui.export.report_figures"
"""Where the screens draw for a report; they are part of the checkout and not of the library."""


def export(
    model: options.Model,
    config: Annotated[
        Path, typer.Option("--config", help="Configuration from Export or --save-config.")
    ],
    data: options.Data = None,
    synthetic: options.Synthetic = False,
    to: Annotated[
        str, typer.Option(metavar="FORM", help=f"What to write: {', '.join(FORMS)}.")
    ] = SCRIPTS[0],
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Run what is written again and compare; exit 1 if it is not equal."
        ),
    ] = False,
    save_data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Write the data as the script reads them."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="PATH", show_default="standard output",
            help="A file; for several files a folder or NAME.zip.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Write a configuration in a form that other programs read.

    A script names MODEL and the data by the paths given here. It reads an .npz file with the
    arrays calibration and evaluation; --save-data writes one from any other DATA. Every other
    form holds the quantized model: what it cannot carry is said first, by layer, and with --check
    nothing is written that is not equal when it runs again, but for ties that are counted.
    """
    if to not in FORMS:
        raise OptionsError(f"--to is {to!r}; give one of {', '.join(FORMS)}.")
    chosen = read_config(config)
    bench = open_bench(model, data, synthetic=synthetic)
    if save_data is not None and save_data.suffix != ".npz":
        raise OptionsError(f"--save-data is {save_data}; its name must end in .npz.")
    if check and to in (*SCRIPTS, CONFIG):
        raise OptionsError(f"--check has nothing to run for {to}; leave it out.")
    if to in FORMATS:
        files = _proved(FORMATS[to], bench, chosen, check=check)
    elif to == REPORT:
        files = {f"{_stem(bench)}-report.html": _report(bench, chosen, check=check).encode()}
    else:
        archive = save_data or data
        files = {"": _text(to, bench, chosen, model=model, archive=archive, saved=save_data)}
    if save_data is not None:
        inputs = [info.name for info in bench.graph.inputs]
        save_data.write_bytes(data_archive(bench.data, inputs=inputs))
        note(f"wrote {save_data}")
    _deliver(files, out, form=to)


def _text(
    to: str,
    bench: Workbench,
    chosen: QuantizationConfig,
    *,
    model: Path,
    archive: Path | None,
    saved: Path | None,
) -> bytes:
    """Return a configuration or a script."""
    if to == CONFIG:
        return f"{chosen.to_json()}\n".encode()
    inputs = [info.name for info in bench.graph.inputs]
    if archive is None or (saved is None and not _holds_roles(archive, inputs)):
        raise OptionsError(
            f"a script cannot read {archive or 'generated data'}: it needs an .npz with "
            "'calibration' and 'evaluation'; add --save-data FILE.npz to write one."
        )
    files = {"model": _quotable(model), "data": _quotable(archive)}
    if to == SCRIPTS[0]:
        return quantlib_script(chosen, **files, inputs=inputs).encode()
    found = inspect_model(bench.graph)
    refused = concrete_ml_refusals(found)
    for refusal in refused:
        note(f"Concrete ML would refuse {refusal.layer}: {refusal.reason}; {refusal.remedy}.")
    script = concrete_ml_script(
        chosen, **files, inputs=inputs, carries_grids=bool(found.carried), refused=refused
    )
    return script.encode()


def _proved(
    form: ExportFormat, bench: Workbench, chosen: QuantizationConfig, *, check: bool
) -> Mapping[str, bytes]:
    """Return the files of a format; what it leaves out is said first.

    Raises
    ------
    OptionsError
        The format cannot carry the model.
    typer.Exit
        It was to be checked, and is not equal.
    """
    module = bench.module(chosen)
    raise_refusals(form.title, form.refusals(module))
    said = remarks(form.name, module)
    for loss in said.losses:
        note(f"not carried: {loss.layer}: {loss.reason}; {loss.remedy}.")
    for line in said.notes:
        note(line)
    files = form.export(Subject(module, _stem(bench), bench))
    if check:
        proof = form.prove(files, module, bench.data.evaluation)
        _say(form.title, proof)
        if not proof.holds:
            complain(f"{form.title} is not equal to the quantized model; nothing is written.")
            raise typer.Exit(ExitCode.NO)
    return files


def _report(bench: Workbench, chosen: QuantizationConfig, *, check: bool) -> str:
    """Return the report, with figures where the screens are, and proofs where they are wanted."""
    module = bench.module(chosen)
    proofs: dict[str, Proof] = {}
    if check:
        for form in FORMATS.values():
            refused = form.refusals(module)
            for refusal in refused:
                note(f"{form.title}: {refusal.layer}: {refusal.reason}; {refusal.remedy}.")
            if not refused:
                files = form.export(Subject(module, _stem(bench), bench))
                proofs[form.title] = form.prove(files, module, bench.data.evaluation)
                _say(form.title, proofs[form.title])
        failed = [title for title, proof in proofs.items() if not proof.holds]
        if failed:
            complain(f"{', '.join(failed)}: not equal to the quantized model; nothing is written.")
            raise typer.Exit(ExitCode.NO)
    figures, scripts = _figures(bench, chosen)
    return configuration_report(bench, chosen, proofs=proofs, figures=figures, scripts=scripts)


def _figures(
    bench: Workbench, chosen: QuantizationConfig
) -> tuple[Mapping[str, Figure], Sequence[str]]:
    """Return the screens' figures, or none where the screens or plotly are not installed."""
    missing = [
        name
        for name in ("plotly", SCREEN_FIGURES.partition(".")[0])
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        note(
            f"the report has tables and no figures: {' and '.join(missing)} not found; they come "
            "with the repository and the extra 'app'"
        )
        return {}, ()
    screens = importlib.import_module(SCREEN_FIGURES)
    return screens.report_figures(bench, chosen), screens.report_scripts()


def _say(title: str, proof: Proof) -> None:
    """Write what a proof found."""
    verdict = "holds" if proof.holds else "does not hold"
    note(f"{title}: {verdict} ({wording.seconds(proof.elapsed_s)})")
    for line in proof.lines:
        note(f"  {line}")


def _deliver(files: Mapping[str, bytes], out: Path | None, *, form: str) -> None:
    """Write files: one to a path or to standard output, several to a folder or an archive.

    Raises
    ------
    OptionsError
        Standard output does not take them, or a file stands where the folder would.
    """
    if out is not None and out.suffix == ".zip" and "" not in files:
        out.write_bytes(zipped(files))
        note(f"wrote {out} with {', '.join(files)}")
    elif len(files) == 1:
        ((name, content),) = files.items()
        if out is None:
            try:
                write(content.decode())
            except UnicodeDecodeError:
                raise OptionsError(f"{form} is no text; add -o {name} to write a file.") from None
        else:
            _write(out / name if name and out.is_dir() else out, content)
    elif out is None:
        raise OptionsError(f"{form} is {len(files)} files; add -o FOLDER or -o NAME.zip.")
    elif out.exists() and not out.is_dir():
        raise OptionsError(
            f"{form} is {len(files)} files and {out} is one; give a folder or NAME.zip."
        )
    else:
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            _write(out / name, content)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    note(f"wrote {path}")


def _stem(bench: Workbench) -> str:
    """Return the model's name as part of a file name."""
    kept = (c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in bench.graph.name)
    return "".join(kept).lstrip(".")[:80] or "model"


def _holds_roles(path: Path, inputs: Sequence[str]) -> bool:
    """Tell whether a file is an archive with the arrays that the scripts read."""
    if not zipfile.is_zipfile(path):
        return False
    roles = ("calibration", "evaluation")
    wanted = {f"{member(role, name, inputs=inputs)}.npy" for role in roles for name in inputs}
    with zipfile.ZipFile(path) as archive:
        return wanted <= set(archive.namelist())


def _quotable(path: Path) -> str:
    """Return a path that a script can name in its first line.

    Raises
    ------
    OptionsError
        It holds quotes, backslashes or invisible characters.
    """
    words = path.as_posix()
    if not words.isprintable() or set(words) & set("\"'\\"):
        raise OptionsError(f"{words!r} cannot stand in a script; rename it without quotes.")
    return words
