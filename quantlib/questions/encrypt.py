"""What a configuration costs under encryption, whether it compiles, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis import outputs
from quantlib.analysis.widths.cost import RoundingMethod
from quantlib.errors import OptionsError
from quantlib.fhe.circuit import CircuitReport, compile_program, is_available
from quantlib.fhe.lowering import plan_of
from quantlib.fhe.noise import run_with_errors
from quantlib.fhe.refusals import Refusal, islands, too_wide
from quantlib.fhe.widths import Prediction, predict
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    from quantlib.analysis.reports import Score
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.fhe.plan import Plan
    from quantlib.quantized_module import QuantizedModule
    from quantlib.questions.registry import GoOn

    Told: TypeAlias = "CircuitReport | Result | Sample"
    """What a circuit tells, one after the other."""

SIMULATED_AT_ONCE = 4
"""Samples that are simulated before somebody is asked whether to go on."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known before anything is compiled.

    Parameters
    ----------
    refusals : tuple of Refusal
        Why it cannot be compiled; empty if nothing is against it.
    prediction : Prediction or None
        Widths, bootstraps and cost; None where something stays in float.
    compiler : bool
        Whether Concrete is installed.
    """

    refusals: tuple[Refusal, ...]
    prediction: Prediction | None
    compiler: bool


@dataclass(frozen=True, slots=True)
class Result:
    """Integers that were computed in another way, against the module's.

    Parameters
    ----------
    samples : int
        How many were compared, from the first evaluation sample on.
    equal_samples : int
        Samples whose every output integer is equal.
    score : Score or None
        Against the labels; `quantized_value` is that of these integers.
    exact_score : Score or None
        That of the module's own integers on the same samples.
    """

    samples: int
    equal_samples: int
    score: Score | None
    exact_score: Score | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample that was encrypted, run and decrypted.

    Parameters
    ----------
    keys_s, encrypt_s, run_s, decrypt_s : float
        Seconds of each step.
    integers, expected : tuple of int
        Its output integers, and the module's; the first 64 of them.
    values : tuple of float
        The real values that the integers stand for.
    is_equal : bool
        Whether all integers are the module's.
    """

    keys_s: float
    encrypt_s: float
    run_s: float
    decrypt_s: float
    integers: tuple[int, ...]
    expected: tuple[int, ...]
    values: tuple[float, ...]
    is_equal: bool


@Question
def outlook(
    bench: Workbench, config: QuantizationConfig, rounding: str, *, on_data: bool
) -> Outlook:
    """Return what needs no compiler: refusals, widths, bootstraps, cost.

    `on_data` takes ranges as seen on calibration and evaluation data instead of those that hold
    for every input.
    """
    module = bench.module(config)
    found = islands(module.program())
    if found:
        return Outlook(found, None, is_available())
    plan = _plan(bench, module, on_data=on_data)
    method = RoundingMethod(rounding)
    return Outlook(too_wide(plan, method), predict(plan, method), is_available())


@Question
def with_errors(
    bench: Workbench, config: QuantizationConfig, rounding: str, p_error: float, seed: int
) -> Result:
    """Return what look-ups that err do to the evaluation data, without a compiler."""
    module = bench.module(config)
    codes = _codes(module, bench.data.evaluation)
    made = run_with_errors(
        plan_of(module.program()),
        *codes,
        p_error=p_error,
        rounding=RoundingMethod(rounding),
        seed=seed,
    )
    return _result(bench, module, codes, made)


