"""What is known of a plan once it is built: measured where it can be run, and else why not.

TensorRT itself cannot build here: TensorRT-RTX builds, and a fake runtime stands for the GPU.
"""

import json
from types import SimpleNamespace

import pytest
import torch

from compressor.errors import CheckError
from compressor.export.engine_plans import PlanSettings, build_profile
from compressor.export.plan_figures import (
    NO_DEVICE,
    Measured,
    PlanGate,
    fitting,
    measure,
    record_of,
    why_unmeasured,
)
from compressor.tensorrt.module import Kit
from compressor.tensorrt.settings import BatchRange

from .fakes import FakeCuda, fake_module
from .graphs import convolution

BATCH = BatchRange(min=2, opt=4, max=8)
IMAGES = torch.arange(33.0).reshape(11, 3)


class Doubling:
    """A runner that doubles its images and keeps the sizes of its batches."""

    engine = "doubling"

    def __init__(self, factor=2.0):
        self.factor, self.sizes = factor, []

    def prepare(self, batch):
        self.batch = batch
        self.sizes.append(len(batch))

    def run(self):
        return self.batch * self.factor


def test_images_go_through_in_batches_that_the_plan_takes():
    runner = Doubling()
    one = fitting(runner, BATCH, "net.plan")(IMAGES[:9])
    assert runner.sizes == [4, 4, 2]
    assert torch.equal(one, 2 * IMAGES[:9])


def test_a_plan_of_one_batch_size_takes_any_number_of_images():
    runner = Doubling()
    logits = fitting(runner, BatchRange(min=8, opt=8, max=8), "net.plan")(IMAGES)
    assert runner.sizes == [8, 8]
    assert torch.equal(logits, 2 * IMAGES)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_outputs_that_are_no_numbers_are_refused(factor):
    with pytest.raises(CheckError, match=r"images net\.plan gives NaN or infinity"):
        fitting(Doubling(factor), BATCH, "net.plan")(IMAGES + 1)


@pytest.fixture
def builder(rtx, engine, cuda):
    """TensorRT as far as it can build: the builder of TensorRT-RTX, and a fake that reads back."""
    engine.layers = layers("Half", "Float")
    runtime = fake_module(engine).Runtime
    return Kit("tensorrt", SimpleNamespace(**{**vars(rtx.trt), "Runtime": runtime}), cuda)


@pytest.fixture
def player(rtx, engine, cuda):
    """The fake that runs what ``builder`` built."""
    fake = fake_module(engine)
    fake.__version__ = rtx.version
    return Kit("tensorrt", fake, cuda)


def layers(*precisions):
    entries = [
        {
            "Name": f"conv{i}",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x", "Format/Datatype": precision}],
        }
        for i, precision in enumerate(precisions)
    ]
    return json.dumps({"Layers": entries, "Bindings": ["images", "logits"]})


def gate(accuracies, max_drop=0.01):
    """The plan's accuracy and that of the float32 file, one after the other."""
    plan, float32 = accuracies

    def accuracy(predict):
        assert predict(IMAGES[:5]).shape == (5, 2)
        return plan

    return PlanGate(accuracy, lambda: float32, max_drop, BATCH)


@pytest.fixture
def built(builder, tmp_path):
    """A plan in fp16, half of it in the fake's eyes, and its sidecar."""
    onnx, plan = convolution(tmp_path / "net.onnx", "fp16"), tmp_path / "model.fp16.plan"
    settings = PlanSettings(profiles=["fp16"], batch=BATCH, min_share=0.5)
    return onnx, plan, build_profile(builder, onnx, "fp16", plan, settings)


@pytest.mark.engines
def test_where_there_is_a_device_the_plan_is_run_and_its_accuracy_kept(player, built):
    onnx, plan, sidecar = built
    measured = measure(player, plan, onnx, sidecar, gate((0.9, 0.905)))
    record = record_of(plan, sidecar, "fp16", measured)
    assert (record.accuracy, record.float_accuracy, record.unmeasured) == (0.9, 0.905, None)
    assert (record.file_products, record.plan_products) == ({"fp16": 1}, {"fp16": 1, "fp32": 1})
    assert (record.not_inspected, record.label) == (None, "slim fp16, tensorrt")
    assert record.gpu == "NVIDIA A10 (compute capability 8.6)"
    assert record.num_bytes == plan.stat().st_size
    assert json.loads(json.dumps(record.to_json()))["file"] == "model.fp16.plan"


@pytest.mark.engines
def test_a_plan_that_loses_more_than_may_be_lost_is_refused(player, built):
    onnx, plan, sidecar = built
    told = (
        r"^model\.fp16\.plan: accuracy on the validation images is 89\.00%, that of the float32 "
        r"file 90\.50%, and tensorrt\.max_accuracy_drop = 0\.01"
    )
    with pytest.raises(CheckError, match=told):
        measure(player, plan, onnx, sidecar, gate((0.89, 0.905)))


@pytest.mark.engines
def test_too_few_layers_at_the_precision_leave_no_plan(built, builder, tmp_path):
    onnx, plan = built[0], tmp_path / "other.plan"
    with pytest.raises(CheckError, match=r"1 of 2 layers are fp16, a share of 0\.50, and at least"):
        build_profile(builder, onnx, "fp16", plan, PlanSettings(profiles=["fp16"], batch=BATCH))
    assert not plan.exists()


@pytest.fixture
def portable(rtx, tmp_path):
    """A plan of TensorRT-RTX for one GPU alone."""
    onnx, plan = convolution(tmp_path / "net.onnx", "fp16"), tmp_path / "model.fp16.plan"
    only = {"compute_capabilities": ("SM120",), "engine": "tensorrt-rtx"}
    settings = PlanSettings(profiles=["fp16"], batch=BATCH, **only)
    return onnx, plan, build_profile(rtx, onnx, "fp16", plan, settings)


def never():
    raise AssertionError("nothing is measured without a plan that runs")


@pytest.mark.engines
def test_without_a_device_nothing_is_measured_and_the_reason_is_kept(rtx, portable):
    onnx, plan, sidecar = portable
    measured = measure(rtx, plan, onnx, sidecar, PlanGate(lambda _: never(), never, 0.0, BATCH))
    assert measured == Measured(unmeasured=NO_DEVICE)
    record = record_of(plan, sidecar, "fp16", measured)
    assert (record.accuracy, record.plan_products, record.gpu) == (None, None, None)
    assert "no CUDA device" in record.not_inspected


@pytest.mark.engines
def test_a_plan_for_another_gpu_than_the_one_here_is_unmeasured(rtx, portable):
    _onnx, _plan, sidecar = portable
    reason = why_unmeasured(Kit("tensorrt-rtx", rtx.trt, FakeCuda()), sidecar)
    assert reason == (
        "it was built for the compute capabilities SM120, not for NVIDIA A10 (compute capability "
        "8.6)"
    )
