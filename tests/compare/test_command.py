import json

from click.testing import CliRunner

from compressor.cli import main
from compressor.errors import RunError


def compare(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def better(run):
    run.change("summary.json", ["slim", "macs"], 100_000_000)
    run.change("settings.json", ["tune", "epochs"], 9)


def test_the_page_holds_every_run_with_what_sets_them_apart(runs, tmp_path):
    better(runs[1])
    out = tmp_path / "pages" / "both.html"
    out.parent.mkdir()

    result = compare(runs[0].folder, runs[1].folder, "--out", out)

    page = out.read_text(encoding="utf-8")
    assert (result.exit_code, result.output) == (0, f"{out}\n")
    assert '<th scope="row">1 first</th>' in page
    assert "MACs: second" in page
    assert '<th scope="row">tune.epochs</th>' in page
    assert "2 runs, 1 of them dominated by no other." in page
    assert "://" not in page


def test_the_figures_can_be_read_by_machines(runs, tmp_path):
    better(runs[1])
    folders = [run.folder for run in runs]

    result = compare(*folders, "--json", "--out", tmp_path / "c.html")

    record = json.loads(result.output)
    first, second, _ = record["runs"]
    assert [row["name"] for row in record["runs"]] == ["first", "second", "third"]
    assert first["dominated"] == {"macs": ["second"]}
    assert second["dominated"] == {}
    assert second["macs"] == 100_000_000
    assert first["latency_ms"] == 4.608
    assert first["certificate"]["holds"] is None
    assert record["latency"] == {"engine": "onnxruntime", "batch": 1}


def test_a_legend_says_dominated_only_where_that_is_judged(runs, tmp_path):
    folders, out = [run.folder for run in runs], tmp_path / "c.html"
    compare(*folders, "--out", out)
    assert "dominated by another" in out.read_text()

    runs[0].change("settings.json", ["data", "source"], "mnist")
    compare(*folders, "--out", out)
    assert "dominated by another" not in out.read_text()


def test_equal_settings_are_called_equal(runs, tmp_path):
    compare(runs[0].folder, runs[1].folder, "--out", tmp_path / "c.html")

    assert "All settings of the runs are the same." in (tmp_path / "c.html").read_text()


def test_names_are_escaped(runs, tmp_path):
    evil = "<script>alert(1)</script>"
    runs[0].change("summary.json", ["recipe"], evil)

    compare(runs[0].folder, runs[1].folder, "--out", tmp_path / "c.html")

    page = (tmp_path / "c.html").read_text()
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


def test_one_run_is_nothing_to_compare(runs):
    result = compare(runs[0].folder)

    assert result.exit_code == 2
    assert "Name two runs or more." in result.output


def test_a_folder_that_is_no_finished_run_is_named(runs, tmp_path):
    result = compare(runs[0].folder, tmp_path, "--out", tmp_path / "c.html")

    assert result.exit_code == RunError.exit_status
    assert f"{tmp_path / 'summary.json'} cannot be read" in result.output
    assert not (tmp_path / "c.html").exists()
