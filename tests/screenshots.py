"""Take the pictures of README.md from the running app: ``make screenshots``.

Writes small files with few colours into ``docs/``. Needs Chromium, as the browser tests do.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, serving
from tests.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = ROOT / "docs"
WIDTH, HEIGHT = 1280, 800
FRAME_MS = 1100
SETTLED_MS = 1500
COLOURS = 96

STILLS = {
    "bitwidths": "bitwidths?config.weight_bits=6&config.activation_bits=6",
}
"""File to link."""

FIRST_MINUTE_BITS = (6, 5, 4, 3, 2, 3, 4, 5)
"""Widths that the animated picture goes through."""


def picture(page: Page) -> Image.Image:
    """Return what the page shows, in few colours."""
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return shown.quantize(COLOURS, dither=Image.Dither.NONE)


def settle(page: Page) -> None:
    """Wait until the script has run and its figures are drawn."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000)
    page.wait_for_timeout(SETTLED_MS)


def first_minute(page: Page, url: str) -> None:
    """Write the animated picture: the slider goes down and up, answers turn red."""
    start = FIRST_MINUTE_BITS[0]
    link = f"config.weight_bits={start}&config.activation_bits={start}"
    page.goto(f"{url}/home?{link}")
    settle(page)
    slider = page.get_by_test_id("stMain").get_by_role("slider")
    slider.focus()
    frames, bits = [picture(page)], start
    for wanted in FIRST_MINUTE_BITS[1:]:
        slider.press("ArrowRight" if wanted > bits else "ArrowLeft")
        settle(page)
        frames.append(picture(page))
        bits = wanted
    frames[0].save(
        DOCS / "first_minute.gif",
        save_all=True,
        append_images=frames[1:],
        duration=FRAME_MS,
        loop=0,
        optimize=True,
    )


def main() -> None:
    """Write every picture."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "log.txt") as url,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS.split())
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        first_minute(page, url)
        for name, link in STILLS.items():
            page.goto(f"{url}/{link}")
            settle(page)
            picture(page).save(DOCS / f"{name}.webp", lossless=True, method=6)
        browser.close()


if __name__ == "__main__":
    main()
