import pytest
import torch
from torch import nn

from compressor.errors import ModelError
from compressor.init.network import Network, build, check_runs, choose_side
from compressor.tasks.model import ModelSettings, Start


class Takes(nn.Module):
    """Runs on squares of some sizes only, and gives ``outputs`` numbers."""

    def __init__(self, sides=None, outputs=3):
        super().__init__()
        self.sides, self.outputs = sides, outputs

    def forward(self, images):
        if self.sides is not None and images.shape[-1] not in self.sides:
            raise ValueError(f"wrong image height {images.shape[-1]}")
        return torch.zeros(len(images), self.outputs)


def network(own, sides=None, outputs=3):
    return Network(ModelSettings(factory="net.py:build"), Start(Takes(sides, outputs)), own)


@pytest.mark.parametrize(
    ("own", "shorter", "side"),
    [
        *((224, 97, 96), (224, 112, 96), (224, 500, 224), (224, 20, 16)),
        *((224, 48, 32), (224, 31, 24), (32, 97, 32)),
    ],
)
def test_pictures_are_not_enlarged_and_not_larger_than_the_network_is_for(own, shorter, side):
    assert choose_side(network(own), shorter, 3)[0] == side


def test_a_network_of_one_size_gets_it_and_says_so():
    side, why = choose_side(network(224, sides=(224,)), 100, 3)
    assert side == 224
    assert "does not run on 96" in why


def test_a_network_that_fails_is_named_with_what_to_do():
    with pytest.raises(ModelError, match="3 x 64 x 64: wrong image height 64. Give the size"):
        check_runs(network(32, sides=(32,)).model, 64, 3)


def test_outputs_of_other_classes_are_refused(net):
    with pytest.raises(ModelError, match=r"shape \[2, 7\] for 2 pictures of 3 classes"):
        check_runs(build(f"{net}:fixed", None, 3).model, 32, 3)


def test_the_size_a_factory_names_is_its_own(net):
    assert build(f"{net}:build", None, 3).own_side == 32


@pytest.mark.parametrize(("classes", "fits"), [(3, True), (5, False)])
def test_weights_fit_if_their_head_does(net, save_weights, classes, fits):
    found = build(f"{net}:build", save_weights(classes), 3)
    assert found.fits is fits
    assert bool(found.start.new_head) is not fits
