"""A report as one HTML file: sections given as values, nothing fetched from anywhere."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 6 * 2**20
"""Largest report that mail servers and browsers take gladly."""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and cells, as text.

    Parameters
    ----------
    columns : tuple of str
        Headings.
    rows : tuple of tuple of str
        Cells, one per heading.
    words : tuple of str
        Columns that hold words; figures align right.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure.

    Parameters
    ----------
    markup : str
        HTML of its own making, trusted: a chart's element with its script.
    caption : str
        What it shows, as text.
    """

    markup: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report.

    Parameters
    ----------
    title : str
        Heading, as text.
    paragraphs : tuple of str
        Text.
    tables : tuple of Table
        Tables below the text.
    figures : tuple of Figure
        Figures below the tables.
    code : str
        Text in a fixed-width face, in a box that opens on demand.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    code: str = ""


def report_html(title: str, sections: Sequence[Section], *, scripts: Sequence[str] = ()) -> str:
    """Return a report as one HTML document.

    Parameters
    ----------
    title : str
        Heading, as text.
    sections : sequence of Section
        In order; a list of contents links to them.
    scripts : sequence of str
        JavaScript that figures need, written once each; trusted.

    Notes
    -----
    Titles, text, headings and cells come from models and data, and are escaped. Colours follow
    the reader's light or dark ground; paper is white. A policy in the document forbids the
    browser to load anything.
    """
    body = "\n".join(_section(part, number) for number, part in enumerate(sections, 1))
    contents = "".join(
        f'<li><a href="#s{n}">{html.escape(part.title)}</a></li>'
        for n, part in enumerate(sections, 1)
    )
    drawn = any(part.figures for part in sections)
    loaded = "".join(f"<script>{_inline(text)}</script>\n" for text in (*scripts, _GROUND)[
        : None if drawn else 0
    ])  # fmt: skip
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_POLICY}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n{loaded}</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<nav><ul>{contents}</ul></nav>\n{body}\n</body>\n</html>\n"
    )


def fetches(document: str) -> tuple[str, ...]:
    """Return what a browser would fetch for a document, outside its scripts; nothing is right."""
    bare = re.sub(r"<script>.*?</script>", "", document, flags=re.DOTALL)
    tags = r"<(?:script|link|img|iframe|object|embed|source|video|audio|base)\b[^>]*>"
    return tuple(re.findall(tags, bare) + re.findall(r"(?:url\(|@import)[^;)]*", bare))


def _section(part: Section, number: int) -> str:
    pieces = [f'<section id="s{number}"><h2>{html.escape(part.title)}</h2>']
    pieces += [f"<p>{html.escape(text)}</p>" for text in part.paragraphs]
    pieces += [_table(table) for table in part.tables]
    pieces += [
        f"<figure>{figure.markup}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
        for figure in part.figures
    ]
    if part.code:
        pieces.append(
            f"<details><summary>Text</summary><pre>{html.escape(part.code)}</pre></details>"
        )
    return "\n".join([*pieces, "</section>"])


def _table(table: Table) -> str:
    kinds = ["w" if column in table.words else "n" for column in table.columns]
    head = "".join(
        f'<th class="{kind}" scope="col">{html.escape(column)}</th>'
        for kind, column in zip(kinds, table.columns, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{html.escape(cell)}</td>'
            for kind, cell in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    whole = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="scroll"><table>{whole}</table></div>'


def _inline(script: str) -> str:
    """Return a script that cannot end its own element."""
    return re.sub(r"</(?=script)", r"<\\/", script, flags=re.IGNORECASE)


_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    'img-src data: blob:; worker-src blob:; font-src data:">'
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --ground: #ffffff; --line: #d0d7de;
  --quiet: #57606a; --band: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --ground: #0d1117;
  --line: #30363d; --quiet: #9da7b1; --band: #161b22; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 64rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
nav ul { columns: 2; padding-left: 1.2rem; } a { color: inherit; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: var(--band); } .w { text-align: left; }
.n { text-align: right; overflow-wrap: normal; }
.scroll { overflow-x: auto; } figure { margin: 1.5rem 0; }
figcaption, summary { color: var(--quiet); }
pre { background: var(--band); padding: 1rem; overflow-x: auto; overflow-wrap: normal; }
@media print { :root { --ink: #000; --ground: #fff; --line: #999; --quiet: #333; --band: #eee; }
  body { max-width: none; margin: 0; font-size: 10pt; } nav { display: none; }
  h2 { break-after: avoid; } figure, tr { break-inside: avoid; } .scroll { overflow: visible; } }
"""

_GROUND = """
(function () {
  var dark = window.matchMedia('(prefers-color-scheme: dark)');
  function paint(isDark) {
    if (!window.Plotly) { return; }
    var ink = isDark ? '#e6edf3' : '#1b1f24', line = isDark ? '#3d444d' : '#d8dee4';
    document.querySelectorAll('.plotly-graph-div').forEach(function (figure) {
      var change = {'font.color': ink};
      Object.keys(figure.layout || {}).forEach(function (key) {
        if (/^[xy]axis[0-9]*$/.test(key)) {
          change[key + '.gridcolor'] = line; change[key + '.zerolinecolor'] = line;
          change[key + '.linecolor'] = line; change[key + '.color'] = ink;
        }
      });
      window.Plotly.relayout(figure, change);
    });
  }
  window.addEventListener('load', function () { paint(dark.matches); });
  dark.addEventListener('change', function (event) { paint(event.matches); });
  window.addEventListener('beforeprint', function () { paint(false); });
  window.addEventListener('afterprint', function () { paint(dark.matches); });
}());
"""
