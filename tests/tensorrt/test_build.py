"""What happens after and around the build: TensorRT-RTX builds, and a fake runtime reads back.

TensorRT itself cannot build here; what it does more than TensorRT-RTX is run on such a mixture.
"""

import json
from types import SimpleNamespace

import onnx
import pytest
from onnx import helper

from compressor.errors import CheckError, ModelError
from compressor.files import sha256
from compressor.tensorrt.build import build_plan
from compressor.tensorrt.load import load_plan
from compressor.tensorrt.module import Kit
from compressor.tensorrt.settings import BatchRange, BuildSettings, PrecisionGate
from compressor.tensorrt.sidecar import read_sidecar, sidecar_path

from .fakes import FakeCuda, fake_module
from .graphs import convolution, dense_weight, two_of_four

pytestmark = pytest.mark.engines

BATCH = BatchRange(min=1, opt=4, max=8)


@pytest.fixture
def mixed(rtx, engine, cuda):
    """TensorRT as far as can be: the builder of TensorRT-RTX with a runtime that is a fake."""
    fake = fake_module(engine)
    return Kit("tensorrt", SimpleNamespace(**{**vars(rtx.trt), "Runtime": fake.Runtime}), cuda)


def layers(*precisions, tactic="sm80_xmma_fprop"):
    entries = [
        {
            "Name": f"conv{i}",
            "LayerType": "CaskConvolution",
            "TacticName": tactic,
            "Inputs": [{"Name": "x", "Format/Datatype": precision}],
        }
        for i, precision in enumerate(precisions)
    ]
    return json.dumps({"Layers": entries, "Bindings": ["images", "logits"]})


def test_a_plan_is_read_back_and_its_precisions_are_kept(mixed, engine, tmp_path):
    engine.layers = layers("Half", "Half", "Float")
    path = convolution(tmp_path / "net.onnx", "fp16")
    settings = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp16", min_share=0.6))
    sidecar = build_plan(mixed, path, tmp_path / "net.plan", settings)
    assert sidecar.precisions.products == {"fp16": 2, "fp32": 1}
    assert sidecar.not_inspected is None
    assert read_sidecar(tmp_path / "net.plan") == sidecar


def test_a_plan_that_runs_at_another_precision_is_not_written(mixed, engine, tmp_path):
    engine.layers = layers("Half", "Float")
    path = convolution(tmp_path / "net.onnx", "fp16")
    settings = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp16"))
    with pytest.raises(CheckError, match=r"net\.plan: 1 of 2 layers are fp16.*conv1 \(fp32\)"):
        build_plan(mixed, path, tmp_path / "net.plan", settings)
    assert not (tmp_path / "net.plan").exists()


def test_a_plan_whose_sizes_are_free_is_read_at_its_best_size(mixed, engine, tmp_path):
    engine.layers = layers("Half")
    path = convolution(tmp_path / "net.onnx", "fp16")
    settings = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp16"))
    sidecar = build_plan(mixed, path, tmp_path / "net.plan", settings)
    assert sidecar.precisions.products == {"fp16": 1}
    assert engine.context.shape == (4, 4, 16, 16)


def test_where_no_type_is_shown_at_all_the_gate_says_so_and_blames_no_layer(
    mixed, engine, tmp_path
):
    engine.layers, engine.shows_types = layers("Half", "Half"), False
    path = convolution(tmp_path / "net.onnx", "fp16")
    gated = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp16"))
    with pytest.raises(CheckError, match="does not show in which types its layers compute"):
        build_plan(mixed, path, tmp_path / "net.plan", gated)
    sidecar = build_plan(mixed, path, tmp_path / "net.plan", BuildSettings(batch=BATCH))
    assert "does not show in which types" in sidecar.not_inspected
    assert sidecar.precisions is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [("no memory", "no memory left to look into it"), ("no shape", "does not take images of")],
)
def test_a_plan_that_cannot_be_looked_into_is_known_by_the_reason(
    mixed, engine, tmp_path, fault, told
):
    engine.takes_shape = fault != "no shape"
    if fault == "no memory":
        engine.context = None
    path = convolution(tmp_path / "net.onnx")
    sidecar = build_plan(mixed, path, tmp_path / "net.plan", BuildSettings(batch=BATCH))
    assert told in sidecar.not_inspected


def test_a_rectifier_that_is_called_like_a_convolution_counts_for_nothing(mixed, engine, tmp_path):
    described = json.loads(layers("Half", "Float"))
    for layer, node in zip(described["Layers"], ("conv", "conv/relu"), strict=True):
        layer |= {"LayerType": "kgen", "Metadata": f"[ONNX Layer: {node}]"}
    engine.layers = json.dumps(described)
    path = convolution(tmp_path / "net.onnx", "fp16")
    settings = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp16", min_share=1.0))
    sidecar = build_plan(mixed, path, tmp_path / "net.plan", settings)
    assert sidecar.precisions.products == {"fp16": 1}
    assert sidecar.precisions.others == {"fp32": 1}


