"""What lessons need of the loaded model; each says so when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages.ui import state, text
from quantlib.questions import learn

if TYPE_CHECKING:
    from pages.ui.current import Current
    from pages.ui.learn.stage import Stage
    from quantlib.analysis.neuron import Choice
    from quantlib.core.config import QuantizationConfig


def config(current: Current) -> QuantizationConfig:
    """Return the configuration of the sidebar."""
    return current.config


def name() -> str:
    """Return the loaded model's name, safe as Markdown."""
    return text.plain(state.file_name())


def plain(layer: str) -> str:
    """Return a layer's name, safe as Markdown."""
    return text.plain(layer)


def layer(stage: Stage, *, need_table: bool) -> tuple[Current, Choice] | None:
    """Let a layer of the loaded model be chosen; say why there is none to choose."""
    if stage.current is None:
        stage.inform("no_model")
        return None
    found = stage.current.ask(learn.layers, stage.current.config)
    usable = {c.name: c for c in found if c.has_table or not need_table}
    if not usable:
        stage.inform("no_layer", model=name())
        return None
    return stage.current, usable[stage.pick("layer", list(usable))]
