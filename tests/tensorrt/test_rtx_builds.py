"""Plans built by the real TensorRT-RTX, which needs no GPU for that, and all it refuses."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn

from compressor.errors import CheckError, ModelError
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.files import sha256
from compressor.tensorrt.build import build_plan
from compressor.tensorrt.settings import MIB, BatchRange, BuildSettings, PrecisionGate
from compressor.tensorrt.sidecar import read_sidecar, sidecar_path

from .graphs import convolution, dense_weight, two_of_four

pytestmark = pytest.mark.engines

BATCH = BatchRange(min=1, opt=4, max=8)
FREE = BuildSettings(batch=BATCH)


class Net(nn.Module):
    """Two convolutions with norms, the second with a shortcut, and a classifier."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.inner, self.inner_norm = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, 10)

    def forward(self, images):
        stem = torch.relu(self.stem_norm(self.stem(images)))
        inner = torch.relu(stem + self.inner_norm(self.inner(stem)))
        return self.classifier(inner.mean((2, 3)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network, exported as every network of ours is."""
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    export_onnx(Net(), (3, 16, 16), path, ExportSettings())
    return path


class Images(CalibrationDataReader):
    """Four random batches to calibrate on."""

    def __init__(self):
        draw = np.random.default_rng(0)
        self.batches = [draw.random((2, 3, 16, 16), np.float32) for _ in range(4)]

    def get_next(self):
        return {"images": self.batches.pop()} if self.batches else None


def quantised(exported, path, **options):
    """The exported network, quantised by ONNX Runtime to symmetric int8."""
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True, **options}
    kinds = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    form = {"quant_format": QuantFormat.QDQ, "per_channel": True, "extra_options": symmetric}
    quantize_static(str(exported), str(path), Images(), **kinds, **form)
    return path


def refusal(kit, onnx_path, settings, kind=ModelError):
    """What is said of a build that must fail; nothing may be written."""
    plan = onnx_path.with_suffix(".plan")
    with pytest.raises(kind) as caught:
        build_plan(kit, onnx_path, plan, settings)
    assert not plan.exists()
    assert not sidecar_path(plan).exists()
    message = str(caught.value)
    assert "\n" not in message
    assert "/_src/" not in message
    return message


def test_an_exported_network_builds_for_a_range_of_batches(rtx, exported, tmp_path):
    plan = tmp_path / "net.plan"
    sidecar = build_plan(rtx, exported, plan, FREE)
    assert plan.stat().st_size > 4 * sum(p.numel() for p in Net().parameters())
    assert sidecar == read_sidecar(plan)
    assert (sidecar.plan_sha256, sidecar.onnx_sha256) == (sha256(plan), sha256(exported))
    assert sidecar.onnx_precisions == {"fp32": 3}
    assert sidecar.shapes["images"].max == (8, 3, 16, 16)
    assert sidecar.built_with.flavour == "tensorrt-rtx"
    assert sidecar.built_with.gpu is None
    assert "no CUDA device" in sidecar.not_inspected


def test_an_exported_network_builds_in_fp16_once_converted(rtx, exported, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(convert_float_to_float16(onnx.load(exported), keep_io_types=True), str(path))
    settings = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp16", min_share=1.0))
    sidecar = build_plan(rtx, path, tmp_path / "net.plan", settings)
    assert sidecar.onnx_precisions == {"fp16": 3}
    build_plan(rtx, exported, tmp_path / "float.plan", FREE)
    assert (tmp_path / "net.plan").stat().st_size < (tmp_path / "float.plan").stat().st_size


def test_an_exported_network_builds_in_int8_once_quantised(rtx, exported, tmp_path):
    path = quantised(exported, tmp_path / "net.onnx", QuantizeBias=False)
    settings = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="int8", min_share=1.0))
    sidecar = build_plan(rtx, path, tmp_path / "net.plan", settings)
    assert sidecar.onnx_precisions == {"int8": 3}


def test_what_onnxruntime_quantises_by_default_is_refused_for_its_biases(rtx, exported, tmp_path):
    said = refusal(rtx, quantised(exported, tmp_path / "net.onnx"), FREE)
    assert "(DequantizeLinear)" in said
    assert "A bias is quantised" in said


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_each_precision_builds_and_is_read_from_the_file(rtx, tmp_path, kind):
    path = convolution(tmp_path / "net.onnx", kind)
    gated = BuildSettings(batch=BATCH, gate=PrecisionGate(precision=kind, min_share=1.0))
    sidecar = build_plan(rtx, path, tmp_path / "net.plan", gated)
    assert sidecar.onnx_precisions == {kind: 1}
    assert (tmp_path / "net.plan").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_a_fixed_batch_builds_without_a_range(rtx, tmp_path, kind):
    path = convolution(tmp_path / "net.onnx", kind, batch=2)
    sidecar = build_plan(rtx, path, tmp_path / "net.plan", BuildSettings())
    sizes = sidecar.shapes["images"]
    assert sizes.min == sizes.opt == sizes.max == (2, 4, 16, 16)


def test_all_settings_that_need_no_gpu_are_taken(rtx, tmp_path):
    path = convolution(tmp_path / "net.onnx", weight=two_of_four(dense_weight()))
    settings = BuildSettings(
        batch=BATCH,
        workspace_bytes=256 * MIB,
        optimization_level=1,
        tf32=False,
        sparse_weights=True,
        compute_capabilities=("SM80", "SM89"),
    )
    sidecar = build_plan(rtx, path, tmp_path / "net.plan", settings)
    assert sidecar.settings == settings
    assert sidecar.sparse.eligible == ("conv",)
    assert sidecar.sparse.chosen is None


def test_weights_beside_the_file_are_found(rtx, tmp_path):
    path = convolution(tmp_path / "net.onnx")
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        # Only raw bytes can lie in a file of their own.
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    beside = {"save_as_external_data": True, "location": "net.bin", "size_threshold": 0}
    onnx.save(proto, str(path), **beside)
    build_plan(rtx, path, tmp_path / "net.plan", FREE)
    (tmp_path / "net.plan").unlink()
    (tmp_path / "net.plan.json").unlink()
    (tmp_path / "net.bin").unlink()
    assert "Copy the files together" in refusal(rtx, path, FREE)


def test_a_free_batch_without_a_range_is_refused(rtx, tmp_path):
    path = convolution(tmp_path / "net.onnx")
    said = refusal(rtx, path, BuildSettings())
    assert "batchx4x16x16" in said
    assert "min, opt and max" in said


def test_too_little_workspace_is_said(rtx, exported):
    settings = BuildSettings(batch=BATCH, workspace_bytes=MIB)
    assert "Raise workspace_bytes" in refusal(rtx, exported, settings)


def test_a_quantised_bias_is_named_with_its_node(rtx, tmp_path):
    said = refusal(rtx, convolution(tmp_path / "net.onnx", "biased"), FREE)
    assert "biases (DequantizeLinear)" in said
    assert "A bias is quantised" in said


@pytest.mark.parametrize("kind", ["uint8", "shifted"])
def test_asymmetric_activations_are_named_with_their_node(rtx, tmp_path, kind):
    said = refusal(rtx, convolution(tmp_path / "net.onnx", kind), FREE)
    assert "quantise (QuantizeLinear)" in said
    assert "symmetric int8" in said


def test_fp8_for_a_gpu_without_it_is_refused(rtx, tmp_path):
    path = convolution(tmp_path / "net.onnx", "fp8")
    settings = BuildSettings(batch=BATCH, compute_capabilities=("SM80",))
    said = refusal(rtx, path, settings)
    assert "sm80" in said
    assert "fp8 needs compute capability 8.9" in said


def test_turing_is_refused_with_the_operation(rtx, exported):
    settings = BuildSettings(batch=BATCH, compute_capabilities=("SM75",))
    said = refusal(rtx, exported, settings)
    assert "node_linear" in said
    assert "SM75" in said


def test_bf16_with_norms_that_were_not_folded_is_refused(rtx, tmp_path):
    path = convolution(tmp_path / "net.onnx", "bf16", weight_kind="fp32")
    said = refusal(rtx, path, FREE)
    assert "conv (Conv)" in said
    assert "fold the norms" in said


def test_what_needs_the_lean_library_is_said(rtx, tmp_path):
    path = convolution(tmp_path / "net.onnx")
    settings = BuildSettings(batch=BATCH, version_compatible=True)
    assert "lean library" in refusal(rtx, path, settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"hardware_compatible": "ampere-plus"}, "hardware_compatible"),
        ({"timing_cache": "cache.bin"}, "timing_cache"),
        ({"avg_timing_iterations": 8}, "avg_timing_iterations is 8"),
    ],
)
def test_settings_that_rtx_would_ignore_are_refused(rtx, tmp_path, settings, name):
    path = convolution(tmp_path / "net.onnx")
    assert refusal(rtx, path, BuildSettings(batch=BATCH, **settings)).startswith(name)


def test_a_file_of_another_precision_does_not_pass_the_gate(rtx, tmp_path):
    settings = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp16"))
    said = refusal(rtx, convolution(tmp_path / "net.onnx"), settings, CheckError)
    assert "0 of 1 layers are fp16" in said
    assert "conv (fp32)" in said


def test_sparse_weights_are_not_promised_for_dense_ones(rtx, tmp_path):
    settings = BuildSettings(batch=BATCH, sparse_weights=True)
    said = refusal(rtx, convolution(tmp_path / "net.onnx"), settings)
    assert "no layer has 2:4 weights" in said


def test_a_failed_build_leaves_the_plan_before_it(rtx, tmp_path):
    plan = tmp_path / "net.plan"
    build_plan(rtx, convolution(tmp_path / "good.onnx"), plan, FREE)
    before = plan.read_bytes(), sidecar_path(plan).read_bytes()
    with pytest.raises(ModelError):
        build_plan(rtx, convolution(tmp_path / "bad.onnx", "uint8"), plan, FREE)
    assert (plan.read_bytes(), sidecar_path(plan).read_bytes()) == before


GARBAGE = """
import gc, sys
from pathlib import Path
from compressor.errors import ModelError
from compressor.tensorrt.build import build_plan
from compressor.tensorrt.messages import Messages
from compressor.tensorrt.module import open_kit
from compressor.tensorrt.settings import BatchRange, BuildSettings

kit, folder = open_kit("tensorrt-rtx"), Path(sys.argv[1])
settings = BuildSettings(batch=BatchRange(min=1, opt=1, max=2))
gc.disable()
for _ in range(3):
    try:
        build_plan(kit, folder / "bad.onnx", folder / "net.plan", settings)
    except ModelError as error:
        # A failed build whose objects only the collector can free, as a test or a shell keeps it.
        error.itself = error
keep = Messages.keep


def collect_and_keep(self, severity, text):
    gc.set_threshold(1, 1, 1)
    [[] for _ in range(9)]  # enough new objects for the collector to come by, were it let in
    gc.set_threshold(0)
    keep(self, severity, text)


Messages.keep = collect_and_keep
gc.set_threshold(0)
gc.enable()
build_plan(kit, folder / "good.onnx", folder / "net.plan", settings)
print("built")
"""


def test_what_failed_builds_leave_is_not_freed_inside_the_engine(tmp_path):
    convolution(tmp_path / "bad.onnx", "uint8")
    convolution(tmp_path / "good.onnx")
    command = [sys.executable, "-c", GARBAGE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "built\n", done.stderr
