"""Times from a key press to what the browser shows.

Run with ``pytest -m benchmark_suite tests/browser/test_screen_speed.py -s``, on an idle machine.
Prints the median of 20, in milliseconds; asserts nothing about time.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests import screens

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.benchmark_suite]

SLOW = 60_000
REPEATS = 20
WARM_MS = 4_000
"""What is computed ahead has time to be there, as for a person who looks first."""

KEYS = ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight")

WATCH = """() => {
  const text = selector => [...document.querySelectorAll(selector)].map(e => e.innerText).join();
  const parts = {picture: '.fm', headline: '[data-testid=stMetricValue]'};
  const before = Object.fromEntries(Object.entries(parts).map(([k, s]) => [k, text(s)]));
  const app = document.querySelector('[data-testid=stApp]');
  window.seen = {}; let pressed = null;
  document.addEventListener('keydown', () => { pressed = performance.now() },
                            {once: true, capture: true});
  const look = () => {
    if (pressed !== null) {
      const now = performance.now() - pressed;
      for (const [name, selector] of Object.entries(parts))
        if (before[name] && !window.seen[name] && text(selector) !== before[name])
          window.seen[name] = now;
      if (window.seen.headline && app.dataset.testScriptState === 'notRunning') {
        window.seen.page = now;
        return;
      }
    }
    requestAnimationFrame(look);
  };
  look();
}"""


def medians(page: Page, slider: Locator) -> dict[str, float]:
    """Press arrow keys on a slider; return the median time of each part that moved, ms."""
    app = page.get_by_test_id("stApp")
    times: dict[str, list[float]] = {}
    slider.focus()
    for i in range(REPEATS):
        expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
        page.evaluate(WATCH)
        page.keyboard.press(KEYS[i % len(KEYS)])
        page.wait_for_function("window.seen.page", timeout=SLOW)
        seen: dict[str, Any] = page.evaluate("window.seen")
        for name, milliseconds in seen.items():
            times.setdefault(name, []).append(milliseconds)
    return {name: median(found) for name, found in times.items()}


def report(what: str, found: dict[str, float]) -> None:
    shown = ", ".join(f"{name} {found[name]:.0f}" for name in sorted(found))
    print(f"\n{what}: {shown} ms", end="")  # noqa: T201


def open_screen(page: Page, url: str, title: str) -> None:
    page.goto(url)
    heading = page.get_by_role("heading", name=title, level=2, exact=True)
    expect(heading).to_be_visible(timeout=SLOW)
    expect(page.get_by_test_id("stMetric").first).to_be_visible(timeout=SLOW)


@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp", "wine_sklearn", "iris_linear"])
def test_from_home_s_slider_to_its_picture(page: Page, app_url: str, model: str) -> None:
    open_screen(page, f"{app_url}/home?config.model={model}", "Home")
    slider = page.get_by_test_id("stMain").get_by_role("slider")
    medians(page, slider)  # what the first moves compute is there afterwards
    page.wait_for_timeout(WARM_MS)
    report(f"Home, {model}", medians(page, slider))


@pytest.mark.parametrize("stem", [stem for stem in screens.TITLES if stem != "learn"])
def test_from_the_sidebar_s_slider_to_headline_and_page(
    page: Page, app_url: str, stem: str
) -> None:
    open_screen(page, f"{app_url}/{stem}", screens.TITLES[stem])
    slider = page.get_by_role("slider", name="Weight bits")
    report(screens.TITLES[stem], medians(page, slider))
