import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from compressor import pipeline, summary
from compressor.console import Console
from compressor.files import read_json, sha256
from compressor.package.pickles import pickles_in
from compressor.pipeline import STAGES, Where, default_out, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.strip.certificate import FP32_BOUND, FP64_BOUND

FILES = {
    "inspect": {"couplings.json"},
    "dense": {"weights.safetensors", "history.json", "compute.json"},
    "train": {"weights.safetensors", "history.json", "compute.json", "structure.json", "path.json"},
    "strip": {
        "weights.safetensors",
        "plan.json",
        "structure.json",
        "certificate.json",
        "counts.json",
        "widths.json",
        "alignment.json",
    },
    "tune": {"weights.safetensors", "history.json", "compute.json", "plan.json"},
    "export": {"model.onnx", "dense.onnx", "exporters.json", "precisions.json"},
    "verify": {"verify.json"},
    "bench": {"latency.json"},
    "package": {
        *("README.md", "manifest.json", "package.json", "recipe.json", "environment.json"),
        *("plan.json", "weights.safetensors", "architecture/residual.py", "certificate.json"),
        *("model.onnx", "model.pt2", "samples.safetensors"),
    },
}
ON_TOP = {
    "summary.json",
    "report.html",
    "report.md",
    "manifest.json",
    "settings.json",
    "environment.json",
    "places.json",
    "log.jsonl",
}
NAMES = [stage.name for stage in STAGES]
LAST = ["export", "verify", "build", "bench", "package", "report"]


def said_by(recipe, folder, **where):
    """Run ``recipe`` in ``folder``; what was said."""
    stream = io.StringIO()
    run_recipe(recipe, Where(out=folder, console=Console(stream=stream), device="cpu", **where))
    return stream.getvalue()


def rerun(finished, *overrides, until=None):
    """Run the recipe ``digits``, changed, in a finished run; the stages that were not skipped."""
    seen = json.dumps(finished.recipe.model_dump(mode="json"))
    path = finished.folder.parent / "recipe.toml"
    shutil.copy(find_recipe("digits"), path)
    bench = json.loads(seen)["bench"]
    kept = [f"bench.{key}={bench[key]}" for key in ("rounds", "warmup_rounds", "warmup_seconds")]
    said = said_by(load_recipe(path, [*kept, *overrides]), finished.folder, until=until)
    return [name for name in NAMES if f"{name}: done before" not in said]


@pytest.fixture
def pretended(monkeypatch):
    """Stages that write one small file each instead of doing their work."""

    def pretend(stage):
        def work(context, folder):
            (folder / "made").write_text(stage.name)
            for name in stage.on_top:
                (context.run.folder / name).write_text(stage.name)

        return replace(stage, work=work)

    stages = tuple(pretend(stage) for stage in STAGES)
    monkeypatch.setattr(pipeline, "STAGES", stages)
    return stages


def read_summary(finished):
    return read_json(finished.folder / "summary.json")


