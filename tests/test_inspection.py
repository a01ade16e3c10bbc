"""Inspecting a network: figures against networks that are really stripped, and clumsy input."""

import json
import logging
import re
import sys
import threading

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from compressor.cli import main
from compressor.count import count, layer_macs
from compressor.couplings.trace import trace
from compressor.errors import ModelError
from compressor.inspection.inspect import inspect_model, outlook, small_images, try_export
from compressor.inspection.records import ExportTrial, Held, Inspection, Outlook, Share, Unreached
from compressor.inspection.reference import default_shape, is_reference
from compressor.inspection.text import as_text
from compressor.recipe import shipped
from compressor.strip.apply import apply
from compressor.strip.budget import Cost
from compressor.strip.plan import make_plan
from compressor.structure import Structure
from compressor.tasks.model import ModelSettings, build_model

EXAMPLE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

NETS = """
import torch
from torch import nn


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, images, mask):
        return self.layer(images * mask).mean((2, 3))


class InDict(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return {"logits": self.layer(images).mean((2, 3))}


def two_inputs(num_classes): return TwoInputs()
def in_dict(num_classes): return InDict()
def raises(num_classes): raise ValueError("no such widths")
def small(num_classes, image_size=12): return nn.Sequential(
    nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 100, num_classes))
def keyword_only(num_classes, *, image_size=20): return small(num_classes)
def computed(num_classes, image_size=4 * 5): return small(num_classes)
"""


class Mixed(nn.Module):
    """A layer that can be cut, and a layer norm of what is never zero, which keeps the next."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3)
        self.norm = nn.LayerNorm(24)
        self.shift = nn.Parameter(torch.zeros(24))
        self.head, self.unused = nn.Linear(24, 5), nn.Linear(24, 2)

    def forward(self, x):
        x = self.body(torch.relu(self.stem(x))).mean((2, 3))
        return self.head(torch.relu(self.norm(torch.sigmoid(x)) + self.shift))


@pytest.fixture(scope="module")
def residual():
    """The shipped residual network, small."""
    settings = ModelSettings(
        factory="models/residual.py:residual_net", arguments={"widths": [16, 32]}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(settings, 10, 3, (shipped("models").parent,)).train()


@pytest.fixture(scope="module")
def found(residual):
    """Its inspection."""
    return inspect_model(residual, EXAMPLE)


@pytest.fixture(scope="module")
def mixed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return inspect_model(Mixed(), EXAMPLE, seconds=20)


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A folder with a file of networks."""
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    return CliRunner().invoke(main, ["inspect", *words])


def test_the_shares_of_a_coupling_are_what_leaves_with_all_units_but_one(residual, found):
    couplings, whole = trace(residual, EXAMPLE), count(residual, EXAMPLE)
    assert [share.name for share in found.couplings] == [c.name for c in couplings.free]
    for share in found.couplings:
        keep = dict(couplings.everything().keep)
        keep[share.name] = torch.arange(share.units) == 0
        slim = apply(make_plan(residual, couplings, Structure(keep)), residual)
        left = count(slim, EXAMPLE)
        assert share.macs_share == pytest.approx(1 - left.macs / whole.macs, abs=1e-12)
        assert share.params_share == pytest.approx(1 - left.params / whole.params, abs=1e-12)


def test_the_whole_network_is_counted_and_the_classifier_is_named_as_frozen(residual, found):
    whole = count(residual, EXAMPLE)
    assert (found.macs, found.params) == (whole.macs, whole.params)
    assert (found.image_shape, found.traced_shape) == ((3, 16, 16), (3, 16, 16))
    (held,) = found.frozen
    assert (held.name, held.units) == ("classifier", 10)
    assert "an output of the network" in held.reason
    # Its weight shrinks with what it reads; only its 10 biases are out of reach.
    assert held.params_share == found.unreached_share == pytest.approx(10 / whole.params)


def test_the_network_is_left_as_it_was(residual, found):
    assert all(module.training for module in residual.modules())
    assert not any(module._forward_hooks for module in residual.modules())
    assert float(residual.norm.running_mean.abs().sum()) == 0


