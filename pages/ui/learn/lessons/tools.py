"""Lesson 10: how tools differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pages.ui.charts import lessons_tools as charts
from pages.ui.learn.controls import Choice, Slider
from pages.ui.learn.lessons.examples import documented
from pages.ui.learn.stage import Lesson
from quantlib.conventions import CONVENTIONS, Scheme, convert
from quantlib.conventions.ranges import ClipMode

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage
    from quantlib.arrays import FloatArray

CODE = """from quantlib.conventions import Scheme, convert

made = convert({tool!r}, values, n_bits={n_bits}, scheme=Scheme.{scheme})
made.scale, made.zero_point, made.codes"""


def tensors() -> dict[str, FloatArray]:
    """Return the tensors that can be chosen: the documentation's array and four that part tools."""
    steps = np.array([-0.5, 0.5, 1.5, 2.5, 3.5, 5.5])
    return {
        "documented": documented(),
        "positive": np.array([1.0, 1.3, 1.8, 2.2, 2.9, 3.1, 3.4, 4.0]),
        "relu": np.array([0.0, 0.0, 0.0, 0.4, 0.7, 1.2, 1.9, 3.0]),
        "outlier": np.array([-0.6, -0.4, -0.1, 0.0, 0.2, 0.3, 0.5, 6.0]),
        "ties": np.concatenate([[-1.0], steps, [6.0]]),
    }


def draw(stage: Stage) -> None:
    """Draw one tensor on the grids of five tools."""
    name, n_bits = stage.value("tensor"), stage.value("n_bits")
    scheme = Scheme(stage.value("scheme"))
    clip = ClipMode(stage.value("clip"))
    values = tensors()[name]
    made = {
        tool: convert(tool, values, n_bits=n_bits, scheme=scheme, clip=clip) for tool in CONVENTIONS
    }
    stage.figure(charts.conventions(values, made, look=stage.look))
    first, *others = made
    paint = stage.paint
    stage.formula(
        *(
            rf"\text{{{tool}}} &: {paint('scale', f'S = {found.scale:.4g}')},\;"
            rf" {paint('zero', f'Z = {found.zero_point}')}"
            for tool, found in made.items()
        ),
        small=True,
    )
    for tool in others:
        same = np.array_equal(made[tool].codes, made[first].codes)
        far = float(np.abs(made[tool].reals - made[first].reals).max())
        if same:
            stage.say("same", aside=True, tool=tool)
        elif far < 1e-6:
            stage.say(
                "names", aside=True, tool=tool, shift=made[tool].zero_point - made[first].zero_point
            )
        else:
            stage.say(f"{tool} {scheme.value}", aside=True)
    stage.table(
        pd.DataFrame(
            {
                stage.text.figure["tool"]: list(made),
                "S": [found.scale for found in made.values()],
                "Z": [found.zero_point for found in made.values()],
                stage.text.figure["ends"]: [f"{f.qmin} … {f.qmax}" for f in made.values()],
                stage.text.figure["codes"]: [
                    ", ".join(map(str, f.codes.tolist())) for f in made.values()
                ],
                stage.text.figure["rounds"]: [CONVENTIONS[tool].ties for tool in made],
                stage.text.figure["source"]: [CONVENTIONS[tool].source for tool in made],
            }
        )
    )
    stage.code(
        CODE.format(tool="ONNX Runtime", n_bits=n_bits, scheme=scheme.name),
        label=stage.text.says["show_code"],
    )


LESSON = Lesson(
    10,
    "tools",
    (
        Choice("tensor", ("documented", "positive", "relu", "outlier", "ties"), "positive"),
        Slider("n_bits", 2, 8, 3, 1),
        Choice("scheme", ("affine", "symmetric"), "affine"),
        Choice("clip", ("NONE", "AVG", "N_STD"), "NONE"),
    ),
    draw,
)
