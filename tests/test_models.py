"""The networks that ship with the project: shapes, widths, and that all of them can be stripped."""

from pathlib import Path

import pytest
import torch
from torch import nn

from compressor.couplings.trace import trace
from compressor.strip.trial import freeze_what_fails
from compressor.tasks.model import ModelSettings, build_model

ROOT = Path(__file__).parent.parent
FACTORIES = ["models/plain.py:plain_net", "models/residual.py:residual_net"]


def build(factory: str, channels: int = 3, **arguments: object) -> nn.Module:
    settings = ModelSettings(factory=factory, arguments=arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(settings, 7, channels, (ROOT,))


def images(channels: int = 3, size: int = 8) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factory", FACTORIES)
def test_network_gives_one_logit_per_class(factory, channels):
    assert build(factory, channels)(images(channels)).shape == (2, 7)


@pytest.mark.parametrize("factory", FACTORIES)
def test_widths_are_those_asked_for(factory):
    net = build(factory, widths=[5, 6])
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert {c.out_channels for c in convolutions} == {5, 6}
    assert net(images()).shape == (2, 7)


@pytest.mark.parametrize(("factory", "num_couplings"), [(FACTORIES[0], 2), (FACTORIES[1], 6)])
def test_everything_but_the_classifier_can_be_stripped(factory, num_couplings):
    net = build(factory)
    couplings = freeze_what_fails(net, trace(net, images()), images())
    assert len(couplings.free) == num_couplings
    assert [frozen.name for frozen in couplings.frozen] == ["classifier"]


@pytest.mark.parametrize("size", [8, 15, 28])
def test_plain_network_fits_its_image_size(size):
    net = build(FACTORIES[0], image_size=size)
    assert net(images(size=size)).shape == (2, 7)


@pytest.mark.parametrize("size", [8, 28, 32])
def test_residual_network_takes_images_of_any_size(size):
    assert build(FACTORIES[1])(images(size=size)).shape == (2, 7)


def test_stem_stride_quarters_the_positions_of_the_first_block():
    positions = {}
    for stride in (1, 2):
        net = build(FACTORIES[1], stem_stride=stride)
        positions[stride] = net.stem(images()).shape[2:].numel()
    assert positions == {1: 64, 2: 16}


def test_first_block_keeps_the_image_and_needs_no_projection():
    net = build(FACTORIES[1])
    assert isinstance(net.blocks[0].shortcut, nn.Identity)
    assert net.blocks[0](torch.zeros(1, 32, 8, 8)).shape == (1, 32, 8, 8)
    assert net.blocks[1](torch.zeros(1, 32, 8, 8)).shape == (1, 64, 4, 4)


def test_same_seed_builds_the_same_network():
    first, second = build(FACTORIES[1]), build(FACTORIES[1])
    assert torch.equal(first(images()), second(images()))


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet20", 0.27), ("resnet32", 0.46), ("resnet56", 0.85)]
)
def test_residual_networks_of_the_paper_have_the_published_parameters(name, millions):
    settings = ModelSettings(factory=f"models/residual.py:{name}")
    net = build_model(settings, 10, 3, (ROOT,))
    num_params = sum(parameter.numel() for parameter in net.parameters())
    assert num_params == pytest.approx(millions * 1e6, abs=0.01e6)  # as printed there
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(layers) + 1 == int(name.removeprefix("resnet"))


def test_a_residual_network_of_the_paper_can_be_made_narrower():
    net = build("models/residual.py:resnet20", width=0.5)
    assert net.stem.out_channels == 8
    assert net(images(size=32)).shape == (2, 7)
