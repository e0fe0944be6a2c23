"""What only a browser shows: addresses, the menu, uploads, downloads, clicks, narrow windows."""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import onnx
import pytest
from playwright.sync_api import expect

from tests import screens
from tests.browsing import unfold
from tests.paths import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

pytestmark = pytest.mark.browser

TITLES = {"": "Home"} | screens.TITLES
SLOW = 30_000
"""Milliseconds; the first request to a server imports ONNX Runtime."""


@pytest.fixture(autouse=True)
def faults(page: Page) -> Iterator[list[str]]:
    """Collect what the browser complains about; nothing may be left at the end."""
    found: list[str] = []

    def console(message: ConsoleMessage) -> None:
        # Below a page's path Streamlit's client first looks for its server there: two 404s. And it
        # drops the images of a screen while the browser may still be fetching them.
        url = str(message.location.get("url", ""))
        expected = "/_stcore/" in url or "/media/" in url
        if message.type == "error" and not expected:
            found.append(f"{message.text} {message.location}")

    page.on("console", console)
    page.on("pageerror", lambda error: found.append(str(error)))
    yield found
    assert not found


def open_screen(page: Page, url: str, title: str) -> None:
    page.goto(url)
    settle(page, title)


def settle(page: Page, title: str) -> None:
    """Wait until the script of the screen has run to its end without an exception."""
    expect(page.get_by_role("heading", name=title, level=2, exact=True)).to_be_visible(timeout=SLOW)
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_text("Page not found")).to_have_count(0)


def click_menu(page: Page, title: str) -> None:
    page.get_by_test_id("stSidebarNavLink").filter(has_text=title).click()
    settle(page, title)


def figures(page: Page) -> Locator:
    return page.get_by_test_id("stMetricValue")


def slider(page: Page, label: str = "Weight bits") -> Locator:
    return page.get_by_role("slider", name=label)


def move_to(page: Page, bits: int) -> None:
    """Move the weight bits by the arrow keys, one step at a time."""
    handle = slider(page)
    while (now := int(handle.input_value())) != bits:
        step = 1 if bits > now else -1
        handle.press("ArrowRight" if step > 0 else "ArrowLeft")
        expect(handle).to_have_value(str(now + step))
    expect(page).to_have_url(re.compile(rf"config\.weight_bits={bits}\b"))
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)


def headline(page: Page) -> list[str]:
    """Return the four figures once they stay: a slider on its way shows others before."""
    expect(figures(page)).to_have_count(4)
    shown: list[str] = figures(page).all_inner_texts()
    for _ in range(20):
        page.wait_for_timeout(700)
        before, shown = shown, figures(page).all_inner_texts()
        if before == shown:
            break
    return shown


def give_file(page: Page, label: str, name: str, content: bytes) -> None:
    """Give a file to the uploader that is called `label`; others may not be drawn yet."""
    uploader = page.get_by_test_id("stFileUploader").filter(
        has=page.get_by_role("region", name=label)
    )
    uploader.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=path or "root",
            marks=() if path in ("", "learn", "graph") else pytest.mark.exhaustive,
        )
        for path in TITLES
    ],
)
def test_a_screen_opens_by_its_address_on_a_fresh_server(
    page: Page, fresh_url: str, path: str
) -> None:
    open_screen(page, f"{fresh_url}/{path}?config.weight_bits=7", TITLES[path])
    expect(slider(page)).to_have_value("7")
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    if path != "learn":
        expect(figures(page).first).to_contain_text("dB")


