"""Learn in a browser: controls, links, exercises, projector, phone, dark."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browsing import unfold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _pytest.mark import ParameterSet
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

SLOW = 30_000
LESSONS = range(1, 11)
CONTROLS = {
    1: "n_bits", 2: "n_bits", 4: "Products N", 5: "n_bits of both", 6: "Bits of the result",
    7: "n_bits", 8: "n_bits", 9: "Bits of M₀", 10: "n_bits",
}  # fmt: skip
"""A slider of each lesson that has one."""


SAMPLED = (2, 6, 9)
"""Lessons that stand for all: another number of controls, a table, panels below each other."""


def sampled(numbers: Iterable[int]) -> list[ParameterSet]:
    """Return lessons as parameters; all but three only where everything is proved."""
    return [pytest.param(n, marks=() if n in SAMPLED else pytest.mark.exhaustive) for n in numbers]


def open_lesson(page: Page, url: str, link: str) -> None:
    page.goto(f"{url}/learn?{link}")
    settle(page)
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=SLOW)


def settle(page: Page) -> None:
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)


def drawn(page: Page) -> str:
    """Everything that the figure shows, as text."""
    found = page.locator(".js-plotly-plot").first.evaluate(
        "plot => JSON.stringify(plot.data.map(t => [t.x, t.y, t.text]))"
    )
    return str(found)


def formula(page: Page) -> str:
    return str(page.locator(".katex-display").first.inner_text())


def until_same(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Compare what two pages show; the parts of a page are drawn one after another."""
    end = time.monotonic() + SLOW / 1000
    while first() != second() and time.monotonic() < end:
        time.sleep(0.1)
    assert first() == second()


@pytest.mark.parametrize("number", sampled(CONTROLS))
def test_a_key_press_moves_the_figure_and_the_link_brings_it_back(
    page: Page, app_url: str, browser: Browser, number: int
) -> None:
    open_lesson(page, app_url, f"config.model=iris_linear&learn.lesson={number}")
    before = drawn(page)
    handle = page.get_by_test_id("stMain").get_by_role("slider", name=CONTROLS[number])
    handle.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"learn\.[a-z]+\.[a-z_]+="))
    settle(page)
    if number != 8:  # its slider marks a width of the same figure
        page.wait_for_function(
            "before => JSON.stringify((document.querySelector('.js-plotly-plot')?.data ?? [])"
            ".map(t => [t.x, t.y, t.text])) !== before",
            arg=before,
        )
    other = browser.new_context()
    try:
        second = other.new_page()
        open_lesson(second, page.url.split("/learn?")[0], page.url.split("?")[1])
        until_same(lambda: (drawn(page), formula(page)), lambda: (drawn(second), formula(second)))
    finally:
        other.close()


@pytest.mark.parametrize("number", sampled(LESSONS))
def test_a_projector_at_150_percent_shows_lesson_figure_formula_and_controls(
    browser: Browser, app_url: str, number: int
) -> None:
    context = browser.new_context(
        viewport={"width": 1280 * 2 // 3, "height": 480}, device_scale_factor=1.5
    )
    try:
        page = context.new_page()
        model = "digits_mlp" if number == 8 else "iris_linear"
        link = f"config.model={model}&learn.lesson={number}&learn.projector=true"
        open_lesson(page, app_url, link)
        expect(page.get_by_test_id("stSidebar")).to_be_hidden()
        expect(page.get_by_role("heading", name="Learn", level=2)).to_be_hidden()
        for part in (page.locator(".js-plotly-plot").first, page.locator(".katex-display").first):
            box = part.bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 480
            assert box["x"] + box["width"] <= 854
        control = page.get_by_test_id("stMain").locator(
            "[class*='st-key-learn-'][class*='-" + SLUGS[number] + "-']"
        )
        box = control.first.bounding_box()
        assert box is not None
        assert box["y"] + min(box["height"], 60) <= 482
        size = page.locator(".js-plotly-plot [class*='tick'] text").first.evaluate(
            "label => parseFloat(getComputedStyle(label).fontSize)"
        )
        assert size >= 15
    finally:
        context.close()


SLUGS = dict(
    zip(
        LESSONS,
        ("line", "zero", "examples", "product", "width", "tables", "calibration", "training",
         "integers", "tools"),
        strict=True,
    )
)  # fmt: skip


@pytest.mark.parametrize("number", sampled(LESSONS))
def test_a_phone_shows_the_figure_before_its_controls_and_scrolls_down_only(
    browser: Browser, app_url: str, number: int
) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800}, color_scheme="dark")
    try:
        page = context.new_page()
        open_lesson(page, app_url, f"config.model=iris_linear&learn.lesson={number}")
        too_wide = page.evaluate(
            "() => { const m = document.querySelector('[data-testid=stMain]');"
            " return m.scrollWidth - m.clientWidth }"
        )
        assert too_wide == 0
        figure = page.locator(".js-plotly-plot").first.bounding_box()
        words = page.locator(".katex-display").first.bounding_box()
        assert figure is not None
        assert words is not None
        assert figure["y"] < words["y"]
    finally:
        context.close()


