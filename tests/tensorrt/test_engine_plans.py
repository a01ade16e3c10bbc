"""Plans as a recipe asks for them: what is refused, and the gate that each file sets."""

import json

import pytest

from compressor.bench.timer import BenchSettings
from compressor.errors import MissingExtra, ModelError, RecipeError
from compressor.export import engine_plans
from compressor.export.engine_plans import (
    PlanSettings,
    build_profile,
    check_buildable,
    check_kit,
    plan_faults,
)
from compressor.export.precision import PrecisionSettings
from compressor.recipe import Recipe, check_recipe, find_recipe, load_recipe
from compressor.tensorrt.module import Kit, open_kit
from compressor.tensorrt.settings import BatchRange, BuilderSettings, PrecisionGate
from compressor.tensorrt.sidecar import read_sidecar, sidecar_path

from .fakes import FakeCuda
from .graphs import convolution, kinds_in_turn

DIGITS = find_recipe("digits")
RTX = {"engine": "tensorrt-rtx", "profiles": ("fp32",)}


def recipe(*overrides):
    return load_recipe(DIGITS, overrides)


def faults(*overrides):
    with pytest.raises(RecipeError) as caught:
        recipe(*overrides)
    return [line.removeprefix(f"{DIGITS} with --set: ") for line in str(caught.value).splitlines()]


def test_a_recipe_builds_no_plan_unless_it_says_so():
    assert recipe().tensorrt == PlanSettings()
    assert recipe().tensorrt.profiles == ()


def test_plans_survive_json():
    made = recipe(
        'precision.profiles=["int8-tensorrt"]',
        'tensorrt.profiles=["fp32", "int8-tensorrt"]',
        "tensorrt.engine=tensorrt-rtx",
        "tensorrt.batch={min=1, opt=1, max=64}",
        'tensorrt.compute_capabilities=["SM89"]',
    )
    assert made.tensorrt.batch == BatchRange(min=1, opt=1, max=64)
    assert made.tensorrt.compute_capabilities == ("SM89",)
    assert Recipe.model_validate_json(made.model_dump_json()) == made
    assert check_recipe(json.loads(made.model_dump_json()), "saved") == made


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["tensorrt.engine=tensorrt-rtx"],
            "tensorrt: engine has no effect without plans, and profiles is empty; leave it out",
        ),
        (["tensorrt.tf32=false"], "tensorrt: tf32 has no effect without plans"),
        (['tensorrt.profiles=["fp32", "fp32"]'], "tensorrt: profiles names one value twice"),
        (['tensorrt.profiles=["fp64"]'], "tensorrt.profiles.0 = \"fp64\": input should be 'fp32'"),
        (
            ['tensorrt.profiles=["int8-ort-cpu"]', 'precision.profiles=["int8-ort-cpu"]'],
            "tensorrt: profiles has int8-ort-cpu, which is for onnxruntime, and the engine is "
            "tensorrt. Leave it out.",
        ),
        (
            ['tensorrt.profiles=["fp32", "fp16"]', 'precision.profiles=["bf16"]'],
            'tensorrt.profiles = ["fp32", "fp16"]: there is no file in fp16, since '
            'precision.profiles = ["bf16"]. Add it there, or leave it out.',
        ),
        (
            ['tensorrt.profiles=["fp32"]', "bench.batch_sizes=[1, 64]"],
            "bench.batch_sizes = [1, 64]: plans take 1 to 32 images, as tensorrt.batch says.",
        ),
        (
            ['tensorrt.profiles=["fp32"]', "tensorrt.batch={min=4, opt=2, max=8}"],
            "tensorrt.batch: min 4, opt 2 and max 8 must not fall in this order.",
        ),
        (
            ['tensorrt.profiles=["fp32"]', "tensorrt.gate.precision=fp16"],
            "tensorrt.gate: there is no such key.",
        ),
    ],
)
def test_what_does_not_hang_together_is_refused_in_one_line(overrides, told):
    (line,) = faults(*overrides)
    assert line.startswith(told)


def test_without_plans_any_batch_may_be_timed():
    bench = BenchSettings(batch_sizes=[512])
    assert plan_faults(PlanSettings(), PrecisionSettings(), bench) == []


