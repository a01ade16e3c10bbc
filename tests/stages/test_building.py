"""The stage that builds plans: in a whole run, again in a finished one, and what it tells."""

import dataclasses
import io
import shutil
from types import SimpleNamespace

import pytest
import torch

from compressor import summary
from compressor.bench.subjects import Subject
from compressor.console import Console
from compressor.errors import CheckError, MissingExtra, ModelError
from compressor.export import engine_plans
from compressor.export.plan_figures import NO_DEVICE, PlanRecord
from compressor.files import read_json, sha256, write_json
from compressor.pipeline import STAGES, Where, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.report.engine_plans import plans_section
from compressor.report.run_files import read_run
from compressor.run import Run
from compressor.stages import building
from compressor.stages.building import timed_files, told, write_plans
from compressor.stages.ready import check_here
from compressor.tensorrt.module import Kit, open_kit
from compressor.tensorrt.sidecar import read_sidecar

NAMES = [stage.name for stage in STAGES]
PLANS = ("tensorrt.engine=tensorrt-rtx", 'tensorrt.profiles=["fp32", "fp16"]')
FILES = (
    'precision.profiles=["fp16"]',
    "precision.gate.max_accuracy_drop=0.05",
    "bench.batch_sizes=[1]",
)

RECORD = PlanRecord(
    profile="fp16",
    engine="tensorrt",
    label="slim fp16, tensorrt",
    file="model.fp16.plan",
    onnx="model.fp16.onnx",
    sha256="0" * 64,
    num_bytes=12345,
    version="11.4.0",
    gpu="NVIDIA A10 (compute capability 8.6)",
    file_products={"fp16": 5, "fp32": 1},
    plan_products={"fp16": 4, "fp32": 1},
    not_inspected=None,
    num_reformats=3,
    sparse=None,
    sparse_warning=None,
    num_warnings=0,
    accuracy=0.94,
    float_accuracy=0.95,
    unmeasured=None,
)


def recipe(*overrides):
    return load_recipe(find_recipe("digits"), overrides)


def rerun(finished, *overrides, until=None):
    """Run the recipe ``digits``, changed, in a finished run; stages that ran, and what was said."""
    path, stream = finished.folder.parent / "recipe.toml", io.StringIO()
    shutil.copy(find_recipe("digits"), path)
    bench = finished.recipe.bench
    keys = ("rounds", "warmup_rounds", "warmup_seconds")
    kept = [f"bench.{key}={getattr(bench, key)}" for key in keys]
    where = Where(finished.folder, Console(stream=stream), device="cpu", until=until)
    run_recipe(load_recipe(path, [*kept, *overrides]), where)
    said = stream.getvalue()
    return [name for name in NAMES if f"{name}: done before" not in said], said


@pytest.fixture
def blind(monkeypatch):
    """TensorRT-RTX, told that there is no GPU: so the tests mean the same everywhere."""
    cuda = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setattr(building, "open_kit", lambda flavour: open_kit(flavour, cuda))
    return cuda


