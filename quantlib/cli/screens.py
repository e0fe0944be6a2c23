"""``quantlib app``: the screens, beside the library in a checkout and inside it when installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import quantlib
from quantlib.errors import OptionsError
from quantlib.limits import SAMPLES_ONLY, limit, variable

CHECKOUT = Path(quantlib.__file__).resolve().parents[1]
INSTALLED = Path(quantlib.__file__).resolve().parent / "_app"
"""Where a wheel has them, with the samples and Streamlit's settings."""

_HERE = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::")


def app(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the browser finds it.")] = 8501,
    address: Annotated[
        str, typer.Option(help="Which of this machine's addresses answers; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name by which browsers reach it, where that is not this machine; repeat it for "
            "several, *.example.org for all below one."
        ),
    ] = None,
    max_model_mb: Annotated[
        int | None, typer.Option(min=1, help="Largest model that may be uploaded, MB.")
    ] = None,
    max_data_mb: Annotated[
        int | None, typer.Option(min=1, help="Largest data file that may be uploaded, MB.")
    ] = None,
    samples_only: Annotated[
        bool, typer.Option("--samples-only", help="Offer the samples, and take no files.")
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Open no browser, as on a server.")
    ] = False,
) -> None:
    """Show the screens in the browser until Ctrl-C."""
    folder = next((f for f in (CHECKOUT, INSTALLED) if _has_screens(f)), None)
    if folder is None:
        raise OptionsError(
            "the screens are neither beside the library nor inside it; install it again from its "
            f"wheel, or clone the repository and run it there (looked in {CHECKOUT})."
        )
    if importlib.util.find_spec("streamlit") is None:
        raise OptionsError(
            "the screens need streamlit, which is not installed; run: "
            "pip install 'quantization-explorer[app]'"
        )
    if address in _EVERYWHERE and not host:
        raise OptionsError(
            f"--address {address} answers the whole network; say by which name browsers reach it, "
            "as in --host class.example.org ('*' takes any name)."
        )
    environment = dict(os.environ)
    for name, given in (("upload_model_mb", max_model_mb), ("upload_data_mb", max_data_mb)):
        if given is not None:
            environment[variable(name)] = str(given)
    if samples_only:
        environment[SAMPLES_ONLY] = "1"
    largest = max(max_model_mb or limit("upload_model_mb"), max_data_mb or limit("upload_data_mb"))
    hosts = dict.fromkeys((*_HERE, *(h for h in (address,) if h not in _EVERYWHERE), *(host or ())))
    arguments = [sys.executable, "-m", "streamlit", "run", str(folder / "app.py")]
    arguments += ["--server.port", str(port), "--server.address", address]
    arguments += ["--server.maxUploadSize", str(largest)]
    for name in hosts:
        arguments += ["--server.allowedHosts", name]
    arguments += ["--server.headless", "true"] if no_browser else []
    try:
        code = subprocess.run(arguments, cwd=folder, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return
    raise typer.Exit(code)


def _has_screens(folder: Path) -> bool:
    return (folder / "app.py").is_file() and (folder / "pages").is_dir()
