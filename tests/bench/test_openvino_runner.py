import sys

import pytest
import torch

from compressor.bench.openvino_runner import OpenVinoRunner, property_text
from compressor.errors import MissingExtra, ModelError


@pytest.fixture
def openvino():
    """The module; it is an extra of the project."""
    return pytest.importorskip("openvino", reason="OpenVINO is an extra that is not installed")


@pytest.mark.parametrize("batch_size", [1, 3])
def test_output_is_that_of_the_network(openvino, net, onnx_path, batch_size):
    batch = torch.randn(batch_size, 3, 8, 8)
    runner = OpenVinoRunner(onnx_path, num_threads=1)
    runner.prepare(batch)

    torch.testing.assert_close(runner.run(), net(batch).detach(), rtol=1e-4, atol=1e-5)


def test_float32_is_the_default_and_bfloat16_is_coarser(openvino, net, onnx_path):
    batch = torch.randn(2, 3, 8, 8)
    expected = net(batch).detach()
    gaps = {}
    for precision in ("f32", "bf16"):
        try:
            runner = OpenVinoRunner(onnx_path, 1, precision)
            runner.prepare(batch)
        except ModelError as refused:
            pytest.skip(f"this processor has no bfloat16: {refused}")
        gaps[precision] = (runner.run() - expected).norm() / expected.norm()

    assert gaps["f32"] < 1e-5
    assert 1e-4 < gaps["bf16"] < 3e-2


def test_a_strided_batch_that_needs_a_gradient_is_accepted(openvino, net, onnx_path):
    batch = torch.randn(2, 8, 8, 3, requires_grad=True).permute(0, 3, 1, 2)
    runner = OpenVinoRunner(onnx_path, num_threads=1)
    runner.prepare(batch)

    torch.testing.assert_close(runner.run(), net(batch).detach(), rtol=1e-4, atol=1e-5)


def test_batches_of_any_size_follow_each_other(openvino, net, onnx_path):
    runner = OpenVinoRunner(onnx_path, num_threads=1)
    for batch in (torch.randn(2, 3, 8, 8), torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)):
        runner.prepare(batch)
        torch.testing.assert_close(runner.run(), net(batch).detach(), rtol=1e-4, atol=1e-5)


def test_earlier_outputs_and_the_batch_are_left_alone(openvino, onnx_path):
    first, second = torch.randn(2, 1, 3, 8, 8)
    runner = OpenVinoRunner(onnx_path, num_threads=1)
    runner.prepare(first)
    before = runner.run()
    kept = before.clone()
    runner.prepare(second)
    runner.run()

    assert torch.equal(before, kept)


def test_a_batch_that_changes_after_prepare_changes_nothing(openvino, onnx_path):
    batch = torch.randn(1, 3, 8, 8)
    runner = OpenVinoRunner(onnx_path, num_threads=1)
    runner.prepare(batch)
    before = runner.run()
    batch.zero_()

    assert torch.equal(runner.run(), before)


class Compiled:
    """What was compiled, with ``changed`` properties."""

    def __init__(self, **changed):
        self.properties = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": 2,
            "NUM_STREAMS": 1,
            **changed,
        }

    def get_property(self, name):
        return self.properties[name]


def test_what_was_compiled_as_asked_passes(openvino, onnx_path):
    OpenVinoRunner(onnx_path, num_threads=2)._check(Compiled())


@pytest.mark.parametrize(
    ("option", "value"),
    [("INFERENCE_PRECISION_HINT", "bf16"), ("INFERENCE_NUM_THREADS", 1), ("NUM_STREAMS", 2)],
)
def test_a_hint_that_was_passed_over_is_refused(openvino, onnx_path, option, value):
    runner = OpenVinoRunner(onnx_path, num_threads=2)

    with pytest.raises(ModelError, match=f"OpenVINO compiled with {option} = {value}, not"):
        runner._check(Compiled(**{option: value}))


def test_element_types_are_read_by_name(openvino):
    assert property_text(openvino.Type.f32) == "f32"
    assert property_text(openvino.Type.bf16) == "bf16"
    assert property_text(3) == "3"


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 4, 8, 8), (3, 8, 8)])
def test_images_of_another_shape_are_refused(openvino, onnx_path, shape):
    runner = OpenVinoRunner(onnx_path, num_threads=1)

    with pytest.raises(ModelError, match=r"takes inputs of shape \[None, 3, 8, 8\]"):
        runner.prepare(torch.zeros(shape))


def test_a_missing_file_is_refused_by_name(openvino, tmp_path):
    with pytest.raises(ModelError, match=r"absent\.onnx: there is no such file"):
        OpenVinoRunner(tmp_path / "absent.onnx", num_threads=1)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all"])
def test_a_file_that_is_not_onnx_is_refused_in_one_line(openvino, tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"broken\.onnx cannot be opened: ") as refused:
        OpenVinoRunner(path, num_threads=1)

    assert "\n" not in str(refused.value)


def test_a_missing_openvino_is_named_with_its_install_command(onnx_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(MissingExtra, match="python -m pip install openvino"):
        OpenVinoRunner(onnx_path, num_threads=1)
