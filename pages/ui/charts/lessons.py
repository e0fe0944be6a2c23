"""What all figures of lessons share: colours of numbers, size of type, tick labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pages.ui.charts import theme

if TYPE_CHECKING:
    from collections.abc import Mapping

    import plotly.graph_objects as go

    from quantlib.arrays import IntArray


@dataclass(frozen=True, slots=True)
class Palette:
    """A colour for each kind of number: the same in formula and figure.

    Each has a contrast of at least 4.5 on `ground`, so that digits can be read in it; `quiet` has
    none to show.
    """

    ground: str
    ink: str
    range: str
    value: str
    back: str
    scale: str
    code: str
    zero: str
    error: str
    quiet: str


LIGHT = Palette(
    ground="#FFFFFF", ink="#31333F", range="#5F5F5F", value="#7B3FA0", back="#B01E6E",
    scale="#0067A6",
    code="#955800", zero="#00704F", error="#B83A00", quiet="#C4C4C4",
)  # fmt: skip
DARK = Palette(
    ground="#0E1117", ink="#FAFAFA", range="#B8B8B8", value="#C9A0F0", back="#F58AC0",
    scale="#62B5F0",
    code="#F0AC3C", zero="#3CC79A", error="#FF8A5C", quiet="#565A66",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How a figure is drawn for whom.

    Parameters
    ----------
    palette : Palette
        For light or dark ground.
    words : mapping of str to str
        Names of axes and marks, in the reader's language.
    large : bool
        For a projector.
    """

    palette: Palette
    words: Mapping[str, str]
    large: bool = False

    @property
    def type_size(self) -> int:
        """Size of axis labels, pixels."""
        return 15 if self.large else 13


NORMAL_HEIGHT, LARGE_HEIGHT = 480, 280


def finished(figure: go.Figure, look: Look) -> go.Figure:
    """Set type, legend and height of a lesson's figure."""
    theme.framed(figure, height=LARGE_HEIGHT if look.large else NORMAL_HEIGHT)
    size, ink = look.type_size, look.palette.ink
    figure.update_layout(
        font={"size": size, "color": ink},
        margin={"l": 8, "r": 12, "t": 28 if look.large else 36, "b": 4},
        legend={"font": {"size": size, "color": ink}, "itemwidth": 30},
        hoverlabel={"font": {"size": size}},
    )
    figure.update_xaxes(
        tickfont={"size": size, "color": ink}, title_font={"size": size, "color": ink},
        title_standoff=6, automargin=True,
    )  # fmt: skip
    figure.update_yaxes(
        tickfont={"size": size, "color": ink}, title_font={"size": size, "color": ink},
        title_standoff=6, automargin=True,
    )  # fmt: skip
    figure.update_annotations(font_size=size)
    return figure


def labelled_codes(low: int, high: int, at_most: int = 10, *, always: int) -> IntArray:
    """Return which codes carry their number: multiples of a power of two, both ends, `always`.

    What is too near to one that stays makes place for it.
    """
    span = high - low
    step = 1
    while span // step + 1 > at_most:
        step *= 2
    inner = np.arange(-(-low // step) * step, high + 1, step, dtype=np.int64)
    kept: list[int] = []
    for code in (always, low, high, *inner.tolist()):
        if low <= code <= high and all(abs(code - other) >= 0.75 * step for other in kept):
            kept.append(code)
    return np.array(sorted(kept), dtype=np.int64)


def drawn_codes(low: int, high: int, at_most: int = 257) -> IntArray:
    """Return which codes are drawn as ticks: all, or evenly thinned ones."""
    count = min(high - low + 1, at_most)
    return np.unique(np.rint(np.linspace(low, high, count))).astype(np.int64)