@pytest.mark.parametrize(("place", "keep_macs"), [(0, 0.5), (1, 0.25)])
def test_an_outlook_fills_its_budget_and_thins_evenly(found, place, keep_macs):
    forecast = found.outlooks[place]
    assert forecast.failure is None
    assert 0.8 * keep_macs < forecast.macs_share <= keep_macs
    assert 0 < forecast.params_share < 1
    widths = [kept for _, kept, _ in forecast.narrowest]
    assert widths == sorted(widths)
    assert all(kept % 8 == 0 for kept in widths)
    assert widths[0] < 16
    assert all(kept <= units for _, kept, units in forecast.narrowest)


def test_even_thinning_takes_as_much_of_every_coupling():
    net = nn.Sequential(
        *(nn.Conv2d(3, 64, 1), nn.ReLU(), nn.Conv2d(64, 192, 1), nn.ReLU()),
        *(nn.Conv2d(192, 128, 1), nn.ReLU(), nn.Conv2d(128, 10, 1)),
    )
    couplings = trace(net, EXAMPLE)
    cost = Cost.of(net, couplings, layer_macs(net, EXAMPLE))
    shares = [kept / units for _, kept, units in outlook(couplings, cost, 0.25).narrowest]
    assert len(shares) == 3
    # What the last steps of 8 units leave open is filled up where it fits.
    assert max(shares) - min(shares) <= 0.25
    assert sum(shares) / 3 == pytest.approx(0.25**0.5, abs=0.1)


def test_a_budget_that_cannot_be_met_says_why(toy_net, toy_couplings, toy_task):
    net, couplings = toy_net("residual"), toy_couplings["residual"]
    cost = Cost.of(net, couplings, layer_macs(net, toy_task.example(2)))
    forecast = outlook(couplings, cost, 0.25)
    assert forecast.macs_share is forecast.params_share is None
    assert "the floors alone cost 0.860" in forecast.failure


def test_what_no_coupling_reaches_is_named_with_its_type_and_share(mixed):
    params = mixed.params
    assert [c.name for c in mixed.couplings] == ["stem"]
    assert {held.name for held in mixed.frozen} == {"body", "head"}
    # Of the second layer only the bias: its weight shrinks with the first.
    own = {held.name: held.params_share * params for held in mixed.frozen}
    assert own == pytest.approx({"body": 24, "head": 24 * 5 + 5})
    others = {layer.name: (layer.type, layer.params_share * params) for layer in mixed.unreached}
    assert others == {
        "norm": ("LayerNorm", pytest.approx(48)),
        "": ("Mixed", pytest.approx(24)),
        "unused": ("Linear", pytest.approx(50)),
    }
    assert mixed.unreached_share * params == pytest.approx(24 + 125 + 48 + 24 + 50)


def test_a_layer_that_the_network_has_and_never_uses_is_told_from_one_that_it_uses(mixed):
    reasons = {layer.name: layer.reason for layer in mixed.unreached}
    assert reasons["unused"] == "never used by the forward pass"
    assert reasons["norm"] == reasons[""] == "only in couplings that are kept whole, or in none"


def test_a_network_of_which_nothing_can_be_removed_is_still_described():
    found = inspect_model(nn.Sequential(nn.Flatten(), nn.Linear(768, 5)), EXAMPLE, seconds=0.5)
    page = as_text(found, "net", 100)
    assert (found.couplings, found.unreached_share) == ((), 1.0)
    assert all(forecast.failure for forecast in found.outlooks)
    assert "nothing" in page


@pytest.mark.parametrize(
    ("size", "small"), [((224, 224), (64, 64)), ((480, 640), (64, 96)), ((64, 500), (64, 500))]
)
def test_small_images_keep_proportions_and_are_never_larger(size, small):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)).train()
    images = torch.zeros(2, 3, *size)
    assert tuple(small_images(net, images).shape) == (2, 3, *small)
    assert net[0].training


