import tomllib

import pytest

from compressor.console import Console
from compressor.files import read_json, write_json
from compressor.pipeline import Where, _write_head
from compressor.recipe import Recipe, load_recipe, shipped_recipes
from compressor.report.repeat import repeat_section
from compressor.report.run_files import read_run
from compressor.report.toml_text import as_toml
from compressor.run import Run

from .test_engine_plans import plan
from .test_family import family
from .test_precisions import converted


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
    run.change("environment.json", ["omp_num_threads"], "4")

    assert commands(run) == [
        "python -m pip install .  # in a checkout of compressor 0.1.0",
        "OMP_NUM_THREADS=4 compressor run resnet18-cifar10-split-lbi.toml "
        "--out resnet18-cifar10-split-lbi-again --device cpu",
        "compressor verify resnet18-cifar10-split-lbi-again/package",
    ]


def test_a_run_on_a_gpu_takes_the_gpu_again(run):
    run.change("environment.json", ["gpu"], "NVIDIA A10")
    run.change("environment.json", ["device"], "cuda")

    assert "--device" not in commands(run)[1]


def test_a_run_on_the_cpu_beside_a_gpu_stays_on_the_cpu(run):
    run.change("environment.json", ["gpu"], "NVIDIA A10")

    assert commands(run)[1].endswith(" --device cpu")


@pytest.mark.parametrize(("gpu", "told"), [(None, True), ("NVIDIA A10", False)])
def test_a_run_of_before_is_taken_to_have_used_what_there_was(run, gpu, told):
    run.drop("environment.json", ["device"])
    run.change("environment.json", ["gpu"], gpu)

    assert commands(run)[1].endswith(" --device cpu") == told


def test_a_run_records_the_device_it_used_and_where_its_data_lay(digits_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = ("data.source=image-folder", "data.path=photos", "data.image_size=8")
    recipe = load_recipe(shipped_recipes()["digits"], changes)

    _write_head(recipe, Run(tmp_path / "run"), Where(tmp_path / "run", Console(), device="cpu"))

    assert read_json(tmp_path / "run/environment.json")["device"] == "cpu"
    assert read_json(tmp_path / "run/places.json")["data"] == str(tmp_path / "photos")
    assert read_json(digits_run.folder / "environment.json")["device"] == "cpu"
    assert read_json(digits_run.folder / "places.json")["data"] is None


def test_the_install_has_the_extras_of_what_was_used(run):
    run.change("settings.json", ["bench", "engines"], ["onnxruntime", "openvino"])
    run.change("settings.json", ["model", "factory"], "timm:resnet18")
    write_json(run.folder / "build/plans.json", [plan()])

    assert commands(run)[0].startswith("python -m pip install '.[openvino,tensorrt,timm]'  # in")


def test_a_file_for_an_engine_that_was_measured_in_another_needs_the_other(run):
    write_json(run.folder / "export/precisions.json", [converted()])
    assert commands(run)[0].startswith("python -m pip install .  #")

    write_json(run.folder / "export/precisions.json", [converted() | {"measured_by": "openvino"}])
    assert "'.[openvino]'" in commands(run)[0]


def test_a_budget_in_time_needs_the_engine_that_it_was_measured_in(run):
    run.change("settings.json", ["target", "engine"], "openvino")
    assert commands(run)[0].startswith("python -m pip install .  #")

    run.change("settings.json", ["strip", "keep_latency"], 0.5)
    assert "'.[openvino]'" in commands(run)[0]


def test_a_family_is_made_again_with_its_settings_on_its_device(run):
    made = {"overrides": ["tune.lr=0.01", 'precision.profiles=["fp16"]'], "device": "cuda"}
    write_json(run.folder / "family/family.json", family() | made)

    assert commands(run)[3] == (
        "compressor family resnet18-cifar10-split-lbi-again --sizes 0.5,0.25 --tune 3 "
        "--set tune.lr=0.01 --set 'precision.profiles=[\"fp16\"]'"
    )


def test_a_family_of_before_is_made_where_its_run_was(run):
    write_json(run.folder / "family/family.json", family())

    assert commands(run)[3].endswith("--tune 3 --device cpu")


def test_a_name_that_a_shell_would_read_is_made_plain(run):
    run.change("summary.json", ["recipe"], "../a b;$(rm)")

    assert commands(run)[1].startswith("compressor run a-b-rm.toml --out a-b-rm-again")


def test_files_that_the_recipe_names_are_told(run):
    run.change("settings.json", ["model", "factory"], "nets/mine.py:net")
    write_json(run.folder / "places.json", {"model_folders": ["/home/me/recipes"] * 2})

    text = " ".join(repeat_section(read_run(run.folder)).text)

    assert "model.factory (nets/mine.py:net)" in text
    assert text.count("/home/me/recipes") == 1


def test_a_run_whose_structure_was_given_says_that_the_commands_search(run):
    (run.folder / "train/history.json").write_text("[]")

    text = " ".join(repeat_section(read_run(run.folder)).text)

    assert "The commands search anew." in text
