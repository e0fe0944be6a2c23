"""The samples as cards, each with a thumbnail of its data."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.ui import settings, state
from pages.ui.home import png, samples
from quantlib import wording

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray

_COLUMNS = 4
_PICTURES, _ROWS = 7, 7
"""Samples in a thumbnail: of pictures beside each other, of tables one below the other."""


def show() -> None:
    """Draw the cards."""
    st.subheader("Samples", anchor=False)
    for i, card in enumerate(samples.cards().values()):
        if i % _COLUMNS == 0:
            columns = st.columns(_COLUMNS, gap="small")
        with columns[i % _COLUMNS].container(border=True, height="stretch"):
            current = state.model_name() == card.name
            st.html(
                f'<img src="{thumbnail(card)}" alt="" style="width: 100%; height: 2.5rem; '
                'image-rendering: pixelated; border-radius: 0.25rem">'
            )
            st.markdown(f"**{card.title}**")
            st.caption(
                f"{card.metric} {wording.score(card.metric_value, name=card.metric)} · "
                f"{wording.size(card.size_bytes)}",
                help=card.interesting,
            )
            st.button(
                "Current" if current else "Open",
                key=f"home.open.{card.name}",
                disabled=current,
                on_click=_open,
                args=(card.name,),
            )


def _open(name: str) -> None:
    st.session_state[settings.KEYS["model"]] = name


@lru_cache(maxsize=32)
def thumbnail(card: samples.SampleCard) -> str:
    """Return the address of a picture of a sample's first evaluation data.

    Pictures stand beside each other; of a table each row is a sample, and each column is grey
    from its smallest value to its largest.
    """
    with np.load(io.BytesIO(card.data_bytes)) as arrays:
        values = arrays["evaluation"].astype(np.float64)
    if values.ndim == 4:
        pictures = np.moveaxis(values[:_PICTURES], 1, -1)
    elif card.image_shape is not None:
        pictures = values[:_PICTURES].reshape(-1, *card.image_shape, 1)
    else:
        low, high = values.min(axis=0), values.max(axis=0)
        rows = (values[:_ROWS] - low) / np.where(high > low, high - low, 1.0)
        return png.data_address(_grey(rows[..., None]))
    return png.data_address(_grey(png.side_by_side(pictures)))


def _grey(values: AnyArray) -> AnyArray:
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