@Stream
def circuit(
    bench: Workbench,
    go_on: GoOn,
    config: QuantizationConfig,
    rounding: str,
    p_error: float,
    *,
    on_data: bool,
    simulated: int,
    encrypted: int = 0,
    keys: str = "",
    save_server: str = "",
) -> Iterator[CircuitReport | Result | Sample]:
    """Compile, simulate samples, and run some encrypted; each is yielded as it comes.

    Parameters
    ----------
    bench, go_on, config
        As for every stream. What Concrete does in one piece (compiling, keys, a run) ends before
        anybody is heard.
    rounding : {"exact", "approximate"}
        How low bits go.
    p_error : float
        Probability that a look-up errs.
    on_data : bool
        Whether ranges are those of the data.
    simulated, encrypted : int
        Evaluation samples to simulate, and to run encrypted.
    keys : str
        A folder where keys are kept; ``""`` keeps none.
    save_server : str
        A file for Concrete's server part; ``""`` writes none.
    """
    module = bench.module(config)
    program = module.program()
    inputset = _joined(bench, module) if on_data else None
    made = compile_program(program, inputset, p_error=p_error, rounding=rounding)
    yield made.report()
    if save_server:
        made.save_server(Path(save_server))
    codes = _codes(module, bench.data.evaluation)
    found: list[tuple[IntArray, ...]] = []
    for start in range(0, min(simulated, len(codes[0])), SIMULATED_AT_ONCE):
        if not go_on():
            return
        part = slice(start, min(start + SIMULATED_AT_ONCE, simulated))
        found.append(_several(made.simulate(*(c[part] for c in codes))))
        joined = tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
        yield _result(bench, module, tuple(c[: len(joined[0])] for c in codes), joined)
    if not encrypted or not go_on():
        return
    keys_s = made.keygen(Path(keys) if keys else None)
    for i in range(min(encrypted, len(codes[0]))):
        if not go_on():
            return
        sample = tuple(c[i : i + 1] for c in codes)
        run = made.run_encrypted(*sample)
        expected = _several(program.run(*sample))
        real = _several(module.dequantize_output(*run.integers))
        yield Sample(
            keys_s=keys_s if i == 0 else 0.0,
            encrypt_s=run.encrypt_s,
            run_s=run.run_s,
            decrypt_s=run.decrypt_s,
            integers=_first(run.integers),
            expected=_first(expected),
            values=tuple(float(v) for array in real for v in array.ravel())[:64],
            is_equal=all(map(np.array_equal, run.integers, expected)),
        )


def _first(arrays: tuple[IntArray, ...]) -> tuple[int, ...]:
    return tuple(int(v) for array in arrays for v in array.ravel())[:64]


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _codes(module: QuantizedModule, data: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
    return _several(module.quantize_input(*data))


def _joined(bench: Workbench, module: QuantizedModule) -> tuple[AnyArray, ...]:
    """Return the codes of calibration and evaluation data."""
    parts = (_codes(module, data) for data in (bench.data.calibration, bench.data.evaluation))
    return tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))


def _plan(bench: Workbench, module: QuantizedModule, *, on_data: bool) -> Plan:
    plan = plan_of(module.program())
    return plan.seen_on(*_joined(bench, module)) if on_data else plan


def _result(
    bench: Workbench,
    module: QuantizedModule,
    codes: tuple[AnyArray, ...],
    made: tuple[IntArray, ...],
) -> Result:
    """Compare integers of the first evaluation samples with the module's."""
    expected = _several(module.program().run(*codes))
    count = len(codes[0])
    same = np.ones(count, dtype=bool)
    for ours, theirs in zip(made, expected, strict=True):
        same &= (ours == theirs).reshape(count, -1).all(axis=1)
    return Result(
        samples=count,
        equal_samples=int(same.sum()),
        score=_score(bench, module, made),
        exact_score=_score(bench, module, expected),
    )


def _score(
    bench: Workbench, module: QuantizedModule, integers: tuple[IntArray, ...]
) -> Score | None:
    """Return how well output integers of the first evaluation samples match the labels."""
    labels = bench.data.labels
    if labels is None:
        return None
    count = len(integers[0])
    real = _several(module.dequantize_output(*integers))
    names = bench.graph.output_names
    expected = {name: bench.float_model.output(name)[:count] for name in names}
    found = outputs.compared(bench.graph, [real], [expected], labels[:count], count)
    return outputs.leading(found, bench.output).summary.score


def mended(config: QuantizationConfig, refusal: Refusal) -> QuantizationConfig:
    """Return a configuration with a refusal's remedy applied.

    Raises
    ------
    OptionsError
        The remedy is not one of the configuration.
    """
    if refusal.rounding_bits is None:
        raise OptionsError(f"no setting mends this: {refusal}.")
    return replace(config, rounding_threshold_bits=refusal.rounding_bits)
