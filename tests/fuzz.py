"""Mutated models and data through the one door, then a short evaluation.

``python tests/fuzz.py --seconds 60 --seed 1 --processes 2`` counts what was refused and what ran.
It fails when anything but the project's errors comes out, or a mutant hangs. A death of the
process is told with the mutant's number: servers run models in processes of their own, where a
death is one message. ``--only N`` runs one mutant again, here and now.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from tests import models
from tests.bad_inputs import data_cases, model_cases
from tests.bad_inputs.cases import CONFIG, loaded, with_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HANG_CPU_S = 30
"""A mutant that computes longer hangs, in seconds of a processor: other work does not count."""

HANG_S = 300.0
"""A mutant that takes longer, and perhaps sleeps, hangs too."""

MEMORY_BYTES = 4 * 2**30
"""Address space of a process that runs mutants."""

NUMBERS = (-1, 0, 1, 2, 3, 7, 16, 127, 255, 2**31 - 1, 2**31, 2**62, -(2**63))
WORDS = ("", "x", "y", "w", "Conv", "Loop", "Resize", "\x00", "a" * 300, "é", "../../etc/passwd")

SEEDS = (
    "shared weight", "Conv in groups", "skip", "two inputs and outputs", "Squeeze without axes",
    "already quantized", "QONNX", "If runs", "Loop runs", "integer input",
)  # fmt: skip
"""Cases of `tests.bad_inputs` that run, from which models are mutated."""


def model_seeds() -> list[bytes]:
    """Return ten models."""
    named = {case.name: case for case in model_cases.MODELS if case.runs}
    return [named[name].make() for name in SEEDS]


def data_seeds() -> list[tuple[str, bytes]]:
    """Return an archive, an array and tables, with the names they have."""
    x = data_cases.X
    return [
        ("d.npz", data_cases.npz(calibration=x, evaluation=x, labels=x[:, 0] > 0)),
        ("d.npy", data_cases.npy(x)),
        ("d.csv", data_cases.table(head="a,b,c")),
        ("d.csv", data_cases.table(sep=";")),
    ]


def mutant(seed: int, number: int) -> tuple[str, bytes]:
    """Return one mutated file by its number: its name and content."""
    rng = random.Random(seed * 1_000_003 + number)
    if rng.random() < 0.25:
        name, content = rng.choice(data_seeds())
        return name, in_bytes(content, rng)
    content = rng.choice(model_seeds())
    if rng.random() < 0.4:
        return "m.onnx", in_bytes(content, rng)
    return "m.onnx", in_fields(content, rng)


def in_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return content with a few bytes changed, cut, doubled or moved."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(5)
        if kind == 0 and data:
            data[place] = rng.randrange(256)
        elif kind == 1 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[place : place + rng.randrange(1, 40)]
        elif kind == 3:
            data[place:place] = data[place : place + rng.randrange(1, 40)]
        else:
            data[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
    return bytes(data)


def in_fields(content: bytes, rng: random.Random) -> bytes:
    """Return a model with a few fields of its messages changed, dropped, doubled or swapped."""
    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = list(messages(model))
        message = rng.choice(found)
        fields = [field for field, _ in message.ListFields()]
        if fields:
            with contextlib.suppress(ValueError, TypeError):  # a number that the field cannot hold
                change(message, rng.choice(fields).name, rng)
    return bytes(model.SerializeToString())


def messages(message: Message) -> Iterator[Message]:
    """Yield a message and all inside it."""
    yield message
    for _, value in message.ListFields():
        for part in (
            value if hasattr(value, "__len__") and not isinstance(value, str | bytes) else [value]
        ):
            if isinstance(part, Message):
                yield from messages(part)


def change(message: Message, name: str, rng: random.Random) -> None:
    """Change one field that is set."""
    value: Any = getattr(message, name)
    if isinstance(value, Message):
        message.ClearField(name)
    elif hasattr(value, "append") or hasattr(value, "add"):
        entries = list(value)
        place = rng.randrange(len(entries))
        kind = rng.randrange(4)
        if kind == 0:
            del entries[place]
        elif kind == 1:
            entries.insert(rng.randrange(len(entries) + 1), entries[place])
        elif kind == 2:
            rng.shuffle(entries)
        elif not isinstance(entries[place], Message):
            entries[place] = other(entries[place], rng)
        copies = [
            type(e).FromString(e.SerializeToString()) if isinstance(e, Message) else e
            for e in entries
        ]
        del value[:]
        value.extend(copies)
    else:
        setattr(message, name, other(value, rng))


def other(value: Any, rng: random.Random) -> Any:
    """Return another value of a field's kind."""
    if isinstance(value, str):
        return rng.choice(WORDS)
    if isinstance(value, bytes):
        return in_bytes(value, rng) if value else b"\x00"
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf"), 0.5))
    return rng.choice((*NUMBERS, value + 1, value - 1, -value))


