import pytest

from compressor.errors import RunError
from compressor.report.run_files import read_run
from compressor.report.write import write_report

FILES = [
    "summary.json",
    "dense/history.json",
    "train/history.json",
    "tune/history.json",
    "train/path.json",
    "strip/widths.json",
    "bench/latency.json",
    "environment.json",
    "settings.json",
]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_the_command_that_makes_it(run, name):
    (run.folder / name).unlink()

    with pytest.raises(RunError) as error:
        write_report(run.folder)

    assert str(run.folder / name) in str(error.value)
    assert f"`compressor run RECIPE --out '{run.folder}'`" in str(error.value)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("summary.json", ["recipe"]),
        ("summary.json", ["dense", "latency_ms", "onnxruntime", "32", "p90"]),
        ("summary.json", ["verify", 1, "accuracy"]),
        ("train/history.json", [3, "loss"]),
        ("train/path.json", ["couplings", "stem", "entry_time"]),
        ("strip/widths.json", [0, "kept"]),
        ("bench/latency.json", ["speedup", "torch", "1", "low"]),
    ],
)
def test_a_missing_key_is_named_with_its_place(run, name, keys):
    run.drop(name, keys)

    with pytest.raises(RunError) as error:
        read_run(run.folder)

    place = ".".join(str(key) for key in keys)
    assert f"{run.folder / name} lacks the key {place}. Make it with" in str(error.value)


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("summary.json", ["slim", "accuracy"], 93.34),
        ("summary.json", ["slim", "macs"], 0),
        ("summary.json", ["certificate", "max_rel_diff_fp32"], None),
        ("bench/latency.json", ["speedup", "torch", "1"], ["fast", "<b>", "x" * 200]),
        ("strip/widths.json", [0, "units"], "many\nlines"),
    ],
)
def test_an_impossible_value_is_shown_with_its_place_in_one_line(run, name, keys, value):
    run.change(name, keys, value)

    with pytest.raises(RunError) as error:
        read_run(run.folder)

    place = ".".join(str(key) for key in keys)
    assert f"{run.folder / name} has at {place} the value" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_a_file_that_is_not_json_is_refused_in_one_line(run, content):
    (run.folder / "summary.json").write_bytes(content)

    with pytest.raises(RunError, match=r"^[^\n]*summary.json is not JSON: [^\n]*$"):
        read_run(run.folder)


def test_a_file_of_another_shape_is_refused(run):
    (run.folder / "strip/widths.json").write_text('{"stem": 3}')

    with pytest.raises(RunError, match=r"widths.json holds the value \{'stem': 3\}"):
        read_run(run.folder)


def test_steps_without_as_many_times_are_refused(run):
    run.change("train/path.json", ["couplings", "stem", "entry_time"], [0.5])

    with pytest.raises(RunError, match=r"couplings\.stem.*64 entry steps stand beside 1 times"):
        read_run(run.folder)


def test_a_report_that_cannot_be_made_leaves_no_file(run):
    run.drop("summary.json", ["seed"])

    with pytest.raises(RunError):
        write_report(run.folder)

    assert not list(run.folder.glob("report.*"))


def test_additional_keys_are_left_alone(run):
    plain = read_run(run.folder)
    run.change("summary.json", ["dense", "layers"], 18)
    run.change("train/history.json", [0, "gradient_norm"], 1.5)

    assert read_run(run.folder) == plain


def test_only_units_that_entered_have_a_time(run):
    run.change(
        "train/path.json",
        ["couplings", "stem"],
        {"entry_step": [9, -1, 3], "entry_time": [0.9, None, 0.3], "score": []},
    )

    assert read_run(run.folder).path.couplings["stem"].times() == [0.3, 0.9]
