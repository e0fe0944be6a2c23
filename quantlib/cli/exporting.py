"""``quantlib export``: a configuration as something another program reads."""

import zipfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from quantlib.analysis.preflight import inspect_model
from quantlib.cli import options
from quantlib.cli.console import note, write
from quantlib.cli.sources import open_bench, read_config, write_text
from quantlib.errors import OptionsError
from quantlib.export.archive import data_archive, member
from quantlib.export.scripts import concrete_ml_script, quantlib_script


class Form(StrEnum):
    """What is written."""

    QUANTLIB_SCRIPT = "quantlib-script"
    CONCRETE_SCRIPT = "concrete-script"
    CONFIG = "config"


def export(
    model: options.Model,
    config: Annotated[
        Path, typer.Option("--config", help="Configuration from Export or --save-config.")
    ],
    data: options.Data = None,
    synthetic: options.Synthetic = False,
    to: Annotated[Form, typer.Option(help="What to write.")] = Form.QUANTLIB_SCRIPT,
    save_data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Write the data as the script reads them."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", show_default="standard output"),
    ] = None,
) -> None:
    """Write a configuration as a script or as JSON.

    The script names MODEL and the data by the paths given here. It reads an .npz file with the
    arrays calibration and evaluation; --save-data writes one from any other DATA.
    """
    chosen = read_config(config)
    bench = open_bench(model, data, synthetic=synthetic)
    inputs = [info.name for info in bench.graph.inputs]
    if save_data is not None and save_data.suffix != ".npz":
        raise OptionsError(f"--save-data is {save_data}; its name must end in .npz.")
    if to is Form.CONFIG:
        text = chosen.to_json() + "\n"
    else:
        archive = save_data or data
        if archive is None or (save_data is None and not _holds_roles(archive, inputs)):
            raise OptionsError(
                f"a script cannot read {archive or 'generated data'}: it needs an .npz with "
                "'calibration' and 'evaluation'; add --save-data FILE.npz to write one."
            )
        files = {"model": _quotable(model), "data": _quotable(archive)}
        if to is Form.QUANTLIB_SCRIPT:
            text = quantlib_script(chosen, **files, inputs=inputs)
        else:
            carries = bool(inspect_model(bench.graph).carried)
            text = concrete_ml_script(chosen, **files, inputs=inputs, carries_grids=carries)
    if save_data is not None:
        save_data.write_bytes(data_archive(bench.data, inputs=inputs))
        note(f"wrote {save_data}")
    if out is None:
        write(text)
    else:
        write_text(out, text)


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
