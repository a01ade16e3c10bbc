import re

import pytest

from compressor.errors import RunError
from compressor.files import write_json
from compressor.report.class_counts import ClassCounts
from compressor.report.classes import MAX_DRAWN, classes_section
from compressor.report.run_files import read_run


def counts(name, images, dense, slim, both):
    return ClassCounts(
        name=name, images=images, dense_right=dense, slim_right=slim, both_right=both
    )


CAT, DOG = counts("cat", 1000, 950, 800, 790), counts("dog", 1000, 700, 800, 690)
HEN = counts("hen", 1000, 900, 899, 890)


def test_classes_stand_from_the_worst_to_the_best_with_a_verdict():
    section = classes_section([DOG, HEN, CAT])

    rows = section.tables[0].rows
    assert [(row[0], row[4], row[6]) for row in rows] == [
        ("cat", "-15.00 points", "worse"),
        ("hen", "-0.10 points", "no clear change"),
        ("dog", "+10.00 points", "better"),
    ]
    assert section.text[0] == "1 of 3 classes paid clearly (cat); 1 got clearly better (dog)."
    low, high = rows[0][5].split(" to ")
    assert -20 < float(low) < -15 < float(high) < -10


def test_the_drawing_marks_who_paid():
    (plot,) = classes_section([CAT, HEN]).plots

    assert plot.markup.count("span interval worse") == 1
    assert plot.markup.count("span interval no-clear-change") == 1


def test_every_mark_of_the_drawing_has_its_key_and_no_other_has():
    assert keys([CAT, HEN]) == ["worse", "no-clear-change", "change", "zero"]
    assert keys([DOG]) == ["better", "change", "zero"]


def keys(classes):
    markup = classes_section(classes).plots[0].markup
    return re.findall(r'class="key (?:interval )?([\w-]+)"', markup)


def test_of_many_classes_the_ends_are_drawn_and_all_stand_in_the_table():
    many = [counts(f"class {n}", 100, 90, 90 - n % 50, 85 - n % 50) for n in range(200)]

    section = classes_section(many)

    assert section.plots[0].markup.count('class="row"') == MAX_DRAWN
    assert "15 classes that lost most" in section.plots[0].description
    assert len(section.tables[0].rows) == 200


def test_a_class_without_test_images_is_told_and_not_judged():
    section = classes_section([CAT, counts("owl", 0, 0, 0, 0)])

    assert len(section.tables[0].rows) == 1
    assert section.text[-1] == "1 classes have no test image."


def test_a_run_that_did_not_count_has_no_section():
    assert classes_section([]) is None


@pytest.mark.parametrize("both", [5, 95])
def test_counts_that_contradict_each_other_are_refused(run, both):
    row = {"name": "a", "images": 100, "dense_right": 90, "slim_right": 80, "both_right": both}
    write_json(run.folder / "verify/verify.json", {"classes": [row]})

    with pytest.raises(RunError, match=r"verify\.json has at 0 .*contradict each other"):
        read_run(run.folder)
