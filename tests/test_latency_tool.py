"""The latency tool: what it reads and measures, conditions, page; never an absolute time."""

import copy
import json
import sys
from pathlib import Path

import pytest
from torch import nn

from compressor.bench.blocks import onnxruntime_block
from compressor.console import Console
from compressor.context import Context
from compressor.errors import BudgetError, RunError
from compressor.export.onnx import export_onnx
from compressor.files import read_json, write_json
from compressor.recipe import find_recipe, load_recipe
from compressor.run import Run
from compressor.strip import latency as strip_latency
from compressor.time_limit import TimeOver
from compressor.train.checkpoint import save_weights

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import latency  # the tools are no package
import latency_budget
import latency_chain
import latency_macs
import latency_parts
from latency_judge import rows_of
from latency_networks import NETWORKS, Network
from latency_page import as_markdown, in_short
from latency_parts import Job, Outcome, Part, Shelf
from latency_timing import How

RATIO = {"median": 3.8, "low": 3.7, "high": 3.9}


def link(median):
    return {
        "p50": 1.0 / median,
        "samples": 300,
        "speedup": {"median": median, "low": median, "high": median},
    }


MACS = {
    "macs": 1000,
    "cases": {
        name: {
            "macs": 250,
            "multiple": {"channels": channels, "why": "because"},
            "alignment": {"macs_share": 1.0},
        }
        for name, channels in (("auto", 16), ("8", 8), ("1", 1))
    },
    "latency": {
        "dense": {"p50": 60.0, "speedup": {"median": 1.0, "low": 1.0, "high": 1.0}},
        "auto": {"p50": 15.8, "speedup": RATIO},
        "8": {"p50": 17.0, "speedup": {"median": 3.5, "low": 3.4, "high": 3.6}},
        "1": {"p50": 24.0, "speedup": {"median": 2.5, "low": 2.4, "high": 2.6}},
    },
    "method": {"clock": "process"},
}

BUDGET = {
    "round_to": 16,
    "macs_share": 0.45,
    "budget": {
        "asked": {"share": 0.5},
        "got": {"share": 0.52},
        "dense_ms": 20.0,
        "layers_seconds": 8.0,
        "method": {"clock": "process"},
        "trials": [{"aimed": 0.5, "predicted": 0.5, "got": 0.56}, {"predicted": 0.5, "got": 0.52}],
    },
    "again": {"slim": {"speedup": {"median": 1.9, "low": 1.85, "high": 1.95}}},
}

CHAIN = {
    "recipe": "fashion-mnist",
    "accuracy": {
        "dense": 0.9315,
        "int8": 0.9265,
        "dense_right": 9315,
        "int8_right": 9265,
        "test_images": 10_000,
    },
    "source": "the run's record",
    "environment": {"date": "2026-01-02T03:04:05+00:00", "load_average": [2.5, 1.0, 1.0]},
    "method": {"clock": "wall"},
    "latency": {
        batch: {latency_chain.REFERENCE: link(1.0), latency_chain.INT8: link(speedup)}
        for batch, speedup in (("1", 13.6), ("32", 6.0))
    },
}

FIGURES = {"macs": MACS, "budget": BUDGET, "chain": CHAIN}


def judged(part, figures, num_threads=1, others=0.0):
    outcome = Outcome(figures, began="2026-01-01T00:00:00+00:00", others=others)
    return rows_of(Job(part, "resnet18", num_threads), outcome)


