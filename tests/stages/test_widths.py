"""What is written and told of widths."""

import io
import json
from types import SimpleNamespace

import pytest
import torch

from compressor.console import Console
from compressor.count import layer_macs
from compressor.couplings.trace import trace
from compressor.stages.widths import engine_multiple, multiple_of, say_alignment, width_entries
from compressor.strip.alignment import Alignment
from compressor.strip.budget import best_units
from compressor.strip.cost import Cost
from compressor.strip.settings import StripSettings
from compressor.strip.target import TargetSettings


def said(*odd):
    stream = io.StringIO()
    aligned = Alignment(16, 8, 6, 0.9, odd)
    say_alignment(aligned, TargetSettings(), Console(stream=stream))
    return " ".join(stream.getvalue().split())


def test_the_aligned_share_is_told():
    line = "6 of 8 weights have multiples of 16 channels, which suits onnxruntime, with 90.0% of"
    assert line in said()
    assert "warning" not in said()


@pytest.mark.parametrize(
    ("odd", "named"),
    [(("a",), "a. Set"), ((*"abc",), "a, b, c. Set"), ((*"abcde",), "c and 2 more.")],
)
def test_widths_that_are_no_multiple_of_four_are_one_warning(odd, named):
    assert said(*odd).count("warning") == 1
    assert named in said(*odd)


def test_every_coupling_has_its_channels_and_whether_they_suit(make_net):
    model, example = make_net("plain"), torch.zeros(2, 1, 8, 8)
    couplings = trace(model, example)
    cost = Cost.of(model, couplings, layer_macs(model, example))
    scores = {c.name: torch.ones(c.num_units) for c in couplings.free}
    structure = best_units(scores, dict(zip(scores, (4, 3), strict=True)))
    entries = width_entries(couplings, cost, structure, 4)
    assert [(e["units"], e["kept"], e["channels"], e["aligned"]) for e in entries] == [
        (4, 4, 4, True),
        (6, 3, 3, False),
    ]
    assert all(0 < entry["share_of_macs"] < 1 for entry in entries)


def asked(round_to):
    context = SimpleNamespace(
        recipe=SimpleNamespace(
            strip=StripSettings(round_to=round_to), target=TargetSettings(engine="openvino")
        )
    )
    return multiple_of(context)


def test_a_number_for_auto_counts_as_it_and_is_shown_as_the_user_wrote_it():
    found = asked("auto").channels
    assert (found, json.dumps(found)) == (16, "16")
    assert f"strip.round_to = {found}" == 'strip.round_to = "auto", which is 16 here'
    assert f"{asked(16).channels}" == "16"


def test_the_multiple_of_a_target_is_found_on_this_machine():
    assert engine_multiple(TargetSettings()).channels in (8, 16)
    assert engine_multiple(TargetSettings(engine="openvino")).channels == 16
