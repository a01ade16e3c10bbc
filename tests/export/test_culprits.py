import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.errors import CheckError
from compressor.export.culprits import Rebuild, find_culprits

LAYERS = [f"layer{place}" for place in range(16)]


class Network:
    """Loses a tenth for each culprit that is not kept; counts how often it is asked."""

    def __init__(self, *culprits):
        self.culprits, self.asked = set(culprits), []

    def __call__(self, kept):
        self.asked.append(kept)
        return 0.95 - 0.1 * len(self.culprits - kept)


def test_a_network_that_passes_is_measured_once_and_keeps_nothing():
    network = Network()

    found = find_culprits(LAYERS, network, needed=0.9, max_evaluations=1)

    assert (found.kept, found.accuracy) == ((), 0.95)
    assert network.asked == [frozenset()]


@pytest.mark.parametrize("culprit", LAYERS)
def test_one_culprit_among_sixteen_is_found_alone_in_few_tries(culprit):
    network = Network(culprit)

    found = find_culprits(LAYERS, network, needed=0.9, max_evaluations=11)

    assert found.kept == (culprit,)
    assert len(network.asked) == len(set(network.asked))


@given(st.sets(st.sampled_from(LAYERS), min_size=1))
def test_any_culprits_are_found_exactly_and_in_order(culprits):
    found = find_culprits(LAYERS, Network(*culprits), needed=0.9, max_evaluations=100)

    assert found.kept == tuple(layer for layer in LAYERS if layer in culprits)


def test_culprits_that_the_bound_leaves_room_for_stay_converted():
    found = find_culprits(LAYERS, Network("layer2", "layer9"), needed=0.84, max_evaluations=40)

    assert len(found.kept) == 1


def test_every_try_is_listed_with_its_accuracy():
    network = Network("layer0")

    found = find_culprits(LAYERS[:2], network, needed=0.9, max_evaluations=9)

    assert found.rebuilds[0] == Rebuild((), 0.85)
    assert Rebuild(("layer0", "layer1"), 0.95) in found.rebuilds
    assert Rebuild(found.kept, found.accuracy) in found.rebuilds
    assert len(found.rebuilds) == len(network.asked)


def test_what_no_kept_layer_mends_is_refused_with_both_figures():
    def accuracy_of(kept):
        return 0.5 + 0.02 * len(kept)

    with pytest.raises(CheckError, match=r"accuracy 0\.5000, and with all 16 layers kept 0\.8200"):
        find_culprits(LAYERS, accuracy_of, needed=0.9, max_evaluations=40)


def test_a_network_without_layers_to_keep_is_refused_at_once():
    with pytest.raises(CheckError, match=r"0\.5500, and no layer of it can be kept; at least 0\.9"):
        find_culprits([], Network(*"abcd"), needed=0.9, max_evaluations=40)


def test_a_spent_budget_is_refused_with_the_figures_so_far():
    network = Network("layer3", "layer12")

    with pytest.raises(CheckError, match=r"accuracy 0\.7500.* 5 tries .* of 16 layers kept suf"):
        find_culprits(LAYERS, network, needed=0.9, max_evaluations=5)

    assert len(network.asked) == 5


def test_a_budget_of_one_says_that_nothing_is_known_to_suffice():
    with pytest.raises(CheckError, match="nothing tried sufficed"):
        find_culprits(LAYERS, Network("layer3"), needed=0.9, max_evaluations=1)


def test_accuracy_that_is_no_number_does_not_pass():
    def accuracy_of(kept):
        return 0.95 if "layer1" in kept else math.nan

    assert find_culprits(LAYERS, accuracy_of, needed=0.9, max_evaluations=40).kept == ("layer1",)


def test_where_keeping_more_hurts_a_set_that_was_measured_to_suffice_is_given():
    # Layer 1 alone suffices with others kept, and alone does not.
    def accuracy_of(kept):
        return 0.95 if "layer1" in kept and len(kept) != 1 else 0.5

    found = find_culprits(LAYERS, accuracy_of, needed=0.9, max_evaluations=40)

    assert len(found.kept) > 1
    assert found.accuracy == 0.95 == accuracy_of(frozenset(found.kept))
