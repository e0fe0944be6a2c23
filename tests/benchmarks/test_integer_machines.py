"""What an integer program takes on each machine: bytes, and time for one sample.

Prints, per sample model and width: read-only bytes of the C arrays in the form that is written
(whole tables or thresholds, whichever is smaller) and with the one or the other throughout, static
memory, and microseconds a sample in C, in ONNX Runtime on one thread with the integer ONNX and with
the float model, one sample at a time.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from quantlib.export.c.format import FLAGS, c_source, compiler
from quantlib.export.onnx_integers import integer_model
from quantlib.graph.runtime import optimized_session
from quantlib.program.cost import table_cost
from tests.integer_programs import IN_INTEGERS, codes_of, module
from tests.sample_data import sample

if TYPE_CHECKING:
    from pathlib import Path

    from quantlib.export.c.emit import Source

REPEATS = 2000


def microseconds_in_c(source: Source, folder: Path, codes: tuple[Any, ...]) -> float:
    """Return the time of one sample, the best of five times many."""
    declared = "\n".join(
        f"static const {kind} in{i}[] = {{{', '.join(map(str, np.ravel(array[0])))}}};"
        for i, (kind, array) in enumerate(zip(source.input_types, codes, strict=True))
    )
    upper = source.name.upper()
    outputs = "\n".join(
        f"static {kind} out{i}[{upper}_OUT{i}_SIZE];" for i, kind in enumerate(source.output_types)
    )
    names = [f"in{i}" for i in range(len(source.input_types))]
    names += [f"out{i}" for i in range(len(source.output_types))]
    (folder / "timing.c").write_text(
        f'#include <stdio.h>\n#include <time.h>\n#include "{source.name}.h"\n'
        f"{declared}\n{outputs}\n"
        "int main(void)\n{\n    double best = 1e30;\n    for (int turn = 0; turn < 5; turn++) {\n"
        f"        clock_t begun = clock();\n        for (int i = 0; i < {REPEATS}; i++) "
        f"{source.name}_run({', '.join(names)});\n"
        "        double took = (double)(clock() - begun) / CLOCKS_PER_SEC;\n"
        "        if (took < best) best = took;\n    }\n"
        f'    printf("%f", best / {REPEATS} * 1e6);\n    return 0;\n}}\n'
    )
    (folder / f"{source.name}.c").write_text(source.body)
    (folder / f"{source.name}.h").write_text(source.header)
    files = [str(folder / "timing.c"), str(folder / f"{source.name}.c")]
    subprocess.run([compiler(), *FLAGS, "-o", str(folder / "timing"), *files], check=True)
    done = subprocess.run([str(folder / "timing")], check=True, capture_output=True, text=True)
    return float(done.stdout)


def microseconds_in_onnx_runtime(content: bytes, data: tuple[Any, ...], names: list[str]) -> float:
    session = optimized_session(content)
    feeds = dict(zip([i.name for i in session.get_inputs()], (x[:1] for x in data), strict=True))
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(REPEATS // 10):
            session.run(names, feeds)
        best = min(best, (time.perf_counter() - begun) / (REPEATS // 10))
    return best * 1e6


@pytest.mark.benchmark_suite
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("name", IN_INTEGERS)
def test_bytes_and_microseconds(name: str, tmp_path: Path) -> None:
    data = sample(name).data.evaluation
    for kind, n_bits in (("plain", 2), ("plain", 4), ("plain", 8), ("round8", 8)):
        made = module(name, kind, n_bits)
        source = c_source(made, "m")
        tables = [table_cost(table) for table in made.program().tables]
        written = sum(cost.least_bytes for cost in tables)
        rest = source.flash_bytes - written
        in_c = microseconds_in_c(source, tmp_path, codes_of(made, data))
        outputs = list(made.graph.output_names)
        model = integer_model(made).SerializeToString()
        integers = microseconds_in_onnx_runtime(model, data, outputs)
        real = microseconds_in_onnx_runtime(made.graph.source, data, outputs)
        print(
            f"{name:14} {kind:7} {n_bits} bits: flash {source.flash_bytes:7} "
            f"(whole tables {rest + sum(c.whole_bytes for c in tables):9}, thresholds "
            f"{rest + sum(c.threshold_bytes for c in tables):7}), RAM {source.ram_bytes:5}, "
            f"C {in_c:6.1f} us, ONNX Runtime integers {integers:6.1f} us, float {real:6.1f} us, "
            f"integer ONNX {len(model)} bytes, float ONNX {len(made.graph.source)} bytes"
        )
        assert written <= sum(c.threshold_bytes for c in tables)
