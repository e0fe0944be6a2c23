"""The Graph screen by hand: a click, a search, a link, a door, a folded block, a narrow window."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.models import residual

pytestmark = pytest.mark.browser

SLOW = 30_000
MAX_HEIGHT = 2700
"""Three windows of 900 pixels."""


def settle(page: Page) -> None:
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def open_graph(page: Page, url: str, *, width: int = 1280, height: int = 1400) -> Locator:
    page.set_viewport_size({"width": width, "height": height})
    page.goto(url)
    expect(page.get_by_role("heading", name="Graph", level=2, exact=True)).to_be_visible(
        timeout=SLOW
    )
    settle(page)
    plot = page.locator(".js-plotly-plot").first
    expect(plot.locator(".scatterlayer .trace").first).to_be_attached(timeout=SLOW)
    return plot


def click_label(plot: Locator, words: str) -> None:
    """Click where a vertex has its label; the layer for dragging lies above all marks."""
    label = plot.locator("text").filter(has_text=words).first
    box = label.bounding_box()
    assert box is not None
    plot.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def title(page: Page, words: str) -> Locator:
    return page.get_by_role("heading", name=words, level=3, exact=True)


def test_a_click_on_a_node_opens_its_card_and_the_address_keeps_it(
    page: Page, app_url: str
) -> None:
    plot = open_graph(page, f"{app_url}/graph")
    click_label(plot, "/c2/Conv")
    expect(title(page, "5 /c2/Conv")).to_be_visible(timeout=SLOW)
    settle(page)
    expect(page).to_have_url(re.compile(r"graph\.node="))
    expect(page.locator(".katex").first).to_be_visible()


def test_a_link_brings_the_node_and_a_door_leads_to_it(page: Page, app_url: str) -> None:
    open_graph(page, f"{app_url}/graph?graph.node=8+%2FAveragePool_1&graph.paint=headroom")
    expect(title(page, "8 /AveragePool_1")).to_be_visible(timeout=SLOW)
    page.get_by_test_id("stPageLink").filter(has_text="Bit widths").click()
    expect(page.get_by_role("heading", name="Bit widths", level=2, exact=True)).to_be_visible(
        timeout=SLOW
    )
    settle(page)
    chosen = page.get_by_role("combobox", name="Layer")
    expect(chosen).to_have_value("8 /AveragePool_1")


def test_a_search_by_name_finds_and_rings_the_node(page: Page, app_url: str) -> None:
    plot = open_graph(page, f"{app_url}/graph")
    find = page.get_by_role("combobox", name="Find a node")
    find.click()
    find.fill("AveragePool_1")
    page.get_by_role("option", name="8 /AveragePool_1").click()
    expect(title(page, "8 /AveragePool_1")).to_be_visible(timeout=SLOW)
    settle(page)
    expect(plot.locator(".legendtext").filter(has_text="selected")).to_be_attached()


def test_a_large_upload_is_folded_and_a_click_opens_a_block(
    page: Page, app_url: str, tmp_path: Path
) -> None:
    model = tmp_path / "large.onnx"
    model.write_bytes(residual(40).SerializeToString())
    page.set_viewport_size({"width": 1280, "height": 1400})
    page.goto(f"{app_url}/home")
    settle(page)
    page.locator("input[type=file]").first.set_input_files(str(model))
    expect(page.get_by_text("large.onnx is loaded")).to_be_visible(timeout=SLOW)
    settle(page)
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Graph").click()
    expect(page.get_by_role("heading", name="Graph", level=2, exact=True)).to_be_visible(
        timeout=SLOW
    )
    settle(page)
    plot = page.locator(".js-plotly-plot").first
    click_label(plot, "/layer.1, 2 of 20")
    expect(page.get_by_test_id("stMultiSelect").get_by_text("/layer.1, 2 of 20")).to_be_visible(
        timeout=SLOW
    )
    settle(page)
    expect(plot.locator("text").filter(has_text="/layer.1/Relu").first).to_be_attached()
    content = page.get_by_test_id("stMainBlockContainer")
    assert content.evaluate("element => element.scrollHeight") <= MAX_HEIGHT


def test_nothing_is_cut_off_on_a_telephone(page: Page, app_url: str) -> None:
    open_graph(page, f"{app_url}/graph", width=400, height=900)
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
