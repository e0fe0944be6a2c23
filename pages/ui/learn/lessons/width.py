"""Lesson 5: why 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pages.ui.charts import lessons_width as charts
from pages.ui.learn.controls import Choice, Slider, Switch
from pages.ui.learn.lessons import loaded
from pages.ui.learn.stage import Lesson
from quantlib.core.widths import bit_width
from quantlib.lessons.fan_in import Types, growth, type_width, widest_fan_in, without_low_bits

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage

CODE = """from quantlib.lessons.fan_in import Types, growth, type_width, widest_fan_in

types = Types({n_bits}, {n_bits}, symmetric={symmetric})
widest_fan_in({limit}, types)  # {largest}
growth(types).types            # width by the number of products"""

ROUND_CODE = """import numpy as np
from quantlib.lessons.fan_in import without_low_bits

removed = {removed}  # width {width} less rounding_threshold_bits {threshold}
without_low_bits(np.array([{value}]), removed)  # {rounded}"""


def draw(stage: Stage) -> None:
    """Draw width by fan-in, or the bits that rounding takes."""
    if stage.value("view") == "rounding":
        _rounding(stage)
        return
    n_bits, symmetric = stage.value("n_bits"), stage.value("symmetric")
    limit = int(stage.value("limit"))
    types = Types(n_bits, n_bits, symmetric)
    largest = widest_fan_in(limit, types)
    layers = _layers(stage)
    stage.figure(
        charts.by_fan_in(
            growth(types), limit=limit, largest=largest, layers=layers, look=stage.look
        )
    )
    paint = stage.paint
    low, high = types.weights
    top = types.top
    reach = -low * top
    lines = [
        rf"q_x &\le {paint('code', top)}, \quad q_w - Z_w \in [{low}, {high}]",
        rf"|{stage.word('acc')}| &\le K \cdot {top} \cdot {max(-low, high)}",
        rf"K = {paint('zero', largest)} &\Rightarrow {paint('zero', largest * reach)}"
        if largest
        else rf"K = 1 &\Rightarrow {paint('error', reach)}",
        rf"&\Rightarrow {paint('zero', type_width(max(1, largest), types))} \;{stage.word('bits')}",
    ]
    stage.formula(*lines)
    both = {s: widest_fan_in(limit, Types(n_bits, n_bits, s)) for s in (True, False)}
    stage.say("limit", limit=limit, symmetric=both[True], affine=both[False])
    if layers:
        stage.say("layers", aside=True, model=loaded.name())
    stage.code(
        CODE.format(n_bits=n_bits, symmetric=symmetric, limit=limit, largest=largest),
        label=stage.text.says["show_code"],
    )


def _layers(stage: Stage) -> list[tuple[str, int, int]]:
    """Return fan-in and width seen of the loaded model's layers."""
    if stage.current is None:
        return []
    found = stage.current.evaluation().layers
    return [
        (layer.name, layer.fan_in, layer.width_bits)
        for layer in found
        if layer.fan_in and layer.width_bits
    ]


def _rounding(stage: Stage) -> None:
    width, threshold = stage.value("width"), stage.value("threshold")
    removed = max(0, width - threshold)
    value = round((2**width - 1) * stage.value("part") / 100)
    rounded = int(without_low_bits(np.array([value], dtype=np.int64), removed)[0])
    stage.figure(charts.rounded_away(width, threshold, value, look=stage.look))
    paint = stage.paint
    step = 2**removed
    stage.formula(
        rf"{stage.word('gone')} &= \max(0, {width} - {threshold}) = {paint('error', removed)}",
        rf"{stage.word('step')} &= 2^{{{removed}}} = {paint('scale', step)}",
        rf"\left\lfloor ({paint('value', value)} + {step // 2}) / {step} \right\rfloor"
        rf" \cdot {step} &= {paint('back', rounded)}",
        rf"{stage.word('table')} &: 2^{{{width}}} \to {paint('code', f'2^{{{width - removed}}}')}",
    )
    stage.say("rounding", width=bit_width(0, max(1, rounded >> removed)))
    stage.code(
        ROUND_CODE.format(
            removed=removed, width=width, threshold=threshold, value=value, rounded=rounded
        ),
        label=stage.text.says["show_code"],
    )


LESSON = Lesson(
    5,
    "width",
    (
        Choice("view", ("growth", "rounding"), "growth"),
        Slider("n_bits", 2, 8, 4, 1),
        Switch("symmetric", True),
        Choice("limit", ("7", "8", "16"), "16"),
        Slider("width", 4, 18, 12, 1),
        Slider("threshold", 2, 16, 7, 1),
        Slider("part", 0, 100, 61, 1),
    ),
    draw,
)