def verdict(name: str, content: bytes, graph: ql.Graph) -> str:
    """Return what becomes of a file: refused, ran, or the foreign exception."""
    try:
        if name.endswith(".onnx"):
            evaluate(loaded(content, name), CONFIG)
        else:
            with_data(content, name, graph)
    except ql.QuantlibError:
        return "refused"
    except Exception as error:  # what this looks for
        return f"foreign {type(error).__name__}"
    return "ran"


def child(seed: int, first: int, step: int) -> None:
    """Run mutants one after another, each announced before and told after, until killed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    graph = ql.load_model(models.mlp(features=3), name="given.onnx")
    number = first
    while True:
        allow(HANG_CPU_S)
        tell(f"{number} begins")
        tell(f"{number} {verdict(*mutant(seed, number), graph)}")
        number += step


def allow(seconds: int) -> None:
    """End this process by SIGXCPU once it has computed for so much longer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def tell(line: str) -> None:
    """Write a line at once."""
    os.write(1, f"{line}\n".encode())


class Runner:
    """One process that runs every so-manieth mutant, begun anew after a death or a hang."""

    def __init__(self, seed: int, first: int, step: int) -> None:
        self.seed, self.step = seed, step
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.start(first)

    def start(self, first: int) -> None:
        """Begin with a mutant."""
        self.number, self.since, self.rest = first, time.monotonic(), b""
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--child", f"{self.seed},{first},{self.step}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def look(self) -> None:
        """Count what the process told; begin anew where it is dead or hangs."""
        assert self.process.stdout is not None
        content = os.read(self.process.stdout.fileno(), 65536)
        if not content:
            self.ended("hang" if self.process.wait() == -signal.SIGXCPU else "death")
            return
        *lines, self.rest = (self.rest + content).split(b"\n")
        for line in lines:
            number, _, found = line.decode().partition(" ")
            self.since = time.monotonic()
            if found == "begins":
                self.number = int(number)
                continue
            self.counts[found.partition(" ")[0]] += 1
            if found.startswith("foreign"):
                self.faults.append(f"mutant {number} of seed {self.seed}: {found}")

    def ended(self, how: str) -> None:
        """Count a death or a hang and go on behind it."""
        self.close()
        self.counts[how] += 1
        self.faults.append(f"mutant {self.number} of seed {self.seed}: {how}")
        self.start(self.number + self.step)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def run(seed: int, seconds: float, processes: int) -> int:
    """Run mutants for some time; return how many foreign exceptions and hangs there were."""
    runners = [Runner(seed, first, processes) for first in range(processes)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pipes = {r.process.stdout: r for r in runners if r.process.stdout is not None}
        ready, _, _ = select.select(list(pipes), [], [], 0.5)
        for pipe in ready:
            pipes[pipe].look()
        for runner in runners:
            if time.monotonic() - runner.since > HANG_S:
                runner.ended("hang")
    for runner in runners:
        runner.close()
    counts = sum((runner.counts for runner in runners), Counter[str]())
    sys.stdout.write("".join(f"{fault}\n" for runner in runners for fault in runner.faults))
    listed = ", ".join(f"{counts[kind]} {kind}" for kind in ("refused", "ran", "foreign", "death",
                                                             "hang"))  # fmt: skip
    sys.stdout.write(f"fuzz, seed {seed}: {sum(counts.values())} mutants: {listed}\n")
    return counts["foreign"] + counts["hang"]


def main(words: Sequence[str] | None = None) -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", type=int, help="run this mutant alone, and raise what it raises")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.child:
        child(*map(int, given.child.split(",")))
    if given.only is not None:
        name, content = mutant(given.seed, given.only)
        graph = ql.load_model(models.mlp(features=3), name="given.onnx")
        if name.endswith(".onnx"):
            evaluate(loaded(content, name), CONFIG)
        else:
            with_data(content, name, graph)
        return 0
    return 1 if run(given.seed, given.seconds, given.processes) else 0


if __name__ == "__main__":
    sys.exit(main())
