"""Lesson 8: after training or while training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, state
from pages.ui.charts import lessons_training as charts
from pages.ui.learn.controls import Slider
from pages.ui.learn.lessons import loaded
from pages.ui.learn.stage import Lesson
from quantlib.questions import learn

if TYPE_CHECKING:
    from pages.ui.home.samples import SampleCard, Variant
    from pages.ui.learn.stage import Stage
    from quantlib.questions.learn import AtWidth

WIDTHS = tuple(range(2, 9))

CODE = """import quantlib as ql

config = ql.QuantizationConfig.from_n_bits({n_bits})
ql.evaluate(bench, config).score"""


def trained_for(card: SampleCard) -> dict[str, bytes]:
    """Return the .onnx files of a sample that were trained with their grids, by name."""
    if twin(card) is None:
        return {}
    others = {v.name: v.model_bytes for v in card.variants if v is not twin(card)}
    return {card.name: card.model_bytes, **others}


def twin(card: SampleCard) -> Variant | None:
    """Return the float network of a sample that was trained with its grids."""
    return next((v for v in card.variants if v.name == f"{card.name}_float"), None)


def draw(stage: Stage) -> None:
    """Draw the loaded model at 2 to 8 bits, and its partners that were trained with their grids."""
    chosen = stage.value("n_bits")
    if stage.current is None:
        stage.inform("no_model")
        return
    card = state.sample()
    pair = twin(card) if card else None
    source = stage.current.source
    trained: list[AtWidth] = []
    if card is not None and pair is not None:
        source = _of(card, pair.name, pair.model_bytes)
        files = trained_for(card).items()
        found = [engine.ask(_of(card, *file), learn.as_trained) for file in files]
        trained = sorted(found, key=lambda point: point.n_bits)
    every = [_after(source, n, stage) for n in WIDTHS]
    stage.figure(charts.by_width(every, trained, chosen=chosen, look=stage.look))
    _formula(stage, every, chosen)
    stage.say("whose", aside=True, model=loaded.plain(pair.name) if pair else loaded.name())
    if not trained:
        stage.say("no_partner", aside=True)
    stage.code(CODE.format(n_bits=chosen), label=stage.text.says["show_code"])


def _after(source: engine.Source, n_bits: int, stage: Stage) -> AtWidth:
    """Measure one width; say which while it is new."""
    if engine.is_known(source, learn.after_training, n_bits):
        return engine.ask(source, learn.after_training, n_bits)
    with stage.figure_place, st.spinner(stage.text.says["measuring"].format(n_bits=n_bits)):
        return engine.ask(source, learn.after_training, n_bits)


def _of(card: SampleCard, name: str, content: bytes) -> engine.Source:
    """Register a file of a sample beside the sample's data."""
    data = engine.register(card.data_bytes, name=f"{card.name}.npz")
    return engine.Source(engine.register(content, name=name), data)


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
