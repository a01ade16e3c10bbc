"""Counts against closed forms and against PyTorch's own counter."""

import copy
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from compressor.count import count, layer_macs

CLOSED_FORMS = {
    "conv": (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12), 8 * 3 * 9 * 10 * 12),
    "strided": (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 10, 12), 8 * 3 * 9 * 5 * 6),
    "dilated": (nn.Conv2d(3, 8, 3, dilation=2), (3, 10, 12), 8 * 3 * 9 * 6 * 8),
    "conv 1d": (nn.Conv1d(3, 8, 5), (3, 20), 8 * 3 * 5 * 16),
    "conv 3d": (nn.Conv3d(2, 4, 3), (2, 5, 6, 7), 4 * 2 * 27 * 3 * 4 * 5),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6), (6, 10, 10), 6 * 9 * 8 * 8),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2), (6, 10, 10), 4 * 3 * 9 * 8 * 8),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, stride=2), (6, 5, 7), 6 * 4 * 9 * 5 * 7),
    "transposed groups": (nn.ConvTranspose2d(6, 4, 3, groups=2), (6, 5, 7), 6 * 2 * 9 * 5 * 7),
    "linear": (nn.Linear(7, 5), (7,), 35),
    "linear on tokens": (nn.Linear(7, 5), (11, 7), 35 * 11),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_macs_are_those_of_the_closed_form_for_one_image(name):
    layer, shape, macs = CLOSED_FORMS[name]
    assert layer_macs(layer, torch.zeros(1, *shape)) == {"": macs}
    assert layer_macs(layer, torch.zeros(3, *shape)) == {"": macs}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_macs_are_half_the_flops_that_pytorch_counts(name):
    layer, shape, _ = CLOSED_FORMS[name]
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        layer(torch.zeros(1, *shape))
    assert 2 * count(layer, torch.zeros(1, *shape)).macs == counter.get_total_flops()


class Net(nn.Module):
    """One layer called twice, one never, a norm, a dropout, a shared parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = (
            nn.Conv2d(2, 2, 3, padding=1),
            nn.BatchNorm2d(2),
            nn.Dropout(),
        )
        self.unused, self.head, self.tied = nn.Linear(9, 9), nn.Linear(2, 2), nn.Linear(2, 2)
        self.tied.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.conv(self.conv(x)))).mean(dim=(2, 3))
        return self.tied(self.head(x))


def test_layer_called_twice_counts_twice_and_one_not_called_is_absent():
    macs = layer_macs(Net(), torch.zeros(2, 2, 4, 4))
    assert macs == {"conv": 2 * 2 * 2 * 9 * 16, "head": 4, "tied": 4}


def test_shared_parameters_count_once_and_bytes_hold_the_buffers():
    counts = count(Net(), torch.zeros(1, 2, 4, 4))
    params = (2 * 2 * 9 + 2) + (2 + 2) + (81 + 9) + (4 + 2) + 2
    assert counts.params == params
    assert counts.bytes == 4 * params + 4 * (2 + 2) + 8  # running statistics, batches seen


def test_half_precision_takes_half_the_bytes():
    net = nn.Linear(7, 5)
    assert count(net.bfloat16(), torch.zeros(1, 7).bfloat16()).bytes == 2 * 40


class Asks(nn.Module):
    """Runs another network, but looks at a value first, and keeps count of its calls."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.calls = net, 0
        self.register_buffer("sum", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.sum += x.sum()
        output = self.net(x + torch.rand(()) if float(x.sum()) > 0 else x)
        return output if isinstance(output, Tensor) else output[0]


@pytest.mark.parametrize("wrap", [nn.Sequential, Asks])
def test_counting_leaves_no_trace_in_the_network(wrap):
    net = wrap(Net()).train()
    inner = next(net.children())
    inner.norm.eval()
    inner.head.bias.requires_grad_(False)
    state, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    random_state = torch.get_rng_state()
    count(net, torch.ones(2, 2, 4, 4))
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())
    assert [module.training for module in net.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert [p.requires_grad for p in inner.head.parameters()] == [True, False]
    assert not any(tensor.is_meta for tensor in chain(net.parameters(), net.buffers()))
    assert getattr(net, "calls", 0) == 0
    assert torch.equal(torch.get_rng_state(), random_state)


def test_counting_leaves_torch_as_it_was():
    torch.backends.mha.set_fastpath_enabled(True)
    count(Asks(Net()), torch.ones(2, 2, 4, 4))
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled
    assert torch.zeros(1).device.type == "cpu"


def test_network_that_fails_is_left_clean_too():
    net = Net().train()
    random_state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="channels"):
        count(net, torch.zeros(1, 3, 4, 4))
    assert net.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module._forward_hooks for module in net.modules())


