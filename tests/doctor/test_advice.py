import pytest

from compressor.doctor.advice import Case, RunFacts, SharedWidth, advise
from compressor.errors import RunError


@pytest.fixture
def advice(make_layer, facts):
    """What is advised for a layer of a class; keywords are those of the layer."""

    def make(kind, block=16, **changes):
        return advise(Case(make_layer(**changes), make_layer(), kind, 0.5, block, facts))

    return make


def test_unaligned_layers_are_sent_to_the_engines_block(advice):
    told = advice("unaligned", out_channels=18, macs=5_000_000)

    assert "2.00 times as long for each MAC: 18 channels are no multiple of 16" in told
    assert "Set strip.round_to = 16 (now 2)" in told


def test_without_blocks_four_is_the_multiple(advice):
    assert "strip.round_to = 4" in advice("unaligned", block=None, out_channels=18)


def test_layout_changes_behind_odd_channels_are_sent_to_the_block_others_are_not(advice):
    odd, even = (
        advice("layout change", layout_us=80.0, out_channels=channels) for channels in (18, 64)
    )

    assert "80% of its time" in odd
    assert "strip.round_to = 16" in odd
    assert "strip.round_to" not in even


def test_couplings_are_named_with_the_units_that_are_left(advice):
    told = advice("compute")

    assert "at 50% of the best rate" in told
    assert "block.conv1 (18 of 32 units are left)" in told
    assert "strip.keep_macs (now 0.5)" in told


def test_padding_that_costs_little_is_still_named(advice):
    assert "18 channels are padded to a multiple of 16" in advice("compute", out_channels=18)
    assert "padded" not in advice("compute")


@pytest.mark.parametrize(
    ("budget", "change"),
    [
        ({}, "set strip.keep_macs"),
        ({"keep_macs": None}, "set strip.keep_macs"),
        ({"keep_params": 0.3, "keep_macs": None}, "lower strip.keep_params (now 0.3)"),
        ({"keep_latency": 0.5}, "lower strip.keep_latency (now 0.5)"),
        ({"latency_ms": 2.5}, "lower strip.latency_ms (now 2.5)"),
    ],
)
def test_the_one_budget_that_a_recipe_takes_is_named(make_layer, budget, change):
    facts = RunFacts((SharedWidth("stem", 8, 8, frozenset({"stem"})),), {}, budget)
    layer = make_layer(name="stem")

    told = advise(Case(layer, layer, "compute", 1.0, 16, facts))

    assert f"stem (8 of 8 units are left); {change} for fewer." in told
    assert told.count("strip.") == 1


def test_a_frozen_layer_is_named_with_its_reason(advice):
    told = advice("memory", name="classifier")

    assert "kept whole (outputs of the network)" in told
    assert "strip cannot change it" in told


def test_a_layer_outside_all_couplings_cannot_be_changed(advice):
    assert "No coupling that can shrink reaches it" in advice("memory", name="pool")


def test_short_kernels_are_sent_to_larger_batches_and_depth(advice):
    told = advice("overhead")

    assert "Larger batches" in told
    assert 'strip.depth = "remove"' in told


def test_a_coupling_reaches_its_maker_and_its_reader_and_no_other_layer(facts):
    (coupling,) = facts.couplings

    assert (coupling.name, coupling.units, coupling.kept) == ("block.conv1", 32, 18)
    assert facts.couplings_of("block.conv1") == facts.couplings_of("block.conv2") == [coupling]
    assert facts.couplings_of("stem") == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.json", "{}"),
        ("settings.json", "{"),
        ("strip/widths.json", "[{}]"),
        ("inspect/couplings.json", "[]"),
    ],
)
def test_damaged_records_are_refused_in_one_line(run, name, content):
    (run / name).write_text(content)

    with pytest.raises(RunError, match="records of couplings, widths and settings") as refused:
        RunFacts.read(run)

    assert "\n" not in str(refused.value)


def test_a_missing_record_is_named(run):
    (run / "strip" / "widths.json").unlink()

    with pytest.raises(RunError, match="widths.json cannot be read: No such file"):
        RunFacts.read(run)


def test_reasons_that_are_those_of_onnxruntime_are_not_given_for_tensorrt(make_layer, facts):
    def told(kind, **layer):
        args = (make_layer(**layer), make_layer(), kind, 0.5, 8, facts)
        return advise(Case(*args, engine="tensorrt")), advise(Case(*args))

    there, here = told("layout change", layout_us=80.0)
    assert "blocked layout" in here
    assert "blocked layout" not in there
    assert "TensorRT reads it in another layout" in there
    there, here = told("compute", out_channels=18)
    assert "are padded" in here
    assert "are padded" not in there