def test_every_setting_of_the_builder_reaches_the_build():
    # None of these is a default, or what is not handed on would go unseen.
    given = {
        **{"workspace_bytes": 1 << 21, "optimization_level": 5, "avg_timing_iterations": 3},
        **{"tf32": False, "sparse_weights": True, "timing_cache": "c.bin", "refit": True},
        **{"version_compatible": True, "hardware_compatible": "ampere-plus"},
        "compute_capabilities": ("SM89",),
    }
    assert set(given) == set(BuilderSettings.model_fields)
    gate = PrecisionGate(precision="fp16")
    built = PlanSettings(profiles=["fp32"], **given).of_file(gate)
    assert built.model_dump(include=set(given)) == given
    assert (built.gate, built.batch) == (gate, BatchRange(min=1, opt=8, max=32))


class TestBeforeTraining:
    """What cannot be built here is said before hours of training, each fault in its own words."""

    def test_without_plans_nothing_is_looked_for(self, monkeypatch):
        monkeypatch.setattr(engine_plans, "open_kit", None)
        check_buildable(PlanSettings())

    def test_a_package_that_is_missing_is_named(self, monkeypatch):
        def missing(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        self.imports_by(missing, monkeypatch)
        with pytest.raises(MissingExtra, match=r"^tensorrt is not installed\. Install it: "):
            check_buildable(PlanSettings(profiles=["fp32"]))

    def test_a_library_that_is_missing_behind_it_is_another_message(self, monkeypatch):
        def broken(_name):
            raise ImportError("libnvinfer.so.11: cannot open shared object file")

        self.imports_by(broken, monkeypatch)
        with pytest.raises(MissingExtra, match="a library behind it is missing .libnvinfer.so.11"):
            check_buildable(PlanSettings(profiles=["fp32"]))

    def imports_by(self, importer, monkeypatch):
        monkeypatch.setattr(
            engine_plans, "open_kit", lambda flavour: open_kit(flavour, None, importer)
        )

    def test_tensorrt_needs_a_device(self):
        with pytest.raises(ModelError, match="^tensorrt needs a CUDA device, and this machine has"):
            check_kit(Kit("tensorrt", None, FakeCuda(available=False)))

    def test_tensorrt_rtx_needs_none(self):
        check_kit(Kit("tensorrt-rtx", None, FakeCuda(available=False)))

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"timing_cache": "cache.bin"}, "timing_cache is cache.bin"),
            ({"hardware_compatible": "ampere-plus"}, "hardware_compatible is ampere-plus"),
            (
                {"engine": "tensorrt", "compute_capabilities": ("SM89",)},
                "compute_capabilities is SM89, and TensorRT builds for the GPU at hand",
            ),
        ],
    )
    def test_a_setting_that_the_engine_would_pass_over_is_named(self, changes, told):
        with pytest.raises(ModelError, match=f"^{told}"):
            check_buildable(PlanSettings(**{**RTX, **changes}))


@pytest.mark.engines
def test_a_file_is_built_for_the_batches_asked_for_under_its_own_gate(rtx, tmp_path):
    path = kinds_in_turn(tmp_path / "net.onnx", ["fp16", "fp32"])
    settings = PlanSettings(**RTX, batch=BatchRange(min=2, opt=3, max=4), min_share=1.0)
    sidecar = build_profile(rtx, path, "fp16", tmp_path / "net.plan", settings)
    assert sidecar.onnx_precisions == {"fp16": 1, "fp32": 1}
    assert sidecar.settings.gate == PrecisionGate(precision="fp16", min_share=0.5)
    assert [sizes[0] for sizes in sidecar.shapes["images"].model_dump().values()] == [2, 3, 4]
    assert read_sidecar(tmp_path / "net.plan") == sidecar


@pytest.mark.engines
def test_a_file_that_the_engine_refuses_leaves_no_plan(rtx, tmp_path):
    path, plan = convolution(tmp_path / "net.onnx", "shifted"), tmp_path / "net.plan"
    with pytest.raises(ModelError, match="quantise again for the profile int8-tensorrt"):
        build_profile(rtx, path, "int8-tensorrt", plan, PlanSettings(**RTX))
    assert not plan.exists()
    assert not sidecar_path(plan).exists()
