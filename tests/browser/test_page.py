"""The page of a study as a reader has it: on screens, by keyboard, on paper, and mailed."""

from __future__ import annotations

import base64
import io
import re
import unicodedata

import pytest
from browser.conftest import AXE, errors_of, show
from PIL import Image
from pypdf import PdfReader
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select


def squeezed(text: str) -> str:
    """Text without white space, which breaks of lines add, and without ligatures."""
    return re.sub(r"[\s\u00ad]+", "", unicodedata.normalize("NFKC", text))


def to_the_middle(browser, element):
    """Scroll there at once."""
    browser.execute_script(
        "arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' });", element
    )


def visible_rows(browser, table):
    return browser.execute_script(
        "return [...document.querySelectorAll(`table[data-name=${arguments[0]}] tbody tr`)]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent));",
        table,
    )


def test_no_error_is_written_to_the_console(logged):
    assert logged == []


def test_nothing_is_asked_of_a_network(opened):
    asked = opened.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name);"
    )
    assert [name for name in asked if not name.startswith(("data:", "blob:"))] == []


def test_the_answer_is_what_is_seen_first(opened):
    answer = opened.find_element(By.ID, "answer")
    assert answer.is_displayed() and answer.text.endswith(".")
    assert answer.location["y"] < 400


def test_every_figure_is_visible(opened):
    images = opened.execute_script(
        "return [...document.querySelectorAll('figure img')]"
        ".map((one) => [one.complete, one.naturalWidth, one.width, one.alt]);"
    )
    assert images
    for complete, own, shown, alternative in images:
        assert complete and own > 50 and shown > 50
        assert len(alternative.split()) > 8, alternative
    assert opened.execute_script(
        "return [...document.querySelectorAll('.heat-map')]"
        ".every((one) => one.querySelector('.heatmaplayer image, .heatmaplayer path'));"
    )


def test_a_table_sorts_by_number_where_its_header_is_clicked(opened):
    def estimates():
        return [
            float(text)
            for text in opened.execute_script(
                "return [...document.querySelectorAll('table[data-name=claims] tbody tr')]"
                ".map((row) => row.cells[6].dataset.order);"
            )
        ]

    before = estimates()
    header = opened.find_elements(By.CSS_SELECTOR, "table[data-name=claims] thead th")[6]
    to_the_middle(opened, header)
    # A click orders the rows, and only then says so in the header.
    for order, expected in (
        ("ascending", sorted(before)),
        ("descending", sorted(before, reverse=True)),
        (None, before),
    ):
        header.click()
        wait_for(opened, lambda order=order: header.get_attribute("aria-sort") == order)
        assert estimates() == expected


@pytest.mark.parametrize("table", ["claims", "scores"])
def test_a_table_shows_the_rows_that_hold_what_is_typed(opened, table):
    every = visible_rows(opened, table)
    word = every[-1][3]
    container = opened.find_element(
        By.XPATH, f"//table[@data-name='{table}']/ancestor::div[contains(@class,'dt-container')]"
    )
    box = container.find_element(By.CSS_SELECTOR, "input[type=search]")
    box.send_keys(word)
    words = word.lower().split()
    expected = [row for row in every if all(w in " ".join(row).lower() for w in words)]
    assert 0 < len(expected) < len(every)
    wait_for(opened, lambda: visible_rows(opened, table) == expected)
    box.clear()
    box.send_keys(" \b")
    wait_for(opened, lambda: visible_rows(opened, table) == every)
    assert container.find_element(By.XPATH, ".//button[contains(., 'Save rows')]").is_displayed()


def test_a_figure_zooms(opened):
    button = opened.find_element(By.CSS_SELECTOR, "button[data-zoom]")
    to_the_middle(opened, button)
    button.click()
    plot = opened.find_element(By.ID, "zoom-plot")
    wait_for(opened, lambda: plot.is_displayed() and plot.find_elements(By.CSS_SELECTOR, "image"))
    axis = "return document.getElementById('zoom-plot')._fullLayout.xaxis.range.slice();"
    low, high = opened.execute_script(axis)
    plot.find_element(By.CSS_SELECTOR, "[data-title='Zoom in']").click()
    wait_for(opened, lambda: span(opened.execute_script(axis)) < high - low)
    opened.find_element(By.ID, "zoom-close").click()
    assert not plot.is_displayed()


