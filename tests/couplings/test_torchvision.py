"""Networks that people use, at 64 pixels."""

import pytest
import torch
import torchvision

from compressor.couplings.trace import trace
from compressor.errors import CouplingError
from compressor.strip.certificate import FP64_BOUND, compare
from compressor.strip.trial import freeze_what_fails, shake
from compressor.structure import Structure


@pytest.mark.parametrize(
    ("name", "num_couplings"),
    [("resnet18", 12), ("mobilenet_v2", 25), ("mobilenet_v3_small", 27), ("densenet121", 120)],
)
def test_everything_but_the_classifier_can_be_stripped(name, num_couplings):
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(torchvision.models, name)(weights=None, num_classes=10)
    example = torch.randn(2, 3, 64, 64, generator=generator)
    traced = trace(net, example)
    # densenet121 takes most of the time of this file; its trial repeats what is compared below.
    couplings = traced if name == "densenet121" else freeze_what_fails(net, traced, example)
    keep = {
        coupling.name: torch.rand(coupling.num_units, generator=generator) < 0.5
        for coupling in couplings.free
    }
    shaken = shake(net, example, seed=2)
    difference, spread = compare(shaken, couplings, Structure(keep), [example.double()])
    assert len(couplings.free) == num_couplings
    assert [frozen.reason for frozen in couplings.frozen] == [
        "these channels are an output of the network"
    ]
    assert difference <= FP64_BOUND
    assert spread > 1e-5


def test_shufflenet_is_refused_in_one_line():
    net = torchvision.models.shufflenet_v2_x0_5(weights=None, num_classes=10)
    with pytest.raises(
        CouplingError, match=r"cannot be traced: ZeroDivisionError at \S+: "
    ) as error:
        trace(net, torch.randn(2, 3, 64, 64))
    assert "\n" not in str(error.value)
