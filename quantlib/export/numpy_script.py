"""An integer program as a script that needs NumPy alone, and an .npz."""

from __future__ import annotations

import importlib.resources
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import OptionsError
from quantlib.export.formats import ExportFormat, Refusal, raise_refusals, register
from quantlib.export.integers import compare_integers, expected_integers, island_refusals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.export.formats import Files, Proof, Subject
    from quantlib.quantized_module import QuantizedModule

_SECONDS = 600

_NUMPY_ALONE = """
import runpy, sys
folder = {folder!r}
sys.path.insert(0, folder)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {{"numpy"}}:
            raise ImportError("only NumPy is here, not " + name)
sys.meta_path.insert(0, Refuse())
import numpy
sys.argv[1:] = {arguments!r}
runpy.run_path({script!r}, run_name="__main__")
"""


def refusals(module: QuantizedModule) -> tuple[Refusal, ...]:
    """Return what integers alone cannot compute of a module."""
    return island_refusals(module.program())


def script() -> str:
    """Return the script; it is the same for every program."""
    text = importlib.resources.files("quantlib.export").joinpath("numpy_machine.py").read_text()
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("# mypy", "# ruff", "# fmt")))


def _export(subject: Subject) -> Files:
    raise_refusals("A NumPy script", refusals(subject.module))
    return {
        f"{subject.stem}-numpy.py": script().encode(),
        f"{subject.stem}-program.npz": subject.module.program().to_npz(),
    }


def _prove(
    files: Mapping[str, bytes], module: QuantizedModule, data: Sequence[AnyArray]
) -> Proof:  # fmt: skip
    """Run the script in a Python of its own that has NumPy and nothing else."""
    started = time.perf_counter()
    codes, wanted = expected_integers(module, data)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, content in files.items():
            (folder / Path(name).name).write_bytes(content)
        buffer = io.BytesIO()
        np.savez(buffer, *codes)
        (folder / "codes.npz").write_bytes(buffer.getvalue())
        name, program = (next(n for n in files if n.endswith(end)) for end in (".py", ".npz"))
        arguments = [str(folder / n) for n in (program, "codes.npz", "integers.npz")]
        source = _NUMPY_ALONE.format(
            folder=str(Path(np.__file__).parents[1]), arguments=arguments, script=str(folder / name)
        )
        done = subprocess.run(
            [sys.executable, "-I", "-c", source], capture_output=True, timeout=_SECONDS, text=True,
            cwd=folder, check=False,
        )  # fmt: skip
        if done.returncode:
            said = " ".join(done.stderr.split())[-600:]
            raise OptionsError(f"the NumPy script failed ({said}).")
        with np.load(folder / "integers.npz") as archive:
            found = [archive[f"arr_{i}"] for i in range(len(wanted))]
    return compare_integers(module, data, {"": found}, f"NumPy {np.__version__}", started)


NUMPY = register(
    ExportFormat(
        name="numpy",
        title="NumPy script",
        reader="any Python with NumPy; people who want to read what runs",
        carries="the very integers of every layer: a script of under 60 lines and an .npz",
        loses="real inputs and outputs: it takes and gives integers, their scales are in the .npz",
        suffix=".py",
        export=_export,
        refusals=refusals,
        prove=_prove,
    )
)
