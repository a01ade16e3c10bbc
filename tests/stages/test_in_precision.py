"""Networks and layers in the target's precision: real files in real engines, no claim on speed."""

import pytest
import torch
from torch import nn

from compressor.bench.engines import Side
from compressor.bench.openvino_runner import computes_bf16
from compressor.bench.staircase_graphs import batch_of, side_of
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.stages.in_precision import maker
from compressor.strip.layer_shapes import LayerShape
from compressor.strip.target import TargetSettings

IMAGE = (3, 8, 8)
LEVELS = 256
"""Values that 8 bits can tell apart."""

CONVOLUTION = LayerShape(8, 4, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1))
DEPTHWISE = LayerShape(8, 1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1), group_out=1, groups=8)
LINEAR = LayerShape(10, 12, (7,))


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request):
    pytest.importorskip(request.param, reason="an extra that is not installed")
    return request.param


@pytest.fixture
def side(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
    export_onnx(net, IMAGE, tmp_path / "net.onnx", ExportSettings())
    return Side(net, tmp_path / "net.onnx", IMAGE)


def output_of(side, batch, **target):
    runner = maker(TargetSettings(**target))(side, batch)
    output = runner.run()
    runner.close()
    return output


def gap(side, batch, output):
    expected = side.module(batch).detach()
    return float((output - expected).norm() / expected.norm())


def test_an_int8_network_computes_in_steps_of_eight_bits(side, engine):
    batch = torch.randn(4, *IMAGE)
    assert side.module(batch).unique().numel() > LEVELS
    output = output_of(side, batch, engine=engine, precision="int8")
    assert LEVELS / 4 < output.unique().numel() <= LEVELS
    assert 1e-4 < gap(side, batch, output) < 5e-2


def test_a_float32_network_is_the_network(side, engine):
    batch = torch.randn(2, *IMAGE)
    output = output_of(side, batch, engine=engine)
    assert gap(side, batch, output) < 1e-5


def test_bfloat16_is_as_coarse_as_it_is(side):
    pytest.importorskip("openvino", reason="an extra that is not installed")
    if not computes_bf16():
        pytest.skip("this processor has no bfloat16")
    batch = torch.randn(2, *IMAGE)
    output = output_of(side, batch, engine="openvino", precision="bf16")
    assert 1e-4 < gap(side, batch, output) < 3e-2


@pytest.mark.parametrize("shape", [CONVOLUTION, DEPTHWISE, LINEAR], ids=lambda s: s.name)
def test_layers_of_every_kind_are_made_in_int8(shape, engine, tmp_path):
    side, batch = side_of(shape, 2, 3, tmp_path), batch_of(shape, 3)
    output = output_of(side, batch, engine=engine, precision="int8", batch_size=3)
    distance = gap(side, batch, output.reshape(side.module(batch).shape))
    assert 1e-5 < distance < 0.2
