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


def row_of(grid: Locator, words: str) -> int:
    """Return the place of the row that holds some words: a table of text lies in the canvas."""
    cell = grid.locator("tbody tr").filter(has=grid.page.get_by_text(words, exact=True))
    expect(cell).to_have_count(1)
    return int(cell.get_attribute("aria-rowindex") or 0) - 2


def test_a_click_on_a_bar_chooses_the_layer(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/bitwidths", "Bit widths")
    plot = page.locator(".js-plotly-plot").first
    bar = plot.locator(".barlayer .point").nth(2)  # the first is the tightest, which is chosen
    expect(bar).to_be_attached(timeout=SLOW)
    box = bar.bounding_box()
    assert box
    page.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + 30, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile(r"bitwidths\.layer=5(\+|%20)%2Fc2%2FConv"))
    settle(page)
    expect(page.get_by_text("sum of 72 products")).to_be_visible()


def test_a_remedy_is_applied_and_the_sidebar_names_and_clears_it(page: Page, app_url: str) -> None:
    link = "bitwidths?config.limit=8&bitwidths.layer=5+%2Fc2%2FConv"
    open_screen(page, f"{app_url}/{link}", "Bit widths")
    before = sqnr(page).inner_text()
    remedies = table(page, 1)
    click_row(remedies, row_of(remedies, "1 bit less for the layer's weights"))
    page.get_by_role("button", name="Apply: 1 bit less for the layer's weights").click()
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text("1 layer differs: /c2/Conv (W 3)")).to_be_visible()
    expect(page).to_have_url(re.compile("config.overrides="))
    expect(sqnr(page)).not_to_have_text(before)
    expect(page.get_by_role("button", name=re.compile("^Apply"))).to_have_count(0)
    sidebar.get_by_role("button", name="Clear overrides").click()
    expect(sqnr(page)).to_have_text(before)
    expect(page).not_to_have_url(re.compile("config.overrides="))


def test_a_layer_within_the_limit_has_no_remedies(page: Page, app_url: str) -> None:
    layer = "bitwidths.layer=4+%2FAveragePool"
    open_screen(page, f"{app_url}/bitwidths?config.limit=8&{layer}", "Bit widths")
    narrow = page.get_by_role("heading", name="What would narrow it")
    expect(page.get_by_role("button", name="Make everything fit")).to_be_visible()
    expect(narrow).to_have_count(0)
    # No input takes it beyond 6 bits, and 9 hold what enters the convolution after it.
    open_screen(page, f"{app_url}/bitwidths?config.limit=8", "Bit widths")
    expect(narrow).to_be_visible()
    open_screen(page, f"{app_url}/bitwidths?config.limit=16", "Bit widths")
    expect(page.get_by_role("button", name="Make everything fit")).to_have_count(0)
    expect(narrow).to_have_count(0)


def test_everything_is_made_to_fit_and_layers_undoes_it(page: Page, app_url: str) -> None:
    link = "bitwidths?config.model=iris_linear&config.limit=6"
    open_screen(page, f"{app_url}/{link}", "Bit widths")
    widest = page.get_by_test_id("stMetric").nth(2)
    expect(widest).to_contain_text("over 6 bits", timeout=SLOW)
    before = sqnr(page).inner_text()
    page.get_by_role("button", name="Make everything fit").click()
    apply = page.get_by_role("button", name="Apply all of it")
    expect(apply).to_be_visible(timeout=2 * SLOW)
    expect(sqnr(page)).to_have_text(before)  # it is shown before it is applied
    apply.click()
    expect(widest).to_contain_text("fits 6 bits", timeout=SLOW)
    expect(page.get_by_role("button", name="Make everything fit")).to_have_count(0)
    settle(page)
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Layers").click()
    expect(page.get_by_role("heading", name="Layers", level=2, exact=True)).to_be_visible()
    page.get_by_test_id("stMain").get_by_text("bits by layer", exact=True).click()
    page.get_by_role("button", name="Undo").click()
    expect(widest).to_contain_text("over 6 bits", timeout=SLOW)
    expect(sqnr(page)).to_have_text(before)


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
