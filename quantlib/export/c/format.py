"""C as an export: its files, and the compiler that proves them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import OptionsError
from quantlib.export.c.emit import Source, emit
from quantlib.export.formats import ExportFormat, Refusal, raise_refusals, register
from quantlib.export.integers import compare_integers, expected_integers, island_refusals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.export.formats import Files, Proof, Subject
    from quantlib.quantized_module import QuantizedModule

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-O2")
SANITIZED = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
_SECONDS = 300


def refusals(module: QuantizedModule) -> tuple[Refusal, ...]:
    """Return what integers alone cannot compute of a module."""
    return island_refusals(module.program())


def c_source(module: QuantizedModule, stem: str) -> Source:
    """Return a module in C99.

    Raises
    ------
    OptionsError
        Something stays in float; the message names each layer.
    """
    program = module.program()
    raise_refusals("C", refusals(module))
    return emit(program, stem)


def _export(subject: Subject) -> Files:
    source = c_source(subject.module, subject.stem)
    return {f"{source.name}.c": source.body.encode(), f"{source.name}.h": source.header.encode()}


def driver(source: Source) -> str:
    """Return a program that reads samples from its input and writes their integers."""
    upper = source.name.upper()
    inputs = [(f"in{i}", kind, f"{upper}_IN{i}_SIZE") for i, kind in enumerate(source.input_types)]
    outputs = [
        (f"out{i}", kind, f"{upper}_OUT{i}_SIZE") for i, kind in enumerate(source.output_types)
    ]
    arrays = "\n".join(f"static {kind} {name}[{size}];" for name, kind, size in inputs + outputs)
    read = " && ".join(
        f"fread({name}, sizeof {name}[0], {size}, stdin) == {size}" for name, _, size in inputs
    )
    write = "\n".join(
        f"        fwrite({name}, sizeof {name}[0], {size}, stdout);" for name, _, size in outputs
    )
    names = ", ".join(name for name, *_ in inputs + outputs)
    return (
        f'#include <stdio.h>\n#include "{source.name}.h"\n{arrays}\n'
        f"int main(void)\n{{\n    while ({read}) {{\n        {source.name}_run({names});\n"
        f"{write}\n    }}\n    return 0;\n}}\n"
    )


def compiler() -> str:
    """Return the C compiler.

    Raises
    ------
    OptionsError
        There is none.
    """
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise OptionsError(
            "no C compiler (cc, gcc or clang) is on the path; install one to prove the C files, or "
            "compile them where they will run."
        )
    return found


def compile_and_run(
    source: Source, folder: Path, codes: Sequence[AnyArray], extra: Sequence[str] = ()
) -> list[AnyArray]:
    """Compile the files in a folder with a driver, and run samples.

    Returns
    -------
    list of arrays
        Flat integers of each output, (N, size).

    Raises
    ------
    OptionsError
        The compiler or the program fails; the message holds what it said.
    """
    (folder / "driver.c").write_text(driver(source))
    binary = folder / "driver"
    command = [compiler(), *FLAGS, *extra, "-o", str(binary), str(folder / "driver.c"),
               str(folder / f"{source.name}.c")]  # fmt: skip
    _run(command, b"", "the compiler")
    samples = len(codes[0])
    columns = [
        np.ascontiguousarray(array.reshape(samples, -1), dtype=kind.removesuffix("_t"))
        for array, kind in zip(codes, source.input_types, strict=True)
    ]
    given = b"".join(column[i].tobytes() for i in range(samples) for column in columns)
    made = _run([str(binary)], given, "the program")
    record = np.dtype([
        (f"out{i}", np.dtype(kind.removesuffix("_t")), (_size(source, i),))
        for i, kind in enumerate(source.output_types)
    ])  # fmt: skip
    found = np.frombuffer(made, dtype=record)
    return [found[f"out{i}"] for i in range(len(source.output_types))]


def _size(source: Source, output: int) -> int:
    key = f"#define {source.name.upper()}_OUT{output}_SIZE "
    line = next(line for line in source.header.splitlines() if line.startswith(key))
    return int(line.removeprefix(key))


def _run(command: Sequence[str], given: bytes, what: str) -> bytes:
    done = subprocess.run(
        command, input=given, capture_output=True, timeout=_SECONDS, check=False
    )  # fmt: skip
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:600]
        raise OptionsError(f"{what} failed ({said or f'exit status {done.returncode}'}).")
    return done.stdout


def _prove(
    files: Mapping[str, bytes], module: QuantizedModule, data: Sequence[AnyArray]
) -> Proof:  # fmt: skip
    """Compile the files, once more with the sanitizer of undefined behaviour, and run both."""
    started = time.perf_counter()
    stem = next(name for name in files if name.endswith(".c")).removesuffix(".c")
    source = c_source(module, stem)
    codes, wanted = expected_integers(module, data)
    runs = {}
    for way, extra in {"-O2": (), "-O2, undefined behaviour checked": SANITIZED}.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for name, content in files.items():
                (folder / Path(name).name).write_bytes(content)
            found = compile_and_run(source, folder, codes, extra)
        runs[way] = [
            flat.reshape(mine.shape) if flat.size == mine.size else flat
            for flat, mine in zip(found, wanted, strict=True)
        ]
    return compare_integers(module, data, runs, f"C99 ({Path(compiler()).name})", started)


C = register(
    ExportFormat(
        name="c",
        title="C99",
        reader="any C compiler, micro-controllers included",
        carries="the very integers of every layer; static memory, no floats, no library",
        loses="real inputs and outputs: its integers' scales are in the header",
        suffix=".c",
        export=_export,
        refusals=refusals,
        prove=_prove,
    )
)
