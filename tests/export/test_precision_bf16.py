import onnx
import pytest
import torch
from torch import nn

from compressor.errors import ExportError
from compressor.export.precision_bf16 import fault_of_types, fold_norms, write_bf16
from compressor.file_profile import read_profile

IMAGE_SHAPE = (3, 16, 16)


def spread_norms(network):
    """Norms whose folding shows: those of a new network are the identity."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
    return network.eval()


class ReadTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, images):
        hidden = self.layer(images)
        return (self.norm(hidden) + hidden).mean((2, 3))


class SharedLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

    def forward(self, images):
        for norm in self.norms:
            images = norm(self.layer(images))
        return images.mean((2, 3))


def num_norms(network):
    return sum(isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d) for m in network.modules())


def test_norms_behind_their_layers_are_folded_and_the_function_stays(net):
    images = torch.randn(4, *IMAGE_SHAPE)
    folded = fold_norms(net, IMAGE_SHAPE)

    assert (num_norms(net), num_norms(folded)) == (2, 0)
    with torch.no_grad():
        before = net.eval()(images)
        net.train()
        torch.testing.assert_close(folded(images), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()],
        [nn.Flatten(), nn.Linear(768, 4), nn.BatchNorm1d(4)],
    ],
)
def test_transposed_and_linear_layers_take_their_norms_in(layers):
    assert num_norms(fold_norms(spread_norms(nn.Sequential(*layers)), IMAGE_SHAPE)) == 0


def test_a_norm_in_front_of_its_layer_stays():
    network = spread_norms(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Flatten()))

    assert num_norms(fold_norms(network, IMAGE_SHAPE)) == 1


def test_a_layer_that_runs_twice_is_left_alone():
    assert num_norms(fold_norms(spread_norms(SharedLayer()), IMAGE_SHAPE)) == 2


def test_a_layer_that_others_read_too_is_refused():
    with pytest.raises(ExportError, match=r"Folding the norms of ReadTwice changes its outputs"):
        fold_norms(spread_norms(ReadTwice()), IMAGE_SHAPE)


def test_the_network_is_left_as_it_was(net, fresh_net):
    fold_norms(net, IMAGE_SHAPE)

    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    state = fresh_net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


def test_the_file_is_bfloat16_inside_and_float32_outside(net, exported, tmp_path):
    path = tmp_path / "bf16.onnx"
    write_bf16(net, IMAGE_SHAPE, exported, path)

    graph = onnx.load(str(path)).graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert onnx.TensorProto.BFLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    ends = [*graph.input, *graph.output]
    assert [v.type.tensor_type.elem_type for v in ends] == [onnx.TensorProto.FLOAT] * 2
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert read_profile(path).name == "bf16"


def test_a_float32_weight_in_a_bfloat16_graph_is_a_fault():
    graph = onnx.parser.parse_graph("net (bfloat16[1, 3, 8, 8] x) => (y) { y = Conv(x, weight) }")
    weight = onnx.numpy_helper.from_array(torch.ones(4, 3, 3, 3).numpy(), "weight")
    graph.initializer.append(weight)

    assert fault_of_types(onnx, graph).startswith("weight is float32 in a bfloat16 network")
