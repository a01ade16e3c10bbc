"""Reports and comparisons as a browser shows them."""

import io
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

KINDS = ["report", "report without a path", "compare"]
SLIDER = "#path-moment"
COUNTS = ".lanes .value"
NARROW = {"viewport": {"width": 360, "height": 740}}
SPILT = """
    [...document.querySelectorAll("main *, header *")]
        .filter((one) => !one.closest(".scroll, svg"))
        .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
        .map((one) => one.outerHTML.slice(0, 80))
"""
"""Beginnings of the elements that stand out of the window to the right."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing_and_complains_of_nothing(open_page, pages, kind):
    opened = open_page(pages[kind])

    assert opened.requests == [pages[kind].as_uri()]
    assert opened.faults == []


def entered(opened) -> list[int]:
    return [int(text.split()[0]) for text in opened.page.locator(COUNTS).all_inner_texts()]


def test_the_slider_shows_by_keyboard_what_had_entered(open_page, pages):
    opened = open_page(pages["report"])
    at_the_end = entered(opened)
    opened.page.focus(SLIDER)

    opened.page.keyboard.press("Home")
    assert opened.page.locator("output").inner_text().startswith("path time 0, epoch 1 of 24")
    assert entered(opened) == [0] * len(at_the_end)

    for _ in range(5):
        opened.page.keyboard.press("PageUp")
    halfway = entered(opened)
    assert 0 < sum(halfway) < sum(at_the_end)
    assert all(one <= other for one, other in zip(halfway, at_the_end, strict=True))

    opened.page.keyboard.press("End")
    assert entered(opened) == at_the_end
    assert opened.faults == []


def test_the_slider_says_what_it_shows(open_page, pages):
    opened = open_page(pages["report"])
    opened.page.focus(SLIDER)
    opened.page.keyboard.press("Home")

    said = opened.page.get_attribute(SLIDER, "aria-valuetext")

    assert said == opened.text("output")
    assert "of 2,944 units have entered" in said


def test_the_slider_follows_the_mouse(open_page, pages):
    opened = open_page(pages["report"])
    at_the_end = sum(entered(opened))
    opened.page.locator(SLIDER).scroll_into_view_if_needed()
    box = opened.page.locator(SLIDER).bounding_box()

    opened.page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)

    assert 0 < sum(entered(opened)) < at_the_end
    moment = float(opened.page.input_value(SLIDER))
    assert moment == pytest.approx(60, abs=4)


def shown_panels(opened) -> list[str]:
    panels = opened.page.locator(".panel")
    titles = panels.locator(".x-title").all_inner_texts()
    visible = [panels.nth(number).is_visible() for number in range(panels.count())]
    return [title for title, seen in zip(titles, visible, strict=True) if seen]


@pytest.mark.parametrize(("kind", "name"), [("report", "family-cost"), ("compare", "compare-cost")])
def test_the_switch_of_costs_works_by_mouse_and_by_keyboard(open_page, pages, kind, name):
    opened = open_page(pages[kind])
    before = opened.page.locator(".panel:visible").count()
    assert before == 1

    opened.page.click(f"label[for={name}-2]")
    third = opened.page.locator(".panel:visible .x-title").inner_text()
    opened.page.focus(f"#{name}-2")
    opened.page.keyboard.press("ArrowLeft")

    assert third == "Bytes"
    assert opened.page.locator(".panel:visible .x-title").inner_text() == "Parameters"
    assert opened.page.locator(".panel:visible").count() == 1


def test_the_switch_works_where_scripts_do_not(open_page, pages):
    opened = open_page(pages["report"], java_script_enabled=False)

    opened.page.click("label[for=family-cost-3]")

    assert opened.page.locator(".panel:visible .x-title").inner_text() == "Latency"
    assert not opened.page.locator(SLIDER).is_visible()


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_window_scrolls_down_only(open_page, pages, kind):
    opened = open_page(pages[kind], **NARROW)

    widths = opened.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    # What is wider than the window must be inside something that scrolls by itself.
    spilt = opened.page.evaluate(SPILT)

    assert widths[0] <= widths[1]
    assert spilt == []


@pytest.mark.parametrize("kind", KINDS)
def test_dark_mode_is_dark(open_page, pages, kind):
    dark, light = (open_page(pages[kind], color_scheme=scheme) for scheme in ("dark", "light"))

    assert sum(background(dark)) < 150 < 600 < sum(background(light))


def background(opened) -> list[int]:
    colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(part) for part in colour.strip("rgb()").split(",")]


@pytest.mark.parametrize("kind", KINDS)
def test_paper_is_light_and_holds_every_panel(open_page, pages, kind):
    opened = open_page(pages[kind], color_scheme="dark")
    opened.page.emulate_media(media="print")

    panels = opened.page.locator(".panel")
    assert sum(background(opened)) > 700
    assert all(panels.nth(number).is_visible() for number in range(panels.count()))
    assert opened.page.locator("nav").is_hidden()
    assert opened.page.pdf(format="A4").startswith(b"%PDF")


ON_PAPER = """
    addEventListener("beforeprint", () => {
        window.counts = [...document.querySelectorAll(".lanes .value")].map((o) => o.textContent);
        window.folded = document.querySelectorAll("details:not([open])").length;
    });
