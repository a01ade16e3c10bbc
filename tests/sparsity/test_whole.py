"""The methods that train the whole network and rank its units at the end."""

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.sparsity.magnitude import Magnitude, MagnitudeSettings
from compressor.sparsity.random import Random, RandomSettings
from compressor.sparsity.whole import WholeNetwork
from compressor.structure import NEVER


def horizon(seed=0):
    return Horizon(num_steps=1, path_time=1.0, seed=seed)


def member(tensor, axis, num_units, kind):
    return Member(tensor, axis, torch.arange(num_units).view(-1, 1), kind)


@pytest.fixture
def network():
    """Three units in two producing layers, and the bias and reader that say nothing."""
    model = nn.ModuleDict({"a": nn.Linear(1, 3), "b": nn.Linear(1, 3), "c": nn.Linear(3, 1)})
    with torch.no_grad():
        model["a"].weight.copy_(torch.tensor([[3.0], [0.0], [1.0]]))
        model["b"].weight.copy_(torch.tensor([[4.0], [2.0], [0.0]]))
    members = (
        member("a.weight", 0, 3, "filter"),
        member("a.bias", 0, 3, "bias"),
        member("b.weight", 0, 3, "filter"),
        member("c.weight", 1, 3, "input"),
    )
    return model, Couplings((Coupling("a", 3, members), Coupling("z", 3, members[:1])))


def path_of(sparsifier, network):
    model, couplings = network
    sparsifier.attach(model, torch.optim.SGD(model.parameters(), lr=0.1), couplings)
    return sparsifier.path()


def test_magnitude_ranks_by_the_joint_norm_of_the_producing_filters(network):
    path = path_of(Magnitude(MagnitudeSettings(), horizon()), network)
    assert path.couplings["a"].score.tolist() == [5.0, 2.0, 1.0]
    assert path.couplings["z"].score.tolist() == [3.0, 0.0, 1.0]


def test_magnitude_looks_at_the_weights_of_now(network):
    sparsifier = Magnitude(MagnitudeSettings(), horizon())
    path_of(sparsifier, network)
    with torch.no_grad():
        network[0]["a"].weight.zero_()
    assert sparsifier.path().couplings["a"].score.tolist() == [4.0, 2.0, 0.0]


def test_dense_ranks_all_units_the_same(network):
    path = path_of(Dense(DenseSettings(), horizon()), network)
    assert path.couplings["a"].score.tolist() == [1.0, 1.0, 1.0]


def test_random_draws_a_permutation_that_depends_on_the_seed_only(network):
    first, again = (path_of(Random(RandomSettings(), horizon(7)), network) for _ in range(2))
    assert sorted(first.couplings["a"].score.tolist()) == [1.0, 2.0, 3.0]
    for name in ("a", "z"):
        assert torch.equal(first.couplings[name].score, again.couplings[name].score)
    drawn = {
        tuple(
            path_of(Random(RandomSettings(), horizon(seed)), network).couplings["a"].score.tolist()
        )
        for seed in range(20)
    }
    assert len(drawn) > 3


@pytest.mark.parametrize(
    "sparsifier",
    [
        Magnitude(MagnitudeSettings(), horizon()),
        Dense(DenseSettings(), horizon()),
        Random(RandomSettings(), horizon()),
    ],
    ids=lambda sparsifier: sparsifier.name,
)
def test_nothing_enters_and_everything_stays(sparsifier, network):
    path = path_of(sparsifier, network)
    assert path.method == sparsifier.name
    assert all((units.entry_step == NEVER).all() for units in path.couplings.values())
    assert sparsifier.structure().sparsity == 0.0
    assert sparsifier.metrics() == {}
    assert sparsifier.notices() == []


def test_a_subclass_must_say_how_units_rank(network):
    model, couplings = network
    with pytest.raises(NotImplementedError):
        WholeNetwork().scores(model, couplings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Magnitude(MagnitudeSettings(), horizon()),
        lambda: Dense(DenseSettings(), horizon()),
        lambda: Random(RandomSettings(), horizon()),
    ],
)
def test_a_checkpoint_says_whose_it_is_and_another_one_is_refused(make, network):
    sparsifier = make()
    path_of(sparsifier, network)
    state = sparsifier.state_dict()
    assert (state["method"], state["level"]) == (sparsifier.name, "unit")
    make().load_state_dict(state)
    with pytest.raises(
        TrainError, match=f"of dessilbi at level unit, the run of {state['method']}"
    ):
        sparsifier.load_state_dict({"method": "dessilbi", "level": "unit"})
