"""The picture of the first minute: what is red, what is escaped, what a PNG holds."""

from __future__ import annotations

import base64
import re
import struct
import zlib

import numpy as np
import pytest

import quantlib as ql
from pages.ui.charts import first_minute as charts
from pages.ui.home import picture, png
from quantlib.analysis.reports import Score
from quantlib.questions.first_minute import Accumulator, Answers, Subjects

CONFIG = ql.QuantizationConfig.from_n_bits(4)


def subjects(*, pictures: bool = True, labels: bool = True) -> Subjects:
    count = 5
    shades = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2, 1)
    return Subjects(
        output="y",
        n_samples=20,
        samples=np.arange(0, 20, 4),
        classes=np.array([0, 1, 2, 0, 1]),
        labels=np.array([0, 1, 2, 2, 1]) if labels else None,
        pictures=shades if pictures else None,
    )


def answers(classes: list[int], *bits: int, limit: int = 16, name: str = "layer") -> Answers:
    return Answers(
        config=CONFIG,
        classes=np.array(classes),
        values=(np.zeros(0), np.zeros(0), None),
        score=Score("accuracy", 0.9, 0.8, 20),
        agreement=0.85,
        sqnr_db=20.0,
        accumulators=tuple(
            Accumulator(f"{name}{i}", "Gemm", width, width <= limit) for i, width in enumerate(bits)
        ),
        limit_bits=limit,
        n_left_out=0,
    )


@pytest.mark.parametrize("pictures", [True, False])
def test_each_wrong_answer_is_marked_and_said(pictures: bool) -> None:
    shown = picture.classes(subjects(pictures=pictures), answers([0, 2, 2, 0, 1], 9), None, "")
    assert shown.count('title="sample') == 5
    assert shown.count("fm-wrong") == 2
    assert "sample 4: is class 1, answered class 2 (in float class 1)" in shown
    assert "sample 12: is class 2, answered class 0 (in float class 0)" in shown
    assert re.findall("<b>(.)</b>", shown) == ["2", "0"]


def test_without_labels_an_answer_is_held_to_the_float_model() -> None:
    shown = picture.classes(subjects(labels=False), answers([0, 1, 2, 2, 1], 9), None, "")
    assert shown.count("fm-wrong") == 1
    assert "sample 12: in float class 0, answered class 2" in shown


def test_names_from_outside_are_escaped() -> None:
    found = answers([0, 1, 2, 0, 1], 9, name="<script>alert(1)</script>")
    names = ["<b>no</b>", 'quo"te', "c"]
    for shown in (
        picture.classes(subjects(pictures=False), found, names, ""),
        picture.accumulators(found),
    ):
        assert "<script>" not in shown
        assert "<b>no" not in shown
        assert 'quo"te' not in shown


def test_bars_are_as_long_as_the_bits_and_over_the_limit_they_are_marked() -> None:
    shown = picture.accumulators(answers([], 9, 18, 16, limit=16))
    lengths = [float(width) for width in re.findall(r"fm-fill\" style=\"width: ([\d.]+)%", shown)]
    assert lengths == pytest.approx([45, 90, 80])  # the axis ends 2 bits behind the widest
    assert shown.count("fm-over") == 1
    assert set(re.findall(r"fm-limit\" style=\"left: ([\d.]+)%", shown)) == {"80"}


def test_of_many_accumulators_the_widest_are_drawn() -> None:
    shown = picture.accumulators(answers([], *range(4, 24)))
    assert re.findall(r"<strong>(\d+)</strong></div>", shown) == [str(n) for n in range(23, 15, -1)]
    assert "12 narrower ones are not drawn" in shown


def test_a_model_without_accumulators_says_so() -> None:
    assert "no accumulator" in picture.accumulators(answers([]))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_picture(channels: int) -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, size=(5, 7, channels), dtype=np.uint8)
    content = png.encode(given)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, parts = 8, {}
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", content[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(kind + body)
        parts[kind], at = body, at + 12 + length
    assert struct.unpack(">IIBB", parts[b"IHDR"][:10]) == (7, 5, 8, {1: 0, 3: 2}[channels])
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(5, 1 + 7 * channels)
    assert not rows[:, 0].any()  # no filter
    np.testing.assert_array_equal(rows[:, 1:].reshape(given.shape), given)


def test_the_look_carries_the_pictures_beside_each_other() -> None:
    found = subjects()
    assert found.pictures is not None
    [address] = re.findall(r"url\(data:image/png;base64,([^)]*)\)", picture.style(found))
    beside = np.concatenate(list(found.pictures), axis=1)
    assert base64.b64decode(address) == png.encode(beside)
    assert "background-size: 500% 100%" in picture.style(found)


def test_predictions_are_drawn_against_targets_and_move_on_a_frame_that_stays() -> None:
    before, targets = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.5, 3.0])
    frames = []
    for after in (before + 0.5, before + 40.0):
        empty = answers([])
        values = Answers(
            **{name: getattr(empty, name) for name in empty.__slots__}
            | {"values": (before, after, targets)}
        )
        figure = charts.predicted(values)
        dots = {trace.name: trace for trace in figure.data if trace.mode == "markers"}
        np.testing.assert_array_equal(dots["quantized"].y, after)
        np.testing.assert_array_equal(dots["quantized"].x, targets)
        np.testing.assert_array_equal(dots["float"].y, before)
        assert figure.layout.xaxis.title.text == "true value"
        frames.append(figure.layout.yaxis.range)
    assert frames[0] == frames[1]