def test_the_first_visitor_of_a_server_keeps_the_focus(page: Page, fresh_url: str) -> None:
    open_screen(page, f"{fresh_url}/bitwidths", "Bit widths")
    expect(figures(page)).to_have_count(4)
    slider(page).press("ArrowRight")
    expect(figures(page).nth(3)).not_to_have_text("972 B")
    expect(slider(page)).to_have_value("5")
    expect(slider(page)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(slider(page)).to_have_value("6")


def test_a_key_press_moves_figures_charts_and_address(
    page: Page, app_url: str, browser: Browser
) -> None:
    open_screen(page, f"{app_url}/bitwidths", "Bit widths")
    bar = page.locator(".js-plotly-plot .barlayer path").first
    expect(bar).to_be_visible(timeout=SLOW)
    before, drawn = headline(page)[0], bar.get_attribute("d")
    assert drawn is not None
    move_to(page, 5)
    expect(figures(page).nth(0)).not_to_have_text(before)
    expect(bar).not_to_have_attribute("d", drawn)
    expect(page).to_have_url(re.compile(r"/bitwidths\?config\.weight_bits=5$"))
    settle(page, "Bit widths")
    shown = headline(page)

    other = browser.new_context()
    try:
        second = other.new_page()
        open_screen(second, page.url, "Bit widths")
        expect(slider(second)).to_have_value("5")
        expect(figures(second)).to_have_text(shown)
    finally:
        other.close()


def test_the_configuration_survives_the_menu_and_a_reload(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/compare", "Compare")
    first = headline(page)[0]
    move_to(page, 6)
    expect(figures(page).nth(0)).not_to_have_text(first)
    shown = headline(page)[0]
    for title in ("Export", "Learn", "Sweep", "Home", "Bit widths", "Calibration"):
        click_menu(page, title)
        expect(slider(page)).to_have_value("6")
        expect(page).to_have_url(re.compile(r"config\.weight_bits=6"))
        if title != "Learn":
            expect(figures(page).nth(0)).to_have_text(shown)
    page.reload()
    settle(page, "Calibration")
    expect(slider(page)).to_have_value("6")
    expect(figures(page).nth(0)).to_have_text(shown)


def test_the_configuration_of_a_link_survives_the_menu(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/compare?config.weight_bits=6", "Compare")
    shown = headline(page)
    for title in ("Export", "Learn", "Home"):
        click_menu(page, title)
        expect(slider(page)).to_have_value("6")
        expect(page).to_have_url(re.compile(r"config\.weight_bits=6"))
    expect(figures(page)).to_have_text(shown)


def test_back_keeps_the_configuration(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/compare", "Compare")
    before = headline(page)[0]
    move_to(page, 6)
    expect(figures(page).nth(0)).not_to_have_text(before)
    shown = headline(page)
    click_menu(page, "Export")
    expect(figures(page)).to_have_text(shown)
    page.go_back()
    settle(page, "Compare")
    expect(slider(page)).to_have_value("6")
    expect(figures(page)).to_have_text(shown)


def test_an_uploaded_model_and_its_data_reach_every_screen(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/home?config.model=iris_linear", "Home")
    sample = headline(page)
    open_screen(page, f"{app_url}/home", "Home")
    give_file(page, "Model (.onnx)", "mine.onnx", (SAMPLES / "iris_linear.onnx").read_bytes())
    expect(page.get_by_text("mine.onnx is loaded.")).to_be_visible(timeout=SLOW)
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text("synthetic")).to_be_visible()
    give_file(
        page, "Data for the current model", "mine.npz", (SAMPLES / "iris_linear.npz").read_bytes()
    )
    expect(page.get_by_text("mine.npz is loaded.")).to_be_visible(timeout=SLOW)
    expect(sidebar.get_by_text("60 calibration, 50 evaluation samples")).to_be_visible()
    expect(figures(page)).to_have_text(sample)
    for title in ("Compare", "Export", "Home"):
        click_menu(page, title)
        expect(figures(page)).to_have_text(sample)


def test_a_refused_file_is_one_message_and_changes_nothing(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/home", "Home")
    shown = headline(page)
    give_file(page, "Model (.onnx)", "notes.onnx", b"hello world")
    alert = page.get_by_test_id("stAlertContentError")
    expect(alert).to_have_count(1, timeout=SLOW)
    expect(alert).to_contain_text("notes.onnx: not an ONNX model")
    expect(figures(page)).to_have_text(shown)


def test_a_link_to_a_model_that_is_not_here_asks_for_it(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/compare?config.model=mine.onnx+%23deadbeef", "Compare")
    expect(page.get_by_test_id("stAlertContentInfo")).to_contain_text("mine.onnx #deadbeef")
    page.get_by_role("link", name="Go to Home").click()
    settle(page, "Home")
    # One cannot upload on a screen that stops before its uploader.
    expect(page.get_by_test_id("stFileUploaderDropzoneInput").first).to_be_attached()


def test_a_click_on_a_node_in_compare_leads_to_its_tensor_in_calibration(
    page: Page, app_url: str
) -> None:
    link = "config.weight_bits=6&config.weights_symmetric=no"
    open_screen(page, f"{app_url}/compare?{link}", "Compare")
    shown = headline(page)
    line = page.locator(".js-plotly-plot").nth(2)
    line.scroll_into_view_if_needed()
    point = line.locator(".scatterlayer .point").nth(3)  # AveragePool; c2 reads what it makes
    click_point(page, point)
    page.get_by_role("link", name="Its tensor in Calibration").click()
    settle(page, "Calibration")
    layer = page.get_by_test_id("stSelectbox").filter(has_text="Layer").locator("input")
    expect(layer).to_have_value("5 /c2/Conv")
    expect(slider(page)).to_have_value("6")
    expect(figures(page).nth(0)).to_have_text(shown[0])
    click_menu(page, "Compare")  # and coming back stays here
    expect(line).to_be_visible()
    page.wait_for_timeout(500)
    settle(page, "Compare")


def click_point(page: Page, point: Locator) -> None:
    """Click a mark of a chart, wherever the page has it; it takes a click once it is hovered."""
    point.scroll_into_view_if_needed(timeout=SLOW)
    page.wait_for_timeout(300)
    box = point.bounding_box(timeout=SLOW)
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(300)
    page.mouse.down()
    page.mouse.up()


def small_sweep(page: Page, app_url: str) -> None:
    widths = "sweep.weight_bits=3&sweep.weight_bits=6"
    widths += "&sweep.activation_bits=3&sweep.activation_bits=6"
    open_screen(page, f"{app_url}/sweep?config.model=iris_linear&{widths}", "Sweep")
    expect(page.get_by_text("4 configurations", exact=True)).to_be_visible()
    expect(page.get_by_text("No sweep yet.")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".js-plotly-plot .heatmaplayer image").first).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=SLOW)
    expect(page.get_by_role("button", name="Start")).to_be_enabled(timeout=SLOW)
    settle(page, "Sweep")


def selected_bits(page: Page) -> tuple[str, str]:
    """Return the widths of weights and activations that the selection names."""
    line = page.get_by_test_id("stMarkdown").filter(has_text="Selected:")
    expect(line).to_be_visible(timeout=SLOW)
    found = re.search(r"weights (\d+) bits.*activations (\d+) bits", line.inner_text())
    assert found
    return found[1], found[2]


def test_a_row_of_a_sweep_is_selected_and_adopted(page: Page, app_url: str) -> None:
    small_sweep(page, app_url)
    page.get_by_role("tab", name="Table").click()
    # The grid is a canvas: a header of 35 pixels, then rows; boxes to tick are on the left.
    grid = page.get_by_test_id("stDataFrame")
    expect(grid.get_by_test_id("data-grid-canvas")).to_be_visible()
    grid.click(position={"x": 18, "y": 35 + 17})
    weights, activations = selected_bits(page)
    page.get_by_role("button", name="Adopt").click()
    expect(slider(page)).to_have_value(weights)
    expect(slider(page, "Activation bits")).to_have_value(activations)
    expect(page).to_have_url(re.compile(rf"config\.weight_bits={weights}\b"))
    settle(page, "Sweep")


def test_a_cell_of_the_heat_map_is_selected_and_adopted(page: Page, app_url: str) -> None:
    small_sweep(page, app_url)
    page.wait_for_timeout(1500)  # the finished sweep is drawn once more
    click_point(page, page.locator(".js-plotly-plot").first.locator(".scatterlayer .point").first)
    weights, activations = selected_bits(page)
    page.get_by_role("button", name="Adopt").click()
    expect(slider(page)).to_have_value(weights)
    expect(slider(page, "Activation bits")).to_have_value(activations)


def test_a_downloaded_configuration_restores_the_controls(page: Page, app_url: str) -> None:
    open_screen(page, f"{app_url}/export?config.weight_bits=7&config.limit=12", "Export")
    shown = headline(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Configuration (JSON)").click()
    download = waiting.value
    assert download.suggested_filename == "digits_cnn-w7a4.json"
    content = Path(download.path()).read_bytes()
    document: dict[str, Any] = json.loads(content)
    assert (document["weights"]["n_bits"], document["limit_bits"]) == (7, 12)
    move_to(page, 5)
    expect(figures(page).nth(0)).not_to_have_text(shown[0])
    give_file(page, "Load a configuration (.json)", "chosen.json", content)
    expect(page.get_by_text("chosen.json is loaded.")).to_be_visible(timeout=SLOW)
    expect(slider(page)).to_have_value("7")
    expect(figures(page)).to_have_text(shown)
    expect(page).to_have_url(re.compile(r"config\.weight_bits=7"))


def test_every_table_downloads(page: Page, app_url: str) -> None:
    for stem, label, start in (
        ("bitwidths", "Accumulators (CSV)", b"layer,operator,seen (bits)"),
        ("calibration", "Layers (CSV)", b"layer,operator,treatment"),
        ("layers", "Sensitivities (CSV)", b"layer,operator,what"),
    ):
        open_screen(page, f"{app_url}/{stem}", TITLES[stem])
        if stem == "calibration":  # the table of all layers is folded away
            unfold(page, "Table: all layers")
        with page.expect_download() as waiting:
            page.get_by_role("button", name=label).click(timeout=SLOW)
        content = Path(waiting.value.path()).read_bytes()
        assert content.startswith(start), stem
        assert len(content) > 100, stem


def _is_onnx(content: bytes) -> None:
    assert onnx.load_model_from_string(content).graph.node


def _is_python(content: bytes) -> None:
    assert ast.parse(content.decode()).body


def _is_json(content: bytes) -> None:
    assert json.loads(content)


def _holds(*endings: str) -> Callable[[bytes], None]:
    def check(content: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            names = sorted(archive.namelist())
        assert len(names) == len(endings)
        assert all(name.endswith(end) for name, end in zip(names, endings, strict=True)), names

    return check


def _is_page(content: bytes) -> None:
    assert content[:15].lower() == b"<!doctype html>"
    assert content.rstrip().endswith(b"</html>")


EXPORTS: dict[str, tuple[str, str, Callable[[bytes], None]]] = {
    "Configuration": ("Configuration (JSON)", "digits_cnn-w4a4.json", _is_json),
    "QDQ ONNX": ("QDQ ONNX (.onnx)", "digits_cnn-w4a4-qdq.onnx", _is_onnx),
    "QONNX": ("QONNX (.onnx)", "digits_cnn-w4a4-qonnx.onnx", _is_onnx),
    "TensorQuantOverrides": (
        "TensorQuantOverrides (.json)",
        "digits_cnn-w4a4-overrides.json",
        _is_json,
    ),
    "AIMET encodings 1.0.0 and 2.0.0": (
        "AIMET encodings 1.0.0 and 2.0.0 (.zip)",
        "digits_cnn-w4a4-aimet.zip",
        _holds("1.0.0.encodings", "2.0.0.encodings"),
    ),
    "C99": ("C99 (.zip)", "digits_cnn-w4a4-c.zip", _holds(".c", ".h")),
    "NumPy script": ("NumPy script (.zip)", "digits_cnn-w4a4-numpy.zip", _holds(".py", ".npz")),
    "ONNX in integers": ("ONNX in integers (.onnx)", "digits_cnn-w4a4-integers.onnx", _is_onnx),
    "Quantlib script": ("quantlib script", "digits_cnn-w4a4-quantlib.py", _is_python),
    "Concrete ML script": ("Concrete ML script", "digits_cnn-w4a4-concrete-ml.py", _is_python),
    "Report": ("Report (HTML)", "digits_cnn-w4a4-report.html", _is_page),
}
"""Form on Export, as its link names it: button, file, what the file is."""


def test_every_form_of_export_is_reached_by_its_link_and_downloads(
    page: Page, app_url: str
) -> None:
    open_screen(page, f"{app_url}/export", "Export")
    forms = page.get_by_role("radiogroup", name="Format")
    expect(forms.get_by_role("radio")).to_have_count(len(EXPORTS))
    for form, (label, name, check) in EXPORTS.items():
        open_screen(page, f"{app_url}/export?{urlencode({'export.form': form})}", "Export")
        expect(forms.get_by_role("radio", name=form, exact=True)).to_be_checked()
        with page.expect_download() as waiting:
            page.get_by_role("button", name=label, exact=form != "Configuration").click()
        assert waiting.value.suggested_filename == name
        check(Path(waiting.value.path()).read_bytes())


def test_a_proof_runs_in_the_background_and_is_shown_when_it_ends(page: Page, app_url: str) -> None:
    link = urlencode({"config.model": "iris_linear", "export.form": "QONNX"})
    open_screen(page, f"{app_url}/export?{link}", "Export")
    page.get_by_role("button", name="Prove it").click()
    success = page.get_by_test_id("stAlertContentSuccess")
    expect(success).to_be_visible(timeout=SLOW)  # nobody touches the screen meanwhile
    expect(page.get_by_role("button", name="Prove it")).to_have_count(0)
    expect(page.get_by_text("Everything found")).to_be_visible()
    move_to(page, 5)  # a proof is of one configuration
    expect(success).to_have_count(0)
    expect(page.get_by_role("button", name="Prove it")).to_be_enabled()


@pytest.mark.parametrize("path", [pytest.param(path, id=path or "root") for path in TITLES])
def test_a_screen_fits_a_narrow_window(page: Page, app_url: str, path: str) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    open_screen(page, f"{app_url}/{path}", TITLES[path])
    if path in ("bitwidths", "calibration", "compare", "layers", "learn"):
        expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=SLOW)
    too_wide = page.evaluate(
        """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
            .map(element => element.scrollWidth - element.clientWidth)"""
    )
    assert too_wide == [0, 0]
