import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.errors import CheckError
from compressor.export.culprits import Rebuild, find_culprits

FILE = "model.int8.onnx (profile int8)"
search = partial(find_culprits, name=FILE)

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

    found = search(LAYERS, network, needed=0.9, max_evaluations=1)

    assert (found.kept, found.accuracy, found.exhausted) == ((), 0.95, False)
    assert network.asked == [frozenset()]


@pytest.mark.parametrize("culprit", LAYERS)
def test_one_culprit_among_sixteen_is_found_alone_in_few_tries(culprit):
    network = Network(culprit)

    found = search(LAYERS, network, needed=0.9, max_evaluations=11)

    assert found.kept == (culprit,)
    assert len(network.asked) == len(set(network.asked))


@given(st.sets(st.sampled_from(LAYERS), min_size=1))
def test_any_culprits_are_found_exactly_and_in_order(culprits):
    found = search(LAYERS, Network(*culprits), needed=0.9, max_evaluations=100)

    assert found.kept == tuple(layer for layer in LAYERS if layer in culprits)


def test_culprits_that_the_bound_leaves_room_for_stay_converted():
    found = search(LAYERS, Network("layer2", "layer9"), needed=0.84, max_evaluations=40)

    assert len(found.kept) == 1


def test_every_try_is_listed_with_its_accuracy():
    network = Network("layer0")

    found = search(LAYERS[:2], network, needed=0.9, max_evaluations=9)

    assert found.rebuilds[0] == Rebuild((), 0.85)
    assert Rebuild(("layer0", "layer1"), 0.95) in found.rebuilds
    assert Rebuild(found.kept, found.accuracy) in found.rebuilds
    assert len(found.rebuilds) == len(network.asked)


def test_what_no_kept_layer_mends_is_refused_with_both_figures():
    def accuracy_of(kept):
        return 0.5 + 0.02 * len(kept)

    with pytest.raises(CheckError, match=r"0\.5000, .* 16 layers kept it is 0\.8200") as refused:
        search(LAYERS, accuracy_of, needed=0.9, max_evaluations=40)

    assert str(refused.value).startswith(f"{FILE}: ")
    assert "precision.gate.max_accuracy_drop" in str(refused.value)


def test_a_network_without_layers_to_keep_is_refused_at_once():
    with pytest.raises(CheckError, match=r"0\.5500, at least 0\.9000 .* no layer of it can"):
        search([], Network(*"abcd"), needed=0.9, max_evaluations=40)


@pytest.mark.parametrize("tries", [2, 5, 9])
def test_spent_tries_give_the_smallest_set_that_was_measured_to_suffice(tries):
    network = Network("layer3", "layer12")

    found = search(LAYERS, network, needed=0.9, max_evaluations=tries)

    passing = [tried for tried in found.rebuilds if tried.accuracy >= 0.9]
    assert found.exhausted
    assert len(network.asked) == tries
    assert len(found.kept) == min(len(tried.kept) for tried in passing)
    assert Rebuild(found.kept, found.accuracy) in passing


def test_more_tries_never_keep_more_layers_and_enough_of_them_are_not_spent():
    found = [
        search(LAYERS, Network("layer3", "layer12"), needed=0.9, max_evaluations=tries)
        for tries in range(2, 30)
    ]

    sizes = [len(one.kept) for one in found]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (16, 2)
    assert (found[0].exhausted, found[-1].exhausted) == (True, False)


def test_one_try_that_fails_is_refused_with_file_and_setting():
    with pytest.raises(CheckError) as refused:
        search(LAYERS, Network("layer3"), needed=0.9, max_evaluations=1)

    assert str(refused.value) == (
        f"{FILE}: accuracy 0.8500, at least 0.9000 is asked for, and "
        "precision.gate.max_evaluations = 1 leaves no try to find the layers that cost it. "
        "Set it higher."
    )


def test_accuracy_that_is_no_number_does_not_pass():
    def accuracy_of(kept):
        return 0.95 if "layer1" in kept else math.nan

    assert search(LAYERS, accuracy_of, needed=0.9, max_evaluations=40).kept == ("layer1",)


def test_where_keeping_more_hurts_a_set_that_was_measured_to_suffice_is_given():
    # Layer 1 alone suffices with others kept, and alone does not.
    def accuracy_of(kept):
        return 0.95 if "layer1" in kept and len(kept) != 1 else 0.5

    found = search(LAYERS, accuracy_of, needed=0.9, max_evaluations=40)

    assert len(found.kept) > 1
    assert found.accuracy == 0.95 == accuracy_of(frozenset(found.kept))
