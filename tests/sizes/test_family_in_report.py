from compressor.files import write_json
from compressor.sizes.family import _show_in_report

from ..report.conftest import build_run
from ..report.test_family import family


def test_a_family_that_was_made_stands_in_the_report_of_its_run(tmp_path):
    folder = build_run(tmp_path / "run")
    write_json(folder / "family/family.json", family())

    _show_in_report(folder)

    assert "2 sizes from the one search of this run" in (folder / "report.md").read_text()


def test_a_family_elsewhere_leaves_the_report_as_it_is(tmp_path):
    folder = build_run(tmp_path / "run")
    write_json(tmp_path / "elsewhere/family.json", family())

    _show_in_report(folder)

    assert not (folder / "report.html").exists()


def test_a_run_that_was_never_reported_stays_so(tmp_path):
    write_json(tmp_path / "run/family/family.json", family())

    _show_in_report(tmp_path / "run")

    assert not (tmp_path / "run/report.html").exists()