class TestWholeRun:
    """What a finished run holds."""

    def test_every_promised_file_is_there_and_nothing_else(self, digits_run):
        found = {
            str(path.relative_to(digits_run.folder))
            for path in digits_run.folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        stages = {f"{stage}/{name}" for stage, names in FILES.items() for name in names}
        assert found == stages | ON_TOP

    def test_the_manifest_holds_every_file_of_every_stage_as_it_is(self, digits_run):
        stages = read_json(digits_run.folder / "manifest.json")["stages"]
        files = {name: file for entry in stages.values() for name, file in entry["files"].items()}
        assert list(stages) == NAMES
        assert len(files) == sum(map(len, FILES.values())) + 3
        for name, file in files.items():
            assert file["sha256"] == sha256(digits_run.folder / name)
            assert file["bytes"] == (digits_run.folder / name).stat().st_size > 0

    def test_nothing_unfinished_is_left(self, digits_run):
        hidden = [p.name for p in digits_run.folder.rglob(".*")]
        assert hidden == [".compressor.lock"]

    def test_there_is_no_pickle(self, digits_run):
        for path in digits_run.folder.rglob("*"):
            assert path.suffix not in (".pt", ".pth", ".pkl", ".bin")
            if path.is_file():
                assert pickles_in(path) == []

    def test_settings_are_saved_in_full(self, digits_run):
        saved = read_json(digits_run.folder / "settings.json")
        assert saved == digits_run.recipe.model_dump(mode="json")

    def test_every_stage_is_logged_as_started_and_done(self, digits_run):
        lines = (digits_run.folder / "log.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        states = [(e["stage"], e["state"]) for e in events if e["event"] == "stage"]
        assert states == [(name, state) for name in NAMES for state in ("started", "done")]
        epochs = [e["stage"] for e in events if e["event"] == "epoch"]
        assert epochs == ["dense"] * 10 + ["train"] * 4 + ["tune"] * 6

    def test_a_search_says_what_its_support_costs(self, digits_run):
        history = read_json(digits_run.folder / "train" / "history.json")
        shares = [record["support_macs_share"] for record in history]
        assert all(0 <= share <= 1 for share in shares)
        assert f"support holds {shares[-1]:.0%} of the MACs" in digits_run.said
        assert ", budget 30%" in digits_run.said
        tuned = read_json(digits_run.folder / "tune" / "history.json")
        assert not any("support_macs_share" in record for record in tuned)


class TestSummary:
    """``summary.json`` has the promised keys, and its figures hang together."""

    def test_the_keys_are_those_promised(self, digits_run):
        found = read_summary(digits_run)
        assert list(found) == [
            *("recipe", "seed", "test_images", "dense", "slim", "masked"),
            *("stripped_before_tuning", "certificate", "verify", "budget", "alignment"),
            *("weights", "speedup", "seconds"),
        ]
        for side in (found["dense"], found["slim"]):
            assert list(side) == [
                *("accuracy", "macs", "params", "nonzero_params", "bytes", "training_macs"),
                "latency_ms",
            ]
            assert set(side["latency_ms"]) == {"onnxruntime", "torch"}
            for engine in side["latency_ms"].values():
                assert set(engine) == {"1", "32"}
                assert all({"p50", "p90", "p99"} <= set(times) for times in engine.values())
        assert set(found["masked"]) == set(found["stripped_before_tuning"]) == {"accuracy"}
        assert set(found["certificate"]) == {"max_rel_diff_fp32", "max_rel_diff_fp64", "inputs"}
        of_a_file = {"file", "max_rel_diff", "accuracy", "bound"}
        assert [set(file) for file in found["verify"]] == [of_a_file] * 2
        assert list(found["seconds"]) == NAMES[:-1]

    def test_sizes_are_those_that_strip_counted_and_of_the_files(self, digits_run):
        found, folder = read_summary(digits_run), digits_run.folder
        counts = read_json(folder / "strip" / "counts.json")
        for side, file in (("dense", "dense.onnx"), ("slim", "model.onnx")):
            assert found[side]["macs"] == counts[side]["macs"]
            assert found[side]["params"] == counts[side]["params"]
            assert found[side]["bytes"] == (folder / "export" / file).stat().st_size

    def test_where_units_are_kept_hardly_a_weight_is_zero_and_nothing_is_said(self, digits_run):
        found = read_summary(digits_run)
        weights, slim = found["weights"], found["slim"]
        assert weights["granularity"] == "channel"
        assert 0.99 < weights["share_of_slim"] == slim["nonzero_params"] / slim["params"] <= 1
        assert weights["share_of_dense"] == slim["nonzero_params"] / found["dense"]["params"]
        assert "single zeros" not in digits_run.said
        assert not list(digits_run.folder.rglob("masks.safetensors"))

    def test_the_budget_is_kept_and_told(self, digits_run):
        budget = read_summary(digits_run)["budget"]
        assert budget["asked"] == {"keep_macs": 0.3}
        assert 0.25 < budget["reached"]["macs_share"] <= 0.3

    def test_the_certificate_is_within_its_bounds(self, digits_run):
        certificate = read_summary(digits_run)["certificate"]
        assert certificate["max_rel_diff_fp32"] <= FP32_BOUND
        assert certificate["max_rel_diff_fp64"] <= FP64_BOUND
        assert certificate["inputs"] == 128

    def test_stripping_changes_no_answer_and_exporting_none_either(self, digits_run):
        found = read_summary(digits_run)
        exported = {file["file"]: file for file in found["verify"]}
        assert found["masked"] == found["stripped_before_tuning"]
        assert exported["model.onnx"]["accuracy"] == found["slim"]["accuracy"]
        assert exported["dense.onnx"]["accuracy"] == found["dense"]["accuracy"]
        assert max(file["max_rel_diff"] for file in found["verify"]) < 1e-4

    def test_accuracy_is_a_share_of_the_test_images(self, digits_run):
        found = read_summary(digits_run)
        right = found["slim"]["accuracy"] * found["test_images"]
        assert found["test_images"] == 359
        assert right == pytest.approx(round(right), abs=1e-9)

    def test_percentiles_rise_and_the_speedup_is_their_ratio(self, digits_run):
        found = read_summary(digits_run)
        for side in (found["dense"], found["slim"]):
            for times in (t for engine in side["latency_ms"].values() for t in engine.values()):
                assert 0 < times["p50"] <= times["p90"] <= times["p99"]
        assert all(s["low"] <= s["median"] <= s["high"] for s in found["speedup"]["torch"].values())

    def test_compute_is_three_passes_an_image_and_one_of_the_teacher(self, digits_run):
        found = read_summary(digits_run)
        images = 20 * 64  # of the 1,295 training images, whole batches only
        history = read_json(digits_run.folder / "dense" / "compute.json")["images"]
        if history != 10 * images:
            images = history // 10
        dense, slim = found["dense"], found["slim"]
        assert dense["training_macs"] == summary.PASSES * 10 * images * dense["macs"]
        searched = summary.PASSES * 4 * images * dense["macs"]
        tuned = summary.PASSES * 6 * images * slim["macs"]
        teacher = slim["training_macs"] - searched - tuned
        assert teacher > 0
        assert teacher % dense["macs"] == 0


class TestRunningAgain:
    """What is done is not done again, and what follows from a change is."""

    def test_a_second_run_skips_every_stage_and_touches_no_figure(self, digits_copy):
        before = (digits_copy.folder / "summary.json").read_bytes()
        assert rerun(digits_copy) == []
        assert (digits_copy.folder / "summary.json").read_bytes() == before

    def test_another_budget_strips_anew_from_the_same_search(self, digits_copy):
        weights = sha256(digits_copy.folder / "train" / "weights.safetensors")
        again = rerun(digits_copy, "strip.keep_macs=0.5", until="strip")
        assert again[: again.index("tune")] == ["strip"]
        counts = read_json(digits_copy.folder / "strip" / "counts.json")
        assert 0.4 < counts["slim"]["macs"] / counts["dense"]["macs"] <= 0.5
        assert sha256(digits_copy.folder / "train" / "weights.safetensors") == weights

    def test_other_bench_settings_time_and_report_anew(self, digits_copy):
        assert rerun(digits_copy, "bench.rounds=3", "bench.engines=['torch']") == [
            *("bench", "package", "report")
        ]
        assert list(read_summary(digits_copy)["slim"]["latency_ms"]) == ["torch"]

    def test_a_damaged_stage_is_noticed_and_made_as_it_was(self, digits_copy):
        path = digits_copy.folder / "strip" / "plan.json"
        before = path.read_bytes()
        path.write_bytes(before[:-40])
        said = said_by(digits_copy.recipe, digits_copy.folder, until="strip")
        assert f"warning: {path} is not as strip wrote it; the stage runs again." in said
        assert path.read_bytes() == before

    def test_files_of_other_precisions_are_gated_verified_timed_and_reported(self, digits_copy):
        profiles = ["fp16", "int8-ort-cpu", "int8-tensorrt"]
        changes = [f"precision.profiles={profiles}", "precision.gate.max_accuracy_drop=0.05"]
        changes.append("precision.quant.num_images=100000")
        assert rerun(digits_copy, *changes, "bench.batch_sizes=[1]") == LAST
        folder = digits_copy.folder
        records = read_json(folder / "export/precisions.json")
        assert [record["profile"] for record in records] == profiles
        for record in records:
            assert record["sha256"] == sha256(folder / "export" / record["file"])
            assert record["search"]["accuracy"] >= record["float_accuracy"] - 0.05
        notes = onnx.load(folder / "export" / records[1]["file"]).metadata_props
        calibration = next(n.value for n in notes if n.key == "compressor.calibration")
        assert json.loads(calibration)["num_images"] < 1797
        verified = {row["file"]: row for row in read_json(folder / "verify/verify.json")["files"]}
        slim = verified["model.onnx"]["accuracy"]
        for record in records:
            assert verified[record["file"]]["accuracy"] == pytest.approx(slim, abs=0.05)
            assert 1e-5 < verified[record["file"]]["max_rel_diff"] < 0.2
        chain = read_json(folder / "bench/latency.json")["chain"]
        (unmeasured,) = chain["unmeasured"].items()
        assert unmeasured == (
            "model.int8-tensorrt.onnx",
            "tensorrt runs plans, and none was built of it",
        )
        assert list(chain["latency"]["1"]) == [
            *("dense, torch", "dense, onnxruntime", "slim, onnxruntime"),
            *("slim fp16, onnxruntime", "slim int8-ort-cpu, onnxruntime"),
        ]
        page = (folder / "report.md").read_text(encoding="utf-8")
        assert "slim int8-ort-cpu, onnxruntime" in page
        assert "Not timed: model.int8-tensorrt.onnx. Why: tensorrt runs plans" in page

    def test_how_each_file_was_exported_is_on_record(self, digits_run):
        found = read_json(digits_run.folder / "export/exporters.json")
        assert found == dict.fromkeys(
            ("model.onnx", "dense.onnx"), {"exporter": "dynamo", "why": None}
        )

    @pytest.mark.parametrize(
        ("override", "again"),
        [
            ("seed=1", NAMES),
            ("model.arguments.widths=[8]", NAMES),
            ("data.validation_share=0.2", NAMES),
            ("train.epochs=3", [n for n in NAMES if n != "inspect"]),
            ("task.augment=flip", [n for n in NAMES if n != "inspect"]),
            ("dense.lr=0.2", ["dense", "tune", *LAST]),
            ("train.lr=0.2", [n for n in NAMES if n not in ("inspect", "dense")]),
            ("sparsity.lam=2", ["train", "strip", "tune", *LAST]),
            ("strip.keep_macs=0.5", ["strip", "tune", *LAST]),
            ("target.engine=openvino", ["strip", "tune", *LAST]),
            ("tune.lr=0.2", ["tune", *LAST]),
            ("export.opset=19", ["inspect", *LAST]),
            ('precision.profiles=["fp16"]', LAST),
            (
                'tensorrt={engine="tensorrt-rtx", profiles=["fp32"]}',
                ["build", "bench", "package", "report"],
            ),
            ("bench.rounds=9", ["bench", "package", "report"]),
            ("name=other", ["package", "report"]),
        ],
    )
    @pytest.mark.usefixtures("pretended")
    def test_a_change_runs_only_what_depends_on_it(self, tmp_path, override, again):
        folder, path = tmp_path / "run", find_recipe("digits")
        assert "done before" not in said_by(load_recipe(path), folder)
        said = said_by(load_recipe(path, [override]), folder)
        assert [name for name in NAMES if f"{name}: done before" not in said] == again

    @pytest.mark.parametrize("what", ["factory", "weights", "data file", "data folder"])
    @pytest.mark.usefixtures("pretended")
    def test_a_changed_file_that_the_recipe_names_counts_as_a_change(self, tmp_path, what):
        pictures = tmp_path / "pictures" / "cat"
        pictures.mkdir(parents=True)
        place = {
            "factory": tmp_path / "net.py",
            "weights": tmp_path / "w.safetensors",
            "data file": tmp_path / "a.npz",
            "data folder": pictures / "1.png",
        }
        for path in place.values():
            path.write_text("before")
        folder_data = (f"data.path={pictures.parent}", "data.image_size=8")
        data = {
            "data file": ("data.source=npz", f"data.path={tmp_path / 'a.npz'}"),
            "data folder": ("data.source=image-folder", *folder_data),
        }.get(what, ())
        model = (f"model.factory={tmp_path}/net.py:net", f"model.weights={place['weights']}")
        recipe = load_recipe(find_recipe("digits"), [*model, *data])
        said_by(recipe, tmp_path / "run")
        assert said_by(recipe, tmp_path / "run").count("done before") == len(NAMES)
        place[what].write_text("something else")
        assert "done before" not in said_by(recipe, tmp_path / "run")

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.usefixtures("pretended")
    def test_a_run_until_a_stage_ends_there(self, tmp_path, name):
        said_by(load_recipe(find_recipe("digits")), tmp_path / "run", until=name)
        done = list(read_json(tmp_path / "run" / "manifest.json")["stages"])
        assert done == NAMES[: NAMES.index(name) + 1]

    @pytest.mark.parametrize("name", ["summary.json", "report.html", "report.md"])
    @pytest.mark.usefixtures("pretended")
    def test_a_report_that_was_deleted_is_written_again(self, tmp_path, name):
        recipe, folder = load_recipe(find_recipe("digits")), tmp_path / "run"
        said_by(recipe, folder)
        (folder / name).unlink()
        said = said_by(recipe, folder)
        assert said.count("done before") == len(NAMES) - 1
        assert (folder / name).is_file()

    def test_a_stage_that_fails_keeps_those_before(self, pretended, tmp_path, monkeypatch):
        def fail(_context, folder):
            (folder / "half").touch()
            raise KeyboardInterrupt

        stages = tuple(replace(s, work=fail) if s.name == "strip" else s for s in pretended)
        monkeypatch.setattr(pipeline, "STAGES", stages)
        with pytest.raises(KeyboardInterrupt):
            said_by(load_recipe(find_recipe("digits")), tmp_path / "run")
        assert list(read_json(tmp_path / "run" / "manifest.json")["stages"]) == NAMES[:3]
        assert not (tmp_path / "run" / "strip").exists()


def test_every_new_run_has_a_directory_of_its_own():
    recipe = load_recipe(find_recipe("digits"))
    assert default_out(recipe) != default_out(recipe)
    assert default_out(recipe).parent == Path("runs")
    assert default_out(recipe).name.startswith("digits-")
