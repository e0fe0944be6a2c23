"""Lesson 2: the zero point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import quantlib as ql
from pages.ui.charts import lessons_line as charts
from pages.ui.learn.controls import Choice, Slider
from pages.ui.learn.stage import Lesson

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage

SCHEMES = {
    "unsigned": {},
    "signed": {"is_signed": True},
    "symmetric": {"is_signed": True, "is_symmetric": True},
    "narrow": {"is_signed": True, "is_symmetric": True, "is_narrow": True},
}
"""Options by scheme; a symmetric grid is signed, so no control can contradict another."""

CODE = """import numpy as np
import quantlib as ql

options = ql.QuantizationOptions({arguments})
stats = ql.MinMaxQuantizationStats(rmin=np.float64({low:g}), rmax=np.float64({high:g}))
grid = ql.UniformQuantizer.from_stats(options, stats)
grid.scale, grid.zero_point  # {scale:.6g}, {zero}
grid.qmin, grid.qmax         # {qmin}, {qmax}"""


def draw(stage: Stage) -> None:
    """Draw the four schemes over one range, or the order of rounding at ties."""
    view = stage.value("view")
    low, high = stage.value("range")
    n_bits = stage.value("n_bits")
    stats = ql.MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
    chosen = stage.value("scheme")
    grids = {
        name: ql.UniformQuantizer.from_stats(ql.QuantizationOptions(n_bits, **members), stats)
        for name, members in SCHEMES.items()
    }
    grid = grids[chosen]
    if view == "ties":
        stage.figure(charts.ties(grid, look=stage.look))
    else:
        stage.figure(charts.schemes(grids, chosen=chosen, ends=(low, high), look=stage.look))
    if high - low < 1e-6:
        stage.inform("constant")
    elif view == "ties":
        _tie(stage, grid)
    else:
        _formula(stage, grid, low, high)
    arguments = ", ".join([str(n_bits), *(f"{k}={v}" for k, v in SCHEMES[chosen].items())])
    stage.code(
        CODE.format(
            arguments=arguments, low=low, high=high, scale=float(grid.scale),
            zero=grid.zero_point, qmin=grid.qmin, qmax=grid.qmax,
        ),
        label=stage.text.says["show_code"],
    )  # fmt: skip


def _formula(stage: Stage, grid: ql.UniformQuantizer, low: float, high: float) -> None:
    paint, scale, zero = stage.paint, float(grid.scale), grid.zero_point
    assert isinstance(zero, int)
    s, z = paint("scale", f"{scale:.4g}"), paint("zero", zero)
    if grid.is_symmetric:
        reach = paint("range", f"{max(abs(low), abs(high)):g}")
        lines = [
            rf"{paint('scale', 'S')} &= \tfrac{{\max(|\alpha|, |\beta|)}}{{q_{{max}}}}"
            rf" = \tfrac{{{reach}}}{{{grid.qmax}}} = {s}",
            rf"{paint('zero', 'Z')} &= {z}",
        ]
    else:
        exact = -low / scale - grid.offset
        edges = paint("range", f"{high:g} - ({low:g})")
        lines = [
            rf"{paint('scale', 'S')} &= \tfrac{{{edges}}}{{{2**grid.n_bits - 1}}} = {s}",
            rf"{paint('zero', 'Z')} &= \mathrm{{rint}}({exact:.4g}) = {z}",
        ]
    used = charts.used_codes(grid, (low, high))
    kept = used[1] - used[0] + 1
    # both bounds count as wasted or used: narrow grids leave their lowest code out as well
    lines += [
        rf"0 &\mapsto {z} \mapsto {s} \cdot ({z} - {z}) = 0",
        rf"{stage.named('code', 'used')} &: {paint('code', used[0])} \dots"
        rf" {paint('code', used[1])}",
        rf"{stage.named('error', 'wasted')} &= 2^{{{grid.n_bits}}} - {kept}"
        rf" = {paint('error', 2**grid.n_bits - kept)}",
    ]
    stage.formula(*lines)
    if not grid.qmin <= zero <= grid.qmax:
        stage.warn("zero_outside", zero=zero, qmin=grid.qmin, qmax=grid.qmax)
    else:
        stage.say("zero_exact")


def _tie(stage: Stage, grid: ql.UniformQuantizer) -> None:
    paint, zero = stage.paint, grid.zero_point
    assert isinstance(zero, int)
    z = paint("zero", zero)
    after, before = int(np.rint(0.5 + zero)), int(np.rint(0.5) + zero)
    stage.formula(
        rf"x / S &= {paint('value', '0.5')}",
        rf"\mathrm{{rint}}({paint('value', '0.5')} + {z}) &= {paint('code', after)}",
        rf"\mathrm{{rint}}({paint('value', '0.5')}) + {z} &= {paint('scale', before)}",
    )
    stage.say("odd" if zero % 2 else "even", zero=zero)


LESSON = Lesson(
    2,
    "zero",
    (
        Choice("view", ("schemes", "ties"), "schemes"),
        Slider("range", -10.0, 10.0, (-1.0, 3.0), 0.1),
        Slider("n_bits", 2, 8, 4, 1),
        Choice("scheme", tuple(SCHEMES), "unsigned"),
    ),
    draw,
)
