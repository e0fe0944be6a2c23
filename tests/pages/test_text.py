"""Names and cells from outside, as Markdown and as spreadsheets read them."""

from __future__ import annotations

import csv as standard
import io
import re

import pandas as pd
import pytest

from pages.ui import text
from pages.ui.charts import theme
from pages.ui.tables import formats

_AUTOLINK = re.compile(
    r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)|([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)", re.IGNORECASE
)
"""The literal addresses that GitHub's Markdown, which Streamlit draws, makes links of."""

HOSTILE = [
    "https://example.org/a?b=c", "HTTP://EXAMPLE.ORG", "www.example.org", "a.b@c.example",
    "see https://a.example, www.b.example and c@d.example", "&lt;b&gt; &amp; &copy;",
    "<b>bold</b>", "[a](http://b)", "![i](http://c/d.png)", "$x^2$", ":red[warm]", "`code`",
    "a|b", "~~gone~~", "**b** __c__",
]  # fmt: skip


def shown(markdown: str) -> str:
    """Return what Markdown shows for a text that is escaped throughout."""
    return re.sub(r"\\([\W_])", r"\1", markdown).replace("\u2060", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_typed_and_holds_no_address(name: str) -> None:
    drawn = text.plain(name)
    assert shown(drawn) == name
    unescaped = re.sub(r"\\([\W_])", r"\1", drawn)
    assert not _AUTOLINK.search(unescaped)
    for sign in re.finditer(r"[\\`*_{}\[\]()<>#!|~$:&]", drawn):
        before = drawn[: sign.start()]
        slashes = len(before) - len(before.rstrip("\\"))
        assert slashes % 2 == 1 or sign.group() == "\\", (drawn, sign)


@pytest.mark.parametrize("name", ["<b>x</b>", "%{x} %{customdata[0]}", "a & b &lt;"])
def test_a_chart_shows_a_name_as_typed(name: str) -> None:
    drawn = theme.plain(name)
    assert "<" not in drawn and ">" not in drawn and "%{" not in drawn
    back = drawn.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert back.replace("\u200b", "") == name


def test_cells_that_a_spreadsheet_runs_are_quoted_and_all_others_stay() -> None:
    cells = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "", "x=1", "a,b", 'q"q', None, "é"]
    table = pd.DataFrame({"=name": cells, "value": range(len(cells))})
    rows = list(standard.reader(io.StringIO(text.csv(table).decode(), newline="")))
    assert rows[0] == ["'=name", "value"]
    read = [row[0] for row in rows[1:]]
    assert read[:7] == [f"'{cell}" for cell in cells[:7]]
    assert read[7:] == ["", "x=1", "a,b", 'q"q', "", "é"]
    assert not formats(table)
