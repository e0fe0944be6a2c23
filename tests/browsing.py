"""What browser tests do as a person does: not while things still move."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

REST_MS = 250
"""A box that is the same for so long has come to rest, milliseconds."""


def unfold(page: Page, title: str) -> None:
    """Open an expander and wait until it has unfolded: a press on what still moves is lost."""
    page.get_by_text(title).click()
    box = page.get_by_test_id("stExpander").filter(has_text=title)
    before = None
    while (now := box.bounding_box()) != before:
        before = now
        page.wait_for_timeout(REST_MS)
