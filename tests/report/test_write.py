import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from compressor.files import read_json
from compressor.report.write import write_report

TITLES = [
    "Dense against slim",
    "Path of the support",
    "Widths",
    "Latency",
    "Accuracy at each stage",
    "Certificate",
    "Training",
    "Time",
    "Environment",
    "Repeat it",
]
MOST_BYTES = 150_000
"""Of the page of a network of thirteen couplings."""
VOID = {"meta", "link", "br", "wbr", "img", "hr", "input"}
EVIL = "a<script>alert(1)</script>&|*b*"


class Page(HTMLParser):
    """What a report holds: cells by row, headings, addresses it loads, and the tags left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[tuple[str, ...]] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.policy = ""
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [
            value for key, value in attrs if key in ("src", "href", "srcset", "data")
        ]
        self.ids.add(values.get("id"))
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag == "tr":
            self._cells = []
        if tag in ("td", "th"):
            self._cells.append("")
        if tag == "h2":
            self.headings.append("")
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr":
            self.rows.append(tuple(self._cells))

    def handle_data(self, data):
        here = self.open[-1] if self.open else ""
        if here in ("td", "th"):
            self._cells[-1] += data
        elif here == "h2":
            self.headings[-1] += data
        elif here == "script":
            self.scripts[-1] += data
        elif here != "style":
            self.words.append(data)


def markdown_rows(text: str) -> list[tuple[str, ...]]:
    """Cells of every table of a Markdown report, escapes undone."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    tables = [line for line in lines if not re.fullmatch(r"[|:\- ]+", line)]
    return [tuple(plain(cell) for cell in re.split(r" (?<!\\)\| ", row(line))) for line in tables]


def row(line: str) -> str:
    return line.removeprefix("| ").removesuffix(" |")


def plain(cell: str) -> str:
    shown = re.sub(r"\\(.)", r"\1", cell)
    return shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.fixture(scope="session")
