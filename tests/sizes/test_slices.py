"""Slices: other sizes of a finished run, of which nothing is searched again."""

import io
import json

import pytest
from click.testing import CliRunner

from compressor.cli import main
from compressor.console import Console
from compressor.errors import BudgetError, RecipeError, RunError
from compressor.files import read_json, sha256, write_json
from compressor.pipeline import Where
from compressor.recipe import check_recipe
from compressor.sizes.slices import (
    SHARED_STAGES,
    Size,
    Source,
    check_same_search,
    slice_run,
    sliced_recipe,
)

HALF = Size("keep_macs", 0.5)


@pytest.fixture
def source(digits_copy):
    return Source.open(digits_copy.folder)


def make(source, recipe, out, until="tune"):
    stream = io.StringIO()
    where = Where(out, Console(stream=stream), "cpu", resume=True, until=until)
    return slice_run(source, recipe, where), stream.getvalue()


def test_a_slice_takes_over_the_search_and_keeps_its_budget(source, tmp_path):
    run, said = make(source, sliced_recipe(source.recipe, HALF, 1), tmp_path / "half")
    assert all(f"{stage}: done before" in said for stage in SHARED_STAGES)
    for name in ("weights.safetensors", "path.json"):
        assert sha256(run.path("train", name)) == sha256(source.run.path("train", name))
    counts = read_json(run.path("strip", "counts.json"))
    assert 0.49 <= counts["slim"]["macs"] / counts["dense"]["macs"] <= 0.5
    assert len(read_json(run.path("tune", "history.json"))) == 1


def test_without_tuning_only_norm_statistics_differ_from_what_was_stripped(source, tmp_path):
    from safetensors.torch import load_file

    run, _ = make(source, sliced_recipe(source.recipe, HALF, 0), tmp_path / "half")
    stripped = load_file(run.path("strip", "weights.safetensors"))
    tuned = load_file(run.path("tune", "weights.safetensors"))
    changed = {name for name in tuned if not tuned[name].equal(stripped[name])}
    assert changed
    assert all("running" in name or "num_batches" in name for name in changed)
    assert read_json(run.path("tune", "compute.json")) == {"images": 0, "teacher_images": 0}


def test_an_epoch_of_the_search_gives_what_had_entered_by_then(source, tmp_path):
    last = source.recipe.train.epochs
    recipe = sliced_recipe(source.recipe, Size("at_epoch", last), 0, ("strip.round_to=1",))
    run, _ = make(source, recipe, tmp_path / "early", until="strip")
    step = read_json(source.run.path("train", "history.json"))[-1]["step"]
    entered = source.path.support_after(step)
    kept = read_json(run.path("strip", "structure.json"))["keep"]
    for name, support in entered.keep.items():
        assert set(support.nonzero().flatten().tolist()) <= set(kept[name]["kept"])


def test_an_epoch_before_anything_entered_names_the_first_that_will_do(source, tmp_path):
    first = min(int(u.entry_step[u.entry_step > 0].min()) for u in source.path.couplings.values())
    history = read_json(source.run.path("train", "history.json"))
    epoch = next(record["epoch"] for record in history if record["step"] >= first)
    assert epoch > 1, "this search must begin with an epoch in which nothing enters"
    with pytest.raises(BudgetError, match=f"epoch {epoch}; name it"):
        make(source, sliced_recipe(source.recipe, Size("at_epoch", 1), 0), tmp_path / "x", "strip")


def test_an_epoch_after_the_search_is_refused(source, tmp_path):
    recipe = sliced_recipe(source.recipe, Size("at_epoch", 99), 0)
    with pytest.raises(BudgetError, match=r"strip.at_epoch = 99: the search had 4 epochs"):
        make(source, recipe, tmp_path / "x", "strip")


def test_a_size_below_the_floors_is_refused_with_the_floor(source, tmp_path):
    with pytest.raises(BudgetError, match="floors alone cost") as refusal:
        make(source, sliced_recipe(source.recipe, Size("keep_macs", 0.01), 0), tmp_path / "x")
    assert 0.01 < refusal.value.floor < 1


