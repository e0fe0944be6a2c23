"""What every screen has: menu, sidebar, title, headline figures, error states."""

from __future__ import annotations

import runpy
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, inputs, links, previews, settings, signs, state, style, text, uploads
from pages.ui import headline as headlines
from pages.ui.current import Current
from quantlib.errors import QuantlibError
from quantlib.questions import evaluations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.questions.evaluations import DataCard

PAGES = Path(__file__).parents[1]

_MENU = (
    ("home", "Home", ":material/home:", "Choose a model and data."),
    (
        "learn",
        "Learn",
        ":material/school:",
        "How uniform quantization works, with movable numbers.",
    ),
    ("calibration", "Calibration", ":material/bar_chart:", "Are the ranges right?"),
    ("bitwidths", "Bit widths", ":material/width:", "Does every accumulator fit the limit?"),
    ("layers", "Layers", ":material/layers:", "Which layers need their bits?"),
    ("sweep", "Sweep", ":material/grid_on:", "Which widths and signs keep the accuracy?"),
    ("compare", "Compare", ":material/compare_arrows:", "What does quantization change?"),
    ("graph", "Graph", ":material/account_tree:", "Where in the model does it happen?"),
    (
        "encrypt",
        "Encrypt",
        ":material/lock:",
        "What does it cost under encryption, and is the result the same?",
    ),
    ("export", "Export", ":material/download:", "Take the configuration away."),
)

_entered: ContextVar[bool] = ContextVar("entered", default=False)


def run() -> None:
    """Draw the menu and run the chosen page; the whole of ``app.py``."""
    page = _navigation()
    _sidebar()  # drawn by app.py, so that Streamlit carries its values from screen to screen
    token = _entered.set(True)
    try:
        page.run()
    finally:
        _entered.reset(token)


def _navigation() -> st.Page:
    st.set_page_config(page_title="Quantization explorer", page_icon="🪜", layout="wide")
    pages = [
        st.Page(PAGES / f"{stem}.py", title=title, icon=icon, url_path=stem, help=purpose)
        for stem, title, icon, purpose in _MENU
    ]
    # Streamlit gives the default page the address "/" and no other; it is the same Home.
    root = st.Page(_root, title="Home", default=True, visibility="hidden")
    return st.navigation([root, *pages])


def _root() -> None:
    """Run Home at the address ``/``."""
    runpy.run_path(str(PAGES / "home.py"))


def begin(stem: str, sentence: str, *, headline: bool = True) -> Current:
    """Draw what precedes a page's own content and return what is current.

    Ends the script with a message when the model is missing or the controls contradict.
    """
    current = begin_without_model(stem, sentence, headline=headline)
    if current is None:
        st.stop()
    return current


def begin_without_model(stem: str, sentence: str, *, headline: bool = True) -> Current | None:
    """Do the same for a page that has something to offer without a model: return None then."""
    if not _entered.get():
        _navigation()
        if state.first_run():  # the next run goes through app.py: draw the controls only there
            st.rerun()
        _sidebar()
    style.show()
    state.forget_message(stem)
    title = next(name for key, name, *_ in _MENU if key == stem)
    with st.container(key="frame-title", horizontal=True, vertical_alignment="bottom"):
        st.header(title, anchor=False, width="content")
        st.caption(sentence, width="content")
    for words in links.unsaid():
        st.warning(text.plain(words, 300), icon=":material/link_off:")
    found = state.source()
    if found is None:
        _ask_for_upload()
        return None
    with shown_errors():
        config = settings.config()
        current = Current(engine.settled(found, config), config)
        previews.show(current)
        engine.data_card(found)  # model and data are readable
        if headline:
            figures(current)
        return current
    return None


def figures(current: Current) -> None:
    """Draw the headline figures, and beside the controls what ``auto`` came to."""
    headlines.draw(current, engine.data_card(current.source))
    signs.show_decided(current.evaluation())


def _sidebar() -> None:
    """Draw model, data and configuration."""
    uploads.settle()
    settings.adopt_waiting()
    links.remember()
    with st.sidebar:
        inputs.model_picker()
        found = state.source()
        if found is not None:
            with suppress(QuantlibError):  # the page shows what is wrong
                whole = replace(found, output="")
                inputs.output_picker(engine.ask(whole, evaluations.output_names))
                st.caption(_data_words(engine.data_card(whole)))
        inputs.configuration()
        inputs.pin_controls()
    links.compare()


def _ask_for_upload() -> None:
    """Say which model a link names."""
    st.info(
        f"This link names the model {text.plain(state.model_name())}, which is not on this "
        "server. Upload the same file on Home, or choose a sample in the sidebar."
    )
    st.page_link(PAGES / "home.py", label="Go to Home")


def _data_words(card: DataCard) -> str:
    words = f"{card.n_calibration} calibration, {card.n_evaluation} evaluation samples"
    return f"{words}, **synthetic**" if card.is_synthetic else words


def show_message(screen: str) -> None:
    """Draw what an upload on this screen left to say, or that it is tried still."""
    if screen == "home":
        uploads.show()
    found = state.message(screen)
    if found is not None:
        done, words = found
        (st.success if done else st.error)(text.plain(words, limit=600))


@contextmanager
def shown_errors() -> Iterator[None]:
    """Show the project's own errors as one message; anything else stays loud."""
    try:
        yield
    except QuantlibError as error:
        st.error(text.plain(str(error), limit=600), icon=":material/error:")