@pytest.mark.engines
@pytest.mark.usefixtures("blind")
class TestWholeRun:
    """Plans of TensorRT-RTX in fp32 and fp16, built of a network that was trained."""

    def test_plans_stand_in_the_run_with_sidecars_and_say_what_is_unmeasured(self, digits_copy):
        again, said = rerun(digits_copy, *FILES, *PLANS)
        folder = digits_copy.folder
        assert again == NAMES[NAMES.index("export") :]
        float32, half = read_json(folder / "build/plans.json")
        for record, onnx, precision in (
            (float32, "model.onnx", "fp32"),
            (half, "model.fp16.onnx", "fp16"),
        ):
            plan = folder / "build" / record["file"]
            sidecar = read_sidecar(plan)
            assert plan.name == f"model.{record['profile']}.plan" == f"model.{precision}.plan"
            assert record["sha256"] == sha256(plan) == sidecar.plan_sha256
            assert sidecar.onnx_sha256 == sha256(folder / "export" / onnx)
            assert set(record["file_products"]) == {precision}
            assert sidecar.settings.gate.precision == precision
            assert (record["accuracy"], record["plan_products"]) == (None, None)
            assert record["unmeasured"] == NO_DEVICE
            assert f"build: {plan.name}, {plan.stat().st_size:,d} bytes, tensorrt-rtx" in said
        assert half["num_bytes"] < float32["num_bytes"]
        assert said.count("accuracy unmeasured, there was no CUDA device to run it on, and so") == 2
        summed = read_json(folder / "summary.json")["plans"]
        assert [plan["unmeasured"] for plan in summed] == [NO_DEVICE] * 2
        assert [plan["latency_ms"] for plan in summed] == [{}, {}]
        section = plans_section(read_run(folder))
        assert [row[0] for row in section.tables[0].rows] == ["model.fp32.plan", "model.fp16.plan"]
        assert {row[-1] for row in section.tables[0].rows} == {"unmeasured"}
        chain = read_json(folder / "bench/latency.json")["chain"]
        assert not any("plan" in name for name in chain["unmeasured"])
        assert "## TensorRT plans" in (folder / "report.md").read_text(encoding="utf-8")
        # The package is for any machine: neither files in other precisions nor plans go into it.
        packed = read_json(folder / "package/manifest.json")["files"]
        assert "model.onnx" in packed
        assert not any("plan." in name and name != "plan.json" for name in packed)

    def test_plans_are_built_once_and_anew_if_their_settings_or_bytes_change(self, digits_copy):
        plan = digits_copy.folder / "build/model.fp32.plan"
        float32 = ("tensorrt.engine=tensorrt-rtx", 'tensorrt.profiles=["fp32"]')
        assert rerun(digits_copy, *float32, until="build")[0][0] == "build"
        before = plan.stat().st_mtime_ns
        assert "build: done before, unchanged" in rerun(digits_copy, *float32, until="build")[1]
        assert plan.stat().st_mtime_ns == before
        changed = (*float32, "tensorrt.batch={min=1, opt=2, max=32}")
        rerun(digits_copy, *changed, until="build")
        assert read_sidecar(plan).shapes["images"].opt[0] == 2
        plan.write_bytes(plan.read_bytes()[:-1])
        said = rerun(digits_copy, *changed, until="build")[1]
        assert "model.fp32.plan is not as build wrote it; the stage runs again" in said
        assert sha256(plan) == read_sidecar(plan).plan_sha256

    def test_a_recipe_without_plans_leaves_no_trace_of_them(self, digits_run):
        assert not (digits_run.folder / "build").exists()
        assert "plans" not in read_json(digits_run.folder / "summary.json")
        assert plans_section(read_run(digits_run.folder)) is None

    def test_a_plan_that_fails_keeps_what_was_done_and_leaves_none(self, digits_copy, monkeypatch):
        def fail(*_arguments):
            raise CheckError("too few layers")

        monkeypatch.setattr(building, "measure", fail)
        with pytest.raises(CheckError, match="too few layers"):
            rerun(digits_copy, "tensorrt.engine=tensorrt-rtx", 'tensorrt.profiles=["fp32"]')
        assert "export" in read_json(digits_copy.folder / "manifest.json")["stages"]
        assert not (digits_copy.folder / "build").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_on_a_gpu_plans_are_run_and_keep_the_accuracy(digits_copy, engine):
    module = engine.replace("-", "_")
    pytest.importorskip(module, reason=f"{engine} is not installed", exc_type=ImportError)
    rerun(digits_copy, *FILES, f"tensorrt.engine={engine}", PLANS[1], until="build")
    for record in read_json(digits_copy.folder / "build/plans.json"):
        assert record["unmeasured"] is None
        assert record["accuracy"] == pytest.approx(record["float_accuracy"], abs=0.005)
        assert record["gpu"] is not None


def test_tensorrt_without_a_device_builds_nothing(tmp_path):
    kit = Kit("tensorrt", None, SimpleNamespace(is_available=lambda: False))
    with pytest.raises(
        ModelError, match="^tensorrt needs a CUDA device, and this machine has none"
    ):
        write_plans(None, tmp_path, kit)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_refused_before_training(monkeypatch):
    def missing(flavour):
        raise MissingExtra(f"{flavour} is not installed. Install it: ...")

    monkeypatch.setattr(engine_plans, "open_kit", missing)
    check_here(recipe())
    with pytest.raises(MissingExtra, match="^tensorrt is not installed"):
        check_here(recipe('tensorrt.profiles=["fp32"]'))


