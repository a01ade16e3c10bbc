import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.train.order import batch_places, epoch_order, generator_for


@given(num_images=st.integers(1, 200), seed=st.integers(0, 5), epoch=st.integers(-1, 5))
def test_an_epoch_shows_every_image_once(num_images, seed, epoch):
    assert epoch_order(num_images, seed, epoch).sort().values.tolist() == list(range(num_images))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(epoch_order(30, seed, epoch).tolist()) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


def test_an_order_is_the_same_whatever_was_drawn_before():
    first = epoch_order(30, seed=0, epoch=2)
    torch.rand(5)
    epoch_order(30, seed=0, epoch=1)
    assert torch.equal(epoch_order(30, seed=0, epoch=2), first)


@given(
    world=st.integers(1, 5),
    batch=st.integers(0, 3),
    batch_size=st.integers(1, 12),
)
def test_the_processes_divide_a_batch_among_themselves(world, batch, batch_size):
    order = epoch_order(48, seed=0, epoch=0)
    shares = [batch_places(order, batch, batch_size, rank, world) for rank in range(world)]
    whole = order[batch * batch_size : (batch + 1) * batch_size]
    assert torch.cat(shares).sort().values.tolist() == whole.sort().values.tolist()
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1


def test_generators_of_different_places_draw_different_numbers():
    places = [
        (0, "batch", 0, 0),
        (0, "batch", 0, 1),
        (0, "batch", 1, 0),
        (1, "batch", 0, 0),
        (0, "x"),
    ]
    draws = {float(torch.rand((), generator=generator_for(*place))) for place in places}
    assert len(draws) == len(places)


def test_the_words_of_a_place_do_not_run_together():
    one, other = generator_for(0, 1, 23), generator_for(0, 12, 3)
    assert one.initial_seed() != other.initial_seed()
