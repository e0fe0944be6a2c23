"""Lesson 1: from reals to integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import quantlib as ql
from pages.ui.charts import lessons_line as charts
from pages.ui.learn.controls import Choice, Slider
from pages.ui.learn.stage import Lesson
from quantlib.core.params import DEGENERATE_RANGE
from quantlib.lessons.ranges import shrinking

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage

CODE = """import numpy as np
import quantlib as ql

stats = ql.MinMaxQuantizationStats(rmin=np.float64({low:g}), rmax=np.float64({high:g}))
grid = ql.UniformQuantizer.from_stats(ql.QuantizationOptions({n_bits}), stats)
code = grid.quant(np.array([{value:g}]))  # {code}
grid.dequant(code)                        # {back:.6g}"""

SHRINK_CODE = """from quantlib.lessons.ranges import shrinking

found = shrinking({n_bits})
found.best  # {best:.2f} standard deviations"""


BACK, ERROR = r"\hat x", r"\hat x - x"
"""Names in formulas."""


def draw(stage: Stage) -> None:
    """Draw the grid of a range, or what happens as the range shrinks."""
    view = stage.value("view")
    if view == "shrink":
        _shrink(stage)
        return
    low, high = stage.value("range")
    n_bits, value = stage.value("n_bits"), stage.value("value")
    grid = ql.UniformQuantizer.from_stats(
        ql.QuantizationOptions(n_bits),
        ql.MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low)),
    )
    stage.figure(charts.number_line(grid, value=value, look=stage.look, around=view == "around"))
    code = int(grid.quant(np.array([value]))[0])
    back = float(grid.dequant(np.array([code]))[0])
    if high - low < DEGENERATE_RANGE:
        stage.inform("constant")
    else:
        _formula(stage, grid, low, high, value, code, back)
    stage.code(
        CODE.format(low=low, high=high, n_bits=n_bits, value=value, code=code, back=back),
        label=stage.text.says["show_code"],
    )


def _formula(
    stage: Stage,
    grid: ql.UniformQuantizer,
    low: float,
    high: float,
    value: float,
    code: int,
    back: float,
) -> None:
    """Write scale, zero point, code and value with the current numbers, each in its colour."""
    scale, zero = float(grid.scale), grid.zero_point
    assert isinstance(zero, int)
    position = value / scale + zero
    unclipped = int(np.rint(position))
    paint = stage.paint
    s, z, q, x = (
        paint("scale", f"{scale:.4g}"), paint("zero", zero), paint("code", code),
        paint("value", f"{value:g}"),
    )  # fmt: skip
    edges = paint("range", f"{high:g} - ({low:g})")
    stage.formula(
        rf"{paint('scale', 'S')} &= \tfrac{{\beta - \alpha}}{{2^n - 1}}"
        rf" = \tfrac{{{edges}}}{{{2**grid.n_bits - 1}}} = {s}",
        rf"{paint('zero', 'Z')} &= \mathrm{{rint}}(-\alpha / S)"
        rf" = \mathrm{{rint}}({-low / scale:.4g}) = {z}",
        rf"{paint('code', 'q')} &= \mathrm{{clip}}(\mathrm{{rint}}({x} / {s} + {z}))",
        rf"&= \mathrm{{clip}}({unclipped}) = {q}",
        rf"{paint('back', BACK)} &= {s} \cdot ({q} - {z})"
        rf" = {paint('back', f'{back:.4g}')}",
        rf"{paint('error', ERROR)} &= {paint('error', f'{back - value:+.4g}')}",
    )
    clipping(stage, grid, value, unclipped, code)


def clipping(
    stage: Stage, grid: ql.UniformQuantizer, value: float, unclipped: int, code: int
) -> None:
    """Say why a value saturates: beyond the range, or because rounding Z moved the grid."""
    stats = grid.quant_stats
    assert stats is not None
    low, high, half = float(stats.rmin), float(stats.rmax), abs(float(grid.scale)) / 2
    if unclipped == code:
        stage.say("inside", half=f"{half:.4g}")
    elif low <= value <= high:
        ends = grid.dequant(np.array([grid.qmin, grid.qmax]))
        stage.warn(
            "moved",
            x=f"{value:g}", code=code, unclipped=unclipped, low=f"{ends[0]:.4g}",
            high=f"{ends[1]:.4g}", exact=f"{-low / float(grid.scale) + grid.qmin:.4g}",
            zero=grid.zero_point,
        )  # fmt: skip
    else:
        stage.warn("outside", x=f"{value:g}", code=code, unclipped=unclipped)


def _shrink(stage: Stage) -> None:
    n_bits, reach = stage.value("n_bits"), stage.value("reach")
    every = shrinking(n_bits)
    here = shrinking(n_bits, reaches=np.array([reach]))
    stage.figure(charts.shrinking_range(every, reach=reach, look=stage.look))
    rounding, clipping_error = float(here.rounding[0]), float(here.clipping[0])
    paint = stage.paint
    stage.formula(
        rf"{paint('scale', 'S')} &= \tfrac{{2 \cdot {reach:g}}}{{{2**n_bits - 1}}}"
        rf" = {paint('scale', f'{2 * reach / (2**n_bits - 1):.4g}')}",
        rf"{stage.named('scale', 'rounding')} &= {paint('scale', f'{rounding:.3g}')}",
        rf"{stage.named('error', 'clipping')} &= {paint('error', f'{clipping_error:.3g}')}",
        rf"{stage.named('ink', 'whole')} &= {paint('back', f'{rounding + clipping_error:.3g}')}",
    )
    stage.say("best", best=f"{every.best:.2f}")
    stage.code(
        SHRINK_CODE.format(n_bits=n_bits, best=every.best), label=stage.text.says["show_code"]
    )


LESSON = Lesson(
    1,
    "line",
    (
        Choice("view", ("grid", "around", "shrink"), "grid"),
        Slider("range", -10.0, 10.0, (-2.0, 3.0), 0.1),
        Slider("n_bits", 1, 8, 3, 1),
        Slider("value", -12.0, 12.0, 1.3, 0.05),
        Slider("reach", 0.2, 5.0, 2.5, 0.05),
    ),
    draw,
)
