"""Clicks on bars and rows, edits in a table, a search: what Bit widths and Layers do by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

SLOW = 30_000
HEADER, ROW = 35, 35
"""Heights in a table, pixels: tables are drawn on a canvas."""


def open_screen(page: Page, url: str, title: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 2200})
    page.goto(url)
    expect(page.get_by_role("heading", name=title, level=2, exact=True)).to_be_visible(timeout=SLOW)
    settle(page)


def settle(page: Page) -> None:
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)


def sqnr(page: Page) -> Locator:
    return page.get_by_test_id("stMetricValue").first


def table(page: Page, position: int) -> Locator:
    found = page.get_by_test_id("stDataFrame").nth(position)
    expect(found.get_by_test_id("data-grid-canvas")).to_be_visible(timeout=SLOW)
    return found


def click_row(grid: Locator, row: int, x: int = 18) -> None:
    grid.click(position={"x": x, "y": HEADER + ROW * row + ROW // 2})


def test_a_click_on_a_bar_chooses_the_layer(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/bitwidths", "Bit widths")
    plot = page.locator(".js-plotly-plot").first
    expect(plot.locator(".barlayer .point").first).to_be_attached(timeout=SLOW)
    box = plot.locator(".barlayer .point").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + 30, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile(r"bitwidths\.layer=1(\+|%20)%2Fc1%2FConv"))
    settle(page)
    expect(page.get_by_text("sum of 9 products")).to_be_visible()


def test_a_remedy_is_applied_and_the_sidebar_names_and_clears_it(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/bitwidths", "Bit widths")
    before = sqnr(page).inner_text()
    click_row(table(page, 1), 1)
    page.get_by_role("button", name="Apply: 1 bit less for the layer's weights").click()
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text("1 layer differs: /c2/Conv (W 3)")).to_be_visible()
    expect(page).to_have_url(re.compile("config.overrides="))
    expect(sqnr(page)).not_to_have_text(before)
    expect(page.get_by_role("button", name=re.compile("^Apply"))).to_have_count(0)
    sidebar.get_by_role("button", name="Clear overrides").click()
    expect(sqnr(page)).to_have_text(before)
    expect(page).not_to_have_url(re.compile("config.overrides="))


def test_a_search_is_adopted_by_all_of_the_page(page: Page, app_url: str) -> None:
    link = "layers?config.model=iris_linear&layers.view=search"
    open_screen(page, f"{app_url}/{link}", "Layers")
    before = sqnr(page).inner_text()
    page.get_by_role("button", name="Search").click()
    adopt = page.get_by_role("button", name="Adopt")
    expect(adopt).to_be_visible(timeout=SLOW)
    settle(page)
    adopt.click()
    expect(page).to_have_url(re.compile(r"config\.weight_bits=8"))
    expect(sqnr(page)).not_to_have_text(before)
    expect(page.get_by_role("slider", name="Weight bits")).to_have_value("8")
    settle(page)


def test_an_edit_of_a_cell_is_applied_and_undone(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/layers?layers.view=bits+by+layer", "Layers")
    before = sqnr(page).inner_text()
    # Columns before: layer, operator, seen, SQNR; the fifth holds weight bits.
    grid = table(page, 0)
    click_row(grid, 0, x=400)
    expect(grid.locator("td[aria-selected=true]")).to_have_count(1)
    expect(grid.locator("td[aria-selected=true]")).to_have_text("4")
    page.keyboard.press("Enter")
    cell = page.locator("#portal input")
    expect(cell).to_be_focused()
    cell.fill("8")
    expect(cell).to_have_value("8")
    cell.press("Enter")
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text("1 layer differs: /c1/Conv (W 8)")).to_be_visible()
    expect(sqnr(page)).not_to_have_text(before)
    settle(page)
    page.get_by_role("button", name="Undo").click()
    expect(sidebar.get_by_text("1 layer differs")).to_have_count(0)
    expect(sqnr(page)).to_have_text(before)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
