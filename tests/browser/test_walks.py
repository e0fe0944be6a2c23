"""Four newcomers, from Home to what they came for, as README.md sends them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from playwright.sync_api import expect

from tests.paths import SAMPLES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

SLOW = 60_000


def settle(page: Page, title: str) -> None:
    heading = page.get_by_role("heading", name=title, level=2, exact=True)
    expect(heading).to_be_visible(timeout=SLOW)
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)


def menu(page: Page, title: str) -> None:
    page.get_by_test_id("stSidebarNavLink").filter(has_text=title).click()
    settle(page, title)


def figure(page: Page, place: int) -> Locator:
    return page.get_by_test_id("stMetric").nth(place)


def big_slider(page: Page) -> Locator:
    return page.get_by_test_id("stMain").get_by_role("slider")


def press(page: Page, slider: Locator, key: str, times: int) -> None:
    """Move a slider step by step, each when the one before has arrived."""
    for _ in range(times):
        wanted = int(slider.input_value()) + (1 if key == "ArrowRight" else -1)
        slider.press(key)
        expect(slider).to_have_value(str(wanted))
    expect(page).to_have_url(re.compile(rf"config\.weight_bits={wanted}\b"), timeout=SLOW)


def choose_form(page: Page, name: str) -> None:
    forms = page.get_by_role("radiogroup", name="Format")
    forms.get_by_text(name, exact=True).click()
    expect(forms.get_by_role("radio", name=name, exact=True)).to_be_checked()
    settle(page, "Export")


def test_a_student_sees_answers_turn_red_and_learns_why(page: Page, app_url: str) -> None:
    page.goto(app_url)
    settle(page, "Home")
    wrong = page.locator(".fm-wrong")
    expect(wrong).to_have_count(3)  # at 4 bits
    press(page, big_slider(page), "ArrowLeft", 2)
    expect(page.get_by_text("86 of 96")).to_be_visible(timeout=SLOW)
    expect(wrong).to_have_count(86)
    expect(figure(page, 1)).to_contain_text("11.9 %")
    for name in ("Weight bits", "Activation bits"):
        expect(page.get_by_role("slider", name=name)).to_have_value("2")
    page.get_by_test_id("stMain").get_by_role("link", name="Teach me").click()
    settle(page, "Learn")
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=SLOW)
    menu(page, "Home")
    expect(big_slider(page)).to_have_value("2")


def test_a_model_of_19_bits_is_brought_to_16_and_exported_for_concrete_ml(
    page: Page, app_url: str
) -> None:
    page.goto(f"{app_url}/home?config.weight_bits=9&config.activation_bits=8")
    settle(page, "Home")
    for place, name in enumerate(("cancer_linear.onnx", "cancer_linear.npz")):
        uploader = page.get_by_test_id("stFileUploaderDropzoneInput").nth(place)
        uploader.set_input_files(SAMPLES / name)
        expect(page.get_by_text(f"{name} is loaded.")).to_be_visible(timeout=SLOW)
    settle(page, "Home")
    expect(figure(page, 2)).to_contain_text("19 bits", timeout=SLOW)
    expect(figure(page, 2)).to_contain_text("over 16 bits")
    page.get_by_role("link", name="Does it fit?").click()
    settle(page, "Bit widths")
    page.get_by_role("button", name="Make everything fit").click()
    apply = page.get_by_role("button", name="Apply all of it")
    expect(apply).to_be_visible(timeout=2 * SLOW)
    apply.click()
    expect(figure(page, 2)).to_contain_text("fits 16 bits", timeout=SLOW)
    menu(page, "Export")
    choose_form(page, "Concrete ML script")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Concrete ML script").click()
    taken = waiting.value.suggested_filename
    bits = re.fullmatch(r"cancer_linear-w(\d+)a(\d+)-concrete-ml\.py", taken)
    assert bits
    assert int(bits[1]) + int(bits[2]) < 17  # narrower than the 9 and 8 bits it came with
    assert ast.parse(Path(waiting.value.path()).read_text()).body


def test_an_engineer_takes_a_proved_qdq_model_along(page: Page, app_url: str) -> None:
    page.goto(f"{app_url}/home?config.model=iris_linear&config.weight_bits=8")
    settle(page, "Home")
    page.get_by_text("Ranges", exact=True).click()
    page.get_by_text("One grid per output channel").click()
    expect(page).to_have_url(re.compile("weights_per_channel=true"))
    menu(page, "Export")
    choose_form(page, "QDQ ONNX")
    page.get_by_role("button", name="Prove it").click()
    expect(page.get_by_test_id("stAlertContentSuccess")).to_be_visible(timeout=SLOW)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="QDQ ONNX (.onnx)").click()
    model = onnx.load(waiting.value.path())
    assert any(node.op_type == "DequantizeLinear" for node in model.graph.node)


def test_a_teacher_s_projector_shows_slider_and_answers_without_scrolling(
    browser: Browser, app_url: str
) -> None:
    height = 480  # 1280 x 720 at 150 %
    context = browser.new_context(
        viewport={"width": 1280 * 2 // 3, "height": height}, device_scale_factor=1.5
    )
    try:
        page = context.new_page()
        page.goto(app_url)
        settle(page, "Home")
        tiles = page.locator(".fm-tile")
        expect(tiles).to_have_count(96)
        expect(page.locator(".st-key-headline-basis")).to_be_hidden(timeout=SLOW)
        seen = [box for tile in tiles.all()[:60] if (box := tile.bounding_box())]
        rows = {round(box["y"]) for box in seen if box["y"] + box["height"] <= height}
        assert len(rows) >= 4
        bars = page.locator(".fm-bar").last.bounding_box()
        assert bars is not None
        assert bars["y"] + bars["height"] <= height
        menu(page, "Bit widths")
        bar = page.locator(".js-plotly-plot .barlayer path").first
        expect(bar).to_be_visible(timeout=SLOW)
        box = bar.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height
        too_wide = page.get_by_test_id("stMain").evaluate("e => e.scrollWidth - e.clientWidth")
        assert too_wide == 0
    finally:
        context.close()
