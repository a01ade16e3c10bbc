"""What tracing says about networks that it cannot trace, or not whole."""

import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compressor.couplings.trace import trace
from compressor.errors import CouplingError

from .topologies import conv, pooled

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Custom(nn.Module):
    """A convolution and a classifier, with a forward of the test's own."""

    def __init__(self, forward: Callable[["Custom", Tensor], object]) -> None:
        super().__init__()
        self.features, self.head = conv(3, 6), nn.Linear(6, 4)
        self.own_forward = forward

    def forward(self, x: Tensor) -> object:
        return self.own_forward(self, x)


def classified(net: Custom, x: Tensor) -> Tensor:
    return net.head(pooled(net.features(x)))


def fails(net: Custom, x: Tensor) -> Tensor:
    raise KeyError(f"nothing\nfor {tuple(net.features(x).shape)}")


def never_ends(net: Custom, x: Tensor) -> Tensor:
    while True:
        x = x + net.features(x).mean()


def decides(net: Custom, x: Tensor) -> Tensor:
    return classified(net, x) if x.mean() > 0 else classified(net, -x)


def wrong_width(net: Custom, x: Tensor) -> Tensor:
    return net.head(pooled(net.features(net.features(x))))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (fails, r"^The network cannot be traced: KeyError at features: .*nothing.*Check that"),
        (wrong_width, r"RuntimeError at features: Given groups=1.* to have 3 channels"),
        (decides, r"reads the value of a tensor \(__bool__ in or after the forward pass\)"),
        (lambda net, x: {"logits": classified(net, x)}, r"^The network returns a dict\. Give"),
        (lambda net, x: (classified(net, x), x), r"^The network returns a tuple\. Give"),
        (lambda net, x: classified(net, x).detach(), r"^No gradient leads from the output"),
        (lambda _, x: x.flatten(1), r"^No gradient leads from the output"),
    ],
)
def test_network_that_cannot_be_traced_is_refused_in_one_line(forward, message):
    with pytest.raises(CouplingError, match=message) as error:
        trace(Custom(forward), IMAGES)
    assert "\n" not in str(error.value)


def test_forward_that_never_ends_is_stopped_and_named():
    before = threading.active_count()
    with pytest.raises(CouplingError, match=r"more than 0\.3 s and was stopped at features\. "):
        trace(Custom(never_ends), IMAGES, seconds=0.3)
    assert threading.active_count() == before


def test_network_that_cannot_be_copied_is_refused_in_one_line():
    net = Custom(classified)
    net.kept = net.features.weight * 2  # what the old weight norm leaves in a module
    with pytest.raises(
        CouplingError, match=r"RuntimeError at the copy of the network: Only Tensor"
    ):
        trace(net, IMAGES)


def test_lazy_layers_are_refused_in_one_line():
    with pytest.raises(CouplingError, match="has no shape yet, since its layer is a lazy one"):
        trace(nn.Sequential(nn.LazyConv2d(6, 3), nn.Flatten(), nn.LazyLinear(4)), IMAGES)


def test_batch_of_one_image_is_not_taken_for_an_image_without_batch():
    net = nn.Sequential(conv(3, 6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 4))
    (coupling,) = trace(net, IMAGES[:1]).free
    (reader,) = coupling.of_kind("input")
    assert reader.index.tolist() == [list(range(64 * unit, 64 * unit + 64)) for unit in range(6)]


def test_integer_parameters_are_left_alone():
    net = Custom(classified)
    net.steps = nn.Parameter(torch.arange(3), requires_grad=False)
    assert [coupling.name for coupling in trace(net, IMAGES).free] == ["features"]


def test_gradients_may_be_switched_off_around_it_and_in_the_network():
    net = Custom(classified).requires_grad_(False)
    with torch.no_grad():
        couplings = trace(net, IMAGES)
    assert [coupling.name for coupling in couplings.free] == ["features"]


def test_members_of_a_residual_coupling_are_all_that_shrinks_with_it():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = conv(3, 4, bias=True), nn.BatchNorm2d(4)
            self.body, self.head = conv(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.stem(x))
            return self.head(pooled(x + self.body(x)))

    (coupling,) = trace(Net(), IMAGES).free
    assert coupling.name == "stem"
    assert coupling.num_units == 4
    assert {(m.tensor, m.axis, m.kind) for m in coupling.members} == {
        ("stem.weight", 0, "filter"),
        ("stem.bias", 0, "bias"),
        ("norm.weight", 0, "scale"),
        ("norm.bias", 0, "shift"),
        ("norm.running_mean", 0, "statistic"),
        ("norm.running_var", 0, "statistic"),
        ("body.weight", 0, "filter"),
        ("body.weight", 1, "input"),
        ("head.weight", 1, "input"),
    }


def test_unit_of_a_concatenation_lies_at_its_offset():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.head = conv(3, 2), conv(3, 3), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(pooled(torch.cat([self.left(x), self.right(x)], dim=1)))

    left, right = trace(Net(), IMAGES).free
    assert left.of_kind("input")[0].index.tolist() == [[0], [1]]
    assert right.of_kind("input")[0].index.tolist() == [[2], [3], [4]]


def block_with(layer: nn.Module, after: int = 6) -> nn.Module:
    return nn.Sequential(layer, nn.ReLU(), conv(after, 5), nn.Flatten(), nn.Linear(320, 4))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.utils.parametrizations.weight_norm(conv(3, 6)), "0 is a ParametrizedConv2d, which"),
        (type("MyConv", (nn.Conv2d,), {})(3, 6, 3, padding=1), "0 is a MyConv, which cannot"),
    ],
)
def test_layer_of_a_type_without_a_row_is_frozen_by_its_type(layer, reason):
    couplings = trace(block_with(layer), IMAGES)
    assert [coupling.name for coupling in couplings.free] == ["2"]
    assert next(f.reason for f in couplings.frozen if f.name == "0").startswith(reason)


def test_layer_whose_weight_is_not_a_parameter_is_frozen():
    couplings = trace(block_with(nn.utils.spectral_norm(conv(3, 6))), IMAGES)
    assert [coupling.name for coupling in couplings.free] == ["2"]
    assert couplings.frozen[0].reason == "its member 0.weight is not a tensor of the network"


def test_channels_that_become_pixels_are_frozen():
    net = nn.Sequential(conv(3, 8), nn.PixelShuffle(2), conv(2, 3), nn.Flatten(), nn.Linear(768, 4))
    couplings = trace(net, IMAGES)
    assert [coupling.name for coupling in couplings.free] == ["2"]
    assert "outside axis 1 of 2.weight, which has 2 entries" in couplings.frozen[0].reason


def test_channels_made_of_features_are_frozen():
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(192, 32), nn.Unflatten(1, (8, 2, 2)), conv(8, 3), nn.Flatten()
    )
    net.append(nn.Linear(12, 4))
    couplings = trace(net, IMAGES)
    assert [coupling.name for coupling in couplings.free] == ["3"]
    assert "claim the same position on axis 1 of 3.weight" in couplings.frozen[0].reason


def test_couplings_that_claim_the_same_position_are_frozen(monkeypatch):
    module = sys.modules["compressor.couplings.trace"]
    monkeypatch.setattr(module, "clashes", lambda _: {"features": "a position is claimed twice"})
    couplings = trace(Custom(classified), IMAGES)
    assert couplings.free == ()
    assert couplings.frozen[-1].reason == "a position is claimed twice"