NETWORKS = {
    "resnet18": 64,
    "mobilenet_v3_small": 64,
    "vit_b_32": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
}


def build(name):
    size = NETWORKS[name]
    chosen = {"image_size": size} if name == "vit_b_32" else {}
    return getattr(models, name)(weights=None, **chosen).eval(), torch.zeros(2, 3, size, size)


def flops(net, image):
    """What PyTorch counts on a meta device, where it sees the inside of attention too."""
    state = {
        key: tensor.detach().to("meta")
        for key, tensor in chain(net.named_parameters(), net.named_buffers())
    }
    counter = FlopCounterMode(display=False)
    with counter:
        torch.func.functional_call(net, state, (image.to("meta"),))
    return counter.get_total_flops()


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_are_half_the_flops_that_pytorch_counts(name):
    net, images = build(name)
    assert 2 * count(net, images).macs == flops(net, images[:1])


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_of_a_network_add_up_to_all_of_its_macs(name):
    net, images = build(name)
    counts, rows = count(net, images), layer_macs(net, images)
    known = {*dict(net.named_modules()), *dict(net.named_parameters())}
    assert sum(rows.values()) == counts.macs
    assert set(rows) <= known
    assert (counts.other_macs > 0) == (name not in ("resnet18", "mobilenet_v3_small"))


def attention(tokens=5, width=16):
    layer = nn.TransformerEncoderLayer(width, 4, 32, batch_first=True).eval()
    products = {"self_attn": 2 * tokens * tokens * width}
    weights = {
        "self_attn.in_proj_weight": 3 * tokens * width**2,
        "self_attn.out_proj": tokens * width**2,
        "linear1": tokens * width * 32,
        "linear2": tokens * width * 32,
    }
    return layer, torch.ones(2, tokens, width), products | weights


@pytest.mark.parametrize("frozen", [False, True])
def test_attention_is_counted_by_weight_and_by_product(frozen):
    layer, tokens, rows = attention()
    # Without gradients PyTorch would take a kernel that hides all of its layers.
    layer.requires_grad_(not frozen)
    assert layer_macs(layer, tokens) == rows
    assert count(layer, tokens).other_macs == rows["self_attn"]


def test_network_that_reads_values_is_counted_the_same():
    layer, tokens, rows = attention()
    asked = layer_macs(Asks(layer), tokens)
    assert asked == {f"net.{name}": macs for name, macs in rows.items()}


def test_recurrent_layers_are_counted_by_weight():
    rows = {"net.weight_ih_l0": 5 * 4 * 6 * 8, "net.weight_hh_l0": 5 * 4 * 6 * 6}
    lstm = nn.LSTM(8, 6, batch_first=True)
    assert layer_macs(Asks(lstm), torch.ones(1, 5, 8)) == rows
    assert layer_macs(nn.Sequential(lstm), torch.ones(1, 5, 8)) == {
        name.replace("net", "0"): macs for name, macs in rows.items()
    }


class Functional(nn.Module):
    """Uses a layer's weight without the layer, a bare parameter, and two activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.mix = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.conv.weight, self.conv.bias).flatten(2).mT
        x = x @ self.mix
        x = (x @ x.mT) @ x
        return functional.linear(x, self.head.weight)


def test_functional_calls_stand_under_their_weight_and_the_rest_under_the_module():
    rows = layer_macs(Functional(), torch.zeros(2, 3, 6, 6))
    assert rows == {
        "conv": 16 * 4 * 27,
        "mix": 16 * 4 * 4,
        "": 2 * 16 * 16 * 4,
        "head": 16 * 4 * 5,
    }
    assert count(Functional(), torch.zeros(2, 3, 6, 6)).other_macs == rows[""]


def test_weight_that_is_computed_stands_under_its_layer():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3))
    counts = count(nn.Sequential(layer), torch.zeros(1, 3, 5, 5))
    assert (counts.macs, counts.other_macs) == (9 * 6 * 27, 0)
    assert layer_macs(nn.Sequential(layer), torch.zeros(1, 3, 5, 5)) == {"0": counts.macs}


def test_what_a_network_computes_once_for_a_batch_counts_whole():
    class Table(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x @ super().forward(torch.zeros(7, self.in_features, device=x.device))

    rows = [layer_macs(Table(3, 5), torch.zeros(n, 1, 7)) for n in (1, 4)]
    assert rows == [{"": 7 * 3 * 5 + 7 * 5}] * 2