def test_a_path_without_entries_is_refused(digits_copy):
    file = digits_copy.folder / "train" / "path.json"
    path = read_json(file)
    for units in path["couplings"].values():
        units["entry_step"] = [-1] * len(units["entry_step"])
    write_json(file, path | {"method": "magnitude"})
    with pytest.raises(RunError, match="no path to slice: no unit ever entered with magnitude"):
        Source.open(digits_copy.folder)


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("unit", "no unit had entered when the search ended, after 4 epochs. Search for longer"),
        ("weight", 'dessilbi at level weight has no path of units. Search at level "unit"'),
    ],
)
def test_a_path_of_dessilbi_without_entries_says_why(digits_copy, level, told):
    file, settings = (digits_copy.folder / name for name in ("train/path.json", "settings.json"))
    path, recipe = read_json(file), read_json(settings)
    for units in path["couplings"].values():
        units["entry_step"] = [-1] * len(units["entry_step"])
    write_json(file, path)
    write_json(settings, recipe | {"sparsity": recipe["sparsity"] | {"level": level}})
    with pytest.raises(RunError) as refusal:
        Source.open(digits_copy.folder)
    assert told in str(refusal.value)


def test_a_run_with_a_budget_in_time_is_sliced_by_macs_without_what_only_time_reads(source):
    values = source.recipe.model_dump(mode="json")
    values["strip"] |= {"keep_macs": None, "keep_latency": 0.5}
    values["target"] |= {"batch_size": 8, "num_threads": 1}
    timed = check_recipe(values, "x")
    assert sliced_recipe(timed, HALF, 0).target == source.recipe.target
    by_time = sliced_recipe(timed, Size("keep_latency", 0.7), 0)
    assert (by_time.target.batch_size, by_time.target.num_threads) == (8, 1)


def test_settings_of_another_search_written_over_those_of_the_run_are_refused(
    digits_copy, tmp_path
):
    # As a later command leaves them that was stopped before it searched.
    file = digits_copy.folder / "settings.json"
    settings = read_json(file)
    write_json(file, settings | {"train": settings["train"] | {"lr": 0.01}})
    source = Source.open(digits_copy.folder)
    with pytest.raises(RunError, match=r"stage train would be done again.*settings.json, is not"):
        make(source, sliced_recipe(source.recipe, HALF, 0), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_another_opset_is_no_other_search(source, tmp_path):
    recipe = sliced_recipe(source.recipe, HALF, 0, ("export.opset=19",))
    run, said = make(source, recipe, tmp_path / "half", until="strip")
    assert "train: done before" in said
    assert run.path("strip", "plan.json").is_file()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run directory"):
        Source.open(tmp_path)


def test_a_search_that_was_changed_on_disk_is_not_taken_over(source, tmp_path):
    source.run.path("train", "weights.safetensors").write_bytes(b"other")
    with pytest.raises(RunError, match="weights.safetensors is not as train wrote it"):
        make(source, sliced_recipe(source.recipe, HALF, 0), tmp_path / "x")


@pytest.mark.parametrize("override", ["train.epochs=9", "seed=3", "strip.keep=['stem']"])
def test_what_would_search_anew_is_refused(source, override):
    changed = sliced_recipe(source.recipe, HALF, 0, (override,))
    with pytest.raises(RunError, match=f"^{override.split('.')[0].split('=')[0]} is not what"):
        check_same_search(source.recipe, changed)


def test_another_dense_training_is_refused(source):
    changed = sliced_recipe(source.recipe, HALF, 0, ("dense.lr=0.01",))
    with pytest.raises(RunError, match="^dense is not what"):
        check_same_search(source.recipe, changed)


def test_a_misspelt_override_is_refused_with_the_nearest_key(source):
    with pytest.raises(RecipeError, match="strip.ordr.*order"):
        sliced_recipe(source.recipe, HALF, 0, ("strip.ordr='dual'",))


def test_the_command_prints_where_the_slice_is_and_its_summary(digits_copy):
    words = ["slice", str(digits_copy.folder), "--keep-macs", "0.4", "--device", "cpu", "--json"]
    result = CliRunner().invoke(main, [*words, "--set", "bench.rounds=4"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["budget"]["asked"] == {"keep_macs": 0.4}
    assert (digits_copy.folder / "slices" / "keep_macs-0.4" / "package" / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "none was given"),
        (("--keep-macs", "0.5", "--at-epoch", "2"), "--keep-macs and --at-epoch was given"),
    ],
)
def test_exactly_one_size_is_asked_for(digits_run, words, told):
    result = CliRunner().invoke(main, ["slice", str(digits_run.folder), *words])
    assert result.exit_code == 2
    assert told in result.stderr
