import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.data.source import Split
from compressor.data.split import cut_fixed_test, hold_out, shuffled

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def test_shuffled_order_is_a_promise_of_this_release():
    assert shuffled(6, seed=0).tolist() == [3, 5, 2, 4, 1, 0]


def test_another_seed_gives_another_order():
    assert shuffled(100, seed=1).tolist() != shuffled(100, seed=2).tolist()


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_each_class_gives_its_share(share):
    rest, held = hold_out(LABELS, share, seed=3)
    assert np.bincount(LABELS[held]).tolist() == [50 * share, 30 * share, 20 * share]
    assert len(rest) == len(LABELS) - len(held)


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_both_parts_hold_every_image_once_and_no_class_is_lost(labels, share, seed):
    labels = np.array(labels)
    rest, held = hold_out(labels, share, seed)
    assert sorted([*rest, *held]) == list(range(len(labels)))
    assert set(labels[rest]) == set(labels)
    counts = np.bincount(labels)
    assert set(labels[held]) == set(np.flatnonzero(counts >= 2))


def test_both_parts_come_shuffled():
    rest, held = hold_out(np.zeros(100, dtype=np.int64), 0.5, seed=0)
    assert rest.tolist() != sorted(rest)
    assert held.tolist() != sorted(held)


def test_the_fixed_test_set_is_a_fifth_and_keeps_the_order():
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    train, test = cut_fixed_test(Split(images, LABELS.astype(np.int64)))
    assert np.bincount(test.labels).tolist() == [10, 6, 4]
    assert (np.diff(test.images.ravel()) > 0).all()
    assert sorted([*train.images.ravel(), *test.images.ravel()]) == list(range(100))
