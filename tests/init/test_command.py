"""The command on a folder that nobody prepared: its recipe, its refusals, its questions."""

import json
import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from compressor.init import command
from compressor.init.asked import Asked, Target
from compressor.recipe import load_recipe


@pytest.fixture
def words(net, photos, tmp_path):
    """Options that are enough."""
    out = tmp_path / "recipe.toml"
    return ["--model", f"{net}:build", "--data", photos, "--target", "keep_macs=0.5", "--out", out]


def test_a_trained_network_gets_a_recipe_that_loads(made, photos):
    assert (made.done.exit_code, made.done.stdout) == (0, f"{made.path}\n")
    recipe = load_recipe(made.path)
    assert recipe.strip.keep_macs == 0.5
    assert recipe.data.image_size == 32
    assert recipe.data.broken == "leave-out"
    assert recipe.train.lr < 0.1
    assert recipe.train.schedule == "constant"
    assert recipe.data.path == str(photos)


def test_the_recipe_tells_what_was_found_and_what_to_expect(made):
    text = " ".join(line.removeprefix("#").strip() for line in made.text.splitlines())
    assert "[dense]" not in text
    assert "compressor slice RUN --keep-macs 0.25" in text
    assert "cut.jpg cannot be read" in text
    assert "2.00x fewer MACs" in text
    assert "4.00x fewer MACs" in text
    assert "Time on this machine" in text
    assert "blue 36, green 12, red 25" in text


def test_every_value_has_a_reason_where_it_first_stands(made):
    lines, seen = made.text.splitlines(), set()
    for above, line in zip(lines, lines[1:], strict=False):
        key = line.partition(" = ")[0]
        if " = " in line and not line.startswith("#") and key not in seen:
            seen.add(key)
            assert above.startswith("#"), line
    assert {"factory", "weights", "batch_size", "lr", "keep_macs", "engine"} <= seen


def test_other_classes_make_the_dense_network_train_and_json_tells(
    call, words, save_weights, tmp_path
):
    done = call(*words, "--weights", save_weights(5), "--json", "--quiet")
    assert "tells 5 classes apart and the data has 3" in done.stderr
    recipe, found = load_recipe(tmp_path / "recipe.toml"), json.loads(done.stdout)
    assert recipe.dense.epochs == recipe.train.epochs + recipe.tune.epochs
    assert found["new_head"] == ["8.weight", "8.bias"]
    assert found["classes"] == {"blue": 36, "green": 12, "red": 25}
    assert [left["asked"] for left in found["left_estimated"]] == [0.5, 0.25]
    assert 0 < found["left_estimated"][0]["macs"] <= 0.5 * found["macs"]
    assert min(found["seconds_per_image"].values()) > 0
    seconds = found["forecast_seconds"]
    total = sum(seconds[part] for part in ("search", "tune", "dense", "rest"))
    assert seconds["total"] == pytest.approx(total)


def test_a_budget_in_time_takes_the_engine_that_it_names(call, words, tmp_path):
    words[words.index("keep_macs=0.5")] = "latency_ms=3@onnxruntime"
    assert call(*words).exit_code == 0
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text(encoding="utf-8"))
    assert recipe["strip"]["latency_ms"] == 3.0
    assert recipe["target"]["engine"] == "onnxruntime"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("latency_ms=1e-6", "strip.latency_ms = 1e-06: the floors alone take"),
        ("keep_params=0.001", "The budget keeps 0.001 of the parameters, but the floors alone"),
    ],
)
def test_a_budget_that_no_run_could_meet_is_refused_and_the_old_recipe_stays(
    call, words, tmp_path, target, told
):
    (tmp_path / "recipe.toml").write_text("mine")
    words[words.index("keep_macs=0.5")] = target
    done = call(*words, "--yes", "--quiet")
    assert done.exit_code == 2
    assert told in done.stderr
    assert (tmp_path / "recipe.toml").read_text() == "mine"


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_an_engine_that_cannot_be_timed_here_is_refused(call, words, tmp_path):
    words[words.index("keep_macs=0.5")] = "latency_ms=3@tensorrt"
    done = call(*words, "--quiet")
    assert done.exit_code == 2
    assert "tensorrt" in done.stderr
    assert not (tmp_path / "recipe.toml").exists()