@pytest.fixture
def tiny(monkeypatch):
    """One small network in place of all: two couplings of 64 units, 16 pixels."""

    def build():
        layers = [nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
        return nn.Sequential(*layers, *head)

    monkeypatch.setitem(NETWORKS, "tiny", Network(build, 16))
    for part in ("macs", "budget"):
        module = latency_parts.PARTS[part].module
        monkeypatch.setitem(latency_parts.PARTS, part, Part(module, ("tiny",)))


@pytest.fixture
def source(monkeypatch, tmp_path):
    """The one file that all measurements rest on."""
    file = tmp_path / "source.py"
    file.touch()
    monkeypatch.setattr(latency_parts, "ROOT", tmp_path)
    monkeypatch.setattr(latency_parts, "files_behind", lambda _module: [file])
    return file


@pytest.fixture
def ran(monkeypatch, source):
    """Nothing is measured; the list says what would have been."""
    made = []

    def run(job, how):
        made.append((job.name, how.rounds))
        return FIGURES[job.part]

    monkeypatch.setattr(Job, "run", run)
    return made


def main(folder, *words):
    return latency.main([*words, "--kept", str(folder / "kept"), "--docs", str(folder / "docs")])


def write_stage(run, stage, make):
    with run.writing(stage, stage, ()) as folder:
        make(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of digits as far as the tool reads it; its int8 file is a float32 one."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    run, recipe = Run(folder), load_recipe(find_recipe("digits"))
    write_json(folder / "settings.json", recipe.model_dump(mode="json"))
    context = Context(recipe, run, Console(quiet=True), "cpu", Path(), (Path(),), False, True)
    model = context.fresh_model().eval()

    def export(into):
        export_onnx(model, (1, 8, 8), into / "model.onnx", recipe.export)
        for name in ("dense.onnx", "model.int8-ort-cpu.onnx"):
            (into / name).write_bytes((into / "model.onnx").read_bytes())

    cells = {batch: CHAIN["latency"][batch] for batch in ("1", "32")}
    record = {"method": {"num_threads": 1, "clock": "wall"}, "environment": CHAIN["environment"]}
    verified = {
        "accuracy": {"dense": 0.9},
        "files": [{"file": "model.int8-ort-cpu.onnx", "accuracy": 0.896}],
        "test_images": 359,
    }
    write_stage(run, "dense", lambda into: save_weights(into / "weights.safetensors", model))
    write_stage(run, "export", export)
    write_stage(run, "verify", lambda into: write_json(into / "verify.json", verified))
    record["chain"] = {"latency": cells}
    write_stage(run, "bench", lambda into: write_json(into / "latency.json", record))
    return folder


def test_a_quarter_of_the_macs_is_timed_at_each_rounding(tiny, tmp_path):
    figures = latency_macs.measured("tiny", 1, How(2, 5.0, tmp_path))
    assert figures["latency"].keys() == {"dense", "auto", "8", "1"}
    for case in figures["cases"].values():
        assert case["macs"] <= 0.25 * figures["macs"]
        assert {w % case["multiple"]["channels"] for w in case["widths"].values()} == {0}
    assert figures["cases"]["auto"]["multiple"]["channels"] == (onnxruntime_block() or 8)
    assert figures["cases"]["auto"]["alignment"]["macs_share"] == 1.0
    assert figures["latency"]["auto"]["samples"] == 2
    assert figures["method"]["clock"] == "process"
    json.dumps(figures, allow_nan=False)


def test_a_budget_is_measured_once_more_when_all_is_over(tiny, tmp_path, monkeypatch):
    # The first network will do: each correction is one more export.
    monkeypatch.setattr(strip_latency, "NEAR", float("inf"))
    figures = latency_budget.measured("tiny", 1, How(2, 5.0, tmp_path))
    assert figures["budget"]["asked"]["share"] == 0.5
    assert 0 < figures["macs_share"] < 1
    assert figures["again"]["slim"]["samples"] == 2
    assert list(tmp_path.iterdir()) != []  # the layers' times lie where they were told to
    [row] = judged("budget", figures)
    assert row["error"] == pytest.approx(row["got"] / 0.5 - 1)
    assert row["again_error"] == pytest.approx(row["again"]["share"] / 0.5 - 1)


def test_several_threads_are_timed_by_the_clock_on_the_wall():
    how = How(2, 5.0, Path())
    assert (how.timing(1).clock, how.timing(2).clock) == ("process", "wall")


def test_the_chain_is_read_from_the_run_where_it_has_it_and_else_measured(finished, tmp_path):
    how = How(2, 5.0, tmp_path)
    read = latency_chain.measured(str(finished), 1, how)
    assert read["source"] == "the run's record"
    assert read["latency"] == CHAIN["latency"]
    timed = latency_chain.measured(str(finished), 2, how)
    assert timed["source"] == "measured here"
    assert timed["latency"].keys() == {"1", "32"}
    assert len(timed["latency"]["1"]) == 4
    assert timed["latency"]["32"][latency_chain.INT8]["samples"] == 2
    assert timed["accuracy"] == read["accuracy"]
    assert (read["accuracy"]["dense_right"], read["accuracy"]["int8_right"]) == (323, 322)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.pop("chain"),
        lambda record: record["chain"]["latency"].pop("32"),
        lambda record: record["chain"]["latency"]["1"].pop(latency_chain.INT8),
        lambda record: record["method"].update(num_threads=2),
        lambda record: record["chain"]["latency"]["32"][latency_chain.INT8].update(samples=299),
    ],
    ids=["no chain", "no batch 32", "no int8", "other threads", "too few rounds"],
)
def test_a_record_without_all_that_is_asked_is_not_used(finished, change):
    record = read_json(finished / "bench" / "latency.json")
    assert latency_chain.recorded(record, 1, 300) is not None
    change(record)
    assert latency_chain.recorded(record, 1, 300) is None


