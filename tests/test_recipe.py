import json
import re
import tomllib

import pytest

from compressor.errors import RecipeError
from compressor.recipe import (
    MAX_SEED,
    Recipe,
    check_recipe,
    find_recipe,
    load_recipe,
    shipped,
    shipped_recipes,
)

DIGITS = find_recipe("digits")
SECTIONS = (
    *("model", "data", "task", "sparsity", "dense", "train", "strip", "tune", "export"),
    *("precision", "tensorrt"),
)


def faults(*overrides, path=DIGITS):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    place = re.compile(rf"^{re.escape(str(path))}(, line \d+|( with --set)?): ")
    return [place.sub("", line) for line in str(caught.value).splitlines()]


def test_what_the_file_does_not_say_has_its_default():
    recipe = load_recipe(DIGITS)
    assert (recipe.seed, recipe.train.momentum, recipe.export.opset) == (0, 0.9, 20)
    assert (recipe.train.epochs, recipe.strip.keep_macs) == (4, 0.3)


def test_the_dense_reference_trains_as_long_as_search_and_tuning_together():
    dense = load_recipe(DIGITS, ["dense.lr=0.07"]).dense_settings()
    assert (dense.epochs, dense.lr, dense.batch_size) == (10, 0.07, 64)


def test_a_recipe_survives_json():
    recipe = load_recipe(DIGITS, ["bench.batch_sizes=[1, 8]", 'sparsity.twin="filter"'])
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert check_recipe(json.loads(recipe.model_dump_json()), "saved") == recipe


def test_nothing_changes_after_reading():
    with pytest.raises(ValueError, match="frozen"):
        load_recipe(DIGITS).seed = 3


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.lr=0.2", lambda r: r.train.lr == 0.2),
        ("train.lr=1", lambda r: r.train.lr == 1.0),
        (" train.epochs = 7 ", lambda r: r.train.epochs == 7),
        ("train.schedule=cosine", lambda r: r.train.schedule == "cosine"),
        ('train.schedule="cosine"', lambda r: r.train.schedule == "cosine"),
        ("model.arguments.widths=[4, 8]", lambda r: r.model.arguments["widths"] == [4, 8]),
        ("bench.batch_sizes=[4]", lambda r: r.bench.batch_sizes == (4,)),
        ("task.augment=flip", lambda r: r.task.augment == "flip"),
        (f"seed={MAX_SEED}", lambda r: r.seed == MAX_SEED),
        ("name=a=b", None),
    ],
)
def test_an_override_is_read_like_the_file(override, read):
    if read is None:
        assert "small letters" in faults(override)[0]
    else:
        assert read(load_recipe(DIGITS, [override]))