"""
"""Keeps what stands on the page when it is printed; heard last, as it is asked for last."""


def test_paper_holds_the_end_of_the_path_wherever_the_slider_stands(open_page, pages):
    opened = open_page(pages["report"])
    at_the_end = opened.page.locator(COUNTS).all_inner_texts()
    opened.page.focus(SLIDER)
    opened.page.keyboard.press("Home")
    at_the_start = opened.page.locator(COUNTS).all_inner_texts()
    opened.page.evaluate(ON_PAPER)

    opened.page.pdf(format="A4")

    assert opened.page.evaluate("window.counts") == at_the_end != at_the_start
    assert opened.page.locator(COUNTS).all_inner_texts() == at_the_start
    assert opened.faults == []


@pytest.mark.parametrize("kind", ["report", "report without a path"])
def test_paper_holds_what_is_folded_and_folds_it_again(open_page, pages, kind):
    opened = open_page(pages[kind])
    opened.page.locator("details > summary").first.click()
    folded = opened.page.locator("details:not([open])").count()
    assert folded >= 2
    opened.page.evaluate(ON_PAPER)

    opened.page.pdf(format="A4")

    assert opened.page.evaluate("window.folded") == 0
    assert opened.page.locator("details:not([open])").count() == folded


def test_tables_that_are_opened_for_paper_fit_on_it(open_page, pages):
    # A4 with margins of 15 mm, in pixels of CSS.
    opened = open_page(pages["report"], viewport={"width": 680, "height": 1000})
    opened.page.emulate_media(media="print")

    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 680


FILLED = {
    "report": [
        *(".widths .span.slim", ".latency .span.dense", ".latency .span.slim"),
        *(".classes .span.worse", ".classes .point.change", ".area", ".key.dense", ".key.slim"),
        *(".key.interval.worse", ".line-key", ".badges .holds .sign", ".badges .told .sign"),
    ],
    "compare": [".key.slim", ".key.dominated"],
}
"""Marks that are nothing but their fill."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", FILLED)
def test_marks_are_seen_in_forced_colours(open_page, pages, kind, scheme):
    opened = open_page(pages[kind], forced_colors="active", color_scheme=scheme)
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")

    unseen = [mark for mark in FILLED[kind] if colours(opened, mark) == {rgb(ground)}]

    assert unseen == []
    assert opened.faults == []


def test_better_worse_and_unclear_differ_in_forced_colours(open_page, pages):
    opened = open_page(pages["report"], forced_colors="active")

    fills = opened.page.evaluate(
        """["worse", "better", "no-clear-change"].map((kind) => {
            const mark = document.createElement("i");
            mark.className = `span interval ${kind}`;
            document.querySelector(".classes .lane").append(mark);
            return getComputedStyle(mark).backgroundColor;
        })"""
    )

    assert len(set(fills)) == 3


def colours(opened, selector) -> set[tuple[int, ...]]:
    """All colours of the first such element, as it is painted."""
    shot = Image.open(io.BytesIO(opened.page.locator(selector).first.screenshot()))
    return {colour for _, colour in shot.convert("RGB").getcolors(1 << 24)}


def rgb(colour) -> tuple[int, ...]:
    return tuple(int(part) for part in colour.strip("rgb()").split(","))


def test_lines_are_told_apart_by_their_dashes_in_the_chart_and_in_its_legend(open_page, pages):
    opened = open_page(pages["report"])

    dashes = {
        where: opened.page.locator(f"#training {where} path.line").evaluate_all(
            "all => all.map((one) => getComputedStyle(one).strokeDasharray)"
        )
        for where in (".line-key", ".plot-area")
    }

    assert dashes[".line-key"] == dashes[".plot-area"]
    assert len(set(dashes[".line-key"])) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_violation(open_page, pages, kind):
    opened = open_page(pages[kind], bypass_csp=True)
    if kind == "report":
        opened.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")

    assert violations(opened, {}) == []


@pytest.mark.parametrize("kind", KINDS)
def test_text_has_contrast_in_dark_mode(open_page, pages, kind):
    opened = open_page(pages[kind], color_scheme="dark", bypass_csp=True)

    assert violations(opened, {"runOnly": ["color-contrast"]}) == []


def violations(opened, options) -> list[tuple[str, str]]:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    found = axe.Axe().run(opened.page, options=options).response["violations"]
    return [(fault["id"], fault["nodes"][0]["html"][:90]) for fault in found]


def test_a_keyboard_reaches_the_slider_the_switch_and_every_table(open_page, pages):
    opened = open_page(pages["report"])
    reached = set()
    for _ in range(80):
        opened.page.keyboard.press("Tab")
        reached.add(
            opened.page.evaluate(
                "document.activeElement.id || document.activeElement.ariaLabel || ''"
            )
        )

    tables = opened.page.locator("main > section > .scroll").evaluate_all(
        "all => all.map((one) => one.ariaLabel)"
    )
    assert {"path-moment", "family-cost-0", *tables} <= reached


def test_the_page_lies_alone(pages, tmp_path, open_page):
    alone = Path(tmp_path / "moved.html")
    alone.write_bytes(pages["report"].read_bytes())

    assert open_page(alone).faults == []
