"""What a network does not allow is told by inspect, before anything is trained."""

import io

import pytest

from compressor.console import Console
from compressor.errors import BudgetError, TrainError
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.stages import growing

PLAIN = """
from torch import nn

def net(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3),
        {norm},
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 36, num_classes),
    )
"""

FIXED = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3)
        self.head = nn.Linear(8 * 36, num_classes)

    def forward(self, x):
        y = self.conv(x).relu()
        return self.head(y.view(y.shape[0], 8 * 36))

net = Net
"""


@pytest.fixture
def inspect(tmp_path):
    def run(source, *overrides):
        (tmp_path / "net.py").write_text(source)
        factory = ("model.arguments={}", f"model.factory={tmp_path}/net.py:net")
        recipe = load_recipe(find_recipe("digits"), [*factory, *overrides])
        out, console = tmp_path / "run", Console(stream=io.StringIO())
        run_recipe(recipe, Where(out, console, "cpu", until="inspect"))

    return run


@pytest.mark.parametrize("norm", ["nn.LayerNorm([6, 6])", "nn.BatchNorm2d(8)"])
def test_norms_over_places_or_one_channel_may_grow(inspect, norm):
    inspect(PLAIN.format(norm=norm), "grow={}")


def test_norms_over_several_channels_do_not_grow(inspect):
    group = PLAIN.format(norm="nn.GroupNorm(1, 8)")
    inspect(group)
    with pytest.raises(TrainError, match=r"net.py:net: the norm 1 takes its statistics over"):
        inspect(group, "grow={}")


def test_a_network_that_is_cut_as_a_graph_neither_grows_nor_has_features_to_watch(inspect):
    inspect(FIXED)
    with pytest.raises(TrainError, match="can only be cut as a captured graph, which does not"):
        inspect(FIXED, "grow={}")
    with pytest.raises(TrainError, match=r"tune.features compares outputs of modules, and this"):
        inspect(FIXED, 'tune.features=["conv"]')


def test_a_pattern_of_features_is_looked_at_though_nothing_is_tuned_yet(inspect):
    plain = PLAIN.format(norm="nn.BatchNorm2d(8)")
    with pytest.raises(TrainError, match="stage9"):
        inspect(plain, 'tune.features=["stage9"]', "tune.epochs=0")


def test_a_ceiling_below_the_network_that_growing_starts_from_is_refused(inspect):
    plain = PLAIN.format(norm="nn.BatchNorm2d(8)")
    with pytest.raises(BudgetError, match=r"grow.ceiling_macs = 0.001: the network that growing"):
        inspect(plain, "grow={ ceiling_macs = 0.001 }")


def test_a_ceiling_in_time_is_measured_before_anything_is_trained(inspect, monkeypatch):
    original, measured = growing.latency_shares, []

    def listening(problem, around):
        measured.append(problem.couplings.num_units)
        return original(problem, around)

    monkeypatch.setattr(growing, "latency_shares", listening)
    # No network takes a millionth of another one's time.
    with pytest.raises(
        BudgetError, match=r"grow.ceiling_latency = 1e-06: the network that"
    ) as told:
        inspect(PLAIN.format(norm="nn.BatchNorm2d(8)"), "grow={ ceiling_latency = 1e-6 }")
    assert measured == [8]
    share = float(str(told.value).split(" has ")[1].split()[0])
    assert share > 1e-6
