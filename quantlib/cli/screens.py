"""``quantlib app``: the screens, which are part of the checkout and not of the library."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import quantlib
from quantlib.errors import OptionsError

CHECKOUT = Path(quantlib.__file__).resolve().parents[1]


def app(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where the browser finds it, on this machine.")
    ] = 8501,
) -> None:
    """Show the screens in the browser until Ctrl-C."""
    script = CHECKOUT / "app.py"
    if not (script.is_file() and (CHECKOUT / "pages").is_dir()):
        raise OptionsError(
            f"the screens are not beside the library ({CHECKOUT}); they are part of the "
            "repository: clone it and run the command there, as in: uv run quantlib app"
        )
    if importlib.util.find_spec("streamlit") is None:
        raise OptionsError(
            "the screens need streamlit, which is not installed; run: "
            "pip install 'quantization-explorer[app]'"
        )
    arguments = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    try:
        code = subprocess.run(arguments, cwd=CHECKOUT, check=False).returncode
    except KeyboardInterrupt:
        return
    raise typer.Exit(code)
