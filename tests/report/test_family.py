import re

import pytest

from compressor.errors import RunError
from compressor.files import write_json
from compressor.report.family import family_section
from compressor.report.run_files import read_run

SPEEDUP = {"median": 2.0, "low": 1.9, "high": 2.1}


def sized(test, macs, **more):
    return {
        "accuracy": {"validation": test + 0.01, "test": test},
        "macs": macs,
        "params": macs // 10,
        "bytes": macs // 2,
        "latency_ms": macs / 1e8,
        "speedup": SPEEDUP,
        **more,
    }


def family():
    return {
        "recipe": "digits",
        "tune_epochs": 3,
        "dense": sized(0.93, 500_000_000),
        "members": [
            sized(0.92, 250_000_000, share=0.5, dominated=[]),
            sized(0.90, 125_000_000, share=0.25, dominated=["latency_ms"]),
        ],
    }


def section(run, name="family", made=None):
    place = run.folder / name if name == "family" else run.folder.with_name(name)
    write_json(place / "family.json", made or family())
    return family_section(read_run(run.folder).family)


@pytest.mark.parametrize("name", ["family", "a run-family"])
def test_a_family_in_the_run_or_beside_it_is_found(run, name):
    table = section(run, name).tables[0]

    assert [row[0] for row in table.rows] == ["dense", "0.5", "0.25"]
    assert table.rows[1] == (
        *("0.5", "93.00 %", "92.00 %", "250 M", "25.0 M", "125 MB", "2.50 ms"),
        *("2.00x", "1.90x to 2.10x", "none"),
    )
    assert table.rows[2][-1] == "Latency"


def test_each_cost_has_its_drawing_with_every_size(run):
    markup = section(run).plots[0].markup

    assert [f">{name}</label>" in markup for name in ("MACs", "Parameters", "Bytes", "Latency")]
    assert markup.count(">0.25</span>") == 4
    # Dominated by time alone, so it is hollow in one of the four.
    assert markup.count('class="cores dominated"') == 1


def untuned(number=None):
    """A family without training, or one of whose members a number was not tuned."""
    made = family() | {"tune_epochs": 0}
    for member in made["members"][:number]:
        member["accuracy"]["validation"] = None
    return made


def test_a_family_says_by_which_images_it_is_judged(run):
    (note,) = section(run).text

    assert note.endswith("at least as accurate on validation images.")


@pytest.mark.parametrize("number", [None, 1])
def test_a_family_without_validation_is_judged_by_test_images_and_says_so(run, number):
    found = section(run, made=untuned(number))

    assert "as accurate on test images, as not all were tuned" in found.text[0]
    assert "choosing by test images" in found.text[0]
    assert found.tables[0].rows[1][1] == "–"


def test_sizes_are_joined_in_the_order_of_what_they_cost(run):
    made = family()
    made["members"][1]["dominated"] = []
    # The smaller size takes longer.
    made["members"][0]["latency_ms"], made["members"][1]["latency_ms"] = 1.0, 4.0
    made["dense"]["latency_ms"] = 5.0

    markup = section(run, made=made).plots[0].markup

    lines = re.findall(r'class="line slim" d="M([\d.]+) [\d.]+ ([\d.]+) [\d.]+"', markup)
    assert all(float(first) < float(second) for first, second in lines)
    assert len(lines) == 4


def test_a_run_without_a_family_has_no_section(run):
    assert family_section(read_run(run.folder).family) is None


def test_a_damaged_family_is_refused_with_its_place(run):
    write_json(run.folder / "family/family.json", {"tune_epochs": 1, "members": []})

    with pytest.raises(RunError, match=r"family\.json lacks the key dense"):
        read_run(run.folder)
