"""The networks that ship with the project: shapes, widths, and that all of them can be stripped."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import compressor
from compressor import listing
from compressor.count import count
from compressor.couplings.trace import trace
from compressor.recipe import shipped
from compressor.strip.certificate import certify
from compressor.strip.trial import freeze_what_fails
from compressor.tasks.model import ModelSettings, build_model

ROOT = Path(__file__).parent.parent
FACTORIES = ["models/plain.py:plain_net", "models/residual.py:residual_net"]


RESNET = "models/residual.py:resnet20"
LENET = "models/lenet.py:lenet5"
VGG16 = "models/vgg.py:vgg16"
VGG19 = "models/vgg.py:vgg19"
MOBILENET = "models/mobilenet.py:mobilenet_v2"


def num_params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def of_paper(factory: str, channels: int, num_classes: int) -> nn.Module:
    return build_model(ModelSettings(factory=factory), num_classes, channels, (ROOT,))


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


OPTION_B = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
"""Parameters of the two 1x1 shortcuts with their norms, where the paper's networks have zeros."""


@pytest.mark.parametrize(
    ("name", "params", "millions"),
    [("resnet20", 272_474, 0.27), ("resnet32", 466_906, 0.46), ("resnet56", 855_770, 0.85)],
)
def test_residual_networks_have_the_parameters_of_the_paper_and_of_their_shortcuts(
    name, params, millions
):
    net = of_paper(f"models/residual.py:{name}", 3, 10)
    shortcuts = sum(num_params(block.shortcut) for block in net.blocks)
    assert (num_params(net), shortcuts) == (params, OPTION_B)
    # He et al., arXiv 1512.03385, Table 6, of networks with option A, in millions as printed.
    assert round((params - OPTION_B) / 1e6, 2) == millions
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(layers) + 1 == int(name.removeprefix("resnet"))


def test_a_residual_network_of_the_paper_can_be_made_narrower():
    net = build("models/residual.py:resnet20", width=0.5)
    assert net.stem.out_channels == 8
    assert net(images(size=32)).shape == (2, 7)


def test_lenet5_has_the_parameters_of_the_paper_but_for_what_it_says():
    net = of_paper(LENET, 1, 10)
    # LeCun et al. 1998, section II.B: 60,000 trainable parameters. Of these 12 and 32 belong to
    # the two pooling layers and 1,516 to a second convolution that reads some of the maps; one
    # that reads all has 16 (6 25 + 1). The paper's last layer is not trained, a linear one is.
    assert num_params(net) == 60_000 - 12 - 32 - 1_516 + 16 * (6 * 25 + 1) + 10 * (84 + 1)
    assert [num_params(layer) for layer in (net.c1, net.c5, net.f6)] == [156, 48_120, 10_164]


@pytest.mark.parametrize("size", [28, 32])
def test_lenet5_sees_32_pixels_whatever_the_image(size):
    net = build(LENET, 1, image_size=size)
    assert net.c1(images(1, size)).shape == (2, 6, 28, 28)
    assert net(images(1, size)).shape == (2, 7)


def test_lenet5_refuses_images_that_have_no_place_in_its_field():
    with pytest.raises(compressor.CompressorError, match="image_size is 8"):
        build(LENET, 1, image_size=8)


def test_vgg16_has_the_size_that_papers_on_pruning_print():
    counts = count(of_paper(VGG16, 3, 10), torch.zeros(1, 3, 32, 32))
    assert (counts.params, counts.macs) == (14_986_698, 313_463_808)
    # Li et al., arXiv 1608.08710, Table 1: 1.5e7 parameters, 3.13e8 FLOP (a MAC is one there).
    assert f"{counts.params:.1e} {counts.macs:.2e}" == "1.5e+07 3.13e+08"


def test_vgg19_has_the_size_that_papers_on_pruning_print():
    counts = count(of_paper(VGG19, 3, 10), torch.zeros(1, 3, 32, 32))
    assert (counts.params, counts.macs) == (20_035_018, 398_136_320)
    # Liu et al., arXiv 1708.06519, Table 1: 20.04M parameters, 7.97e8 FLOPs (two for a MAC).
    assert counts.params == pytest.approx(20.04e6, abs=0.005e6)
    assert 2 * counts.macs == pytest.approx(7.97e8, abs=0.01e8)


def test_vgg_takes_any_widths_and_depths():
    net = build("models/vgg.py:vgg_net", widths=[4, 6], depths=[1, 3], hidden=5)
    convolutions = [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == [4, 6, 6, 6]
    assert net.head[0].out_features == 5
    assert net(images()).shape == (2, 7)


def test_vgg_refuses_a_depth_without_a_width():
    with pytest.raises(compressor.CompressorError, match="2 widths and 1 depths"):
        build("models/vgg.py:vgg_net", widths=[4, 6], depths=[1])


@pytest.mark.parametrize(
    ("num_classes", "params"),
    # torchvision's mobilenet_v2 as its page has it, 3,504,872, which the paper's Table 4 rounds to
    # 3.4M; and that with ten classes: 1,281 fewer for each of 990.
    [(1000, 3_504_872), (10, 3_504_872 - 990 * 1_281)],
)
def test_mobilenet_v2_has_the_published_parameters(num_classes, params):
    assert num_params(of_paper(MOBILENET, 3, num_classes)) == params


def test_mobilenet_v2_halves_a_small_image_three_times_only():
    net = build(MOBILENET, width=0.25)
    assert net.blocks(net.stem(images(size=32))).shape[2:] == (4, 4)


@pytest.mark.parametrize(("width", "stem"), [(0.25, 8), (0.75, 24), (1.4, 48)])
def test_mobilenet_v2_has_channels_in_multiples_of_eight(width, stem):
    net = build(MOBILENET, width=width)
    assert net.stem[0].out_channels == stem  # 0.75: 24; 1.4: 44.8, nearest 48
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert all(c.out_channels % 8 == 0 for c in convolutions)


@pytest.mark.parametrize(
    ("factory", "width", "size", "channels"),
    [
        (LENET, 1.0, 28, 1),
        (VGG16, 0.07, 16, 3),
        (RESNET, 0.25, 16, 3),
        (MOBILENET, 0.1, 16, 3),
    ],
)
def test_half_of_every_network_is_stripped_and_certified(factory, width, size, channels):
    net, batch = build(factory, channels, width=width).eval(), images(channels, size)
    couplings = compressor.find_couplings(net, batch, "index-flow")
    assert [frozen.name for frozen in couplings.frozen] == ["classifier"]
    structure = compressor.Structure(
        {c.name: torch.arange(c.num_units) < (c.num_units + 1) // 2 for c in couplings.free}
    )
    certify(net, couplings, structure, [batch], statistics="random").check()
    slim = compressor.apply(compressor.make_plan(net, couplings, structure), net)
    assert num_params(slim) < 0.45 * num_params(net)
    assert slim(batch).shape == (2, 7)


@pytest.mark.parametrize("factory", [LENET, VGG16, VGG19, RESNET, MOBILENET])
def test_networks_of_papers_are_listed_and_name_their_paper(factory):
    assert {"name": factory} in listing.models()
    text = (ROOT / factory.partition(":")[0]).read_text()
    assert re.search(r"arXiv[\s\n]+\d{4}\.\d{5}|Proc\. IEEE", text)


def test_every_shipped_network_is_tested_here():
    files = {path.name for path in shipped("models").glob("*.py")}
    named = {
        factory.split("/")[1].split(":")[0] for factory in [*FACTORIES, LENET, VGG16, MOBILENET]
    }
    assert files == named
