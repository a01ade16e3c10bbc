"""The observed run of the copy."""

import pytest
import torch
from torch import Tensor, nn

from compressor.couplings.forward import Place, run_forward, traceable_copy
from compressor.errors import CouplingError

IMAGES = torch.ones(2, 4)


class Reading(nn.Module):
    """Reads one value per forward pass, in the way that the test chooses."""

    def __init__(self, read) -> None:
        super().__init__()
        self.layer, self.read = nn.Linear(4, 3), read
        self.register_buffer("steps", torch.tensor(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.read(self, x)


@pytest.mark.parametrize(
    "read",
    [
        lambda _, x: float(x.sum()),
        lambda _, x: int(x.sum()),
        lambda _, x: x.sum().item(),
        lambda _, x: x.sum().tolist(),
        lambda _, x: 1 if (x > 0).all() else 2,
        lambda _, x: [1, 2, 3][x[0, 0].long()],
    ],
)
def test_reading_a_value_of_the_images_is_refused(read):
    place = Place()
    net = traceable_copy(Reading(read), place)
    with pytest.raises(CouplingError, match="reads the value of a tensor .* in or after layer"):
        run_forward(place, net, IMAGES)


@pytest.mark.parametrize(
    "read", [lambda net, _: int(net.steps), lambda _, x: len(x), lambda _, x: x.shape[1] // 2]
)
def test_reading_what_the_network_holds_and_shapes_is_allowed(read):
    place = Place()
    net = traceable_copy(Reading(read), place)
    assert torch.equal(run_forward(place, net, IMAGES), net.layer(IMAGES) * 2)


def test_copy_is_in_eval_mode_with_gradients_and_the_original_is_not():
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout()).train().requires_grad_(False)
    twin = traceable_copy(net, Place())
    assert not any(module.training for module in twin.modules())
    assert all(parameter.requires_grad for parameter in twin.parameters())
    assert net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert not net[0]._forward_pre_hooks


def test_place_is_the_module_that_ran_last():
    place = Place()
    twin = traceable_copy(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), place)
    assert place.name == "the copy of the network"
    run_forward(place, twin, IMAGES)
    assert place.name == "1"
