"""Lesson 4: the integer matrix product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pages.ui.charts import lessons_product as charts
from pages.ui.learn.controls import Choice, Named, Number, Slider, Switch
from pages.ui.learn.lessons import loaded
from pages.ui.learn.stage import Lesson
from quantlib.lessons.products import example, width_of
from quantlib.questions import learn

if TYPE_CHECKING:
    from pages.ui.learn.stage import Stage
    from quantlib.analysis.neuron import Neuron

CODE = """from quantlib.lessons.products import example

product = example({terms}, x_bits={n_bits}, w_bits={n_bits}, symmetric={symmetric})
product.zero_points  # {zeros}
product.terms        # {found}
product.total        # {total}
product.result, product.exact  # {result:.4g}, {exact:.4g}"""

NEURON_CODE = """y, trace = module.forward(x, debug=True)
trace[{layer!r}]["output"]  # holds {accumulator}"""


PRODUCTS, WHOLE = r"\sum q_1 q_2", r"\sum (q_1 - Z_1)(q_2 - Z_2)"
OF_WEIGHTS, OF_INPUTS = r"- Z_1 \sum q_2", r"- Z_2 \sum q_1"
ACCUMULATOR = r"\sum q_x (q_w - Z_w)"
"""Names in formulas."""


def draw(stage: Stage) -> None:
    """Draw the four terms, the growing accumulator, or one neuron of the loaded model."""
    view = stage.value("view")
    if view == "model":
        _model(stage)
        return
    n_bits, terms = stage.value("n_bits"), stage.value("terms")
    symmetric = stage.value("symmetric")
    product = example(terms, x_bits=n_bits, w_bits=n_bits, symmetric=symmetric)
    if view == "growth":
        stage.figure(charts.growing(product, look=stage.look))
    else:
        stage.figure(charts.four_terms(product, look=stage.look))
    paint = stage.paint
    z1, z2 = product.zero_points
    products, minus_z1, minus_z2, constant = product.terms
    stage.formula(
        rf"N &= {terms}, \; {paint('zero', 'Z_1')} = {paint('zero', z1)}, \;"
        rf" {paint('zero', 'Z_2')} = {paint('zero', z2)}",
        rf"{paint('code', PRODUCTS)} &= {paint('code', products)}",
        rf"{paint('zero', OF_WEIGHTS)} &= {paint('zero', minus_z1)}",
        rf"{paint('zero', OF_INPUTS)} &= {paint('zero', minus_z2)}",
        rf"{paint('range', r'+ N Z_1 Z_2')} &= {paint('range', constant)}",
        rf"{paint('back', WHOLE)} &= {paint('back', product.total)}",
        rf"S_1 S_2 \cdot {paint('back', product.total)} &= {product.result:.4g}",
        small=True,
    )
    stage.say("float", aside=True, exact=f"{product.exact:.4g}")
    if view == "growth":
        stage.say(
            "bits",
            raw=width_of(product.running),
            corrected=width_of(product.running_accumulator),
            n_bits=n_bits,
        )
    stage.code(
        CODE.format(
            terms=terms, n_bits=n_bits, symmetric=symmetric, zeros=product.zero_points,
            found=product.terms, total=product.total, result=product.result, exact=product.exact,
        ),
        label=stage.text.says["show_code"],
    )  # fmt: skip


def _model(stage: Stage) -> None:
    """Follow one accumulator of the loaded model from its codes to the next layer's code."""
    chosen = loaded.layer(stage, need_table=False)
    if chosen is None:
        return
    current, layer = chosen
    channel = min(stage.value("channel"), layer.channels - 1)
    sample = stage.value("sample")
    found = current.ask(
        learn.neuron, loaded.config(current), layer.name, channel=channel, sample=sample
    )
    stage.figure(charts.neuron_growing(found, look=stage.look))
    _chain(stage, found)
    stage.say(
        "whose",
        aside=True,
        model=loaded.name(),
        layer=loaded.plain(found.layer),
        terms=len(found.q_x),
    )
    stage.table(
        pd.DataFrame(
            {
                "q_x": found.q_x, "q_w": found.q_w,
                stage.text.figure["each"]: found.q_x * (found.q_w - found.z_w),
                stage.text.figure["corrected"]: found.running,
            }
        )
    )  # fmt: skip
    stage.code(
        NEURON_CODE.format(layer=found.layer, accumulator=found.accumulator),
        label=stage.text.says["show_code"],
    )


def _chain(stage: Stage, found: Neuron) -> None:
    paint = stage.paint
    lines = [
        rf"{paint('back', ACCUMULATOR)} &= {paint('back', found.accumulator)}",
    ]
    if found.padding:
        lines.append(rf"{stage.word('padding')} &= {found.padding}")
    if found.rounded != found.accumulator:
        lines.append(rf"{stage.word('rounded')} &= {paint('scale', found.rounded)}")
    lines += [
        rf"{stage.word('value')} &= {paint('value', f'{found.value:.4g}')}",
        rf"{stage.word('float')} &= {paint('range', f'{found.float_value:.4g}')}",
        rf"{stage.word('error')} &= {paint('error', f'{found.value - found.float_value:+.3g}')}",
    ]
    if found.code is not None and found.code_value is not None:
        lines += [rf"&\to \text{{{name}}}" for name in found.functions]
        lines.append(rf"&\to {paint('code', f'q = {found.code}')} \to {found.code_value:.4g}")
    stage.formula(*lines)


LESSON = Lesson(
    4,
    "product",
    (
        Choice("view", ("terms", "growth", "model"), "terms"),
        Slider("n_bits", 2, 8, 3, 1),
        Slider("terms", 1, 64, 8, 1),
        Switch("symmetric"),
        Named("layer"),
        Number("channel", 0, 511, 0),
        Number("sample", 0, 49, 0),
    ),
    draw,
)