def test_a_network_that_takes_one_size_only_is_traced_at_that_size():
    images = torch.zeros(2, 3, 96, 96)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 96 * 96, 4))
    assert small_images(net, images) is images


def test_an_export_that_works_tells_its_size(found):
    export = found.export
    assert export.failure is None
    assert export.bytes > 4 * found.params
    assert (export.opset, export.seconds > 0) == (20, True)


class Branching(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


@pytest.mark.parametrize(
    ("net", "told"),
    [
        (Branching(), "Branching cannot be exported .*data-dependent"),
        (nn.Conv2d(3, 4, 3).bfloat16(), r"weight is torch\.bfloat16"),
    ],
)
def test_an_export_that_fails_is_one_line_and_no_exception(net, told):
    trial = try_export(net, (3, 16, 16), 60)
    assert trial.bytes is None
    assert "\n" not in trial.failure
    assert re.search(told, trial.failure)


def test_an_export_that_takes_too_long_is_stopped_and_leaves_nothing_behind(residual):
    streams, threads = (sys.stdout, sys.stderr), threading.active_count()
    trial = try_export(residual, (3, 16, 16), 0.2)
    assert trial.bytes is None
    assert trial.failure.startswith("It was stopped after 0.2 s")
    assert (sys.stdout, sys.stderr) == streams
    assert logging.root.manager.disable == 0
    assert threading.active_count() == threads


def small_inspection(**changes):
    """One of every kind, with names that a markup language would eat."""
    parts = {
        "image_shape": (3, 32, 32),
        "traced_shape": (3, 32, 32),
        "macs": 2_500_000,
        "params": 1_200,
        "couplings": (Share("[bold]a", 64, ("[bold]a.weight", "[bold]a.bias"), 0.5, 0.25),),
        "frozen": (Held("b", 7, "b is a Thing, which cannot be cut yet", 0.125),),
        "unreached": (
            Unreached("c.1", "Norm", "unused", 0.03),
            Unreached("c.2", "Norm", "unused", 0.02),
        ),
        "unreached_share": 0.175,
        "outlooks": (Outlook(0.5, 0.49, 0.4, (("[bold]a", 32, 64),), None),),
        "export": ExportTrial("exporter", 20, 1.5, 4_000, None),
        "form": "graph",
        "second_engine": "agrees on 3 couplings",
        "unknown_operators": {"fold": "c (fold)"},
    }
    return Inspection(**{**parts, **changes})


def test_the_page_has_every_figure():
    lines = as_text(small_inspection(), "net", 100).splitlines()
    assert lines[0] == "net on images of 3 x 32 x 32: 2.50 M MACs, 1.20 k parameters"
    row = next(line.split() for line in lines if line.lstrip().startswith("[bold]a "))
    assert row == ["[bold]a", "64", "1", "50.00", "%", "25.00", "%"]
    page = " ".join(" ".join(lines).split())
    assert "b 7 12.50 % b is a Thing, which cannot be cut yet" in page
    assert "No coupling reaches 17.50 % of the parameters" in page
    assert "- 5.00 % in 2 Norm (c.1, ...): unused" in page
    assert "49.00 % of the MACs and 40.00 % of the parameters stay; narrowest: [bold]a 32" in page
    assert "ONNX (exporter, opset 20) works: 4.00 kB in 1.5 s." in page
    assert "the slim network is the captured graph. torch-pruning agrees on 3 couplings." in page
    assert "The operator fold (first in c (fold)) has no rule" in page


def test_the_page_says_what_fails():
    refused = Outlook(0.25, None, None, (), "The floors are too high.")
    export = ExportTrial("exporter", 20, 2.0, None, "No such operator.")
    page = as_text(small_inspection(outlooks=(refused,), export=export), "net", 200)
    assert "4.00x fewer MACs: The floors are too high." in page
    assert "ONNX (exporter, opset 20) fails after 2.0 s: No such operator." in page


@pytest.mark.parametrize("width", [60, 100])
def test_the_page_keeps_to_its_width(width):
    reason = "a reason " * 30
    frozen = (Held("a.long.name.of.a.layer", 7, reason, 0.1),)
    lines = as_text(small_inspection(frozen=frozen), "net", width).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torchvision:resnet18", True),
        ("timm:resnet18", True),
        ("some/nets.py:build", True),
        ("nets.py", False),
        ("digits", False),
        ("mine.toml", False),
        ("torchvision:", False),
        ("keras:resnet", False),
    ],
)
def test_a_network_is_told_from_a_recipe_by_its_form(text, expected):
    assert is_reference(text) is expected