def page(reported_run):
    return Page((reported_run / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def markdown(reported_run):
    return (reported_run / "report.md").read_text(encoding="utf-8")


def pages_of(run):
    write_report(run.folder)
    html_text = (run.folder / "report.html").read_text(encoding="utf-8")
    return Page(html_text), (run.folder / "report.md").read_text(encoding="utf-8")


def test_all_sections_stand_in_both_formats_in_order(page, markdown):
    assert page.headings == TITLES
    assert re.findall(r"^## (.*)$", markdown, re.MULTILINE) == TITLES


def test_every_tag_is_closed(page):
    assert page.open == []


def test_the_page_loads_nothing(page):
    assert page.addresses
    assert all(address.startswith("#") for address in page.addresses)
    assert {address[1:] for address in page.addresses} <= page.ids
    assert page.policy.startswith("default-src 'none'")
    assert "http" not in page.policy


def test_the_style_loads_nothing(reported_run):
    text = (reported_run / "report.html").read_text(encoding="utf-8")
    style = text[text.index("<style>") : text.index("</style>")]

    assert "url(" not in style
    assert "@import" not in style


def test_the_one_script_is_the_one_that_the_policy_knows(page):
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert f"script-src 'sha256-{digest}'" in page.policy
    assert "'unsafe-eval'" not in page.policy


def test_the_page_is_small(reported_run):
    assert (reported_run / "report.html").stat().st_size < MOST_BYTES


def test_both_formats_have_the_same_tables(page, markdown):
    assert len(page.rows) > 100
    assert markdown_rows(markdown) == page.rows


@pytest.mark.parametrize(
    "row",
    [
        ("Accuracy", "93.46 %", "93.34 %", "-0.12 points"),
        ("MACs", "557 M", "140 M", "3.98x fewer"),
        ("Parameters", "11.2 M", "2.35 M", "4.76x fewer"),
        ("ONNX file", "44.7 MB", "9.44 MB", "4.74x smaller"),
        ("Training compute (MACs)", "2.50 P", "3.36 P", "1.34x more"),
        ("MACs kept", "25.00 %", "25.13 %"),
        ("Parameters kept", "–", "21.00 %"),
        ("Masked", "91.21 %", "-2.25 points"),
        ("Stripped, before tuning", "91.22 %", "-2.24 points"),
        ("model.int8.onnx", "93.08 %", "-0.38 points"),
        ("Masked against stripped, float32", "3.1e-07", "–"),
        ("Masked against stripped, float64", "5.7e-16", "–"),
        ("PyTorch against model.fp16.onnx", "6.4e-04", "–"),
        ("train", "11 min 23 s", "40.56 %"),
        ("All stages", "28 min 04 s", "–"),
        ("versions.torch", "2.14.1"),
        ("num_threads", "1"),
        ("device", "cpu"),
    ],
)
def test_the_figures_of_the_run_stand_in_the_tables(page, row):
    assert row in page.rows


def test_latency_stands_beside_its_speed_up_for_each_engine_and_batch(page):
    dense, slim = ("238 ms", "253 ms", "298 ms"), ("82.1 ms", "87.2 ms", "103 ms")

    assert ("ONNX Runtime", "32", *dense, *slim, "2.90x", "2.71x to 3.05x") in page.rows
    assert sum(row[0] in ("ONNX Runtime", "PyTorch") for row in page.rows) == 4


def test_widths_and_entries_of_each_coupling_stand_in_the_tables(page, reported_run):
    width = read_json(reported_run / "strip/widths.json")[-1]
    units, kept = str(width["units"]), str(width["kept"])

    rows = [row for row in page.rows if row[0] == width["coupling"]]

    assert [row[:3] for row in rows] == [(width["coupling"], units, kept)] * 2


def test_the_support_after_each_epoch_stands_in_the_tables(page, reported_run):
    epoch = read_json(reported_run / "train/history.json")[4]
    support = epoch["support"]

    kept = (str(sum(support.values())), *(str(num_units) for num_units in support.values()))
    assert ("5", "4.88", *kept) in page.rows


def test_every_epoch_of_every_stage_stands_in_the_tables(page):
    stages = [row[0] for row in page.rows if len(row) == 8 and row[0] != "Stage"]

    assert [stages.count(name) for name in ("Dense", "Sparse training", "Tuning")] == [30, 24, 8]


def test_the_full_settings_stand_in_both_formats(page, markdown):
    assert "temperature = 4.0" in "".join(page.words)
    assert "temperature = 4.0" in markdown


def test_names_are_escaped_in_the_page(run):
    run.change("summary.json", ["recipe"], EVIL)
    run.change("strip/widths.json", [0, "coupling"], EVIL)
    run.change("settings.json", ["model", "factory"], EVIL)

    page, _ = pages_of(run)

    assert len(page.scripts) == 1
    assert "alert" not in page.scripts[0]
    assert any(row[0] == EVIL for row in page.rows)
    assert page.open == []


def test_names_are_shown_as_they_are_in_markdown(run):
    run.change("strip/widths.json", [0, "coupling"], EVIL)

    _, markdown = pages_of(run)

    assert r"a&lt;script&gt;alert(1)&lt;/script&gt;&amp;\|\*b\*" in markdown
    assert "<script" not in markdown
    assert EVIL in [row[0] for row in markdown_rows(markdown)]


def test_settings_with_backticks_do_not_end_their_block(run):
    run.change("settings.json", ["note"], "```\n# not a heading")

    _, markdown = pages_of(run)

    assert markdown.count("````") == 2


NOTHING_ENTERED = {"stem": {"entry_step": [-1, -1], "entry_time": [None, None]}}


@pytest.mark.parametrize("couplings", [{}, NOTHING_ENTERED])
def test_a_method_without_a_path_gets_a_sentence_and_no_figure(run, couplings):
    run.change("train/path.json", ["couplings"], couplings)
    run.change("train/path.json", ["method"], "magnitude")
    for epoch in range(24):
        run.drop("train/history.json", [epoch, "path_time"])

    page, markdown = pages_of(run)

    assert "The method magnitude has no path" in "".join(page.words)
    assert "The method magnitude has no path" in markdown
    assert "path-moment" not in page.ids


def test_a_path_that_no_unit_has_entered_is_not_called_missing(run):
    run.change("train/path.json", ["couplings"], NOTHING_ENTERED)

    page, markdown = pages_of(run)

    for text in ("".join(page.words), markdown):
        assert "Method dessilbi. No unit had entered the support when the search ended." in text
        assert "has no path" not in text
    assert "path-moment" not in page.ids


def test_a_run_that_timed_nothing_says_so(run):
    run.change("summary.json", ["dense", "latency_ms"], {})
    run.change("summary.json", ["slim", "latency_ms"], {})
    run.change("bench/latency.json", ["speedup"], {})

    page, _ = pages_of(run)

    assert "No latency was measured in this run." in "".join(page.words)


def test_an_engine_that_only_one_network_ran_in_leaves_gaps_not_zeros(run):
    run.drop("summary.json", ["slim", "latency_ms", "torch"])
    run.drop("bench/latency.json", ["speedup", "torch"])

    page, _ = pages_of(run)

    assert ("PyTorch", "1", "14.1 ms", "15.0 ms", "17.6 ms", *["–"] * 5) in page.rows


def test_a_run_without_tuning_or_couplings_still_has_a_report(run):
    for name in ("dense/history.json", "train/history.json", "tune/history.json"):
        (run.folder / name).write_text("[]")
    (run.folder / "strip/widths.json").write_text("[]")

    page, _ = pages_of(run)

    assert page.headings == TITLES
    assert "Nothing was trained in this run." in "".join(page.words)


def test_the_widths_say_how_many_suit_the_target(run):
    page, _ = pages_of(run)

    assert "6 of 8 weights that could shrink have multiples of 16 channels" in "".join(page.words)


def test_a_budget_in_other_terms_is_shown_in_its_unit(run):
    asked = {"latency_ms": 4.5, "keep": "support"}
    run.change("summary.json", ["budget"], {"asked": asked, "reached": {"latency_ms": 4.608}})

    page, _ = pages_of(run)

    assert ("Latency", "4.50 ms", "4.61 ms") in page.rows
    assert ("keep", "support", "–") in page.rows


def test_the_same_run_gives_the_same_bytes(run):
    write_report(run.folder)
    first = [(run.folder / name).read_bytes() for name in ("report.md", "report.html")]
    write_report(run.folder)

    assert [(run.folder / name).read_bytes() for name in ("report.md", "report.html")] == first


def masked(run, granularity):
    """Make the finished run one of single weights."""
    weights = {"granularity": granularity, "share_of_slim": 0.25, "share_of_dense": 0.0525}
    run.change("summary.json", ["weights"], weights)
    run.change("summary.json", ["slim", "nonzero_params"], 586_633)
    for epoch in range(24):
        run.change("train/history.json", [epoch, "kept_share"], 0.25)


@pytest.mark.parametrize("granularity", ["weight", "2:4"])
def test_weights_that_are_zero_are_told_with_what_engines_make_of_them(run, granularity):
    masked(run, granularity)

    page, markdown = pages_of(run)
    text = "".join(page.words)

    assert ("Parameters not zero", "11.2 M", "587 k", "19.0x fewer") in page.rows
    assert ("24", "25.00 %") in page.rows
    assert "25.00 % of its parameters are not, which is 5.25 % of the dense network's" in text
    assert "Engines do not gain from single zeros by themselves" in markdown
    assert ("two of every four" in text) == (granularity == "2:4")


def test_where_units_are_kept_nothing_is_said_of_zeros(run):
    page, markdown = pages_of(run)

    assert "not zero" not in markdown
    assert "Weights kept after each epoch" not in "".join(page.words)
