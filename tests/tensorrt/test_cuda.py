import inspect

import pytest
import torch

from compressor.tensorrt.cuda import TorchCuda, driver_version

from .fakes import A10

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12"


@pytest.mark.parametrize(("text", "version"), [(OPEN, "580.95.05"), (CLOSED, "535.183.01")])
def test_the_driver_is_read_from_the_kernel_modules_own_line(tmp_path, text, version):
    file = tmp_path / "version"
    file.write_text(f"{text}\nGCC version: gcc 12.3.0\n")
    assert driver_version(file) == version


def test_without_a_kernel_module_there_is_no_driver_version(tmp_path):
    assert driver_version(tmp_path / "version") is None
    (tmp_path / "version").write_text("nothing of the kind\n")
    assert driver_version(tmp_path / "version") is None


def test_a_gpu_is_called_by_name_and_capability():
    assert str(A10) == "NVIDIA A10 (compute capability 8.6)"


def test_only_streams_of_torch_are_worked_on():
    with pytest.raises(AssertionError, match="new_stream"):
        TorchCuda().on(object())


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (torch.cuda.Event.__new__, "enable_timing"),
        (torch.cuda.Event.record, "stream"),
        (torch.cuda.Event.elapsed_time, "end_event"),
        (torch.cuda.Event.synchronize, "self"),
        (torch.cuda.Stream.wait_stream, "stream"),
        (torch.cuda.get_device_properties, "device"),
    ],
)
def test_torch_has_what_is_used_of_its_events_and_streams(function, argument):
    assert argument in inspect.signature(function).parameters
