import pytest
import torch

from compressor.errors import TrainError
from compressor.train import device
from compressor.train.settings import OptimiserSettings


@pytest.mark.parametrize("precision", ["bf16", "fp32", "fp16"])
def test_each_stage_has_a_precision_of_its_own(precision):
    engine = device.make_accelerator(OptimiserSettings(precision=precision), "cpu")
    assert engine.mixed_precision == device.MIXED[precision]


@pytest.mark.parametrize("accumulate", [3, 1, 2])
def test_each_stage_accumulates_on_its_own(accumulate):
    engine = device.make_accelerator(OptimiserSettings(accumulate=accumulate), "cpu")
    assert engine.gradient_accumulation_steps == accumulate


def test_the_cpu_can_be_asked_for():
    engine = device.make_accelerator(OptimiserSettings(), "cpu")
    assert engine.device == torch.device("cpu")


def test_a_precision_that_the_device_lacks_is_one_line(monkeypatch):
    def refuse(**_settings):
        raise ValueError("bf16 mixed precision requires a supported device.")

    monkeypatch.setattr(device, "Accelerator", refuse)
    with pytest.raises(TrainError, match="precision is bf16, and this device cannot do it") as told:
        device.make_accelerator(OptimiserSettings(precision="bf16"), "cpu")
    assert "\n" not in str(told.value)


def test_layouts_have_pytorchs_names():
    formats = [
        device.memory_format(OptimiserSettings(memory_format=name))
        for name in ("channels-last", "contiguous")
    ]
    assert formats == [torch.channels_last, torch.contiguous_format]
