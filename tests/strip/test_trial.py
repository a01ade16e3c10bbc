"""Couplings that are wrong are found out before any training."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.couplings.index_flow import index_flow
from compressor.couplings.trace import trace
from compressor.errors import CouplingError
from compressor.strip.trial import freeze_what_fails, shake


class Pooled(nn.Module):
    """Two convolutions and a classifier; what happens in between is the test's."""

    def __init__(self, between=lambda _, x: x) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3)
        self.head, self.between = nn.Linear(8, 4), between

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self, torch.relu(self.first(x)))
        return self.head(torch.relu(self.second(x)).mean(dim=(2, 3)))


def tried(net: nn.Module, images: Tensor) -> Couplings:
    return freeze_what_fails(net, trace(net, images), images)


def frozen(couplings: Couplings) -> dict[str, str]:
    return {f.name: f.reason for f in couplings.frozen if "output of the network" not in f.reason}


def test_sound_couplings_come_back_as_they_are(net, couplings, images):
    sound = freeze_what_fails(net, couplings, images)
    assert sound == couplings


def demands_six(_: Pooled, x: Tensor) -> Tensor:
    assert x.shape[1] == 6, "six channels\nor nothing"
    return x


def looks_up(_: Pooled, x: Tensor) -> Tensor:
    return x * {6: 1.0}[x.shape[1]]


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda _, x: x.softmax(dim=1), "removing half of these channels changes the output by 0."),
        (lambda _, x: x / x.shape[1], "removing half of these channels changes the output by "),
        (lambda _, x: x.flip(1), "removing half of these channels changes the output by "),
        (lambda _, x: x.roll(2, 1), "removing half of these channels changes the output by "),
        (lambda _, x: x * torch.ones(6, 1, 1, dtype=x.dtype), "does not run without half of these"),
        (demands_six, "does not run without half of these (six channels)"),
        (looks_up, "does not run without half of these (3)"),
    ],
)
def test_coupling_that_does_not_survive_its_cut_is_frozen_alone(between, reason, images):
    couplings = tried(Pooled(between), images)
    assert [coupling.name for coupling in couplings.free] == ["second"]
    assert list(frozen(couplings)) == ["first"]
    assert reason in frozen(couplings)["first"]


def test_member_that_is_missing_is_found_out(net, couplings, images):
    stem, wide = couplings.free
    broken = replace(wide, members=tuple(m for m in wide.members if m.kind != "input"))
    sound = freeze_what_fails(net, Couplings((stem, broken)), images)
    assert sound.free == (stem,)
    assert "does not run" in frozen(sound)["wide"]


def test_channels_of_the_output_are_found_out(images):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    index = torch.arange(5).reshape(5, 1)
    members = (Member("1.weight", 0, index, "filter"), Member("1.bias", 0, index, "bias"))
    couplings = freeze_what_fails(net, Couplings((Coupling("1", 5, members),)), images)
    assert "The outputs have shapes (4, 5) and (4, " in frozen(couplings)["1"]


def test_norm_whose_groups_are_its_channels_passes(images):
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(6, 6), nn.Flatten(), nn.Linear(216, 2))
    index = torch.arange(6).reshape(6, 1)
    places = [
        ("0.weight", "filter"),
        ("0.bias", "bias"),
        ("1.weight", "scale"),
        ("1.bias", "shift"),
    ]
    reader = Member("3.weight", 1, torch.arange(216).reshape(6, 36), "input")
    members = (*(Member(name, 0, index, kind) for name, kind in places), reader)
    couplings = freeze_what_fails(net, Couplings((Coupling("0", 6, members),)), images)
    assert [coupling.name for coupling in couplings.free] == ["0"]


def test_head_that_starts_at_zero_hides_nothing(images):
    net = Pooled(lambda _, x: x.softmax(dim=1))
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    assert list(frozen(tried(net, images))) == ["first"]


def test_couplings_that_fail_only_together_are_refused(images):
    class Together(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            if self.first.out_channels < 6 and self.second.out_channels < 8:
                raise RuntimeError("too narrow")
            return super().forward(x)

    with pytest.raises(CouplingError, match=r"alone, but not all together: .*\(too narrow\)"):
        tried(Together(), images)


def test_network_that_gives_the_same_for_all_images_is_refused(images):
    net = Pooled()
    with pytest.raises(CouplingError, match="vary by 0 over the example images, too little to try"):
        tried(net, images[:1].expand(4, 3, 8, 8))


def test_network_with_nan_weights_is_refused(images):
    net = Pooled()
    nn.init.constant_(net.second.weight[0, 0], float("nan"))
    with pytest.raises(CouplingError, match="differ by nan.*and its weights finite"):
        tried(net, images)


def test_network_that_draws_at_random_is_refused(images):
    net = Pooled(lambda _, x: x * torch.rand(x.shape, dtype=x.dtype))
    with pytest.raises(CouplingError, match="Two runs of the network on the same images differ by"):
        tried(net, images)


def test_network_that_does_not_run_is_refused(net, couplings):
    with pytest.raises(CouplingError, match="does not run on its example input: .* 3 channels"):
        freeze_what_fails(net, couplings, torch.zeros(2, 4, 8, 8))


def test_shaken_norms_are_far_from_the_identity_and_fit_the_images(make_net, images):
    net = make_net(0).train()
    shaken = shake(net, images, seed=0)
    norm = shaken.stem_norm
    before_norm = shaken.stem(images).transpose(0, 1).flatten(1)
    assert torch.allclose(norm.running_mean, before_norm.mean(1), atol=1e-5)
    assert torch.allclose(norm.running_var, before_norm.var(1), atol=1e-5)
    assert norm.weight.std() > 0.1
    assert norm.bias.min() > 0.4
    assert norm.momentum == net.stem_norm.momentum
    assert not shaken.training
    assert torch.equal(net.stem_norm.weight, torch.ones(16))
    assert net.training


def test_shaking_is_the_same_for_the_same_seed(make_net, images):
    first, second, other = (shake(make_net(0), images, seed) for seed in (0, 0, 1))
    assert torch.equal(first(images), second(images))
    assert not torch.equal(first(images), other(images))


def test_weights_that_differ_are_not_shaken(make_net, images):
    net = make_net(0)
    assert torch.equal(shake(net, images, seed=0).wide.weight, net.wide.weight)


def test_deep_network_still_tells_images_apart(images):
    def layer() -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())

    net = nn.Sequential(nn.Conv2d(3, 4, 1), *(layer() for _ in range(30)), nn.Flatten())
    outputs = shake(net, images, seed=0)(images)
    assert outputs.std(dim=0).max() > 1e-3 * outputs.abs().max()


def asks_for_its_width(net: Pooled, x: Tensor) -> Tensor:
    return x.view(-1, net.width, 6, 6)


@pytest.mark.parametrize(
    ("between", "form"),
    [
        (lambda _, x: x, "module"),
        (asks_for_its_width, "mended"),
        (lambda _, x: x.view(-1, 6, 6, 6), "graph"),
    ],
)
def test_first_form_that_can_be_cut_is_taken(between, form, images):
    net = Pooled(between)
    net.width = 6
    found = freeze_what_fails(net, index_flow(net, images), images)
    assert found.form == form
    assert [coupling.name for coupling in found.free] == ["first", "second"]
