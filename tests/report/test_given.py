from compressor.files import read_json, write_json
from compressor.report.given import given_accuracy, given_facts, given_notes, given_row
from compressor.report.run_files import read_run
from compressor.report.write import write_report

MEASURED = {"weights": "w.pth", "accuracy": 0.5, "why_unmeasured": None, "test_images": 10_000}
UNMEASURED = {**MEASURED, "accuracy": None, "why_unmeasured": "its classes are not the data's 10"}


def give(run, given):
    path = run.folder / "summary.json"
    write_json(path, read_json(path) | {"given": given})
    return read_run(run.folder).summary


def test_without_given_weights_there_is_no_row(run):
    summary = read_run(run.folder).summary
    assert (given_row(summary), given_accuracy(summary), given_facts(summary)) == ((), (), ())


def test_the_given_network_stands_in_every_table_with_its_accuracy(run):
    summary = give(run, MEASURED)
    change = f"{100 * (0.5 - summary.dense.accuracy):.2f}".replace("-", "")
    assert given_row(summary)[0][1] == "50.00 %"
    assert change in given_row(summary)[0][2]
    assert given_accuracy(summary)[0][1] == "50.00 %"
    assert str(given_facts(summary)[0]).startswith("50.00 %")


def test_one_that_could_not_be_measured_says_why(run):
    summary = give(run, UNMEASURED)
    # In a note: a cell this long makes the table as wide as its text.
    assert given_row(summary)[0][2] == given_accuracy(summary)[0][3] == "not measured"
    assert "its classes are not the data's 10" in given_notes(summary)[0]
    assert given_facts(summary) == ()


def test_both_pages_have_the_row(run):
    give(run, MEASURED)
    write_report(run.folder)
    for page in ("report.md", "report.html"):
        text = (run.folder / page).read_text(encoding="utf-8")
        assert "Given network, before any training" in text
        assert "Accuracy as given" in text