def test_the_last_override_counts():
    assert load_recipe(DIGITS, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_is_refused_in_every_section_with_the_nearest(section):
    known = Recipe.model_fields[section].annotation
    fields = known.model_fields if hasattr(known, "model_fields") else {"method": 0, "twin": 0}
    key = list(fields)[-1]
    assert faults(f"{section}.{key}x=1") == [
        f"{section}.{key}x: there is no such key. Did you mean {key}?"
    ]


def test_a_key_like_no_other_gets_the_whole_list():
    assert faults("export.q=1") == ["export.q: there is no such key. There are opset."]


def test_a_key_of_another_method_is_not_proposed():
    found = faults("sparsity.method=random", "sparsity.nu=1")
    assert found == ["sparsity.nu: there is no such key. It is a setting of dessilbi."]


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("trian.epochs=3", "trian: there is no such key. Did you mean train?"),
        ("train.epochs=many", 'train.epochs = "many": input should be a valid integer.'),
        ("train.epochs=3.0", "train.epochs = 3.0: input should be a valid integer."),
        ("train.epochs=0", "train.epochs = 0: input should be greater than or equal to 1."),
        ("train.epochs=", 'train.epochs = "": input should be a valid integer.'),
        ("train.lr=nan", "train.lr = NaN: input should be a finite number."),
        ("train.lr=inf", "train.lr = Infinity: input should be a finite number."),
        ("train.lr=-0.1", "train.lr = -0.1: input should be greater than 0."),
        ("tune.lr=true", "tune.lr = true: input should be a valid number."),
        ("seed=-1", "seed = -1: input should be greater than or equal to 0."),
        ("train=3", "train = 3: this is a section. Write [train] and its keys."),
        ("sparsity=3", "sparsity = 3: this is a section. Write [sparsity] and its keys."),
        ("sparsity.method=lbi", "sparsity.method: 'lbi' is not a method. Did you mean dessilbi?"),
        ("train.schedule=Cosine", "'constant', 'cosine' or 'linear'"),
        ("bench.batch_sizes=[]", "bench.batch_sizes is empty. Give at least one value."),
        ("bench.batch_sizes=[0]", "bench.batch_sizes.0 = 0: input should be greater than 0."),
        ("data.source=digit", "did you mean 'digits'"),
        ("name=My Run", 'name = "My Run": use small letters'),
        ("model.arguments.widths=[1.5]", "model.arguments.widths: give text, a number"),
        ("strip.keep_params=0.5", "strip: keep_macs = 0.3 and keep_params = 0.5 are two budgets"),
        ("seed=9223372036854775808", "less than or equal to 9223372036854775807."),
    ],
)
def test_one_fault_is_one_line_with_place_and_value(override, fault):
    found = faults(override)
    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize("override", ["", "epochs", "=3", ".=3", "train.=3", ".epochs=3"])
def test_an_override_that_is_none_says_how_to_write_one(override):
    assert faults(override) == [
        f"--set {override}: write section.key=value, such as train.epochs=3."
    ]


def test_an_override_inside_a_value_is_refused():
    (fault,) = faults("train.epochs.first=3")
    assert fault == (
        "--set train.epochs.first=3: epochs is a value, not a section. Set epochs itself."
    )


def test_an_override_of_several_lines_sets_one_key_only():
    assert faults("train.epochs=1\nseed=3")[0].startswith("train.epochs = ")


def test_all_faults_are_told_at_once():
    found = faults("train.lr=-1", "bogus", "strip.keep_macs=2", "tune.epoch=1")
    assert [fault.split(":")[0] for fault in found] == [
        "--set bogus",
        "train.lr = -1",
        "strip.keep_macs = 2",
        "tune.epoch",
    ]


def test_a_long_value_is_shown_in_part():
    (fault,) = faults("train.schedule=" + "x" * 500)
    assert len(fault) < 200


def test_an_empty_recipe_lists_what_is_needed(tmp_path):
    path = tmp_path / "empty.toml"
    path.touch()
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    named = re.findall(r": (\w+): the (key|section) is missing", str(caught.value))
    assert dict(named) == {
        "name": "key",
        **dict.fromkeys(("model", "data", "sparsity", "train", "tune"), "section"),
    }


def test_empty_sections_list_the_keys_that_are_needed(tmp_path):
    path = tmp_path / "hollow.toml"
    path.write_text('name = "a"\n[model]\n[data]\n[sparsity]\n[train]\n[tune]\n[strip]\n')
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    named = re.findall(r": ([\w.]+): the key is missing", str(caught.value))
    assert named == [
        "model.factory",
        "data.source",
        "sparsity.method",
        "train.epochs",
        "tune.epochs",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"name = \n", "line 1: this is not TOML: invalid value in 'name ='"),
        (b"[train]\n[train]\n", "line 2: train is given again, first in line 1"),
        (b"name: digits\n", "line 1: this is not TOML"),
        (b"a = 1\n\xff\xfe\x00", "line 2: .*not UTF-8 text: .* at byte 6. Save it as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text"),
    ],
)
def test_a_file_that_is_not_toml_is_one_line(tmp_path, content, fault):
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=fault) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")])
def test_files_of_other_systems_are_read(tmp_path, change):
    path = tmp_path / "digits.toml"
    path.write_bytes(change(DIGITS.read_text()).encode())
    assert load_recipe(path) == load_recipe(DIGITS)


