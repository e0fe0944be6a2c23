"""Lesson 3: the documentation's worked examples, editable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import quantlib as ql
from pages.ui.charts import lessons_line as charts
from pages.ui.learn.controls import Choice, Words
from pages.ui.learn.stage import Lesson

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage
    from quantlib.arrays import FloatArray

EXAMPLES = {
    "7u": (7, False),
    "3u": (3, False),
    "3s": (3, True),
}
"""Width and whether signed and symmetric, as in the documentation."""

MOST = 64
"""Values or codes that are taken."""

CODE = """import numpy as np
import quantlib as ql

{values}
array = ql.QuantizedArray({n_bits}, values{signs})
array.quantizer.scale       # {scale}
array.quantizer.zero_point  # {zero}
array.qvalues               # {codes}

grid = array.quantizer
back = ql.QuantizedArray(
    {n_bits}, {typed}, value_is_float=False,
    options=grid.quant_options, stats=grid.quant_stats, params=grid.quant_params,
)
back.dequant()              # {decoded}"""


def documented() -> FloatArray:
    """Return the array of the documentation's example."""
    return np.asarray(np.random.RandomState(0).uniform(-2, 2, 10))


BACK = r"\hat x"
"""Name in formulas."""


def draw(stage: Stage) -> None:
    """Quantize the array, and take codes alone back to reals."""
    n_bits, symmetric = EXAMPLES[stage.value("example")]
    typed = stage.value("values")
    values = documented() if not typed.strip() else read_numbers(typed)
    if values is None:
        stage.refuse("no_numbers", typed=typed)
        return
    array = ql.QuantizedArray(n_bits, values, is_signed=symmetric, is_symmetric=symmetric)
    grid = array.quantizer
    stage.figure(charts.snapped(values, array.qvalues, grid, look=stage.look))
    paint = stage.paint
    stage.formula(
        rf"{paint('scale', 'S')} &= {paint('scale', f'{float(grid.scale):.6g}')}",
        rf"{paint('zero', 'Z')} &= {paint('zero', grid.zero_point)}",
        rf"{paint('code', 'q')} &\in [{grid.qmin}, {grid.qmax}]",
    )
    wanted = stage.value("codes")
    codes = read_codes(wanted)
    if codes is None:
        stage.refuse("no_codes", typed=wanted)
        return
    decoded = ql.QuantizedArray(
        n_bits, codes, value_is_float=False,
        options=grid.quant_options, stats=grid.quant_stats, params=grid.quant_params,
    ).dequant()  # fmt: skip
    first, back = int(codes[0]), float(decoded[0])
    q, s, z = (
        paint("code", first), paint("scale", f"{float(grid.scale):.4g}"),
        paint("zero", grid.zero_point),
    )  # fmt: skip
    stage.formula(
        rf"{paint('back', BACK)} &= {s} \cdot ({q} - {z}) = {paint('back', f'{back:.4g}')}"
    )
    stage.say("decoded", values=", ".join(f"{value:.6g}" for value in decoded))
    stage.table(
        pd.DataFrame(
            {
                "x": values.astype(float),
                stage.text.figure["codes"]: array.qvalues,
                stage.text.figure["back"]: grid.dequant(array.qvalues),
            }
        )
    )
    listed = (
        f"values = np.array({values.tolist()})"
        if typed.strip()
        else ("values = np.random.RandomState(0).uniform(-2, 2, 10)")
    )
    stage.code(
        CODE.format(
            values=listed, n_bits=n_bits, scale=float(grid.scale), zero=grid.zero_point,
            signs=", is_signed=True, is_symmetric=True" if symmetric else "",
            codes=array.qvalues.tolist(), typed=codes.tolist(),
            decoded=[round(float(value), 6) for value in decoded],
        ),
        label=stage.text.says["show_code"],
    )  # fmt: skip


def read_numbers(typed: str) -> FloatArray | None:
    """Return finite numbers separated by commas or blanks; None for anything else."""
    try:
        values = np.array([float(part) for part in typed.replace(",", " ").split()])
    except ValueError:
        return None
    good = 0 < values.size <= MOST and bool(np.all(np.abs(values) < 1e30))
    return values if good else None


def read_codes(typed: str) -> FloatArray | None:
    """Return integers of at most 64 bits; None for anything else."""
    parts = typed.replace(",", " ").split()
    try:
        return np.array([int(part) for part in parts[:MOST]], dtype=np.int64) if parts else None
    except (ValueError, OverflowError):
        return None


LESSON = Lesson(
    3,
    "examples",
    (
        Choice("example", tuple(EXAMPLES), "7u"),
        Words("values", ""),
        Words("codes", "0, 0, 1, 2, 3, -1"),
    ),
    draw,
)
