"""Some classes of a data set: which images stay, how their labels are numbered, what is refused."""

import numpy as np
import pytest
from pydantic import ValidationError

from compressor.data.catalog import SOURCES, DataSettings, load_data
from compressor.data.classes import only_classes
from compressor.data.source import RawData
from compressor.errors import DataError

NAMES = ("bird", "cat", "ship")


@pytest.fixture
def raw(make_split):
    return RawData(make_split(12), make_split(6, seed=1), NAMES, (0.4,), (0.2,))


def test_labels_are_numbered_in_the_order_that_is_asked_for(raw):
    some = only_classes(raw, ("ship", "bird"), "toy")
    assert some.classes == ("ship", "bird")
    for before, after in ((raw.train, some.train), (raw.test, some.test)):
        for number, name in enumerate(some.classes):
            theirs = before.images[before.labels == NAMES.index(name)]
            np.testing.assert_array_equal(after.images[after.labels == number], theirs)
        assert len(after) == (before.labels != 1).sum()


def test_numbers_name_the_same_classes_as_names(raw):
    by_name, by_number = (only_classes(raw, some, "toy") for some in (("cat", "ship"), (1, 2)))
    assert by_number.classes == by_name.classes
    np.testing.assert_array_equal(by_number.train.images, by_name.train.images)
    np.testing.assert_array_equal(by_number.train.labels, by_name.train.labels)


def test_images_are_scaled_as_those_of_the_whole_set(raw):
    some = only_classes(raw, (0, 1), "toy")
    assert (some.mean, some.std) == (raw.mean, raw.std)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (("brid", "cat"), "toy has no class 'brid'. Did you mean bird"),
        (("cat", "lorry"), "toy has no class 'lorry'. There are bird, cat, ship"),
        ((0, 3), "toy has no class 3. Its 3 classes are numbered from 0 to 2"),
        ((-1, 0), "toy has no class -1"),
        (("cat", 1), "names the class 'cat' of toy twice"),
    ],
)
def test_a_class_that_is_not_there_or_there_twice_is_refused(raw, wanted, told):
    with pytest.raises(DataError, match=told):
        only_classes(raw, wanted, "toy")


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ([], "classes names 0 of them: give 2 or more"),
        (["cat"], "classes names 1 of them: give 2 or more"),
        ([True, False], "valid string|valid integer"),
        ("cat", "valid tuple"),
    ],
)
def test_a_choice_that_leaves_nothing_to_tell_apart_is_refused(classes, told):
    with pytest.raises(ValidationError, match=told):
        DataSettings(source="digits", classes=classes)


def test_loaded_data_holds_the_classes_alone(tmp_path):
    settings = DataSettings(source="digits", classes=("7", 3))
    data, raw = load_data(settings, tmp_path, seed=0), SOURCES["digits"].load(tmp_path)
    assert (data.classes, data.num_classes) == (("7", "3"), 2)
    sevens = sum(int((split.labels == 0).sum()) for split in (data.train, data.validation))
    assert sevens == (raw.train.labels == 7).sum()
    assert len(data.test) == np.isin(raw.test.labels, (3, 7)).sum()


def test_a_choice_survives_json_and_no_choice_leaves_no_trace():
    some = DataSettings(source="digits", classes=("7", 3))
    assert DataSettings.model_validate_json(some.model_dump_json()) == some
    # Otherwise every stage of older runs would be made anew.
    assert "classes" not in DataSettings(source="digits").model_dump(mode="json")
