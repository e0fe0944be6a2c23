"""Lesson 6: functions are tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pages.ui.charts import lessons_tables as charts
from pages.ui.learn.controls import Choice, Named, Number, Slider
from pages.ui.learn.lessons import loaded
from pages.ui.learn.stage import Lesson
from quantlib.analysis.widths.table_costs import WIDEST_TABLE_BITS, look_up_complexity
from quantlib.core.widths import bit_width
from quantlib.lessons.tables import FUNCTIONS, HIGH, LOW, example_table
from quantlib.questions import learn

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage
    from quantlib.arrays import IntArray

CODE = """from quantlib.lessons.tables import example_table

table = example_table({function!r}, n_bits={n_bits}, removed={removed})
table.codes  # {steps} steps over {entries} entries"""

MODEL_CODE = """from quantlib.questions import learn

found = learn.segment(bench, config, {layer!r}, channel={channel}, removed={removed})
found.functions, found.steps  # {functions}, {steps}"""

COST_CODE = """from quantlib.analysis.widths.table_costs import look_up_complexity

look_up_complexity({width}) / look_up_complexity({after})  # {ratio:.2f}"""


def draw(stage: Stage) -> None:
    """Draw a table of an example or of the loaded model, or what tables cost."""
    view = stage.value("view")
    if view == "cost":
        _cost(stage)
    elif view == "model":
        _model(stage)
    else:
        _example(stage)


def _example(stage: Stage) -> None:
    function, n_bits, removed = (
        stage.value("function"), stage.value("n_bits"), stage.value("removed"),
    )  # fmt: skip
    full = example_table(function, n_bits=n_bits, removed=0)
    cut = example_table(function, n_bits=n_bits, removed=removed)
    stage.figure(
        charts.table(full.integers, full.reals, full.codes, cut.codes, cut.grid, look=stage.look)
    )
    _formula(stage, LOW, HIGH, removed, full.codes, cut.codes)
    stage.code(
        CODE.format(
            function=function, n_bits=n_bits, removed=removed, steps=_steps(cut.codes),
            entries=len(cut.codes),
        ),
        label=stage.text.says["show_code"],
    )  # fmt: skip


def _model(stage: Stage) -> None:
    chosen = loaded.layer(stage, need_table=True)
    if chosen is None:
        return
    current, layer = chosen
    channel = min(stage.value("channel"), layer.channels - 1)
    removed = stage.value("removed")
    full, cut = (
        current.ask(
            learn.segment, loaded.config(current), layer.name, channel=channel, removed=bits
        )
        for bits in (0, removed)
    )
    stage.figure(
        charts.table(full.integers, full.reals, full.codes, cut.codes, cut.grid, look=stage.look)
    )
    _formula(stage, full.low, full.high, removed, full.codes, cut.codes)
    functions = " → ".join(full.functions) or stage.text.says["no_function"]
    stage.say("whose", aside=True, model=loaded.name(), layer=loaded.plain(full.layer),
        reader=loaded.plain(full.reader), functions=loaded.plain(functions),
    )  # fmt: skip
    if full.step > 1:
        stage.say("thinned", aside=True, step=full.step)
    stage.code(
        MODEL_CODE.format(
            layer=full.layer, channel=channel, removed=removed, functions=full.functions,
            steps=cut.steps,
        ),
        label=stage.text.says["show_code"],
    )  # fmt: skip


def _formula(
    stage: Stage, low: int, high: int, removed: int, full: IntArray, cut: IntArray
) -> None:
    paint = stage.paint
    width = bit_width(low, high)
    lost = int(np.unique(full).size) - int(np.unique(cut).size)
    stage.formula(
        rf"{stage.word('acc')} &\in [{low}, {high}]",
        rf"{stage.word('entries')} &= 2^{{{width}}} = {2**width}",
        rf"&\to 2^{{{max(1, width - removed)}}}"
        rf" = {paint('back', 2 ** max(1, width - removed))}",
        rf"{stage.word('number')} &= {_steps(full)} \to {paint('code', _steps(cut))}",
        rf"{stage.word('vanish')} &= {paint('error', lost)}",
    )


def _steps(codes: IntArray) -> int:
    return int(np.count_nonzero(np.diff(codes)))


def _cost(stage: Stage) -> None:
    width, removed = stage.value("width"), stage.value("removed")
    after = max(1, width - removed)
    by_width = {w: look_up_complexity(w) for w in range(1, WIDEST_TABLE_BITS + 1)}
    stage.figure(charts.costs(by_width, now=width, after=after, look=stage.look))
    ratio = by_width[width] / by_width[after]
    paint = stage.paint
    stage.formula(
        rf"{width} \;{stage.word('bits')} &: {paint('back', f'{by_width[width] / 1e6:.4g}')}"
        r" \cdot 10^6",
        rf"{after} \;{stage.word('bits')} &: {paint('zero', f'{by_width[after] / 1e6:.4g}')}"
        r" \cdot 10^6",
        rf"{stage.word('ratio')} &= {ratio:.3g}",
    )
    stage.say("source", aside=True)
    stage.code(
        COST_CODE.format(width=width, after=after, ratio=ratio),
        label=stage.text.says["show_code"],
    )


LESSON = Lesson(
    6,
    "tables",
    (
        Choice("view", ("example", "model", "cost"), "example"),
        Choice("function", tuple(FUNCTIONS), "Sigmoid"),
        Slider("n_bits", 2, 6, 3, 1),
        Slider("removed", 0, 6, 0, 1),
        Slider("width", 1, 16, 10, 1),
        Named("layer"),
        Number("channel", 0, 511, 0),
    ),
    draw,
)
