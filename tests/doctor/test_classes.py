import pytest

from compressor.doctor.classes import Rates, class_of, odd_channels
from compressor.doctor.onnxruntime_times import OVERHEAD_US

BLOCK = 16
RATES = Rates(macs_per_us=100_000, bytes_per_us=10_000)  # ten MACs for each byte


def test_rates_are_the_best_of_the_layers_that_are_long_enough(make_layer):
    quick = make_layer(us=OVERHEAD_US, macs=10**9, moved_bytes=10**9)
    busy, moving = make_layer(), make_layer(macs=0, moved_bytes=2_000_000)

    rates = Rates.of([quick, busy, moving])

    assert rates == Rates(macs_per_us=100_000, bytes_per_us=20_000)
    assert rates.macs_per_byte == 5


def test_without_long_layers_there_are_no_rates(make_layer):
    assert Rates.of([make_layer(us=1.0)]) == Rates(0.0, 0.0)
    assert Rates(0.0, 0.0).macs_per_byte == 0


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "compute"),
        ({"moved_bytes": 1_100_000}, "memory"),
        ({"macs": 0, "op": None, "in_channels": None, "out_channels": None}, "memory"),
        ({"us": 8.0, "macs": 900_000}, "overhead"),
        ({"us": 24.0, "num_kernels": 3, "macs": 1_000_000}, "overhead"),
        ({"layout_us": 51.0}, "layout change"),
        ({"out_channels": 52, "macs": 8_000_000}, "unaligned"),
        ({"in_channels": 52, "macs": 8_000_000}, "unaligned"),
    ],
)
def test_each_class_is_told_by_its_rule(make_layer, changes, kind):
    assert class_of(make_layer(**changes), make_layer(), RATES, BLOCK) == kind


def test_odd_channels_that_cost_no_more_for_each_mac_are_no_matter(make_layer):
    layer = make_layer(out_channels=60, macs=9_500_000, us=100.0)

    assert class_of(layer, make_layer(), RATES, BLOCK) == "compute"


def test_dear_macs_in_whole_blocks_are_not_called_unaligned(make_layer):
    assert class_of(make_layer(macs=4_000_000), make_layer(), RATES, BLOCK) == "compute"


def test_a_short_layer_is_unaligned_only_if_it_takes_longer_than_the_dense_one(make_layer):
    dense = make_layer(us=10.0, macs=500_000)
    odd = {"out_channels": 8, "macs": 100_000, "num_kernels": 2}

    assert class_of(make_layer(us=14.0, **odd), dense, RATES, BLOCK) == "unaligned"
    assert class_of(make_layer(us=10.0, **odd), dense, RATES, BLOCK) == "overhead"


def test_without_a_dense_layer_nothing_is_called_unaligned(make_layer):
    assert class_of(make_layer(out_channels=52), None, RATES, BLOCK) == "compute"


@pytest.mark.parametrize(
    ("channels", "block", "odd"),
    [
        ((3, 64), 16, []),
        ((8, 32), 16, []),
        ((20, 40), 16, [20, 40]),
        ((24, 8), 8, []),
        ((20, 62), None, [62]),
        ((64, 10), 16, [10]),
    ],
)
def test_odd_channels_are_those_that_do_not_fill_blocks(make_layer, channels, block, odd):
    layer = make_layer(in_channels=channels[0], out_channels=channels[1])

    assert odd_channels(layer, block) == odd


def test_a_classifier_has_no_odd_channels(make_layer):
    assert odd_channels(make_layer(op="Gemm", out_channels=10), 16) == []
