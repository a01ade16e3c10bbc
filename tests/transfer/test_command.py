"""``compressor transfer``: what it refuses, in one line."""

import json

import pytest
from click.testing import CliRunner

from compressor.cli import main


def refusal(*words):
    result = CliRunner().invoke(main, ["transfer", "--quiet", *map(str, words)])
    assert result.exit_code != 0
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


def test_every_set_of_data_has_a_folder_of_its_own(low_run, monkeypatch):
    places = []

    def note(_origin, plan, *_):
        places.append(plan.out)
        return {}

    monkeypatch.setattr("compressor.transfer.make.make_transfer", note)
    for to in ((), ("--to", "digits"), ("--to", "mnist")):
        words = ["transfer", str(low_run), "digits", "--json", *to]
        assert CliRunner().invoke(main, words).exit_code == 0
    assert [place.name for place in places] == ["digits", "digits-digits", "digits-mnist"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    assert "is not a run directory" in refusal(tmp_path, "digits")


def test_data_of_an_unknown_name_is_refused_with_the_nearest(low_run):
    told = refusal(low_run, "digits", "--to", "fashion_mnist")
    assert "did you mean 'fashion-mnist'" in told


def test_data_that_need_a_path_are_refused_without_one(low_run):
    assert "path is not set: npz needs" in refusal(low_run, "digits", "--to", "npz")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.classes=[1, 99]", "digits has no class 99"),
        ("data.classes=[1]", "give 2 or more to tell apart"),
        ("tune.epochs=0", "a new head would never be trained"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused(low_run, tmp_path, override, told):
    widths = "model.arguments.widths=[8, 12]"
    words = (low_run, "digits", "--out", tmp_path / "out", "--set", widths, "--set", override)
    assert told in refusal(*words)


def test_another_network_is_refused(low_run, tmp_path):
    told = refusal(low_run, "fashion-mnist", "--out", tmp_path / "out")
    assert "model.arguments.stem_stride is 2 and the run's not given" in told


def test_a_dry_run_compares_the_networks_checks_the_recipe_and_trains_nothing(low_run, tmp_path):
    words = ("transfer", str(low_run), "digits", "--out", str(tmp_path / "out"), "--dry-run")
    fits = ("--set", "model.arguments.widths=[8, 12]", "--set", "tune.batch_size=5000")
    result = CliRunner().invoke(main, [*words, "--json", "--quiet", *fits])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["holds"] is False
    assert "batch_size is 5000" in result.stderr
    assert "the run's not given" in refusal(low_run, "fashion-mnist", "--dry-run")
    assert not (tmp_path / "out").exists()