def test_a_right_answer_is_marked_in_the_link(page: Page, app_url: str) -> None:
    open_lesson(page, app_url, "config.model=iris_linear&learn.lesson=4&learn.seed=3")
    asked = page.get_by_text("What is Σ q₁q₂?").inner_text()
    q1, q2 = (json.loads(part) for part in re.findall(r"\[[^\]]*\]", asked))
    answer = sum(a * b for a, b in zip(q1, q2, strict=True))
    guess = page.get_by_role("textbox", name="Your answer")
    guess.fill(str(answer + 1))
    guess.press("Enter")
    expect(page.get_by_text("Not yet.")).to_be_visible(timeout=SLOW)
    guess.fill(str(answer))
    guess.press("Enter")
    expect(page.get_by_text("Right.")).to_be_visible(timeout=SLOW)
    expect(page).to_have_url(re.compile(r"learn\.progress=0001000000"))
    settle(page)
    page.reload()
    settle(page)
    expect(page.get_by_text("score 1 of 30")).to_be_visible(timeout=SLOW)


def test_a_course_goes_from_a_teacher_s_file_into_a_link(page: Page, app_url: str) -> None:
    open_lesson(page, app_url, "config.model=iris_linear&learn.lesson=9")
    unfold(page, "For teachers: a course in a link")
    page.get_by_role("button", name="Add this lesson as it stands").click()
    expect(page).to_have_url(re.compile(r"learn\.course="))
    settle(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Course (JSON)").click()
    document = json.loads(Path(waiting.value.path()).read_bytes())
    assert [step["lesson"] for step in document["course"]] == [9]
    document["course"].append({"lesson": 2, "state": {"n_bits": 6}})
    page.get_by_test_id("stFileUploaderDropzoneInput").last.set_input_files(
        {"name": "c.json", "mimeType": "application/json", "buffer": json.dumps(document).encode()}
    )
    expect(page.get_by_text("c.json is loaded.")).to_be_visible(timeout=SLOW)
    link = page.url.split("?")[1]
    open_lesson(page, app_url, link)
    page.get_by_role("button", name="←").click()
    expect(page).to_have_url(re.compile(r"learn\.lesson=2"))
    slider = page.get_by_test_id("stMain").get_by_role("slider", name="n_bits")
    expect(slider).to_have_value("6")
    page.get_by_role("button", name="→").click()
    expect(page).to_have_url(re.compile(r"learn\.lesson=9"))


def test_a_german_link_opens_in_german(page: Page, app_url: str) -> None:
    open_lesson(page, app_url, "config.model=iris_linear&learn.language=de")
    expect(page.get_by_text("Von reellen zu ganzen Zahlen").first).to_be_visible()
    page.get_by_role("radio", name="Um x herum").or_(
        page.get_by_role("button", name="Um x herum")
    ).first.click()
    expect(page).to_have_url(re.compile(r"learn\.line\.view=Um"))
    settle(page)
    shown = drawn(page)
    page.reload()
    settle(page)
    expect(page.get_by_text("Von reellen zu ganzen Zahlen").first).to_be_visible()
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=SLOW)
    assert drawn(page) == shown


@pytest.mark.benchmark_suite
@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 9, 10])
def test_time_from_a_control_to_the_figure(page: Page, app_url: str, number: int) -> None:
    open_lesson(page, app_url, f"config.model=iris_linear&learn.lesson={number}")
    handle = page.get_by_test_id("stMain").get_by_role("slider", name=CONTROLS[number])
    times = []
    for i in range(10):
        before = drawn(page)
        started = time.perf_counter()
        handle.press("ArrowRight" if i % 2 == 0 else "ArrowLeft")
        page.wait_for_function(
            "before => JSON.stringify((document.querySelector('.js-plotly-plot')?.data ?? [])"
            ".map(t => [t.x, t.y, t.text])) !== before",
            arg=before,
            polling=10,
        )
        times.append(time.perf_counter() - started)
        settle(page)
    print(f"lesson {number}: median of 10 {1000 * sorted(times)[5]:.0f} ms")  # noqa: T201
