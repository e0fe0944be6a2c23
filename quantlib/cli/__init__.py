"""The console command ``quantlib``, one module per command; needs the extra ``cli``."""

from __future__ import annotations

import sys

MISSING = (
    "quantlib: the command needs {name}, which is not installed; "
    "run: pip install 'quantization-explorer[cli]'\n"
)


def main() -> None:
    """Run the command with the arguments of the process.

    Raises
    ------
    SystemExit
        Always; its code is one of `quantlib.cli.program.ExitCode`.
    """
    try:
        from quantlib.cli.program import program
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in {"rich", "typer"}:
            raise
        sys.stderr.write(MISSING.format(name=name))
        sys.exit(2)
    program(prog_name="quantlib")
