"""The parts of the Compare screen that show answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import state, tables, text
from pages.ui.charts import decisions, theme
from pages.ui.compare import tables as comparison_tables
from pages.ui.compare.sides import beside, columns, sides
from quantlib import wording
from quantlib.questions import compare as comparisons
from quantlib.questions import evaluations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.current import Current

MAX_IMAGES = 8


def show_decisions(current: Current) -> None:
    """Draw which answers change, of which classes, how sure they were, and where they are lost."""
    for name, config in columns(current):
        found = current.ask_of_output(comparisons.decisions, config)
        if found is None:
            st.info("The outputs are no scores of classes, so there are no answers to compare.")
            continue
        kept = found.n_samples - found.n_flips
        st.markdown(
            f"**{kept} of {found.n_samples}** samples keep their class "
            f"({wording.share(found.agreement)}, 95 % interval "
            f"{wording.share_interval(found.agreement_interval)})."
        )
        if found.divergence is not None:
            st.caption(
                f"Divergence from float {wording.divergence(found.divergence)}. "
                f"{comparison_tables.divergence_explained(found.divergence)}"
            )
        draw_decisions(current, found, name=name, tag=f"{name[0]}-{text.file_tag(config)}")
        if found.flips:
            _flips(current, found, name=name, tag=f"{name[0]}-{text.file_tag(config)}")


def draw_decisions(current: Current, found: comparisons.Decisions, *, name: str, tag: str) -> None:
    """Draw agreement by margin and the change of the confusion matrix."""
    key, names = f"compare.{name[0]}", class_names(current)
    wide = len(sides(current)) == 1 or name[0] not in "AB"
    left, right = st.columns(2) if wide else (st.container(), st.container())
    with left:
        st.plotly_chart(
            decisions.agreement_by_margin(found.margins),
            key=f"{key}.margins",
            height=360,
            config=theme.CONFIG,
            alt=f"{name}: share of samples that keep their class, by margin",
        )
        st.caption(
            "The margin is the distance between the two largest outputs before. Flips at small "
            "margins are close calls; flips at large ones are damage."
        )
        beside(
            comparison_tables.margins(found),
            key=f"{key}.margin",
            content=f"margins-{tag}",
            alt="agreement by margin",
        )
    with right:
        if not found.classes.size:
            st.success("No class gains or loses an answer.")
            return
        titles = [comparison_tables.title_of(int(n), names) for n in found.classes]
        rows = "label" if found.by_label else "class before"
        st.plotly_chart(
            decisions.confusion_change(found.change, titles, rows=rows, after="answer after"),
            key=f"{key}.confusion",
            height=max(360, 120 + 26 * len(titles)),
            config=theme.CONFIG,
            alt=f"{name}: change of the confusion matrix, in samples",
        )
        st.caption(
            "Samples more or fewer than before. Minus in a framed cell: a right answer lost; plus "
            "beside it: the wrong answer given instead."
            if found.by_label
            else "Samples more or fewer than before. Minus in a framed cell: answers that left "
            "this class; plus beside it: where they went."
        )
        beside(
            comparison_tables.classes(found, names),
            key=f"{key}.class",
            content=f"classes-{tag}",
            alt="classes that change",
        )


def class_names(current: Current) -> Sequence[str] | None:
    """Return the classes' names, of a sample on its own data."""
    card = state.sample()
    return card.class_names if card and state.source() == current.source else None


def _flips(current: Current, found: comparisons.Decisions, *, name: str, tag: str) -> None:
    """Draw the samples whose class changes."""
    card = state.sample()
    names = class_names(current)
    if card and card.image_shape and current.source.data:
        shown = found.flips[:MAX_IMAGES]
        images = current.ask(evaluations.evaluation_inputs, tuple(flip.sample for flip in shown))
        if images[0].size == card.image_shape[0] * card.image_shape[1]:
            with st.container(horizontal=True, gap="small"):
                for flip, image in zip(shown, images, strict=True):
                    place = found.diverges.get(flip.sample)
                    at = f", diverges at {text.plain(place)}" if place else ""
                    st.image(
                        text.grey_image(image.reshape(card.image_shape)),
                        width=112,
                        caption=f"{flip.float_class} → {flip.quantized_class}{at}",
                    )
    table = comparison_tables.flips(found, names)
    st.dataframe(table, hide_index=True, height=280, alt=f"{name}: samples whose class changes")
    st.caption(
        "The surest float decisions first. *Diverges at*: with everything up to this layer in "
        "integers and everything after it in float, the class is wrong, and it stays wrong as "
        "further layers follow; before it, a float rest still answers as the float model does."
    )
    tables.download(table, key=f"compare.{name[0]}.flips.csv", content=f"flips-{tag}")
