import pytest

from compressor.compare.runs import MACHINE, METHOD, read_runs
from compressor.errors import RunError


def read(runs):
    return read_runs([run.folder for run in runs])


def sized(run, validation, macs, test=0.9):
    run.change("tune/history.json", [-1, "validation_accuracy"], validation)
    run.change("summary.json", ["slim", "macs"], macs)
    run.change("summary.json", ["slim", "accuracy"], test)


def dominators(comparison, cost):
    return [[o.name for o in comparison.dominators(run, cost)] for run in comparison.runs]


def test_a_run_is_dominated_by_one_that_is_as_accurate_and_smaller(runs):
    sized(runs[0], 0.93, 200)
    sized(runs[1], 0.93, 100)
    sized(runs[2], 0.95, 300)

    assert dominators(read(runs), "macs") == [["second"], [], []]


def test_test_images_decide_nothing_where_there_are_validation_images(runs):
    sized(runs[0], 0.93, 200, test=0.99)
    sized(runs[1], 0.94, 100, test=0.80)
    comparison = read(runs[:2])

    assert comparison.judged_by == "validation"
    assert dominators(comparison, "macs") == [["second"], []]


def test_equal_runs_do_not_dominate_each_other(runs):
    assert dominators(read(runs), "params") == [[], [], []]


def test_other_seeds_are_judged_by_the_test_images_that_all_share(runs):
    runs[1].change("summary.json", ["seed"], 8)
    sized(runs[0], 0.99, 200, test=0.90)
    sized(runs[1], 0.90, 200, test=0.91)
    comparison = read(runs[:2])

    assert comparison.judged_by == "test"
    assert dominators(comparison, "macs") == [["second"], []]
    assert "Seeds or validation images differ" in comparison.notes[0]


def test_a_run_that_was_not_tuned_is_judged_by_test_images(runs):
    (runs[1].folder / "tune/history.json").write_text("[]")
    comparison = read(runs)

    assert comparison.runs[1].validation is None
    assert comparison.judged_by == "test"


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("settings.json", ["data", "source"], "fashion-mnist"),
        ("settings.json", ["data", "classes"], ["cat", "dog"]),
        ("settings.json", ["data", "image_size"], 16),
        ("places.json", ["data"], "/elsewhere/photos"),
        ("verify/verify.json", ["classes", 0, "name"], "owl"),
        ("verify/verify.json", ["classes", 0, "images"], 501),
        ("summary.json", ["test_images"], 5_000),
    ],
)
def test_runs_of_other_data_are_shown_and_not_judged(runs, name, keys, value):
    runs[2].change(name, keys, value)
    sized(runs[0], 0.90, 200)
    comparison = read(runs)

    assert comparison.judged_by is None
    assert dominators(comparison, "macs") == [[], [], []]


def test_a_run_that_did_not_count_by_class_may_be_of_the_same_data(runs):
    (runs[1].folder / "verify/verify.json").unlink()

    assert read(runs).judged_by == "validation"


def test_latencies_are_those_of_the_least_batch_in_the_engine_of_all(runs):
    runs[1].drop("summary.json", ["slim", "latency_ms", "onnxruntime", "1"])

    assert read(runs).place == ("onnxruntime", 32)
    runs[2].drop("summary.json", ["slim", "latency_ms", "onnxruntime"])
    comparison = read(runs)
    assert comparison.place == ("torch", 1)
    assert comparison.cost(comparison.runs[0], "latency_ms") == 7.432


@pytest.mark.parametrize(
    "keys",
    [
        *([["environment", key] for key in MACHINE]),
        *([["method", key] for key in METHOD]),
    ],
    ids=".".join,
)
def test_latencies_of_other_machines_threads_and_clocks_are_not_shown(runs, keys):
    assert keys[1] in runs[1].read("bench/latency.json")[keys[0]]
    runs[1].change("bench/latency.json", keys, "another")
    comparison = read(runs)

    assert comparison.place is None
    assert "latency_ms" not in comparison.costs()
    assert any("different machines" in note for note in comparison.notes)


def test_runs_that_were_not_timed_have_no_latency(runs):
    runs[0].change("summary.json", ["slim", "latency_ms"], {})

    assert "latency_ms" not in read(runs).costs()


def test_folders_of_the_same_name_are_told_apart(runs, tmp_path):
    moved = tmp_path / "elsewhere" / "first"
    moved.parent.mkdir()
    runs[1].folder.rename(moved)

    names = [run.name for run in read_runs([runs[0].folder, moved]).runs]

    assert names == [f"{tmp_path.name}/first", "elsewhere/first"]


def test_a_run_named_twice_is_refused(runs):
    folder = runs[0].folder

    with pytest.raises(RunError, match="is named twice"):
        read_runs([folder, folder.parent / "." / folder.name])


def test_a_certificate_is_judged_only_by_bounds_on_record(runs):
    for run, bound in zip(runs, (1e-5, 1e-9), strict=False):
        path = run.folder / "strip/certificate.json"
        path.write_text(f'{{"bound_fp32": {bound}, "bound_fp64": 1e-10}}')

    assert [run.certified for run in read(runs).runs] == [True, False, None]


def test_a_level_stands_beside_its_method(runs):
    runs[0].change("settings.json", ["sparsity", "level"], "weight")

    assert [run.method for run in read(runs[:2]).runs] == ["dessilbi, weight", "dessilbi"]
