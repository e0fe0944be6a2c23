"""Each interchange format run, or read, again and compared with the module."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort

from quantlib.errors import OptionsError
from quantlib.execution.calls import calls, n_samples
from quantlib.export.agreement import agreement, undecided, wrong_outputs
from quantlib.export.formats import Proof
from quantlib.export.marks import Role, Seen
from quantlib.export.onnx_files import raised
from quantlib.export.overrides import overrides, read_overrides
from quantlib.export.placement import place
from quantlib.export.tensor_grids import tensor_grids
from quantlib.graph.loader import load_model
from quantlib.graph.runtime import open_session, optimized_session
from quantlib.ptq import quantize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.export.agreement import Agreement, Run
    from quantlib.export.marks import Mark
    from quantlib.export.tensor_grids import TensorGrid
    from quantlib.quantized_module import QuantizedModule

_JUMPS = {"Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Round",
          "Sign"}  # fmt: skip
"""Functions of real values that are not continuous."""

_RUNTIME = f"ONNX Runtime {ort.__version__}"


def prove_qdq(
    files: Mapping[str, bytes], module: QuantizedModule, inputs: Sequence[AnyArray]
) -> Proof:
    """Run a QDQ model with and without graph optimizations, and compare it with the module.

    Without, every code at every grid is compared. With, only the outputs can be: more outputs
    would be another optimized graph. A sample whose outputs are neither the module's nor those of
    the first run has a reason if the module itself holds a value between two codes in it, which
    operators that the optimizer joins may round the other way.
    """
    start = time.perf_counter()
    (content,) = files.values()
    model = onnx.ModelProto.FromString(content)
    marks = place(module, after_moves=True).marks
    try:
        optimized = optimized_session(model.SerializeToString())
    except Exception as error:  # ONNX Runtime's own kinds share no base class
        said = f"with graph optimizations it does not load ({' '.join(str(error).split())[:300]})"
        n, why = n_samples(module.graph, inputs), (f"{_RUNTIME}: {said}.",)
        return Proof(_RUNTIME, False, n, 0, 0, n, "samples", why, time.perf_counter() - start)
    names = module.graph.output_names
    counts = dict.fromkeys(("equal", "as plain", "ties", "different"), 0)

    def watch(part: Sequence[AnyArray], seen: Seen, made: Mapping[str, AnyArray]) -> None:
        feeds = dict(zip(seen.inputs, part, strict=True))
        fast = dict(zip(names, optimized.run(list(names), feeds), strict=True))
        rows = n_samples(module.graph, part)
        wrong = wrong_outputs(module, seen, fast, rows)
        same = np.ones(rows, dtype=bool)
        for name in names:
            near = np.isclose(fast[name], made[name], rtol=1e-4, atol=1e-5)
            same &= near.reshape(rows, -1).all(axis=1) if near.shape[:1] == (rows,) else near.all()
        counts["equal"] += int((~wrong).sum())
        counts["as plain"] += int((wrong & same).sum())
        rest = wrong & ~same
        if rest.any():
            loose = undecided(marks, seen, rows)
            counts["ties"] += int((rest & loose).sum())
            counts["different"] += int((rest & ~loose).sum())

    plain = agreement(module, marks, _run_all(model, marks), inputs, watch=watch)

    lines = [f"{_RUNTIME}, graph optimizations off: {_sentence(plain)}"]
    holds = plain.different == counts["different"] == 0
    said = f"{counts['equal']} of {plain.samples} samples, outputs equal"
    words = {
        "as plain": "as without optimizations",
        "ties": "otherwise, with values between two codes",
        "different": "differ without a reason",
    }
    said += "".join(f"; {counts[key]} {word}" for key, word in words.items() if counts[key])
    lines.append(f"{_RUNTIME}, graph optimizations on: {said}.")
    return _proof(_RUNTIME, plain, holds, lines, start)


def prove_qonnx(
    files: Mapping[str, bytes], module: QuantizedModule, inputs: Sequence[AnyArray]
) -> Proof:
    """Read a QONNX model back, run it in float at every grid, and quantize it again.

    The loader spells Quant in ONNX's own operators; ONNX Runtime runs these, and every code is
    compared. The quantized reading must give equal integers too, except that a reader adds,
    divides and rounds accumulators on scales of its own.
    """
    start = time.perf_counter()
    (content,) = files.values()
    marks = place(module).marks
    graph = load_model(content, name=module.graph.name)
    lowered = onnx.ModelProto.FromString(graph.source)
    config = module.config.replace(rounding_threshold_bits=None)
    again = quantize(graph, module.calibration, config)
    equal = 0

    def watch(part: Sequence[AnyArray], seen: Seen, made: Mapping[str, AnyArray]) -> None:
        nonlocal equal
        del made
        outputs = again.forward(*part)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        named = dict(zip(module.graph.output_names, outputs, strict=True))
        equal += int((~wrong_outputs(module, seen, named, n_samples(module.graph, part))).sum())

    found = agreement(module, marks, _run_all(lowered, marks), inputs, watch=watch)
    inside = {mark.role for mark in marks} & {Role.SUMMAND, Role.INVERSE, Role.ROUNDED}
    lines = [f"read back and run by {_RUNTIME}: {_sentence(found)}"]
    said = f"read back and quantized: {equal} of {found.samples} samples, outputs equal"
    jumps = any(layer.node.op_type in _JUMPS for layer in module.layers)
    reasons = {
        "a reader adds, divides and rounds accumulators on scales of its own": bool(inside),
        "scales in a file are float32, which moves ties": found.ties > 0,
        "scales in a file are float32, and a step function jumps between two": jumps,
    }
    why = next((reason for reason, holds in reasons.items() if holds), "without a known reason")
    lines.append(f"{said}{'' if equal == found.samples else f'; {why}'}.")
    explained = any(reasons.values())
    holds = found.different == 0 and (explained or equal == found.samples)
    return _proof(_RUNTIME, found, holds, lines, start)


def prove_overrides(
    files: Mapping[str, bytes], module: QuantizedModule, inputs: Sequence[AnyArray]
) -> Proof:
    """Call `quantize_static` with the overrides and compare scales and zero points it writes.

    Raises
    ------
    OptionsError
        `quantize_static` fails on the model.
    """
    del inputs  # scales do not depend on them
    start = time.perf_counter()
    (content,) = files.values()
    asked, told = read_overrides(content), overrides(module)
    made = quantized_statically(module, asked, told.options)
    right = read_overrides(told.text)
    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer
    }
    wrong = []
    for name in asked:
        pairs = [
            ([entry[key] for entry in right.get(name, ())], constants.get(f"{name}_{key}"))
            for key in ("scale", "zero_point")
        ]
        if not all(
            found is not None and np.array_equal(np.ravel(wanted), np.ravel(found).astype(kind))
            for (wanted, found), kind in zip(pairs, (np.float32, np.int64), strict=True)
        ):
            wrong.append(name)
    equal = len(asked) - len(wrong)
    line = f"quantize_static of {_RUNTIME}: {equal} of {len(asked)} tensors, scales equal"
    if wrong:
        line += f"; other scales: {', '.join(wrong[:5])}"
    return Proof(_RUNTIME, not wrong, len(asked), equal, 0, len(wrong), "tensors", (f"{line}.",),
                 time.perf_counter() - start)  # fmt: skip


def quantized_statically(
    module: QuantizedModule, asked: Mapping[str, Any], options: Mapping[str, Any]
) -> onnx.ModelProto:
    """Return what ONNX Runtime's `quantize_static` makes of a module's float model.

    Parameters
    ----------
    module : QuantizedModule
        Gives the float model, raised to operator set 21, and the calibration data.
    asked : mapping
        TensorQuantOverrides as `read_overrides` returns them.
    options : mapping
        Further arguments of `quantize_static`.

    Raises
    ------
    OptionsError
        `quantize_static` fails on the model.
    """
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            names = [info.name for info in module.graph.inputs]
            graph, data = module.graph, module.calibration
            every = calls(graph, data, n_samples(graph, data))
            self.batches = iter([dict(zip(names, call, strict=True)) for call in every])

        def get_next(self) -> Any:
            return next(self.batches, None)

    given = {**options}
    extra = {**given.pop("extra_options", {}), "TensorQuantOverrides": asked}
    source = raised(onnx.ModelProto.FromString(module.graph.source), 21)
    with tempfile.TemporaryDirectory(prefix="quantlib-") as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        onnx.save(source, before)
        try:
            with _silent():
                quantization.quantize_static(before, after, Reader(), extra_options=extra, **given)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise OptionsError(
                f"quantize_static fails on the model ({type(error).__name__}: {reason}); export "
                "QDQ, which needs no other tool."
            ) from None
        return onnx.load(after)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what a tool logs to everybody's logger to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def prove_aimet(
    files: Mapping[str, bytes], module: QuantizedModule, inputs: Sequence[AnyArray]
) -> Proof:
    """Read encodings back and compare the real value of every code with the module's grid."""
    del inputs  # grids do not depend on them
    start = time.perf_counter()
    grids = {grid.name: grid for grid in tensor_grids(module)[0]}
    lines, compared, wrong = [], 0, 0
    for content in files.values():
        document = json.loads(content)
        entries = _encodings(document)
        others = [e["name"] for e in entries if not _same_grid(grids[e["name"]], e)]
        compared, wrong = compared + len(entries), wrong + len(others)
        line = f"encodings {document['version']}: {len(entries) - len(others)} of {len(entries)} "
        named = f"; others: {', '.join(others[:5])}" if others else ""
        lines.append(f"{line}grids read back equal{named}.")
    return Proof("the documented fields of AIMET encodings", not wrong, compared, compared - wrong,
                 0, wrong, "grids", tuple(lines), time.perf_counter() - start)  # fmt: skip