@pytest.mark.parametrize(
    ("name", "side"), [("small", 12), ("keyword_only", 20), ("computed", 224), ("raises", 224)]
)
def test_a_factory_says_by_image_size_what_images_it_is_for(user, name, side):
    shape = default_shape(nn.Identity(), f"nets.py:{name}", (user,))
    assert shape == (3, side, side)


def test_what_timm_wrote_on_a_network_is_its_default():
    net = nn.Identity()
    net.pretrained_cfg = {"input_size": (3, 288, 288)}
    assert default_shape(net, "timm:some", ()) == (3, 288, 288)
    assert default_shape(nn.Identity(), "torchvision:resnet18", ()) == (3, 224, 224)


def test_the_command_prints_a_page_and_progress_beside_it(user):
    result = call("nets.py:small", "--num-classes", "10")
    assert result.exit_code == 0
    assert result.stdout.startswith("nets.py:small on images of 3 x 12 x 12: ")
    assert "ONNX (torch.onnx, dynamo, opset 20) works" in result.stdout
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["inspect", "inspect"]


def test_the_command_prints_json_and_nothing_else(user):
    shape = ("--input-shape", "1,8,8", "--num-classes", "4")
    result = call("models/plain.py:plain_net", *shape, "--json", "--quiet")
    shown = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (shown["model"], shown["image_shape"]) == ("models/plain.py:plain_net", [1, 8, 8])
    assert {c["name"]: c["units"] for c in shown["couplings"]} == {
        "features.0": 16,
        "features.3": 32,
    }
    assert shown["frozen"][0]["units"] == 4
    assert [forecast["keep_macs"] for forecast in shown["outlooks"]] == [0.5, 0.25]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nets.py:two_inputs"], "TwoInputs does not run on one batch of images of 3 x 224 x 224"),
        (["nets.py:raises"], "no such widths"),
        (["nets.py:gone"], "has no function 'gone'"),
        (["gone.py:net"], "there is no such file"),
        (["torchvision:resnet"], "torchvision has no model 'resnet'"),
        (["nets.py:small", "--input-shape", "3,9,9"], "does not run on one batch of images of 3 x"),
    ],
)
def test_a_network_that_will_not_do_is_one_line_and_status_one(user, words, told):
    result = call(*words, "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr
    assert "--input-shape" in result.stderr or "does not run" not in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["torchvision:resnet18", "--seed", "1", "--out", "o"], "--out, --seed can only be given"),
        (
            ["torchvision:resnet18", "--input-shape", "3,224"],
            "'3,224' is not CHANNELS,HEIGHT,WIDTH",
        ),
        (["torchvision:resnet18", "--input-shape", "3,0,4"], "'3,0,4' is not"),
        (["torchvision:resnet18", "--num-classes", "0"], "--num-classes"),
        (["digits", "--num-classes", "4"], "--num-classes can only be given for networks"),
    ],
)
def test_options_of_the_other_kind_are_refused_with_status_two(words, told):
    result = call(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


def test_a_network_of_two_inputs_is_refused_as_one(user):
    net = build_model(ModelSettings(factory="nets.py:two_inputs"), 10, 3, (user,))
    with pytest.raises(ModelError) as refused:
        inspect_model(net, EXAMPLE)
    assert "\n" not in str(refused.value)


def test_outputs_in_a_dict_are_outputs_like_others(user):
    net = build_model(ModelSettings(factory="nets.py:in_dict"), 10, 3, (user,))
    found = inspect_model(net, EXAMPLE)
    assert all("an output of the network" in held.reason for held in found.frozen)
    assert found.frozen