def test_a_figure_tells_its_values(opened):
    button = opened.find_element(By.CSS_SELECTOR, "figure#encoding_by_region button[data-points]")
    to_the_middle(opened, button)
    button.click()
    plot = opened.find_element(By.ID, "points-plot")
    wait_for(opened, lambda: plot.find_elements(By.CSS_SELECTOR, ".scatterlayer .point"))
    shown = (
        "return document.getElementById('points-plot').data.map((one) => [one.name, one.y.length]);"
    )
    said = opened.find_element(By.ID, "points-said").text
    drawn = opened.execute_script(shown)
    assert len(drawn) > 1 and said.startswith(f"{sum(n for _, n in drawn)} values")
    # Another region: other values of as many points.
    values = "return document.getElementById('points-plot').data[0].y;"
    before = opened.execute_script(values)
    select = Select(opened.find_element(By.ID, "points-roi"))
    select.select_by_index(1)
    wait_for(opened, lambda: opened.execute_script(values) != before)
    point = plot.find_elements(By.CSS_SELECTOR, ".scatterlayer .point")[0]
    ActionChains(opened).move_to_element(point).perform()
    wait_for(opened, lambda: plot.find_elements(By.CSS_SELECTOR, ".hovertext"))
    hover = plot.find_element(By.CSS_SELECTOR, ".hovertext").text
    assert "subject" in hover and "layer" in hover
    violations = violations_of(opened)
    show(opened, width=390)
    assert opened.execute_script("return document.documentElement.scrollWidth;") <= 390
    opened.find_element(By.ID, "points-close").click()
    assert not plot.is_displayed()
    assert violations == []


def span(limits):
    return limits[1] - limits[0]


def wait_for(browser, condition):
    for _ in range(50):
        if condition():
            return
        browser.execute_async_script("setTimeout(arguments[0], 100);")
    raise AssertionError("it did not happen within five seconds")


def test_a_value_is_shown_where_one_points(opened):
    plot = opened.find_element(By.CSS_SELECTOR, ".heat-map")
    to_the_middle(opened, plot)
    area = plot.find_element(By.CSS_SELECTOR, ".nsewdrag")
    ActionChains(opened).move_to_element(area).move_by_offset(3, 3).perform()
    wait_for(opened, lambda: plot.find_elements(By.CSS_SELECTOR, ".hovertext"))
    assert "layer" in plot.find_element(By.CSS_SELECTOR, ".hovertext").text


def test_the_surface_is_drawn_and_follows_what_is_chosen(opened):
    plot = opened.find_element(By.ID, "surface-plot")
    to_the_middle(opened, plot)
    wait_for(opened, lambda: len(colours(plot)) > 50)
    said = opened.find_element(By.ID, "surface-said").text
    assert re.search(r": [1-9]\d* vertices with a score", said)
    before = colours(plot)
    camera = (
        "return JSON.stringify("
        "document.getElementById('surface-plot')._fullLayout.scene._scene.getCamera());"
    )
    stood = opened.execute_script(camera)
    ActionChains(opened).move_to_element(plot).click_and_hold().move_by_offset(
        80, 20
    ).release().perform()
    wait_for(opened, lambda: opened.execute_script(camera) != stood)
    opened.execute_script(
        "const one = document.getElementById('surface-layer'); one.selectedIndex = 1;"
        "one.dispatchEvent(new Event('change'));"
    )
    assert opened.find_element(By.ID, "surface-said").text != said
    wait_for(opened, lambda: colours(plot) != before)


def colours(element):
    image = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")
    return {colour for _, colour in image.getcolors(maxcolors=1 << 20)}


