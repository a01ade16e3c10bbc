import numpy as np
import onnx
import pytest
import torch

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.errors import ModelError
from compressor.export import precision_runner as home
from compressor.export.precision_fp16 import write_fp16
from compressor.export.precision_runner import AsWrittenRunner, computed_in, measuring_runner
from compressor.export.profiles import PROFILES

OVERFLOWS = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[batch, 2] images) => (float[batch, 2] logits)
{
    wide_large = Constant <value_float = 4096.0> ()
    wide_small = Constant <value_float = 0.25> ()
    large = Cast <to = 10> (wide_large)
    small = Cast <to = 10> (wide_small)
    half = Cast <to = 10> (images)
    grown = Mul(half, large)
    shrunk = Mul(grown, small)
    logits = Cast <to = 1> (shrunk)
}
"""


def output(runner, images):
    runner.prepare(images)
    return runner.run()


def saved(text, path):
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


def test_float16_overflows_as_it_would_where_it_is_computed(tmp_path):
    path = saved(OVERFLOWS, tmp_path / "half.onnx")
    images = torch.tensor([[1.0, 32.0]])

    assert output(AsWrittenRunner(path, 1), images).tolist() == [[1024.0, float("inf")]]


def test_every_step_is_rounded_to_float16(tmp_path):
    path = saved(OVERFLOWS, tmp_path / "half.onnx")
    images = torch.tensor([[0.1, 1 / 3]])

    expected = images.numpy().astype(np.float16) * np.float16(1024)
    assert output(AsWrittenRunner(path, 1), images).tolist() == expected.tolist()


def test_a_float32_file_is_computed_as_it_is(exported):
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    got = output(AsWrittenRunner(exported, 1), images)

    torch.testing.assert_close(got, output(OnnxRuntimeRunner(exported, 1), images))


def test_a_float16_file_of_moderate_numbers_is_close_to_the_engine(exported, tmp_path):
    write_fp16(exported, tmp_path / "half.onnx", frozenset())
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    got = output(AsWrittenRunner(tmp_path / "half.onnx", 1), images)

    wanted = output(OnnxRuntimeRunner(exported, 1), images)
    torch.testing.assert_close(got, wanted, rtol=1e-2, atol=1e-2)
    assert not torch.equal(got, wanted)


def test_what_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf at all")

    with pytest.raises(ModelError, match=r"broken\.onnx is not an ONNX file"):
        AsWrittenRunner(tmp_path / "broken.onnx", 1)


def test_an_operator_that_is_not_there_is_refused_in_one_line(tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 20, "elsewhere" : 1]>
    net (float[batch, 2] images) => (float[batch, 2] logits) { logits = elsewhere.Odd(images) }"""
    path = saved(text, tmp_path / "odd.onnx")

    with pytest.raises(ModelError, match=r"odd\.onnx cannot be computed: ") as refused:
        AsWrittenRunner(path, 1)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["int8-tensorrt", "fp8-tensorrt", "fp16"])
def test_files_for_engines_that_are_not_here_are_computed_as_written(exported, name):
    runner = measuring_runner(PROFILES[name], exported, num_threads=1)

    assert runner.engine == "onnxruntime-as-written"


@pytest.mark.parametrize(
    ("name", "has_it", "told"),
    [
        ("bf16", True, "bf16"),
        ("bf16", False, "float32, with weights rounded to bf16: this processor has no bfloat16"),
        ("fp16", False, "float32, rounded to fp16 after each node"),
        ("int8-tensorrt", False, "float32, rounded to int8 where the file says so"),
        ("int8-ort-cpu", False, "int8"),
    ],
)
def test_in_what_a_file_is_measured_is_said(monkeypatch, name, has_it, told):
    monkeypatch.setattr(home, "computes_bf16", lambda: has_it)

    assert computed_in(PROFILES[name]) == told
