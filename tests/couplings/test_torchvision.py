"""Networks that people use, at 64 pixels."""

import pytest
import torch
import torchvision

from compressor.strip.compare import FP64_BOUND, compare
from compressor.strip.find import find_couplings
from compressor.strip.trial import shake
from compressor.structure import Structure


@pytest.mark.parametrize(
    ("name", "num_couplings", "form"),
    [
        ("resnet18", 12, "module"),
        ("mobilenet_v3_small", 27, "module"),
        ("shufflenet_v2_x0_5", 21, "module"),
    ],
)
def test_everything_but_the_classifier_can_be_stripped(name, num_couplings, form):
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(torchvision.models, name)(weights=None, num_classes=10)
    example = torch.randn(2, 3, 64, 64, generator=generator)
    couplings = find_couplings(net, example, engine="index-flow")
    keep = {
        coupling.name: torch.rand(coupling.num_units, generator=generator) < 0.5
        for coupling in couplings.free
    }
    shaken = shake(net, example, seed=2)
    difference, spread = compare(shaken, couplings, Structure(keep), [example.double()])
    assert (len(couplings.free), couplings.form) == (num_couplings, form)
    assert [frozen.reason for frozen in couplings.frozen] == [
        "these channels are an output of the network"
    ]
    assert difference <= FP64_BOUND
    assert spread > 1e-5