def test_a_measured_plan_is_told_with_its_layers_and_accuracy():
    assert told(RECORD) == (
        "model.fp16.plan, 12,345 bytes, tensorrt 11.4.0; products: 4 fp16, 1 fp32 read back, 3 "
        "reformats; "
        "validation accuracy 94.00% (float32 95.00%)"
    )


def test_an_unmeasured_plan_is_told_with_the_reason_and_the_warnings():
    changes = {"plan_products": None, "accuracy": None, "unmeasured": NO_DEVICE, "num_warnings": 2}
    assert told(dataclasses.replace(RECORD, **changes)) == (
        "model.fp16.plan, 12,345 bytes, tensorrt 11.4.0; products: 5 fp16, 1 fp32 in the file, "
        "not read back; accuracy unmeasured, there was no CUDA device to run it on, and so it is "
        "not timed; warnings of the builder: 2, in model.fp16.plan.json"
    )


def test_what_became_of_sparse_weights_is_told_with_what_is_wrong_with_it():
    line = told(dataclasses.replace(RECORD, sparse="2 layers eligible", sparse_warning="none run"))
    assert line.endswith("(float32 95.00%); 2 layers eligible; none run")


def finished(tmp_path, *records):
    """A run with files in other precisions and the plans of ``records``."""
    run = Run(tmp_path / "run")
    for profile in ("fp16", "int8-tensorrt", "int8-ort-cpu"):
        path = run.folder / "export" / f"model.{profile}.onnx"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    write_json(run.folder / "build/plans.json", [record.to_json() for record in records])
    for record in records:
        (run.folder / "build" / record.file).touch()
    return run


def record_of(profile, unmeasured=None):
    changes = {"file": f"model.{profile}.plan", "label": f"slim {profile}, tensorrt-rtx"}
    if unmeasured is not None:
        changes |= {"accuracy": None, "float_accuracy": None, "unmeasured": unmeasured}
    return dataclasses.replace(RECORD, profile=profile, engine="tensorrt-rtx", **changes)


def test_plans_are_timed_beside_the_files_and_in_place_of_those_only_they_run(tmp_path):
    run = finished(tmp_path, record_of("fp16"), record_of("int8-tensorrt"))
    made = recipe(
        'precision.profiles=["fp16", "int8-tensorrt", "int8-ort-cpu"]',
        "tensorrt.engine=tensorrt-rtx",
        'tensorrt.profiles=["fp16", "int8-tensorrt"]',
    )
    assert timed_files(run, made) == [
        run.folder / "export/model.fp16.onnx",
        run.folder / "export/model.int8-ort-cpu.onnx",
        *(
            Subject(
                f"slim {name}, tensorrt-rtx",
                "tensorrt-rtx",
                run.folder / f"build/model.{name}.plan",
            )
            for name in ("fp16", "int8-tensorrt")
        ),
    ]


@pytest.mark.parametrize("reason", [NO_DEVICE, "it was built for SM120"])
def test_a_plan_without_an_accuracy_is_not_timed_and_without_plans_every_file_is(tmp_path, reason):
    run = finished(tmp_path, record_of("int8-tensorrt", reason))
    files = 'precision.profiles=["int8-tensorrt"]'
    made = recipe(files, "tensorrt.engine=tensorrt-rtx", 'tensorrt.profiles=["int8-tensorrt"]')
    assert timed_files(run, made) == []
    assert timed_files(run, recipe(files)) == [run.folder / "export/model.int8-tensorrt.onnx"]
    assert timed_files(run, recipe()) == []


def test_the_summary_has_the_times_of_each_plan_that_was_timed(tmp_path):
    run = finished(tmp_path, record_of("fp32"), record_of("fp16", "it was built for SM120"))
    made = recipe(
        'precision.profiles=["fp16"]',
        "tensorrt.engine=tensorrt-rtx",
        'tensorrt.profiles=["fp32", "fp16"]',
    )
    links = {"slim fp32, tensorrt-rtx": {"p50": 0.2}, "dense, torch": {"p50": 9.0}}
    latency = {"chain": {"latency": {"1": links}}}
    plans_of = summary._plans(made, run, latency)["plans"]
    assert [plan["latency_ms"] for plan in plans_of] == [{"1": {"p50": 0.2}}, {}]
    assert [plan["unmeasured"] for plan in plans_of] == [None, "it was built for SM120"]
    assert summary._plans(recipe(), run, latency) == {}
