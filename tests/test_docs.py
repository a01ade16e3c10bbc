"""The pages under docs: they build, say what was measured, and have the code's reference."""

import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET

import pytest

from compressor.cli import main
from compressor.engines import ENGINES
from compressor.recipe import check_recipe, find_recipe, shipped_recipes
from compressor.sparsity.catalog import METHODS
from compressor.strip.settings import BUDGETS

from .pages import PAGES, ROOT, TABLES, blocks, unknown, with_tables

sys.path.insert(0, str(ROOT / "tools"))

import reference

DOCS = ROOT / "docs"
MEASURED = [page for page in PAGES if page.startswith(("docs/methods/", "docs/engines/"))]
MEASURED += ["docs/sizes.md", "docs/tour.md", "docs/concepts.md", "docs/index.md"]
CONTROLS = {"random", "dense"}
"""These methods share one page."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The documentation, built as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        words, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=300, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_the_strict_build_makes_every_page(site):
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert {page for page in pages if not (site / page).is_file()} == set()


def test_no_page_loads_anything_from_another_host(site):
    loads = re.compile(
        r"<(?:script|img|source|iframe)[^>]+src=[\"']?(?:https?:)?//"
        r"|<link[^>]+rel=[\"']?(?:stylesheet|preconnect|preload|icon)[^>]+href=[\"']?(?:https?:)?//"
    )
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert [str(page) for page, text in pages.items() if loads.search(text)] == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert not any(re.search(r"url\([\"']?https?://", style) for style in styles)


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_is_what_the_code_says(name):
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == reference.PAGES[name](), "run `make reference`"


def test_the_reference_has_every_command_and_every_section_of_a_recipe():
    told = reference.commands_page()
    assert [name for name in main.commands if f"## compressor {name}\n" not in told] == []
    settings = reference.settings_page()
    recipe = set(re.findall(r"^\| `(\w+)` ", settings.split("## [")[0], flags=re.MULTILINE))
    assert {"name", "seed", "train", "strip", "grow"} <= recipe
    assert "| `epochs` | whole number | ≥ 1 | **required** |" in settings
    assert all(f'[sparsity] with method = "{method}"' in settings for method in METHODS)


def test_the_reference_shows_every_shipped_recipe_whole():
    told = blocks(reference.recipes_page(), "toml")
    assert [tomllib.loads(toml)["name"] for toml in told] == list(shipped_recipes())


def test_every_method_and_every_engine_has_a_page():
    named = {f"docs/methods/{name}.md" for name in set(METHODS) - CONTROLS}
    assert named | {f"docs/engines/{name}.md" for name in ENGINES} <= set(PAGES)
    assert all(f"{name}  :" in PAGES["docs/methods/controls.md"] for name in ("random", "dense "))


@pytest.mark.parametrize("page", MEASURED)
def test_every_figure_of_a_page_stands_in_a_table_that_a_tool_wrote(page):
    # The demo's figures are the README's own.
    assert unknown(PAGES[page], "\n".join([*map(table, TABLES), PAGES["README.md"]])) == []


def table(name):
    """A page that a tool wrote."""
    return TABLES[name].read_text(encoding="utf-8")


LINKING = [page for page, text in PAGES.items() if with_tables(text)]


@pytest.mark.parametrize("page", LINKING)
def test_every_figure_beside_a_link_stands_in_the_table_that_is_linked(page):
    missing = {
        (part, figure)
        for part, names in with_tables(PAGES[page])
        for figure in unknown(part, "\n".join(map(table, names)))
    }
    assert missing == set()


def test_a_figure_that_stands_in_another_table_or_in_a_longer_number_is_not_found():
    row = "| so many | 91.10% ± 0.03% of 41% | [compare](../compare.md) |"
    assert with_tables(row) == [(row, ["compare"])]
    assert unknown(row, "| 91.10% ± 0.03% | 41% |") == []
    assert unknown(row, "| 91.10% ± 0.04% | 91.41% |") == ["91.10%±0.03%", "41%"]


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "toml")])
def test_every_recipe_or_part_of_one_on_a_page_is_valid(page):
    for toml in blocks(PAGES[page], "toml"):
        given = tomllib.loads(toml)
        check_recipe(given if "name" in given else _within_digits(given), page)


def _within_digits(part):
    """The recipe ``digits`` with what a page shows of another in its place."""
    recipe = tomllib.loads(find_recipe("digits").read_text(encoding="utf-8"))
    if set(part.get("strip", {})) & set(BUDGETS):
        recipe["strip"].pop("keep_macs")
    whole = {"data", "sparsity"}
    return recipe | {
        name: section if name in whole else recipe.get(name, {}) | section
        for name, section in part.items()
    }


def test_every_command_that_a_page_names_exists():
    named = {
        (page, word)
        for page, text in PAGES.items()
        for word in re.findall(r"`compressor ([a-z]+)", text)
    }
    assert {(page, word) for page, word in named if word not in main.commands} == set()


def test_every_file_of_the_code_that_a_page_names_exists():
    place = re.compile(r"`((?:compressor|tests|docs|recipes|models)/[\w/.-]+\.(?:py|md|toml))`")
    named = {(page, path) for page, text in PAGES.items() for path in place.findall(text)}
    named = {(page, path) for page, path in named if "NAME" not in path}
    assert len(named) > 10
    assert {(page, path) for page, path in named if not (ROOT / path).is_file()} == set()


@pytest.mark.parametrize("path", sorted((DOCS / "drawings").glob("*.svg")), ids=lambda p: p.stem)
def test_every_drawing_is_described_and_used_with_a_text_in_its_place(path):
    drawing = ET.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert drawing.findtext(f"{space}title")
    assert len(drawing.findtext(f"{space}desc")) > 60
    used = re.findall(rf"!\[([^]]*)\]\(drawings/{path.name}\)", PAGES["docs/concepts.md"])
    assert [len(text) > 40 for text in used] == [True]
