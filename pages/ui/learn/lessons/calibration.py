"""Lesson 7: calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pages.ui.charts import lessons_ranges as charts
from pages.ui.learn.controls import Choice, Named, Slider, Steps
from pages.ui.learn.lessons import loaded
from pages.ui.learn.stage import Lesson
from quantlib import wording
from quantlib.core.estimator import ESTIMATORS
from quantlib.core.options import QuantizationOptions
from quantlib.lessons.ranges import few_samples, race, ranked_by_error
from quantlib.questions import calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.learn.stage import Stage
    from quantlib.analysis.distributions import RangeChoice
    from quantlib.arrays import AnyArray, FloatArray

CODE = """from quantlib.lessons.ranges import race

found = race({reach:g}, {n_bits})
best = found.choices[-1]
best.estimator.name, best.fit.sqnr_db  # {best!r}, {sqnr:.1f}"""

MODEL_CODE = """from quantlib.questions import calibration

options = ql.QuantizationOptions({n_bits}, is_signed={signed})
calibration.choices(bench, "activations", {tensor!r}, options, power_of_two=False)"""

FEW_CODE = """from quantlib.lessons.ranges import few_samples

found = few_samples()
found.low, found.middle, found.high  # of the largest value, by the number of samples"""


WIDEST, BEST = r"S_{\text{min-max}}", r"S_{\text{best}}"
"""Names in formulas."""


def draw(stage: Stage) -> None:
    """Draw the race of estimators, on an example or the loaded model, or too few samples."""
    view = stage.value("view")
    if view == "samples":
        _few(stage)
    elif view == "model":
        _model(stage)
    else:
        _example(stage)


def _example(stage: Stage) -> None:
    reach, n_bits = stage.value("reach"), stage.value("n_bits")
    found = race(reach, n_bits)
    stage.figure(charts.race(found.counts, found.edges, found.choices, look=stage.look))
    _formula(stage, found.choices, n_bits)
    best = found.choices[-1]
    assert best.estimator is not None
    stage.code(
        CODE.format(reach=reach, n_bits=n_bits, best=best.estimator.name, sqnr=best.fit.sqnr_db),
        label=stage.text.says["show_code"],
    )


def _formula(stage: Stage, choices: Sequence[RangeChoice], n_bits: int) -> None:
    """Compare the widest range with the one that wins."""
    best = choices[-1]
    plain = next(c for c in choices if c.estimator is not None and c.estimator.name == "min-max")
    assert best.estimator is not None
    steps = [float(choice.quantizer.scale) for choice in (plain, best)]
    paint = stage.paint
    stage.formula(
        rf"{paint('scale', WIDEST)} &= {paint('scale', f'{steps[0]:.4g}')}",
        rf"{paint('zero', BEST)} &= {paint('zero', f'{steps[1]:.4g}')}",
        rf"{stage.word('ratio')} &= {steps[0] / steps[1]:.3g}"
        rf" = {20 * np.log10(steps[0] / steps[1]):.1f} \text{{ dB}}",
        rf"{stage.word('clipped')} &= {paint('error', f'{100 * best.fit.clipped_share:.2g}')} \%",
    )
    stage.say(
        "winner",
        best=ESTIMATORS[best.estimator.name].label,
        sqnr=wording.decibel(best.fit.sqnr_db),
        plain=wording.decibel(plain.fit.sqnr_db),
        n_bits=n_bits,
    )


def _model(stage: Stage) -> None:
    """Let the estimators race on an activation of the loaded model."""
    if stage.current is None:
        stage.inform("no_model")
        return
    measured = stage.current.ask(calibration.distributions).activations
    tensor = stage.pick("tensor", list(measured))
    n_bits = stage.value("n_bits")
    found = measured[tensor]
    signed = float(found.extremes.rmin) < 0
    options = QuantizationOptions(n_bits, is_signed=signed)
    every = stage.current.ask(
        calibration.choices, "activations", tensor, options, power_of_two=False
    )
    ranked = ranked_by_error(every)
    counts, edges = _joined(found.counts, found.edges)
    stage.figure(charts.race(counts, edges, ranked, look=stage.look))
    _formula(stage, ranked, n_bits)
    stage.say("whose", aside=True, model=loaded.name(), tensor=loaded.plain(tensor))
    stage.code(
        MODEL_CODE.format(n_bits=n_bits, signed=signed, tensor=tensor),
        label=stage.text.says["show_code"],
    )


_BARS = 160


def _joined(counts: AnyArray, edges: FloatArray) -> tuple[AnyArray, FloatArray]:
    """Join neighbouring bins until few enough are left to draw."""
    join = -(-len(counts) // _BARS)
    starts = np.arange(0, len(counts), join)
    return np.add.reduceat(counts, starts), edges[np.append(starts, len(counts))]


def _few(stage: Stage) -> None:
    samples = int(stage.value("samples"))
    found = few_samples()
    stage.figure(charts.few_samples(found, chosen=samples, look=stage.look))
    place = int(np.flatnonzero(found.samples == samples)[0])
    low, middle, high = (float(part[place]) for part in (found.low, found.middle, found.high))
    paint = stage.paint
    stage.formula(
        rf"{stage.word('largest')} \; ({samples}) &: {paint('scale', f'{middle:.3g}')}",
        rf"\text{{90 \%}} &: [{paint('error', f'{low:.3g}')}, {paint('error', f'{high:.3g}')}]",
        rf"{stage.word('later')} &= {100 * float(found.clipped[place]):.2g} \%",
    )
    stage.say("few", aside=True)
    stage.code(FEW_CODE, label=stage.text.says["show_code"])


LESSON = Lesson(
    7,
    "calibration",
    (
        Choice("view", ("race", "model", "samples"), "race"),
        Slider("reach", 0.0, 60.0, 20.0, 1.0),
        Slider("n_bits", 2, 8, 4, 1),
        Steps("samples", tuple(str(2**k) for k in range(10)), "8"),
        Named("tensor"),
    ),
    draw,
)
