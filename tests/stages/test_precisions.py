"""What is told and noted of files in other precisions."""

import copy
from types import SimpleNamespace

import onnx
import pytest
import torch
from torch import nn

from compressor.errors import CheckError
from compressor.export.culprits import Search
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.export.precision import GateSettings, PrecisionRecord, PrecisionSettings
from compressor.export.precision_figures import Figures
from compressor.export.precision_fp16 import write_fp16
from compressor.export.verify import parity, random_inputs
from compressor.file_profile import UNKNOWN, check_profile, read_profile
from compressor.files import write_json
from compressor.stages.precisions import note_float, told, verified_precisions


def record(*kept, exhausted=False):
    return PrecisionRecord(
        profile="fp16",
        file="model.fp16.onnx",
        sha256="0" * 64,
        num_bytes=12345,
        engines=("onnxruntime",),
        measured_by="onnxruntime",
        computed_in="float32",
        float_accuracy=0.95,
        search=Search(kept, 0.94, (), exhausted),
        figures=Figures(1e-3, 60.0, 1.0, 1.0, 8),
    )


@pytest.mark.parametrize(
    ("kept", "named"),
    [
        ((), "(float32 95.00%)"),
        (("a",), "; 1 layer (a) in float32"),
        (tuple("abc"), "; 3 layers (a, b, c) in float32"),
        (tuple("abcde"), "; 5 layers (a, b, c and 2 more) in float32"),
    ],
)
def test_layers_that_stay_are_named_the_first_three_of_them(kept, named):
    line = told(record(*kept), GateSettings())

    assert line.startswith("model.fp16.onnx, 12,345 bytes, validation accuracy 94.00%")
    assert line.endswith(named)


def test_spent_tries_are_told_with_the_setting():
    line = told(record("a", exhausted=True), GateSettings(max_evaluations=7))

    assert "all precision.gate.max_evaluations = 7 tries were used" in line
    assert "tries" not in told(record("a"), GateSettings(max_evaluations=7))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()


@pytest.fixture
def folder(net, tmp_path):
    """What ``export`` leaves, with one fp16 file."""
    export_onnx(net, (1, 8, 8), tmp_path / "model.onnx", ExportSettings())
    write_fp16(tmp_path / "model.onnx", tmp_path / "model.fp16.onnx", frozenset())
    write_json(tmp_path / "precisions.json", [{"file": "model.fp16.onnx", "profile": "fp16"}])
    return tmp_path


def test_a_float_file_says_that_it_is_one_and_computes_the_same(net, folder):
    path = folder / "model.onnx"
    assert read_profile(path).name == UNKNOWN

    note_float(path)
    once = path.read_bytes()
    note_float(path)

    assert path.read_bytes() == once
    assert read_profile(path).name == "fp32"
    for engine in ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"):
        check_profile(path, engine)
    onnx.checker.check_model(str(path), full_check=True)
    assert parity(net, path, random_inputs((1, 8, 8))).relative_l2 < 1e-5


def finished(network, folder):
    """As much of a run's context as the look at test images reads."""
    images = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        run=SimpleNamespace(path=lambda _stage, name: folder / name),
        recipe=SimpleNamespace(precision=PrecisionSettings(profiles=["fp16"])),
        task=SimpleNamespace(
            example=lambda num_images: images[:num_images],
            accuracy=lambda predict, _held: float(len(predict(images)) == len(images)),
        ),
        slim_model=lambda _stage: network,
    )


def test_a_file_of_the_network_is_verified_with_its_distance(net, folder):
    (row,) = verified_precisions(finished(net, folder))

    assert (row["file"], row["accuracy"]) == ("model.fp16.onnx", 1.0)
    assert 1e-5 < row["max_rel_diff"] < 1e-2


def test_a_file_further_from_the_network_than_its_precision_explains_is_refused(net, folder):
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[3].weight *= 1.1

    with pytest.raises(CheckError, match=r"model\.fp16\.onnx: relative_l2 .* bound 1e-02"):
        verified_precisions(finished(other, folder))
