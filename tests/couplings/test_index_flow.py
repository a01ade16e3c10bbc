"""Index flow from a model to couplings: what it is given, and what it says when it cannot."""

import pytest
import torch
from torch import Tensor, nn

from compressor.couplings.index_flow import index_flow
from compressor.errors import CouplingError

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A stem, what the test does behind it, a layer, a classifier."""

    def __init__(self, between=lambda x: x) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3), nn.Linear(5, 4)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.between(self.stem(x))).mean(dim=(2, 3)))


class TwoTensors(Net):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x) + super().forward(y)


def branches(x):
    return torch.cond(x.sum() > 0, lambda y: y * 2.0, lambda y: y * 3.0, (x,))


def casts(x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return x.relu() * 2


def decides(x: Tensor) -> Tensor:
    return -x if x.mean() > 0 else x


@pytest.fixture(scope="module")
def twist():
    """An operator that only its author knows."""

    @torch.library.custom_op("toy::twist", mutates_args=())
    def operator(x: Tensor) -> Tensor:
        return 2 * x

    operator.register_fake(torch.empty_like)
    return lambda x: operator(x)  # which a copy of a network can hold, unlike the operator itself


@pytest.mark.parametrize(
    ("net", "example", "message"),
    [
        (Net(decides), IMAGES, r"reads the value of a tensor at or after stem .*Use tensor code"),
        (TwoTensors(), IMAGES, "missing a required argument: 'y'. Check that it runs on its ex"),
        (Net(), IMAGES[:, :2], "at stem: Given groups=1, .* to have 3 channels, but got 2"),
        (
            nn.Sequential(nn.LazyConv2d(6, 3), nn.Flatten(), nn.LazyLinear(4)),
            IMAGES,
            r"0\.weight has no shape yet, since its layer is a lazy one\. Run the network once",
        ),
        (Net(branches), IMAGES, r"\(cond\): the forward pass has a part of its own there, cond"),
        (Net(casts), IMAGES, "part of its own there, wrap_with_autocast: .* plain tensor code"),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), IMAGES, "has no parameters, so there is nothing"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_network_that_cannot_be_walked_is_refused_in_one_line(net, example, message):
    with pytest.raises(CouplingError, match=message) as error:
        index_flow(net, example)
    assert "\n" not in str(error.value)


def test_operator_without_a_rule_holds_what_reaches_it_and_is_named(twist):
    couplings = index_flow(Net(twist), IMAGES)
    assert [coupling.name for coupling in couplings.free] == ["body"]
    assert couplings.frozen[0].name == "stem"
    assert "the operator twist (the forward pass (twist)) has no rule" in couplings.frozen[0].reason
    assert dict(couplings.program.unknown) == {"twist": "the forward pass (twist)"}


def test_operator_without_a_rule_is_not_named_where_nothing_reaches_it(twist):
    class OnImages(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(twist(x))

    couplings = index_flow(OnImages(), IMAGES)
    assert [coupling.name for coupling in couplings.free] == ["stem", "body"]
    assert couplings.program.unknown == {}


def test_several_tensors_are_given_as_a_tuple():
    couplings = index_flow(TwoTensors(), (IMAGES, IMAGES))
    assert {c.name: c.num_units for c in couplings.free} == {"stem": 6, "body": 5}


def test_members_are_every_slice_of_a_unit_with_what_it_holds():
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(24, 2)
    )
    (coupling,) = index_flow(net, IMAGES).free
    found = {(m.tensor, m.axis, m.kind): tuple(m.index.shape) for m in coupling.members}
    assert found == {
        ("0.weight", 0, "filter"): (6, 1),
        ("0.bias", 0, "bias"): (6, 1),
        ("1.weight", 0, "scale"): (6, 1),
        ("1.bias", 0, "shift"): (6, 1),
        ("1.running_mean", 0, "statistic"): (6, 1),
        ("1.running_var", 0, "statistic"): (6, 1),
        ("4.weight", 1, "input"): (6, 4),
    }


def test_first_name_of_a_shared_layer_is_the_one_that_members_have():
    class Twice(Net):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.body

    names = {m.tensor for c in index_flow(Twice(), IMAGES).free for m in c.members}
    assert "body.weight" in names
    assert not any(name.startswith("again") for name in names)
