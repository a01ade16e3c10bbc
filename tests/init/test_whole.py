"""From a folder that nobody prepared to a report and a package that reads pictures."""

import io

import pytest

import compressor
from compressor.console import Console
from compressor.files import read_json
from compressor.package.load import read
from compressor.pipeline import Where, run_recipe
from compressor.recipe import load_recipe

QUICK = (
    *("bench.rounds=2", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0"),
    *("train.epochs=2", "tune.epochs=2", "bench.batch_sizes=[1]"),
)


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    """The written recipe, run whole; its folder, and what was said."""
    folder, stream = tmp_path_factory.mktemp("runs") / "mine", io.StringIO()
    recipe = load_recipe(made.path, QUICK)
    run_recipe(recipe, Where(out=folder, console=Console(stream=stream), device="cpu"))
    return folder, stream.getvalue()


def test_the_given_network_is_measured_and_stands_in_summary_and_reports(finished):
    folder, said = finished
    summary = read_json(folder / "summary.json")
    assert summary["given"]["accuracy"] == summary["dense"]["accuracy"]
    assert summary["given"]["test_images"] == summary["test_images"]
    assert "before any training" in said
    for page in ("report.md", "report.html"):
        assert "Given network" in (folder / page).read_text(encoding="utf-8")


def test_the_broken_file_is_named_once(finished):
    assert finished[1].count("cut.jpg cannot be read") == 1


def test_no_file_of_the_package_names_a_folder_of_the_user(finished, photos, net):
    found = [path for path in (finished[0] / "package").rglob("*") if path.is_file()]
    assert len(found) == 12
    for path in found:
        data = path.read_bytes()
        assert str(photos.parent).encode() not in data, path
        assert str(net.parent).encode() not in data, path


def test_the_slim_network_is_half_and_exact(finished):
    summary = read_json(finished[0] / "summary.json")
    assert summary["slim"]["macs"] <= 0.5 * summary["dense"]["macs"]
    assert summary["certificate"]["max_rel_diff_fp64"] < 1e-12


def test_the_package_reads_pictures_as_training_did(finished, photos):
    package = read(finished[0])
    assert package.labels == ("blue", "green", "red")
    assert package.preprocessing.resize is not None
    inputs = package.preprocessing.read(photos / "red" / "01.png", photos / "blue" / "02.png")
    outputs = compressor.load(finished[0])(inputs)
    assert outputs.shape == (2, 3)
