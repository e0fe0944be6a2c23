"""What every screen looks like: no faults that axe-core finds, nothing cut, the focus visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests import screens

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

SLOW = 30_000

STREAMLIT_S = {
    # st.code and formulas scroll where they are longer than the page is wide, and take no focus
    "scrollable-region-focusable": "pre, .katex-display",
}
"""Rule to selector: what Streamlit draws and has no option for."""

LABELS = (
    '[data-testid="stMetricLabel"], [data-testid="stMetricValue"], [data-testid="stMetricDelta"]'
)


def open_screen(page: Page, url: str, title: str) -> None:
    page.goto(url)
    heading = page.get_by_role("heading", name=title, level=2, exact=True)
    expect(heading).to_be_visible(timeout=SLOW)
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
    # Streamlit fetches the part of it that takes styles when it first needs it.
    sentence = page.get_by_test_id("stMain").get_by_test_id("stCaptionContainer").first
    expect(sentence).to_have_css("opacity", "1", timeout=SLOW)


def faults(page: Page) -> list[str]:
    """Return the serious and critical findings of axe-core."""
    found: Any = Axe().run(page, options={"resultTypes": ["violations"]}).response
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not _is_streamlit_s(page, rule["id"], node["target"][0])
    ]


def _is_streamlit_s(page: Page, rule: str, target: str) -> bool:
    matches = "(element, selector) => element.matches(selector)"
    known = STREAMLIT_S.get(rule)
    return known is not None and bool(page.locator(target).first.evaluate(matches, known))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("stem", screens.TITLES)
def test_axe_finds_nothing_serious(browser: Browser, app_url: str, stem: str, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1200}, color_scheme=scheme)
    try:
        page = context.new_page()
        open_screen(page, f"{app_url}/{stem}", screens.TITLES[stem])
        page.wait_for_timeout(300)  # Streamlit fades new elements in
        assert faults(page) == []
    finally:
        context.close()


@pytest.mark.parametrize(
    ("width", "height", "columns"),
    [
        pytest.param(1280, 720, 4, id="1280"),
        pytest.param(1280 * 2 // 3, 480, 4, id="1280 at 150 %"),
        pytest.param(400, 800, 2, id="phone"),
    ],
)
def test_the_figures_stand_on_top_and_none_is_cut(
    page: Page, app_url: str, width: int, height: int, columns: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    open_screen(page, f"{app_url}/bitwidths", "Bit widths")
    metrics = page.get_by_test_id("stMetric")
    expect(metrics).to_have_count(4, timeout=SLOW)
    title = page.get_by_role("heading", name="Bit widths", level=2).bounding_box()
    assert title is not None
    assert title["y"] < 30  # nothing above it
    boxes = [metric.bounding_box() for metric in metrics.all()]
    assert len({round(box["y"]) for box in boxes if box}) == 4 // columns
    cut = page.locator(LABELS).evaluate_all(
        "parts => parts.filter(part => [part, ...part.querySelectorAll('*')].some("
        "e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible'"
        " && e.clientWidth)).map(part => part.innerText)"
    )
    assert cut == []
    strip = page.locator(".st-key-headline").bounding_box()
    assert strip is not None
    for box in boxes:
        assert box is not None
        assert box["x"] + box["width"] <= strip["x"] + strip["width"] + 1


def test_a_phone_opens_with_the_result_and_not_the_sidebar(browser: Browser, app_url: str) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800})
    try:
        page = context.new_page()
        open_screen(page, app_url, "Home")
        expect(page.get_by_test_id("stExpandSidebarButton")).to_be_visible()
        expect(page.get_by_test_id("stSidebar")).not_to_be_in_viewport()
        expect(page.get_by_test_id("stAppDeployButton")).to_have_count(0)
    finally:
        context.close()


def test_the_focus_is_visible_on_the_menu_and_on_a_slider(page: Page, app_url: str) -> None:
    open_screen(page, app_url, "Home")
    outline = "element => parseFloat(getComputedStyle(element).outlineWidth)"
    link = page.get_by_test_id("stSidebarNavLink").nth(1)
    assert link.evaluate(outline) == 0 or link.evaluate(
        "e => getComputedStyle(e).outlineStyle === 'none'"
    )
    page.get_by_test_id("stSidebarNavLink").first.focus()
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    assert link.evaluate(outline) >= 2
    slider = page.get_by_role("slider", name="Weight bits")
    slider.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    around = page.get_by_test_id("stSlider").filter(has=slider)
    assert around.evaluate(outline) >= 2
