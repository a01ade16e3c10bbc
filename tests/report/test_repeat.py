import tomllib

import pytest

from compressor.files import write_json
from compressor.recipe import Recipe, load_recipe, shipped_recipes
from compressor.report.repeat import repeat_section
from compressor.report.run_files import read_run
from compressor.report.toml_text import as_toml


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_the_settings_of_a_run_are_its_recipe_again(name, tmp_path):
    recipe = load_recipe(shipped_recipes()[name])
    path = tmp_path / "again.toml"
    path.write_text(as_toml(recipe.model_dump(mode="json")), encoding="utf-8")

    assert load_recipe(path) == recipe
    assert isinstance(recipe, Recipe)


@pytest.mark.parametrize(
    "values",
    [
        {"a": 'quote " and \\ and \x7f and \n and \U0001f600', "b": [1, 2.5, True]},
        {"key with space": {"inner.dot": {"x": 1e-5}}, "top": "first"},
        {"rows": [{"a": 1}, {"b": ["x"]}]},
    ],
)
def test_what_toml_reads_is_what_was_written(values):
    assert tomllib.loads(as_toml(values)) == values


def test_what_is_none_is_left_out():
    assert as_toml({"a": None, "b": {"c": None}}) == "[b]\n"


def commands(run):
    listing = repeat_section(read_run(run.folder)).listings[0]
    return listing.text.splitlines()


def test_the_commands_have_version_threads_and_device(run):
    run.change("environment.json", ["versions", "compressor"], "0.1.0")
    run.change("environment.json", ["omp_num_threads"], "4")

    assert commands(run) == [
        "pip install compressor==0.1.0",
        "OMP_NUM_THREADS=4 compressor run resnet18-cifar10-split-lbi.toml "
        "--out resnet18-cifar10-split-lbi-again --device cpu",
        "compressor verify resnet18-cifar10-split-lbi-again/package",
    ]


def test_a_run_on_a_gpu_takes_the_gpu_again(run):
    run.change("environment.json", ["gpus"], ["NVIDIA A10"])

    assert "--device" not in commands(run)[1]


def test_a_name_that_a_shell_would_read_is_made_plain(run):
    run.change("summary.json", ["recipe"], "../a b;$(rm)")

    assert commands(run)[1].startswith("compressor run a-b-rm.toml --out a-b-rm-again")


def test_files_that_the_recipe_names_are_told(run):
    run.change("settings.json", ["model", "factory"], "nets/mine.py:net")
    write_json(run.folder / "places.json", {"model_folders": ["/home/me/recipes"]})

    text = " ".join(repeat_section(read_run(run.folder)).text)

    assert "model.factory (nets/mine.py:net)" in text
    assert "/home/me/recipes" in text


def test_a_run_whose_structure_was_given_says_that_the_commands_search(run):
    (run.folder / "train/history.json").write_text("[]")

    text = " ".join(repeat_section(read_run(run.folder)).text)

    assert "The commands search anew." in text
