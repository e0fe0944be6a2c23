"""The first minute as one piece of HTML: it reflows on a phone and costs one message to draw.

Names from outside are escaped; everything else is numbers and words of ours.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from pages.ui.home import png

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.questions.first_minute import Accumulator, Answers, Subjects

MAX_BARS = 8
"""Most accumulators that are drawn; of more, the widest."""

_ROOM_BITS = 2
"""Bits that the axis shows beyond limit and widest."""

_LOOK = """
.fm { display: flex; flex-wrap: wrap; gap: 0.75rem 1.5rem; align-items: flex-start; }
.fm-left { flex: 3 1 17rem; min-width: 0; }
.fm-right { flex: 2 1 14rem; min-width: 0; }
.fm p { margin: 0 0 0.4rem; line-height: 1.35; }
.fm-tiles { display: grid; gap: 3px;
  grid-template-columns: repeat(auto-fill, minmax(2.1rem, 1fr)); }
.fm-tile { position: relative; aspect-ratio: 1; background-color: #10131A; border-radius: 3px;
  background-size: FM_COUNT00% 100%; image-rendering: pixelated; box-sizing: border-box; }
.fm-row { display: flex; align-items: center; gap: 0.5rem; margin-bottom: 0.3rem; }
.fm-row > span { flex: 0 0 6rem; overflow-wrap: anywhere; font-size: 0.875rem; line-height: 1.1; }
.fm-row > div { flex: 1; display: grid; gap: 3px;
  grid-template-columns: repeat(auto-fill, minmax(1.3rem, 1fr)); }
.fm-row .fm-tile { background-color: #007A59; }
.fm .fm-wrong { border: 3px solid #D03A00; box-shadow: 0 0 0 1px #D03A00; }
.fm-row .fm-wrong { background-color: #B33200; }
.fm-tiles .fm-wrong::after { content: ""; position: absolute; inset: 0;
  background: rgba(208, 58, 0, 0.45); }
.fm-wrong b { position: absolute; z-index: 1; right: 0; bottom: 0; padding: 0 0.25em;
  background: #B33200; color: #FFFFFF; font-size: 0.8rem; line-height: 1.25; }
.fm-row .fm-wrong b { inset: 0; display: grid; place-items: center; padding: 0; }
.fm-bar { display: grid; grid-template-columns: minmax(3.5rem, 7rem) 1fr 2.1rem; gap: 0.5rem;
  align-items: center; font-size: 0.875rem; line-height: 1.15; margin-bottom: 0.3rem; }
.fm-bar > span:first-child { overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.fm-track { position: relative; height: 1.1rem; background: rgba(128, 128, 128, 0.16); }
.fm-fill { position: absolute; inset: 0 auto 0 0; background: #009E73; }
.fm-over .fm-fill { background: repeating-linear-gradient(45deg, #D55E00 0 6px, #8F3D00 6px 9px); }
.fm-limit { position: absolute; top: -0.2rem; bottom: -0.2rem; width: 0;
  border-left: 3px dashed #D55E00; }
"""


def style(found: Subjects) -> str:
    """Return the look, and the samples' pictures in it: it does not change with the bits."""
    look = _LOOK.replace("FM_COUNT", str(max(1, found.samples.size)))
    if found.pictures is None:
        return f"<style>{look}</style>"
    address = png.data_address(png.side_by_side(found.pictures))
    return f"<style>{look} .fm-tiles .fm-tile {{ background-image: url({address}); }}</style>"


def classes(found: Subjects, answers: Answers, names: Sequence[str] | None, verdict: str) -> str:
    """Return the samples' answers beside the accumulators, under one configuration.

    Parameters
    ----------
    found : Subjects
        The samples.
    answers : Answers
        What the configuration answers.
    names : sequence of str or None
        The classes' names.
    verdict : str
        What is said above, as HTML.
    """
    return (
        f'<div class="fm"><div class="fm-left"><p>{verdict}</p>'
        f"{_samples(found, answers, names)}</div>"
        f'<div class="fm-right">{_bars(answers)}</div></div>'
    )


def accumulators(answers: Answers) -> str:
    """Return the accumulators alone, for a model without classes."""
    return f'<div class="fm"><div class="fm-right">{_bars(answers)}</div></div>'


def _samples(found: Subjects, answers: Answers, names: Sequence[str] | None) -> str:
    """Return pictures in a grid; without pictures, a row of squares for each right class."""
    every = range(found.samples.size)
    if found.pictures is not None:
        return f'<div class="fm-tiles">{_tiles(found, answers, names, every)}</div>'
    rows = []
    for number in sorted(set(found.right.tolist())):
        mine = [i for i in every if found.right[i] == number]
        rows.append(
            f'<div class="fm-row"><span>{_name(number, names)}</span>'
            f"<div>{_tiles(found, answers, names, mine)}</div></div>"
        )
    return "".join(rows)


def _tiles(
    found: Subjects, answers: Answers, names: Sequence[str] | None, places: Sequence[int]
) -> str:
    """Return one square per sample; a wrong one is framed and says the answer."""
    last = max(1, found.samples.size - 1)
    tiles = []
    for i in places:
        answer, right = int(answers.classes[i]), int(found.right[i])
        known = found.labels is not None
        words = f"sample {found.samples[i]}: {'is' if known else 'in float'} {_name(right, names)}"
        look, said = "fm-tile", ""
        if answer != right:
            words += f", answered {_name(answer, names)}"
            if known:
                words += f" (in float {_name(int(found.classes[i]), names)})"
            look, said = "fm-tile fm-wrong", f"<b>{_short(answer, names)}</b>"
        place = "" if found.pictures is None else f"background-position: {100 * i / last:.4g}% 0"
        tiles.append(f'<div class="{look}" title="{words}" style="{place}">{said}</div>')
    return "".join(tiles)


def _name(number: int, names: Sequence[str] | None) -> str:
    known = names is not None and 0 <= number < len(names)
    return escape(names[number] if names is not None and known else f"class {number}")


def _short(number: int, names: Sequence[str] | None) -> str:
    """Return one or two characters: the name where it is that short, else the number."""
    known = names is not None and 0 <= number < len(names)
    name = names[number] if names is not None and known else ""
    return escape(name) if 0 < len(name) <= 2 else str(number)


def _bars(answers: Answers) -> str:
    drawn = answers.accumulators
    if len(drawn) > MAX_BARS:
        drawn = tuple(sorted(drawn, key=lambda found: -found.bits)[:MAX_BARS])
    if not drawn:
        return "<p>No operator sums integers here, so there is no accumulator to fit.</p>"
    reach = max(answers.limit_bits, *(found.bits for found in answers.accumulators)) + _ROOM_BITS
    limit = 100 * answers.limit_bits / reach
    rows = "".join(_bar(found, reach, limit) for found in drawn)
    more = len(answers.accumulators) - len(drawn)
    rest = f"<p>{more} narrower ones are not drawn.</p>" if more else ""
    return (
        f"<p>Bits of each accumulator; the limit is <strong>{answers.limit_bits}</strong> "
        f"(dashed).</p>{rows}{rest}"
    )


def _bar(found: Accumulator, reach: int, limit: float) -> str:
    name, look = escape(found.layer), "fm-bar" if found.fits else "fm-bar fm-over"
    fill = f'<div class="fm-fill" style="width: {100 * found.bits / reach:.4g}%"></div>'
    line = f'<div class="fm-limit" style="left: {limit:.4g}%"></div>'
    return (
        f'<div class="{look}"><span title="{name}">{name}</span>'
        f'<div class="fm-track">{fill}{line}</div><strong>{found.bits}</strong></div>'
    )
