import pytest
from torch import nn

from compressor.init import rates
from compressor.init.network import Network
from compressor.init.rates import PASS_FACTOR, choose_rates
from compressor.tasks.model import ModelSettings, Start


def network(weights=None, norm=nn.BatchNorm2d):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm(4), nn.ReLU())
    return Network(ModelSettings(factory="n.py:b", weights=weights), Start(model), 32)


def test_trained_weights_move_far_slower_than_fresh_ones():
    fresh, trained = (choose_rates(network(w), 8, 50_000) for w in (None, "w.pth"))
    assert fresh.search == 0.1
    assert trained.search == trained.dense == fresh.search / 10
    assert trained.tune == trained.search / 2
    assert trained.weight_decay < fresh.weight_decay


@pytest.mark.parametrize(("num_train", "batch"), [(50_000, 128), (1_438, 32), (170, 8), (5, 5)])
def test_batches_leave_steps_to_an_epoch(num_train, batch):
    assert choose_rates(network(), 8, num_train).batch_size == batch


def test_the_rate_falls_with_the_batch():
    large, small = (choose_rates(network(), 8, n) for n in (50_000, 1_438))
    assert small.batch_size == large.batch_size / 4
    assert small.search == large.search / 2


def test_a_batch_fits_into_half_of_the_free_memory(monkeypatch):
    per_image = PASS_FACTOR * 3 * 4 * 8 * 8 * 4  # three outputs of 4 x 8 x 8 numbers, 4 bytes each
    monkeypatch.setattr(rates, "_free_memory", lambda: 2 * 40 * per_image)
    found = choose_rates(network(), 8, 50_000)
    assert (found.batch_size, found.memory) == (32, 32 * per_image)


def test_networks_without_batch_norm_get_adamw():
    found = choose_rates(network(norm=nn.Identity), 8, 50_000)
    assert (found.optimizer, found.search) == ("adamw", rates.ADAMW_SCRATCH)
