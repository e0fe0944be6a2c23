"""Where a lesson stands: its controls, its formula, its figure, for a desk or a projector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui import tables
from pages.ui.charts import lessons as charts
from pages.ui.charts import theme
from pages.ui.learn.controls import Named
from pages.ui.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    import plotly.graph_objects as go

    from pages.ui.current import Current
    from pages.ui.learn.controls import Control
    from pages.ui.learn.texts import Text


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson.

    Parameters
    ----------
    number : int
        Its place, from 1; its text is the file of this number.
    slug : str
        Its name in links.
    controls : tuple of Control
        All that a link can set.
    draw : callable
        Fills a stage.
    """

    number: int
    slug: str
    controls: tuple[Control, ...]
    draw: Callable[[Stage], None]

    def key(self, name: str) -> str:
        """Return the widget key of a control, which is its name in the link."""
        return f"learn.{self.slug}.{name}"


@dataclass(slots=True)
class Stage:
    """The places of a lesson on the screen.

    Parameters
    ----------
    lesson : Lesson
        What is shown.
    text : Text
        Its words.
    current : Current or None
        The loaded model; None when a link names one that is not here.
    large : bool
        Whether for a projector.
    """

    lesson: Lesson
    text: Text
    current: Current | None
    large: bool
    _places: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if self.large:
            left, right = st.columns([3, 2], gap="medium")
            picture, side = left.container(), right.container()
            knobs = st.container(horizontal=True, gap="medium", vertical_alignment="bottom")
        else:
            with st.container(key="learn-stage"):
                left, right = st.columns([2, 3], gap="medium")
            knobs, side, picture = left.container(), left.container(), right.container()
        self._places = {
            "controls": knobs, "formula": side, "figure": picture, "below": st.container(),
        }  # fmt: skip

    @property
    def look(self) -> charts.Look:
        """Colours, words and size of the figures."""
        dark = st.context.theme.type == "dark"
        palette = charts.DARK if dark else charts.LIGHT
        return charts.Look(palette, self.text.figure, self.large)

    def value(self, name: str) -> Any:
        """Draw a control and return what it is set to."""
        control = self._control(name)
        assert not isinstance(control, Named)
        with self._places["controls"]:
            return control.draw(self.lesson.key(name), self.text.controls[name])

    def pick(self, name: str, options: list[str]) -> str:
        """Draw a choice among names that depend on the loaded model."""
        control = self._control(name)
        assert isinstance(control, Named)
        with self._places["controls"]:
            return control.draw_among(self.lesson.key(name), self.text.controls[name], options)

    def _control(self, name: str) -> Control:
        return next(control for control in self.lesson.controls if control.name == name)

    def paint(self, kind: str, tex: object) -> str:
        """Return TeX in the colour that this kind of number has in the figure."""
        return rf"\textcolor{{{getattr(self.look.palette, kind)}}}{{{tex}}}"

    def word(self, name: str) -> str:
        """Return a word of the figure as TeX."""
        return rf"\text{{{self.text.figure[name]}}}"

    def named(self, kind: str, word: str) -> str:
        """Return a word of the figure as TeX, in the colour that it has there."""
        return self.paint(kind, self.word(word))

    def formula(self, *lines: str, small: bool = False) -> None:
        """Draw aligned lines of TeX; `small` for long ones."""
        body, size = r" \\[2pt] ".join(lines), r"\small " if small else ""
        with self._places["formula"]:
            st.latex(rf"{size}\begin{{aligned}} {body} \end{{aligned}}")

    def say(self, name: str, *, aside: bool = False, **numbers: object) -> None:
        """Write a sentence beside the figure; one `aside` goes below on a projector."""
        place = self._places["below" if aside and self.large else "formula"]
        place.caption(self.text.says[name].format(**numbers))

    def warn(self, name: str, **numbers: object) -> None:
        """Write a sentence that must not be missed."""
        self._places["formula"].warning(self.text.says[name].format(**numbers))

    def inform(self, name: str, **numbers: object) -> None:
        """Write what stands in place of a formula."""
        self._places["formula"].info(self.text.says[name].format(**numbers))

    def refuse(self, name: str, *, typed: str) -> None:
        """Say that what was typed cannot be used, and what can."""
        self._places["formula"].error(self.text.says[name].format(typed=plain(typed)))

    def figure(self, figure: go.Figure) -> None:
        """Draw the figure."""
        with self._places["figure"]:
            st.plotly_chart(
                figure, key=f"learn.figure.{self.lesson.slug}", height=figure.layout.height,
                config=theme.CONFIG, alt=self.text.alt,
            )  # fmt: skip

    def table(self, table: pd.DataFrame) -> None:
        """Draw a table below; none for a projector."""
        if not self.large:
            with self._places["below"]:
                tables.show(table, alt=self.text.alt)

    def code(self, lines: str, *, label: str) -> None:
        """Show the lines of the library that compute what is seen."""
        if not self.large:
            with self._places["below"], st.expander(label, icon=":material/code:"):
                st.code(lines, language="python")

    @property
    def figure_place(self) -> Any:
        """Where the figure stands, for what replaces it for a moment."""
        return self._places["figure"]
