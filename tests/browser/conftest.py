"""The report of an invented study in a real Chromium, without a window and without a network."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plot_figure
import pytest
import write_report
import yaml
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from trees.invented_study import Invented, claims_table, write_responses, write_study

from gradbrain.store import write_table

FOLDER = Path(__file__).parent
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
CAPTIONS = FOLDER.parents[1] / "workflow" / "report"
SECONDS_TO_LOAD = 180
FIGURES = {"claims_overview": ("claims",), "encoding_by_region": ("scores",)}


@pytest.fixture(scope="session", autouse=True)
def asked_for(request: pytest.FixtureRequest) -> None:
    """Skip where nobody asked for a browser; fail where somebody did and there is none."""
    if not request.config.getoption("--browser"):
        pytest.skip("BROWSER TESTS DID NOT RUN: `make test-browser` runs them")
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        pytest.fail(f"no {' and no '.join(missing)}: apt-get install chromium chromium-driver")
    if not AXE.is_file():
        pytest.fail(f"no {AXE}: npm ci --prefix tests/browser")


@pytest.fixture(scope="session")
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page: that of ``--page``, or of an invented study with all that a page can hold."""
    given = request.config.getoption("--page")
    if given:
        return Path(given).resolve()
    folder = tmp_path_factory.mktemp("page")
    files = write_study(folder, Invented())
    claims = claims_table(Invented())
    write_table(folder / "claims.csv", claims, kind="claims")
    settings = {"study": "invented", "title": "An invented study", "a_setting": "kept on paper"}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    responses, _ = write_responses(folder / "counts")
    files |= {"claims": [folder / "claims.csv"]}
    shared = {"study": "invented", "entries": files["entries"]}
    for figure, kinds in FIGURES.items():
        stem = folder / "figures" / figure
        own = {"figure": figure, "output-stem": stem} | {kind: files[kind] for kind in kinds}
        plot_figure.main(as_options(shared | own))
    options = shared | {kind: files[kind] for kind in ("claims", "scores", "maps")}
    options |= {
        "config": folder / "config.yaml",
        "responses": responses,
        "figures": [folder / "figures" / f"{name}.png" for name in FIGURES],
        "captions": sorted(CAPTIONS.glob("*.rst")),
        "output": folder / "report.html",
    }
    write_report.main(as_options(options))
    # The page alone, as if it had been mailed.
    alone = tmp_path_factory.mktemp("mailed") / "report.html"
    shutil.copy(folder / "report.html", alone)
    return alone


def as_options(values: dict[str, Any]) -> list[str]:
    """A command line."""
    found = []
    for name, value in values.items():
        found += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium as Debian packages it."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (
        "--headless=new",
        "--window-size=1280,1000",
        "--disable-dev-shm-usage",
        # Draws the surface without a graphics card.
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        # Whatever asks for a network gets none.
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):
        options.add_argument(argument)
    if sys.platform != "win32" and os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(SECONDS_TO_LOAD)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def logged(browser: webdriver.Chrome, page: Path) -> list[str]:
    """Load the page; errors that it wrote to the console while it did."""
    browser.get(page.as_uri())
    end = time.monotonic() + SECONDS_TO_LOAD
    while browser.execute_script("return document.documentElement.dataset.ready") != "yes":
        errors = [entry["message"] for entry in browser.get_log("browser")]
        assert time.monotonic() < end, f"the page is not ready: {errors}"
        time.sleep(0.2)
    return errors_of(browser)


def errors_of(browser: webdriver.Chrome) -> list[str]:
    """Errors that the page has written since they were last asked for."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def opened(browser: webdriver.Chrome, logged: list[str]) -> webdriver.Chrome:
    """The loaded page, light and wide, its details open and nothing filtered."""
    show(browser)
    browser.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = true; });"
    )
    return browser


def show(browser: webdriver.Chrome, *, width: int = 1280, colours: str = "light") -> None:
    """Set the width of the page and whether it is dark."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {
            "features": [
                {"name": "prefers-color-scheme", "value": colours},
                # What is still on its way cannot be clicked.
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]
        },
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    # Two frames: what was resized has been drawn again.
    browser.execute_async_script(
        "const done = arguments[0];"
        "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 300)));"
    )
