"""Lesson 8: after training or while training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, state
from pages.ui.charts import lessons_training as charts
from pages.ui.home import samples
from pages.ui.learn.controls import Slider
from pages.ui.learn.lessons import loaded
from pages.ui.learn.stage import Lesson
from quantlib.questions import learn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pages.ui.learn.stage import Stage
    from quantlib.questions.learn import AtWidth

WIDTHS = tuple(range(2, 9))

CODE = """import quantlib as ql

config = ql.QuantizationConfig.from_n_bits({n_bits})
ql.evaluate(bench, config).score"""


def partners(name: str, every: Iterable[str]) -> tuple[str, ...]:
    """Return the samples that are a sample trained with its grids: ``NAME_qat``, ``NAME_qat3``."""
    return tuple(other for other in every if re.fullmatch(rf"{re.escape(name)}_qat\w*", other))


def draw(stage: Stage) -> None:
    """Draw the loaded model at 2 to 8 bits, and its partners that were trained with their grids."""
    chosen = stage.value("n_bits")
    if stage.current is None:
        stage.inform("no_model")
        return
    base = re.sub(r"_qat\w*$", "", state.model_name())
    known = samples.cards()
    source = _sample(base) if base in known else stage.current.source
    every = [_after(source, n, stage) for n in WIDTHS]
    trained = [engine.ask(_sample(other), learn.as_trained) for other in partners(base, known)]
    stage.figure(charts.by_width(every, trained, chosen=chosen, look=stage.look))
    _formula(stage, every, chosen)
    stage.say("whose", aside=True, model=loaded.plain(base))
    if not trained:
        stage.say("no_partner", aside=True)
    stage.code(CODE.format(n_bits=chosen), label=stage.text.says["show_code"])


def _after(source: engine.Source, n_bits: int, stage: Stage) -> AtWidth:
    """Measure one width; say which while it is new."""
    if engine.is_known(source, learn.after_training, n_bits):
        return engine.ask(source, learn.after_training, n_bits)
    with stage.figure_place, st.spinner(stage.text.says["measuring"].format(n_bits=n_bits)):
        return engine.ask(source, learn.after_training, n_bits)


def _sample(name: str) -> engine.Source:
    """Register a sample's files."""
    card = samples.cards()[name]
    model = engine.register(card.model_bytes, name=card.name)
    return engine.Source(model, engine.register(card.data_bytes, name=f"{name}.npz"))


def _formula(stage: Stage, every: list[AtWidth], chosen: int) -> None:
    found = next(point for point in every if point.n_bits == chosen)
    top = 2 ** (chosen - 1) - 1
    factor = 100 if found.name in ("accuracy", "agreement") else 1
    unit = r"\,\%" if factor == 100 else ""
    paint, name = stage.paint, stage.text.figure.get(found.name, found.name)
    lines = [
        rf"{paint('code', chosen)} &: q \in [{-top}, {top}]",
        rf"{stage.word('weights')} \to 0 &: {paint('scale', f'{100 * found.zero_share:.3g}')}\,\%",
        rf"\text{{{name}}} &="
        rf" {paint('scale', f'{factor * found.figure:.4g}')}{unit}",
    ]
    if found.name != "SQNR":
        float_figure = paint("range", f"{factor * found.float_figure:.4g}")
        lines.append(rf"{stage.word('float')} &= {float_figure}{unit}")
    stage.formula(*lines)


LESSON = Lesson(8, "training", (Slider("n_bits", 2, 8, 3, 1),), draw)
