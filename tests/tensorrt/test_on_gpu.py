"""TensorRT itself on a GPU: built, loaded, run, and held against torch."""

import pytest
import torch
from torch import nn

from compressor.bench.files import FilesSettings, bench_files
from compressor.bench.nvml import open_gauge
from compressor.bench.subjects import parse_subjects
from compressor.console import Console
from compressor.errors import ModelError
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.tensorrt.build import build_plan
from compressor.tensorrt.cuda import TorchCuda
from compressor.tensorrt.module import check_device, open_kit
from compressor.tensorrt.runner import TensorRTRunner
from compressor.tensorrt.settings import BatchRange, BuildSettings, PrecisionGate
from compressor.tensorrt.sidecar import sidecar_path

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

RELATIVE_L2 = 1e-4  # float32 with TF32 off, as for ONNX Runtime


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def kit(request):
    module = request.param.replace("-", "_")
    pytest.importorskip(module, reason=f"{request.param} is not installed", exc_type=ImportError)
    return open_kit(request.param)


@pytest.fixture(scope="module")
def built(kit, tmp_path_factory):
    """A network, its plan, and what stands beside the plan."""
    folder = tmp_path_factory.mktemp("gpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 10)
        ).eval()
    export_onnx(net, (3, 16, 16), folder / "net.onnx", ExportSettings())
    gate = PrecisionGate(precision="fp32") if kit.flavour == "tensorrt" else None
    settings = BuildSettings(batch=BatchRange(min=1, opt=4, max=8), tf32=False, gate=gate)
    plan = folder / "net.plan"
    return net, plan, build_plan(kit, folder / "net.onnx", plan, settings)


@pytest.mark.parametrize("launch", ["graph", "stream"])
def test_a_plan_gives_what_torch_gives_at_every_batch(kit, built, launch):
    net, plan, _ = built
    runner = TensorRTRunner(plan, kit, launch)
    for batch in (1, 8, 3):
        images = torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(batch))
        runner.prepare(images)
        with torch.inference_mode():
            expected = net(images)
        assert (runner.run() - expected).norm() <= RELATIVE_L2 * expected.norm()
        assert runner.launched == launch, runner.fallback
    runner.close()


def test_images_on_the_gpu_are_taken_as_well(kit, built):
    net, plan, _ = built
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    runner = TensorRTRunner(plan, kit)
    runner.prepare(images.cuda())
    with torch.inference_mode():
        expected = net(images)
    assert (runner.run() - expected).norm() <= RELATIVE_L2 * expected.norm()
    runner.close()


def test_the_layers_of_a_plan_are_read_back(kit, built):
    _, _, sidecar = built
    if kit.flavour == "tensorrt":
        assert sidecar.precisions.share("fp32") == 1.0
    assert sidecar.built_with.gpu.name == torch.cuda.get_device_name()


def test_a_batch_outside_of_the_range_is_refused_by_the_real_engine(kit, built):
    _, plan, _ = built
    runner = TensorRTRunner(plan, kit)
    with pytest.raises(ModelError, match=r"\[1, 3, 16, 16\] to \[8, 3, 16, 16\]"):
        runner.prepare(torch.zeros(9, 3, 16, 16))
    runner.close()


def test_a_plan_that_is_no_plan_is_refused_before_it_is_opened(kit, built, tmp_path):
    _, plan, _ = built
    check_device(kit)
    other = tmp_path / "net.plan"
    other.write_bytes(b"no plan")
    sidecar_path(other).write_bytes(sidecar_path(plan).read_bytes())
    with pytest.raises(ModelError, match="not the plan that its sidecar"):
        TensorRTRunner(other, kit)


def test_both_ways_of_launching_are_timed_by_events_with_transfers_apart(kit, built):
    _, plan, _ = built
    settings = FilesSettings(rounds=20, clock="cuda-events", cuda_graph="both")

    record = bench_files(parse_subjects([str(plan)]), settings, Console(quiet=True))

    for row, launched in zip(record["subjects"], ("graph", "stream"), strict=True):
        assert row["runner"]["launched"] == launched, row["runner"]["fallback"]
        assert row["latency_ms"]["min"] > 0
        assert row["transfers_ms"]["h2d"]["min"] > 0
        assert row["transfers_ms"]["d2h"]["min"] > 0
        assert row["trtexec"]["figure"] == "GPU Compute Time"


def test_copies_in_leave_the_output_as_it_is(kit, built):
    _, plan, _ = built
    runner = TensorRTRunner(plan, kit)
    runner.prepare(torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    before = runner.run()
    runner.copy_in()
    assert torch.equal(runner.run(), before)
    runner.close()


def test_nvml_shows_the_device_that_torch_uses():
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    gauge, why_not = open_gauge(TorchCuda())
    assert why_not is None
    state = gauge.read()
    gauge.close()
    assert state.sm_mhz or gauge.refused["sm_mhz"]
    assert state.reasons is not None or gauge.refused["reasons"]
