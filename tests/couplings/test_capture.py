"""Networks are captured as graphs that hold for any batch."""

import pytest
import torch
from torch import nn

from compressor.couplings.capture import as_arguments, capture
from compressor.couplings.forward import Place
from compressor.errors import CouplingError


class Net(nn.Module):
    """A body and whatever the test does to its output."""

    def __init__(self, forward=lambda x: x):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.then = forward

    def forward(self, x):
        return self.then(self.body(x))


IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_graph_is_that_of_eval_mode_and_the_network_is_left_as_it_was():
    net = Net().train()
    net.body[0].weight.requires_grad_(False)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    graph = capture(net, IMAGES).graph
    norm = next(node for node in graph.nodes if "batch_norm" in str(node.target))
    assert False in norm.args
    assert all(module.training for module in net.modules())
    assert not net.body[0].weight.requires_grad
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())
    assert not any(module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("num_images", [1, 5])
def test_captured_graph_runs_at_another_batch_size(num_images):
    net = Net(lambda x: x.view(x.size(0), -1)).eval()
    images = IMAGES[:1].repeat(num_images, 1, 1, 1)
    module = capture(net, IMAGES).module(check_guards=False)
    assert torch.allclose(module(images), net(images), atol=1e-6)


def test_a_block_with_autocast_off_is_part_of_the_graph():
    def forward(x):
        with torch.autocast("cpu", enabled=False):
            return x.relu() * 2

    before = torch.autocast.__enter__
    graph = capture(Net(forward), IMAGES).graph
    assert {"relu", "mul"} <= {
        str(node.target).split(".")[1] for node in graph.nodes if node.op == "call_function"
    }
    assert all(node.op != "get_attr" for node in graph.nodes)
    assert torch.autocast.__enter__ is before


def test_several_inputs_are_a_tuple():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    program = capture(Two(), (IMAGES, IMAGES))
    assert sum(node.op == "placeholder" for node in program.graph.nodes) == 2
    assert as_arguments(IMAGES) == (IMAGES,)
    assert as_arguments((IMAGES, 2)) == (IMAGES, 2)


def test_fused_encoder_layer_is_captured_as_its_parts():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    before = torch.backends.mha.get_fastpath_enabled()
    program = capture(layer.eval(), torch.randn(2, 5, 8))
    names = {str(node.target) for node in program.graph.nodes}
    assert not any("transformer_encoder_layer" in name for name in names)
    assert "aten.linear.default" in names
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            lambda x: x if x.sum() > 0 else -x,
            r"^The forward pass reads the value of a tensor at or after body\.2 .*Use tensor code",
        ),
        (
            lambda x: x @ torch.zeros(3, 3),
            "^The network cannot be captured: .* at .*Check that it runs on its example input",
        ),
    ],
)
def test_network_that_cannot_be_captured_is_refused_in_one_line(forward, message):
    with pytest.raises(CouplingError, match=message) as error:
        capture(Net(forward), IMAGES)
    assert "\n" not in str(error.value)


def test_place_is_the_module_that_was_running():
    place = Place()
    with pytest.raises(CouplingError, match=r"at body\.0: .*channels"):
        capture(Net(), torch.randn(2, 5, 6, 6), place)
    assert place.name == "body.0"