@pytest.mark.parametrize("target", ["keep_params=0.9", "keep_latency=1", "latency_ms=3"])
def test_a_share_of_the_macs_that_nobody_asked_for_ends_nothing(call, words, net, tmp_path, target):
    words[words.index("keep_macs=0.5")] = target
    words[1] = f"{net}:heavy"
    done = call(*words, "--quiet")
    assert done.exit_code == 0, done.stderr
    assert load_recipe(tmp_path / "recipe.toml").strip.budget()


def test_a_folder_of_test_pictures_is_named_as_the_test_set(call, words, photos, tmp_path):
    parted = tmp_path / "parted"
    for part in ("train", "validation"):
        for name in ("blue", "green"):
            shutil.copytree(photos / name, parted / part / name)
    words[words.index("--data") + 1] = parted
    assert call(*words, "--quiet").exit_code == 0
    text = " ".join((tmp_path / "recipe.toml").read_text().replace("#", "").split())
    assert "Those of the folder validation are the test set." in text


def test_a_class_called_train_is_no_folder_of_training_pictures(call, words, photos, tmp_path):
    for name in ("train", "plane"):
        shutil.copytree(photos / "blue", tmp_path / "classes" / name)
    words[words.index("--data") + 1] = tmp_path / "classes"
    assert call(*words, "--quiet").exit_code == 0
    text = " ".join((tmp_path / "recipe.toml").read_text().replace("#", "").split())
    assert "A fifth of each class is the test set." in text


@pytest.mark.parametrize("option", ["--model", "--data", "--target"])
def test_away_from_a_terminal_what_is_missing_is_named(call, words, option):
    place = words.index(option)
    done = call(*words[:place], *words[place + 2 :])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Missing: {option} (")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--model", "torchvision:mobilenet_v9", "torchvision has no model 'mobilenet_v9'"),
        ("--model", "net.py", "Write torchvision:NAME"),
        ("--data", "nowhere", "nowhere is not a folder"),
        ("--target", "keep_macs=2", "a share above 0, at most 1"),
        ("--weights", "none.pth", "none.pth: there are no weights"),
        ("--out", "no/such/folder/r.toml", "no file can be there"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(call, words, option, value, told):
    if option in words:
        words[words.index(option) + 1] = value
    else:
        words += [option, value]
    done = call(*words, "--quiet")
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_recipe_that_is_there_is_not_replaced_unasked(call, words, tmp_path):
    (tmp_path / "recipe.toml").write_text("mine")
    done = call(*words)
    assert done.exit_code == 2
    assert "is there already" in done.stderr
    assert (tmp_path / "recipe.toml").read_text() == "mine"


def test_a_network_of_fixed_other_outputs_is_refused(call, words, net):
    words[1] = f"{net}:fixed"
    done = call(*words, "--quiet")
    assert done.exit_code == 2
    assert "Let its factory take num_classes" in done.stderr


class TestOnATerminal:
    @pytest.fixture
    def asked(self, monkeypatch):
        """What would be looked at, with somebody at the terminal."""
        seen = []
        monkeypatch.setattr(command, "on_terminal", lambda: True)
        monkeypatch.setattr(command, "_write", lambda asked, *_rest, **_more: seen.append(asked))
        return seen

    def test_only_what_is_missing_is_asked(self, call, words, asked):
        place = words.index("--target")
        done = call(*words[:place], *words[place + 2 :], said="keep_macs=0.4\n")
        assert done.exit_code == 0
        assert "Target" in done.stderr
        assert "Network" not in done.stderr
        assert asked[0].targets == (Target("keep_macs", 0.4),)

    def test_with_nothing_given_everything_is_asked(self, call, asked, tmp_path):
        said = "net.py:build\nphotos\n\nw.pth\n"
        assert call("--out", tmp_path / "r.toml", said=said).exit_code == 0
        assert asked == [
            Asked("net.py:build", Path("photos"), (Target("keep_macs", 0.5),), Path("w.pth"))
        ]

    def test_nothing_is_asked_with_yes(self, call, words, asked):
        place = words.index("--target")
        done = call(*words[:place], *words[place + 2 :], "--yes")
        assert (done.exit_code, done.stderr) == (0, "")
        assert asked[0].targets == (Target("keep_macs", 0.5),)

    def test_an_old_recipe_is_replaced_on_a_yes_alone(self, call, words, asked, tmp_path):
        (tmp_path / "recipe.toml").write_text("mine")
        assert call(*words, said="n\n").exit_code == 2
        assert asked == []
        assert call(*words, said="y\n").exit_code == 0
        assert len(asked) == 1
