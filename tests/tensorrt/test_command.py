import json

import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from torch import nn

from compressor.bench.subjects import parse_subjects, plan_image_shape
from compressor.cli import main
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.tensorrt.sidecar import sidecar_path

from .graphs import save

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
        (("--set", "tf32"), "--set tf32: write section.key=value"),
        (("--set", "tf23=false"), "tf23: there is no such setting. Did you mean tf32?"),
        (("--set", "gate.precison=fp16"), "gate.precison: there is no such setting. Did you mean "),
        (("--set", "gate.zzz=1"), "no such setting. There are precision, min_share. See"),
        (("--set", "gate.min_share=1.0"), "gate.precision: the setting is missing"),
        (("--set", "gate=fp16"), "gate = fp16: it has settings of its own. Set gate.precision, "),
        (("--set", "optimization_level=9"), "optimization_level = 9: input should be less than"),
        (
            ("--set", "compute_capabilities=SM1"),
            "compute_capabilities = SM1: input should be 'SM75'",
        ),
    ],
)
def test_wrong_words_are_refused_before_anything_is_built(small_onnx, words, told):
    done = build(small_onnx, "--engine", "tensorrt-rtx", *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not small_onnx.with_suffix(".plan").exists()


@pytest.mark.parametrize(("text", "built"), [("SM89", ["SM89"]), ("SM89,SM120", ["SM89", "SM120"])])
def test_words_stand_for_a_list_of_them(small_onnx, tmp_path, text, built):
    words = ("--engine", "tensorrt-rtx", "--out", tmp_path / "net.plan", "--json")
    done = build(small_onnx, *words, "--set", f"compute_capabilities={text}")
    assert json.loads(done.stdout)["settings"]["compute_capabilities"] == built


def test_an_input_without_axes_has_no_batch(tmp_path):
    nodes = [helper.make_node("Mul", ["images", "scale"], ["logits"])]
    kind = TensorProto.FLOAT
    shapes = {"images": ["batch", 4], "scale": [], "logits": ["batch", 4]}
    images, scale, logits = (
        helper.make_tensor_value_info(name, kind, sizes) for name, sizes in shapes.items()
    )
    path = save(tmp_path / "net.onnx", nodes, [images, scale], [logits], [])
    done = build(path, "--engine", "tensorrt-rtx")
    assert done.exit_code == 0, done.output
    assert "batch 1 to 32, best 8\n" in done.stdout


def test_bare_words_and_dotted_keys_are_settings(small_onnx):
    done = build(small_onnx, "--engine", "tensorrt-rtx", "--set", "gate.precision=fp16")
    assert done.exit_code == 3
    assert "are fp16" in done.stderr
