import json

import pytest
from click.testing import CliRunner
from torch import nn

from compressor.bench.subjects import parse_subjects, plan_image_shape
from compressor.cli import main
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.tensorrt.sidecar import sidecar_path

pytestmark = pytest.mark.engines


def build(*words):
    return CliRunner().invoke(main, ["build", *map(str, words)])


@pytest.fixture(scope="module")
def small_onnx(tmp_path_factory):
    """A small convolutional network as our export writes it, for any batch."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    path = tmp_path_factory.mktemp("command") / "net.onnx"
    export_onnx(net, (3, 16, 16), path, ExportSettings())
    return path


@pytest.fixture
def plan(small_onnx, tmp_path):
    """A plan of TensorRT-RTX, built by the command."""
    plan = tmp_path / "net.plan"
    done = build(small_onnx, "--engine", "tensorrt-rtx", "--out", plan)
    assert done.exit_code == 0, done.output
    return plan


def test_a_file_with_a_free_batch_is_built_for_a_range(plan):
    sidecar = json.loads(sidecar_path(plan).read_text())
    (shapes,) = sidecar["shapes"].values()
    assert [shapes[key][0] for key in ("min", "opt", "max")] == [1, 8, 32]


def test_the_plan_can_be_named_as_a_subject_of_the_benchmark(plan):
    (subject,) = parse_subjects([f"tensorrt-rtx:{plan}"])
    assert subject.engine == "tensorrt-rtx"
    assert plan_image_shape(plan) == (3, 16, 16)


def test_json_is_the_sidecar_alone(small_onnx, tmp_path):
    words = ("--engine", "tensorrt-rtx", "--out", tmp_path / "net.plan", "--json")
    done = build(small_onnx, *words, "--batch", "2,3,4", "--set", "tf32=false")
    found = json.loads(done.stdout)
    assert found == json.loads(sidecar_path(tmp_path / "net.plan").read_text())
    assert not found["settings"]["tf32"]
    assert found["settings"]["batch"] == {"min": 2, "opt": 3, "max": 4}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--batch", "8"), "--batch 8: write three whole numbers"),
        (("--batch", "4,2,8"), "must not fall in this order"),
        (("--set", "tf32"), "--set tf32: write key=value"),
        (("--set", "tf23=false"), "tf23: Extra inputs are not permitted"),
        (("--set", "optimization_level=9"), "optimization_level: Input should be less than"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_built(small_onnx, words, told):
    done = build(small_onnx, "--engine", "tensorrt-rtx", *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not small_onnx.with_suffix(".plan").exists()


def test_bare_words_and_dotted_keys_are_settings(small_onnx):
    done = build(small_onnx, "--engine", "tensorrt-rtx", "--set", "gate.precision=fp16")
    assert done.exit_code == 3
    assert "are fp16" in done.stderr