def test_a_gate_is_not_passed_by_a_plan_that_shows_nothing(mixed, tmp_path):
    path = convolution(tmp_path / "net.onnx")
    gated = BuildSettings(batch=BATCH, gate=PrecisionGate(precision="fp32"))
    with pytest.raises(CheckError, match="lists no layers"):
        build_plan(mixed, path, tmp_path / "net.plan", gated)
    sidecar = build_plan(mixed, path, tmp_path / "net.plan", BuildSettings(batch=BATCH))
    assert "lists no layers" in sidecar.not_inspected


def test_an_rtx_plan_for_other_gpus_is_kept_with_the_reason_it_was_not_read(rtx, cuda, tmp_path):
    fake = fake_module(None)
    trt = SimpleNamespace(**{**vars(rtx.trt), "Runtime": fake.Runtime})
    path = convolution(tmp_path / "net.onnx")
    settings = BuildSettings(batch=BATCH, compute_capabilities=("SM120",))
    kit = Kit("tensorrt-rtx", trt, cuda)
    sidecar = build_plan(kit, path, tmp_path / "net.plan", settings)
    assert "cannot open it" in sidecar.not_inspected
    with pytest.raises(ModelError, match="SM120, not for NVIDIA A10"):
        load_plan(kit, tmp_path / "net.plan")


def test_an_old_sidecar_never_stands_beside_a_new_plan(mixed, tmp_path, monkeypatch):
    path, plan = convolution(tmp_path / "net.onnx"), tmp_path / "net.plan"
    build_plan(mixed, path, plan, BuildSettings(batch=BATCH))

    def full_disk(plan, sidecar):
        raise OSError("no space left")

    monkeypatch.setattr("compressor.tensorrt.build.write_sidecar", full_disk)
    with pytest.raises(OSError, match="no space left"):
        build_plan(mixed, path, plan, BuildSettings(batch=BATCH))
    assert not sidecar_path(plan).exists()


def test_layers_with_a_sparse_tactic_are_counted(mixed, engine, tmp_path):
    engine.layers = layers("Half", tactic="sm80_xmma_fprop_sparse_conv")
    path = convolution(tmp_path / "net.onnx", weight=two_of_four(dense_weight()))
    settings = BuildSettings(batch=BATCH, sparse_weights=True)
    report = build_plan(mixed, path, tmp_path / "net.plan", settings).sparse
    assert (report.eligible, report.chosen) == (("conv",), ("conv0",))


def test_tensorrt_is_not_asked_to_build_without_a_device(rtx, tmp_path):
    kit = Kit("tensorrt", rtx.trt, FakeCuda(available=False))
    path = convolution(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="needs a CUDA device"):
        build_plan(kit, path, tmp_path / "net.plan", BuildSettings(batch=BATCH))


def test_a_file_that_was_made_for_another_engine_is_refused(mixed, tmp_path):
    path = convolution(tmp_path / "net.onnx")
    proto = onnx.load(path)
    notes = {"compressor.profile": "int8-ort-cpu", "compressor.engines": "onnxruntime"}
    helper.set_model_props(proto, notes)
    onnx.save(proto, str(path))
    with pytest.raises(ModelError, match="int8-ort-cpu, made for onnxruntime, not for tensorrt"):
        build_plan(mixed, path, tmp_path / "net.plan", BuildSettings(batch=BATCH))
    helper.set_model_props(proto, notes | {"compressor.engines": "tensorrt,tensorrt-rtx"})
    onnx.save(proto, str(path))
    settings = BuildSettings(batch=BATCH)
    sidecar = build_plan(mixed, path, tmp_path / "net.plan", settings)
    assert sidecar.onnx_profile == "int8-ort-cpu"


def test_compute_capabilities_are_refused_for_tensorrt(mixed, tmp_path):
    path = convolution(tmp_path / "net.onnx")
    settings = BuildSettings(batch=BATCH, compute_capabilities=("SM80",))
    with pytest.raises(ModelError, match="TensorRT builds for the GPU at hand"):
        build_plan(mixed, path, tmp_path / "net.plan", settings)


# The builder behind the mixture is that of TensorRT-RTX, which calls its caches deprecated.
@pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")
def test_a_timing_cache_is_written_and_read_again(mixed, tmp_path):
    path, cache = convolution(tmp_path / "net.onnx"), tmp_path / "cache.bin"
    settings = BuildSettings(batch=BATCH, timing_cache=str(cache))
    build_plan(mixed, path, tmp_path / "net.plan", settings)
    before = sha256(cache)
    build_plan(mixed, path, tmp_path / "net.plan", settings)
    assert sha256(cache) == before


@pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")
def test_what_the_builder_warns_of_is_kept(mixed, tmp_path):
    path = convolution(tmp_path / "net.onnx")
    settings = BuildSettings(batch=BATCH, hardware_compatible="ampere-plus")
    warnings = build_plan(mixed, path, tmp_path / "net.plan", settings).warnings
    assert any("setHardwareCompatibilityLevel" in warning for warning in warnings)