def test_a_folder_that_is_no_run_is_refused_and_left_as_it_is(tmp_path):
    with pytest.raises(RunError, match=r"no manifest\.json"):
        latency_chain.opened(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_an_unfinished_run_and_one_without_an_int8_file_are_refused(tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(RunError, match="stage dense is not done"):
        latency_chain.opened(run.folder)
    for stage in latency_chain.STAGES:
        write_stage(run, stage, lambda into: write_json(into / "some.json", 1))
    with pytest.raises(RunError, match="made no model.int8-ort-cpu.onnx"):
        latency_chain.opened(run.folder)
    (run.folder / "verify" / "some.json").write_text("2")
    with pytest.raises(RunError, match="verify/some.json is not what the run wrote"):
        latency_chain.opened(run.folder)


def test_only_widths_that_suit_the_engine_are_judged():
    rows = judged("macs", MACS)
    assert [(row["round_to"], row["holds"]) for row in rows] == [
        ("auto", True),
        ("8", None),
        ("1", None),
    ]
    assert rows[0]["macs_ratio"] == 4
    assert rows[0]["worth"] == pytest.approx({"median": 0.95, "low": 0.925, "high": 0.975})


def test_a_latency_ratio_below_nine_tenths_of_the_macs_ratio_misses():
    figures = copy.deepcopy(MACS)
    figures["latency"]["auto"]["speedup"]["median"] = 3.59
    assert judged("macs", figures)[0]["missed"] == ["0.897 < 0.9"]
    assert judged("macs", figures)[0]["holds"] is False


@pytest.mark.parametrize(
    ("got", "again", "missed"),
    [
        (0.451, 1 / 0.549, []),
        (0.56, 1 / 0.5, ["got +12.0%"]),
        (0.5, 1 / 0.44, ["again -12.0%"]),
    ],
)
def test_a_budget_holds_within_a_tenth_on_both_sides_and_twice(got, again, missed):
    figures = copy.deepcopy(BUDGET)
    figures["budget"]["got"]["share"] = got
    figures["again"]["slim"]["speedup"] = {"median": again, "low": again, "high": again}
    [row] = judged("budget", figures)
    assert row["missed"] == missed
    assert row["holds"] is not bool(missed)


def test_the_interval_of_a_share_is_turned_round_with_its_ratio():
    [row] = judged("budget", BUDGET)
    assert row["again"]["low"] < row["again"]["share"] < row["again"]["high"]
    assert row["again"]["low"] == pytest.approx(1 / 1.95)


def test_half_a_point_of_accuracy_is_allowed_and_one_image_more_is_not():
    assert judged("chain", CHAIN)[0]["missed"] == []
    figures = copy.deepcopy(CHAIN)
    figures["accuracy"]["int8_right"] -= 1
    assert judged("chain", figures)[0]["missed"] == ["0.51 points > 0.5"]


def test_the_whole_way_is_judged_at_batch_1_on_each_number_of_threads():
    assert [row["holds"] for row in judged("chain", CHAIN)] == [True, None]
    assert [row["holds"] for row in judged("chain", CHAIN, num_threads=2)] == [True, None]
    figures = copy.deepcopy(CHAIN)
    figures["latency"]["1"][latency_chain.INT8] = link(9.9)
    assert judged("chain", figures)[0]["missed"] == ["9.90 times < 10"]


def test_what_is_measured_is_not_measured_again_unless_asked(ran, tmp_path):
    words = ["--only", "macs,budget", "--threads", "2", "1"]
    assert main(tmp_path, *words) == 0
    names = [name for name, _ in ran]
    assert names == ["macs-resnet18-1", "macs-resnet18-2"] + [
        f"budget-{network}-{threads}"
        for network in ("resnet18", "mobilenet_v2")
        for threads in (1, 2)
    ]
    assert main(tmp_path, *words) == 0
    assert len(ran) == 6
    assert main(tmp_path, "--only", "macs", "--threads", "1", "--again") == 0
    assert len(ran) == 7


def test_other_rounds_versions_or_sources_are_measured_anew(ran, source, tmp_path, monkeypatch):
    words = ["--only", "macs", "--threads", "1"]
    main(tmp_path, *words)
    main(tmp_path, *words, "--rounds", "20")
    assert ran == [("macs-resnet18-1", latency.ROUNDS), ("macs-resnet18-1", 20)]
    monkeypatch.setattr(latency_parts, "versions", lambda: {"torch": "0"})
    main(tmp_path, *words, "--rounds", "20")
    assert len(ran) == 3
    source.write_text("changed")
    main(tmp_path, *words, "--rounds", "20")
    assert len(ran) == 4


def test_every_part_rests_on_its_own_module_and_on_what_times():
    for part in latency_parts.PARTS.values():
        names = {file.name for file in latency_parts.files_behind(part.module)}
        assert {f"{part.module}.py", "latency_timing.py", "timer.py"} <= names


def test_another_run_in_the_same_folder_is_measured_anew(ran, tmp_path):
    shelf, folder = Shelf(tmp_path / "kept", 2, 1.0), tmp_path / "run"
    write_json(folder / "manifest.json", {"stages": 1})
    job = Job("chain", str(folder), 1)
    shelf.outcome(job)
    assert shelf.kept(job) is not None
    write_json(folder / "manifest.json", {"stages": 2})
    assert shelf.kept(job) is None


def test_times_of_layers_outlive_an_interruption_and_nothing_else(source, tmp_path, monkeypatch):
    shelf, job, seen = Shelf(tmp_path / "kept", 2, 1.0), Job("budget", "resnet18", 1), []

    def interrupted(_job, how):
        seen.append(sorted(path.name for path in how.layers.iterdir()))
        (how.layers / "staircase.json").touch()
        if len(seen) < 3:
            raise KeyboardInterrupt
        return BUDGET

    monkeypatch.setattr(Job, "run", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            shelf.outcome(job)
    shelf.forget(job)
    shelf.outcome(job)
    assert seen == [[], ["staircase.json"], []]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["budget-resnet18-1.json"]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (BudgetError("the floors alone take 0.6"), "the floors alone"),
        (TimeOver(), "more than 1200"),
    ],
)
def test_what_cannot_be_measured_is_a_row_with_its_reason(
    failure, reason, source, tmp_path, monkeypatch, capsys
):
    def fail(_job, _how):
        raise failure

    monkeypatch.setattr(Job, "run", fail)
    assert main(tmp_path, "--only", "budget", "--threads", "1", "--json") == 1
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 2
    assert all(reason in row["reason"] for row in rows)
    assert not list((tmp_path / "kept").glob("*.json"))


def test_a_whole_measurement_is_written_without_where_the_run_lies(ran, finished, tmp_path, capsys):
    assert main(tmp_path, "--run", str(finished)) == 0
    table = read_json(tmp_path / "docs" / "latency.json")
    page = (tmp_path / "docs" / "latency.md").read_text()
    assert page == as_markdown(table)
    assert table["about"]["command"] == "tools/latency --run RUN"
    assert str(finished) not in json.dumps(table) + page
    assert table["measurements"].keys() >= {"macs-resnet18-2", "budget-mobilenet_v2-1", "chain-1"}
    assert len(capsys.readouterr().out.splitlines()) == len(table["rows"])
    assert "torch" in table["about"]["versions"]


@pytest.mark.parametrize("words", [["--only", "macs"], ["--threads", "1"], ["--rounds", "20"]])
def test_a_part_of_it_is_not_published(ran, finished, tmp_path, words):
    main(tmp_path, "--run", str(finished), *words)
    assert not (tmp_path / "docs").exists()


def test_a_missed_condition_makes_the_exit_status_3(ran, tmp_path, monkeypatch, capsys):
    slow = copy.deepcopy(MACS)
    slow["latency"]["auto"]["speedup"]["median"] = 2.0
    monkeypatch.setitem(FIGURES, "macs", slow)
    assert main(tmp_path, "--only", "macs", "--threads", "1") == 3
    assert "MISSED: 0.500 < 0.9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "mac"], "The nearest is macs"),
        (["--only", "chain"], "--run RUN"),
        (["--rounds", "1"], "1 is less than 2"),
        (["--max-seconds", "0"], "not a number of seconds above 0"),
    ],
)
def test_wrong_usage_is_refused_with_what_would_do(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        latency.main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_run_that_cannot_be_read_is_told_before_anything_is_measured(ran, tmp_path, capsys):
    assert main(tmp_path, "--run", str(tmp_path / "nothing")) == RunError.exit_status
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert ran == []


ABOUT = {
    **{"command": "tools/latency --run RUN", "date": "2026-01-01", "versions": {"torch": "2"}},
    **{"cpu": "A CPU", "cores": 2, "isa_flags": ["avx2"], "rounds": 300, "max_seconds": 90.0},
}


def test_the_page_shows_each_part_with_its_condition():
    rows = [row for part in ("macs", "budget") for row in judged(part, FIGURES[part])]
    # What was read from a record was not disturbed by who was there while it was read.
    rows += judged("chain", CHAIN, others=1.5)
    page = as_markdown({"about": ABOUT, "rows": rows})
    assert "2026-01-01, torch 2, A CPU, 2 cores (avx2)" in page
    assert "3 of 3 rows with a condition hold it." in page
    assert (
        "| resnet18 | 1 | auto: 16 | 100% | 25.0% | 60.00 | 15.80 | 3.80 (3.70 to 3.90) | 4.00 | "
        "0.950 (0.925 to 0.975) | yes |" in page
    )
    assert "| 50.0% | 50.0% | 56.0% | 52.0% | +4.0% | 52.6% (51.3% to 54.1%) | +5.3% | 2 |" in page
    assert "| 1 | 1 | slim int8-ort-cpu, onnxruntime | 0.074 | 13.60 (13.60 to 13.60) |" in page
    assert "10,000 test images the dense network has 93.15%, the int8 file 92.65%: 0.50" in page
    assert "The run's record is of 2026-01-02, with a load of 2.5 as it began." in page
    assert "Other programs" not in page


def test_the_page_says_what_was_missed_not_measured_or_disturbed():
    missing = rows_of(Job("budget", "mobilenet_v2", 2), Outcome(None, "it took too long"))
    slow = copy.deepcopy(MACS)
    slow["latency"]["auto"]["speedup"]["median"] = 2.0
    rows = [*judged("macs", slow, num_threads=2, others=0.7), *missing]
    page = as_markdown({"about": ABOUT, "rows": rows})
    assert "0 of 1 rows with a condition hold it; measurements that could not be made: 1." in page
    assert "| NO: 0.500 < 0.9 |" in page
    assert "budget, mobilenet_v2, 2 threads: not measured: it took too long" in page
    assert "cores on average: macs resnet18, threads 2: 0.7)" in page


def test_a_line_says_part_threads_and_what_was_missed():
    figures = copy.deepcopy(BUDGET)
    figures["budget"]["got"]["share"] = 0.6
    [row] = judged("budget", figures, num_threads=2)
    line = in_short(row)
    assert line.startswith("budget, resnet18, 2 threads, asked 50.0%")
    assert line.endswith("MISSED: got +20.0%")