def _encodings(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each encoding as scales and the real values' lowest and highest codes."""
    if document["version"] == "2.0.0":
        found = []
        for entry in document["encodings"]:
            kind = entry["output_dtype"]
            n_bits = int(kind.removeprefix("u").removeprefix("int"))
            low = 0 if kind.startswith("u") else -(2 ** (n_bits - 1))
            points = np.ravel(entry.get("y_zero_point", 0))
            found.append(
                {
                    "name": entry["name"],
                    "scale": np.ravel(entry["y_scale"]),
                    "lowest": low - points,
                    "codes": 2**n_bits,
                }
            )
        return found
    return [
        {
            "name": entry["name"],
            "scale": np.ravel(entry["scale"]),
            "lowest": np.ravel(entry["offset"]),
            "codes": 2 ** entry["bw"],
        }
        for entry in (*document["activation_encodings"], *document["param_encodings"])
    ]


def _same_grid(grid: TensorGrid, entry: Mapping[str, Any]) -> bool:
    """Tell whether an encoding has a grid's scales, and its codes or more around them."""
    q = grid.quantizer
    scales = np.broadcast_to(entry["scale"], grid.scales.shape)
    lowest = np.broadcast_to(entry["lowest"], grid.scales.shape)
    highest = lowest + entry["codes"] - 1
    mine = q.qmin - grid.zero_points, q.qmax - grid.zero_points
    if grid.clips:
        ends = np.array_equal(lowest, mine[0]) and np.array_equal(highest, mine[1])
    else:
        ends = bool((lowest <= mine[0]).all() and (highest >= mine[1]).all())
    return ends and np.array_equal(scales.astype(np.float32), grid.scales.astype(np.float32))


def _run_all(model: onnx.ModelProto, marks: Sequence[Mark]) -> Run:
    """Open a model with every mark as an output."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    names = (mark.output for mark in marks if mark.reals is not None)
    watched.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in present
    )
    session = open_session(watched.SerializeToString())

    def run(names: Sequence[str], feeds: Mapping[str, AnyArray]) -> Sequence[AnyArray]:
        found: Sequence[AnyArray] = session.run(list(names), dict(feeds))
        return found

    return run


def _sentence(found: Agreement) -> str:
    words = f"{found.equal} of {found.samples} samples, every integer equal"
    if found.ties:
        where = ", ".join(name for name, _ in found.places.most_common(3))
        words += (
            f"; {found.ties} off by one at a tie first ({found.tied_codes} of {found.codes} "
            f"codes, {found.exact_ties} exactly between two codes; at {where}): float32, and ONNX "
            "rounds before it adds the zero point"
        )
    if found.different:
        where = ", ".join(name for name, _ in found.places.most_common(3))
        words += f"; {found.different} differ ({found.different_codes} codes, at {where})"
    return f"{words}."


def _proof(
    machine: str, found: Agreement, holds: bool, lines: Sequence[str], start: float
) -> Proof:
    return Proof(machine, holds, found.samples, found.equal, found.ties, found.different,
                 "samples", tuple(lines), time.perf_counter() - start)  # fmt: skip
