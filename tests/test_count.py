"""Counts against closed forms and against PyTorch's own counter."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

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


def test_counting_leaves_no_trace_in_the_network():
    net = Net().train()
    net.norm.eval()
    state, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    random_state = torch.get_rng_state()
    count(net, torch.ones(2, 2, 4, 4))
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_network_that_fails_is_left_clean_too():
    net = Net().train()
    with pytest.raises(RuntimeError, match="channels"):
        count(net, torch.zeros(1, 3, 4, 4))
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
