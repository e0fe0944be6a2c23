"""Lesson 9: integers only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pages.ui.charts import lessons_integers as charts
from pages.ui.learn.controls import Slider, Steps
from pages.ui.learn.stage import Lesson
from quantlib.core.fixed_point import FixedPointMultiplier

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage

MULTIPLIERS = (
    "0.000731", "0.00125", "0.00342", "0.0072", "0.0119", "0.0273", "0.0517", "0.0996", "0.237",
    "0.481", "0.9375",
)  # fmt: skip
WIDTH = 1200
"""Accumulators that are drawn: from minus to plus this."""

CODE = """import numpy as np
from quantlib.core.fixed_point import FixedPointMultiplier

m = FixedPointMultiplier.from_real({real}, bits={bits})
m.mantissa, m.shift                 # {mantissa}, {shift}
m.apply(np.array([{accumulator}]))  # {result}
np.rint({real} * {accumulator})     # {exact}"""


def draw(stage: Stage) -> None:
    """Draw the fixed-point result against the exact one."""
    real, bits = float(stage.value("multiplier")), stage.value("bits")
    at = stage.value("accumulator")
    made = FixedPointMultiplier.from_real(real, bits)
    accumulators = np.arange(-WIDTH, WIDTH + 1, dtype=np.int64)
    exact = np.rint(real * accumulators).astype(np.int64)
    fixed = made.apply(accumulators)
    stage.figure(charts.against_exact(accumulators, exact, fixed, at=at, look=stage.look))
    one = np.array([at], dtype=np.int64)
    product = int(made.high_product(one)[0])
    result, right = int(made.apply(one)[0]), int(np.rint(real * at))
    paint = stage.paint
    m0, n = paint("code", made.mantissa), paint("zero", made.shift)
    stage.formula(
        rf"M &= {real:g}",
        rf"&= 2^{{-{n}}} \cdot {made.m0:.6g}",
        rf"M_0 &= {m0} / 2^{{{bits}}}",
        rf"({paint('value', at)} \cdot {m0}) \gg {bits} &= {paint('scale', product)}",
        rf"{paint('scale', product)} \gg {n} &= {paint('back', result)}",
        rf"\mathrm{{rint}}({real:g} \cdot {paint('value', at)}) &= {paint('range', right)}",
    )
    stage.say(
        "differ", count=int(np.count_nonzero(fixed != exact)), every=len(accumulators),
        most=int(np.abs(fixed - exact).max()), error=f"{abs(made.real / real - 1):.2g}",
    )  # fmt: skip
    stage.code(
        CODE.format(
            real=real, bits=bits, mantissa=made.mantissa, shift=made.shift, accumulator=at,
            result=result, exact=right,
        ),
        label=stage.text.says["show_code"],
    )  # fmt: skip


LESSON = Lesson(
    9,
    "integers",
    (
        Steps("multiplier", MULTIPLIERS, "0.0072"),
        Slider("bits", 2, 31, 4, 1),
        Slider("accumulator", -WIDTH, WIDTH, 777, 1),
    ),
    draw,
)
