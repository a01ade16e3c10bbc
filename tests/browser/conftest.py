"""Pages in headless Chromium; whatever a page asks for or complains of is kept."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compressor.compare.page import as_report
from compressor.compare.runs import read_runs
from compressor.files import read_json, write_json
from compressor.report.as_html import render
from compressor.report.write import write_report

from ..report.conftest import build_run
from ..report.test_engine_plans import plan, unmeasured
from ..report.test_family import family
from ..report.test_precisions import converted

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; tests are skipped where it or Playwright is not installed."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in a window of its own, with the requests it made and the faults it reported."""

    def __init__(self, browser: Any, path: Path, **window: Any) -> None:
        self.context = browser.new_context(**window)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(path.as_uri())

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


@pytest.fixture
def open_page(browser):
    """Opens a page; window options are Playwright's."""
    opened = []

    def open_it(path: Path, **window: Any) -> Opened:
        opened.append(Opened(browser, path, **window))
        return opened[-1]

    yield open_it
    for each in opened:
        each.context.close()


def class_counts(name: str, slim_right: int) -> dict[str, Any]:
    both = slim_right - 20
    right = {"dense_right": 450, "slim_right": slim_right, "both_right": both}
    return {"name": name, "images": 500, **right}


def full_run(folder: Path, seed: int) -> Path:
    """A finished run with a family, classes, precisions, plans and a certificate."""
    build_run(folder, seed)
    # Long tables take axe long, and are as the first rows of them.
    for stage in ("dense", "tune"):
        history = read_json(folder / stage / "history.json")
        write_json(folder / stage / "history.json", history[:3])
    classes = [class_counts(f"class {number}", 450 - 9 * number) for number in range(9)]
    write_json(folder / "verify/verify.json", {"classes": classes})
    write_json(folder / "strip/certificate.json", {"bound_fp32": 1e-5, "bound_fp64": 1e-10})
    write_json(folder / "export/precisions.json", [converted(kept=["stem"])])
    write_json(folder / "build/plans.json", [plan(), unmeasured("fp32")])
    write_json(folder / "family/family.json", family())
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Three runs: one with all that a report can show, one without a path, one as the first."""
    place = tmp_path_factory.mktemp("runs")
    bare = build_run(place / "magnitude", seed=1)
    path = read_json(bare / "train/path.json") | {"method": "magnitude", "couplings": {}}
    write_json(bare / "train/path.json", path)
    summary = read_json(bare / "summary.json")
    weights = {"granularity": "weight", "share_of_slim": 0.2, "share_of_dense": 0.1}
    write_json(bare / "summary.json", summary | {"weights": weights})
    write_report(bare)
    return [full_run(place / "first", 0), bare, full_run(place / "again", 2)]


@pytest.fixture(scope="session")
def pages(runs, tmp_path_factory):
    """Every kind of page by name."""
    compared = tmp_path_factory.mktemp("compared") / "compare.html"
    compared.write_text(render(as_report(read_runs(runs))), encoding="utf-8")
    return {
        "report": runs[0] / "report.html",
        "report without a path": runs[1] / "report.html",
        "compare": compared,
    }