def test_a_recipe_is_found_by_path_and_by_name(tmp_path, monkeypatch):
    assert find_recipe(str(DIGITS)) == DIGITS
    assert find_recipe("digits") == DIGITS
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert find_recipe("digits") == DIGITS


def test_a_name_that_is_none_gets_the_nearest_and_the_list():
    with pytest.raises(RecipeError, match="digts: no such file.*Did you mean digits.*There are"):
        find_recipe("digts")


def test_a_folder_is_not_a_recipe(tmp_path):
    with pytest.raises(RecipeError, match="is a folder. Name the recipe's .toml file"):
        find_recipe(str(tmp_path))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


def test_recipes_and_models_come_with_the_project():
    assert shipped("recipes") / "digits.toml" == shipped_recipes()["digits"]
    assert list(shipped("models").glob("*.py"))


@pytest.mark.parametrize("method", ["magnitude", "random", "dense"])
def test_without_a_budget_a_method_without_a_support_is_refused(method):
    values = tomllib.loads(find_recipe("digits").read_text())
    del values["strip"]["keep_macs"]
    values["sparsity"]["method"] = method
    with pytest.raises(RecipeError, match=f"{method} has no support .*strip.keep_macs"):
        check_recipe(values, "mine.toml")


NO_BUDGET = "no support of its own, so without a budget nothing would be removed"


def without_budget(**sparsity):
    values = tomllib.loads(find_recipe("digits").read_text())
    del values["strip"]["keep_macs"]
    return check_recipe({**values, "sparsity": sparsity}, "mine.toml")


@pytest.mark.parametrize(
    "sparsity",
    [
        {"method": "dessilbi"},
        {"method": "magnitude", "level": "weight", "density": 0.2},
        {"method": "magnitude", "level": "2:4"},
        {"method": "magnitude", "schedule": "cubic", "density": 0.2},
    ],
)
def test_a_method_that_says_what_it_keeps_needs_no_budget(sparsity):
    assert without_budget(**sparsity).strip.keep_macs is None


PRESET = "sparsity.preset=split-lbi"


def test_all_that_a_preset_needs_of_the_training_is_told_at_once():
    found = faults(PRESET, "train.schedule=cosine", "train.warmup_epochs=1")
    assert found == [
        f"train.{key} = {value}: dessilbi as set under sparsity needs {needed}. "
        f"Write train.{key} = {needed}."
        for key, value, needed in (
            ("momentum", "0.9", "0.0"),
            ("weight_decay", "0.0005", "0.0"),
            ("schedule", '"cosine"', '"constant"'),
            ("warmup_epochs", "1.0", "0.0"),
        )
    ]


def test_a_recipe_that_has_what_a_preset_needs_is_taken():
    overrides = (PRESET, "train.momentum=0", "train.weight_decay=0")
    assert load_recipe(DIGITS, overrides).sparsity.preset == "split-lbi"


def test_a_missing_budget_is_told_with_the_other_faults(monkeypatch, tmp_path):
    needs = {"momentum": 0.0}
    monkeypatch.setattr("compressor.recipe._untrained", lambda _recipe: [f"train needs {needs}."])
    path = tmp_path / "mine.toml"
    path.write_text(DIGITS.read_text().replace("keep_macs = 0.3\n", ""))
    found = faults("sparsity.method=random", path=path)
    assert found[0].startswith(f"the recipe: random has {NO_BUDGET}; give strip.keep_macs")
    assert found[1:] == ["train needs {'momentum': 0.0}."]


def test_the_search_has_a_constant_rate_unless_told_otherwise():
    values = tomllib.loads(find_recipe("digits").read_text())
    del values["train"]["schedule"]
    recipe = check_recipe(values, "mine.toml")
    assert recipe.train.schedule == "constant"
    assert recipe.tune.schedule == "cosine"