def test_files_can_be_saved_from_a_mailed_page(opened):
    links = opened.find_elements(By.CSS_SELECTOR, "a[download]")
    names = [link.get_attribute("download") for link in links]
    assert {"claims.csv"} < set(names)
    assert {name.split(".")[1] for name in names} == {"csv", "pdf"}
    starts = opened.execute_async_script(
        "const done = arguments[1];"
        "Promise.all(arguments[0].map(async (link) => [link.download,"
        " new TextDecoder().decode((await (await fetch(link.href)).arrayBuffer()).slice(0, 11))]))"
        ".then(done);",
        links,
    )
    for name, start in starts:
        assert start.startswith({"pdf": "%PDF-", "csv": start, "gz": "\x1f"}[name.split(".")[-1]])
    assert dict(starts)["claims.csv"] == "prediction,"


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(opened, colours, width):
    show(opened, width=width, colours=colours)
    assert violations_of(opened) == []


def violations_of(browser):
    """What axe finds, after it has found many things in order."""
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    passed, violations = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run({ resultTypes: ['violations'] }).then(({ violations, passes }) =>"
        " done([passes.length, violations.map((one) => [one.id,"
        " ...one.nodes.slice(0, 5).map((node) => node.html.slice(0, 200))])]));"
    )
    assert passed > 10
    return violations


def test_on_a_telephone_nothing_but_tables_scrolls_sideways(opened):
    show(opened, width=390)
    assert opened.execute_script("return document.documentElement.scrollWidth;") <= 390
    wide = opened.execute_script(
        "return [...document.querySelectorAll('figure, .plot, .choices, .answer, button, select')]"
        ".filter((one) => one.getBoundingClientRect().right > 391).map((one) => one.outerHTML);"
    )
    assert wide == []


def test_on_paper_everything_is_there_whatever_is_closed_or_filtered(opened):
    """Cells of all tables, captions, settings: also what a filter hides, and closed details."""
    cells = opened.execute_script(
        "return [...document.querySelectorAll('main td, main th, figcaption p, main pre')]"
        ".filter((one) => !one.closest('.on-screen')).map((one) => one.textContent);"
    )
    opened.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = false; });"
    )
    box = opened.find_element(By.CSS_SELECTOR, "input[type=search]")
    opened.execute_script(
        "arguments[0].value = 'nothing holds this';"
        "arguments[0].dispatchEvent(new Event('input', { bubbles: true }));",
        box,
    )
    printed = opened.execute_cdp_cmd(
        "Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True}
    )
    reader = PdfReader(io.BytesIO(base64.b64decode(printed["data"])))
    text = squeezed("".join(sheet.extract_text() for sheet in reader.pages))
    missing = {cell for cell in cells if squeezed(cell) and squeezed(cell) not in text}
    assert missing == set()
    # Every figure, and the heat maps of every signal, not of the chosen one alone.
    choices = opened.execute_script(
        "return JSON.parse(document.getElementById('heat-maps').textContent)"
        ".map((plot) => plot.choices.map((choice) => choice.label));"
    )
    assert max(map(len, choices)) > 1
    images = sum(len(sheet.images) for sheet in reader.pages)
    figures = len(opened.find_elements(By.CSS_SELECTOR, "figure img"))
    assert images >= figures + sum(map(len, choices))
    for label in {label for plot in choices for label in plot}:
        count = sum(plot.count(label) for plot in choices)
        assert text.count(squeezed(label)) >= count


def test_no_table_is_wider_than_the_paper(opened):
    # A4, landscape, less two margins of 12 mm, at 96 pixels an inch.
    show(opened, width=1031)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    wide = opened.execute_script(
        "return [...document.querySelectorAll('main table, main img, main pre')]"
        ".filter((one) => one.getBoundingClientRect().right > 1032)"
        ".map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect().right]);"
    )
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert wide == []


def test_all_that_was_done_here_wrote_no_error(opened):
    assert errors_of(opened) == []
