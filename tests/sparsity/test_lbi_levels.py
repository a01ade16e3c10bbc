"""DessiLBI on filters and single weights: what moves, what is kept, what is refused."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import kept_norms, weight_names
from compressor.sparsity.prox import group_soft_threshold
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings

HORIZON = Horizon(num_steps=40, path_time=2.0, seed=0, num_epochs=4)
NO_COUPLINGS = Couplings(())


class Mixed(nn.Module):
    """All kinds of layers with weights."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 2, groups=2, bias=False)
        self.head = nn.Linear(4, 5)

    def forward(self, images):
        hidden = self.norm(self.depthwise(self.conv(images).relu())).relu()
        return self.head(self.up(hidden).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Mixed().double().to(memory_format=torch.channels_last)


def data():
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(16, 3, 6, 6, dtype=torch.float64, generator=draw)
    return images, torch.randint(0, 5, (16,), generator=draw)


def loss_of(model):
    images, targets = data()
    return nn.functional.cross_entropy(model(images), targets)


def fit(model, optimizer, num_steps):
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def attached(model, optimizer, couplings=NO_COUPLINGS, horizon=HORIZON, **settings):
    sparsifier = SplitLBI(SplitLBISettings(**settings), horizon)
    sparsifier.attach(model, optimizer, couplings)
    return sparsifier


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.05, "momentum": 0.9, **options})


def by_hand(model, prox, num_steps, nu, lam, decay):
    """The published iteration, parameter by parameter; Gamma at the end, by name."""
    parameters = dict(model.named_parameters())
    weights = {name: parameters[name] for name in weight_names(model)}
    start = {name: weight.detach().clone() for name, weight in weights.items()}
    buffers = {name: torch.zeros_like(p) for name, p in parameters.items()}
    duals = {name: torch.zeros_like(w) for name, w in start.items()}
    gammas = copy.deepcopy(duals)
    for _ in range(num_steps):
        model.zero_grad()
        loss_of(model).backward()
        with torch.no_grad():
            for name, p in parameters.items():
                buffers[name] = 0.9 * buffers[name] + p.grad + decay * p
                pull = (p - gammas[name]) / nu if name in gammas else torch.zeros_like(p)
                p -= 0.05 * (buffers[name] + pull)
                if name in gammas:
                    duals[name] += 0.05 * pull
                    gammas[name] = prox(name, duals[name], lam, start[name])
    return gammas


def weight_prox(_name, dual, lam, start):
    cut = lam * start.abs().mean()
    return dual.sign() * (dual.abs() - cut).clamp_min(0)


def filter_rows(name, tensor):
    """Filters as rows, and back."""
    if name == "up.weight":  # (inputs, outputs of a group, ...), two groups
        split = tensor.view(2, 4, 2, 2, 2).transpose(1, 2)
        return split.reshape(4, -1)
    return tensor.reshape(len(tensor), -1) if tensor.dim() > 2 else tensor.reshape(-1, 1)


def filter_back(name, rows, shape):
    if name == "up.weight":
        return rows.view(2, 2, 4, 2, 2).transpose(1, 2).reshape(shape)
    return rows.view(shape)


def filter_prox(name, dual, lam, start):
    cut = lam * filter_rows(name, start).norm(dim=1).mean()
    return filter_back(name, group_soft_threshold(filter_rows(name, dual), float(cut)), dual.shape)


@pytest.mark.parametrize(
    ("level", "prox", "lam"), [("weight", weight_prox, 0.7), ("filter", filter_prox, 0.9)]
)
def test_it_equals_the_published_iteration_with_momentum_and_decay(model, level, prox, lam):
    nu, decay = 0.8, 1e-3
    twin = copy.deepcopy(model)
    sparsifier = attached(model, opt := sgd(model, weight_decay=decay), level=level, nu=nu, lam=lam)
    fit(model, opt, 40)
    gammas = by_hand(twin, prox, 40, nu, lam, decay)
    for found, expected in zip(model.parameters(), twin.parameters(), strict=True):
        assert (found - expected).abs().max() < 1e-12
    kept = sparsifier.structure()
    assert kept.granularity == "weight"
    assert 0.05 < kept.sparsity < 0.95, "the case would say little"
    for name, gamma in gammas.items():
        assert torch.equal(kept.keep[name], gamma != 0), name


def test_with_adamw_the_coupling_is_neither_preconditioned_nor_decayed(model):
    rate, nu, lam, decay, (b1, b2), eps = 0.01, 0.3, 0.7, 0.1, (0.9, 0.999), 1e-8
    twin = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    sparsifier = attached(model, optimizer, level="weight", nu=nu, lam=lam)
    fit(model, optimizer, 30)
    parameters = dict(twin.named_parameters())
    cuts = {name: lam * parameters[name].abs().mean().item() for name in weight_names(twin)}
    first, second, duals, gammas = (
        {name: torch.zeros_like(p) for name, p in parameters.items()} for _ in range(4)
    )
    for step in range(1, 31):
        twin.zero_grad()
        loss_of(twin).backward()
        with torch.no_grad():
            for name, p in parameters.items():
                pull = (p - gammas[name]) / nu if name in cuts else torch.zeros_like(p)
                first[name] = b1 * first[name] + (1 - b1) * p.grad
                second[name] = b2 * second[name] + (1 - b2) * p.grad**2
                root = (second[name] / (1 - b2**step)).sqrt() + eps
                p *= 1 - rate * decay
                p -= rate * (first[name] / (1 - b1**step) / root + pull)
                if name in cuts:
                    duals[name] += rate * pull
                    gammas[name] = torch.nn.functional.softshrink(duals[name], cuts[name])
    for found, expected in zip(model.parameters(), twin.parameters(), strict=True):
        assert (found - expected).abs().max() < 1e-10
    assert torch.equal(sparsifier.structure().keep["conv.weight"], gammas["conv.weight"] != 0)
    assert gammas["conv.weight"].any()


@pytest.mark.parametrize("level", ["filter", "weight"])
def test_with_a_huge_nu_it_is_plain_sgd_and_one_group_of_each_layer_stays(model, level):
    plain = copy.deepcopy(model)
    sparsifier = attached(model, opt := sgd(model, weight_decay=1e-3), level=level, nu=1e12)
    fit(model, opt, 20)
    fit(plain, sgd(plain, weight_decay=1e-3), 20)
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-9)
    assert sparsifier.metrics()["support_share"] == 0.0
    kept = sparsifier.structure()
    sizes = {"conv.weight": 27, "depthwise.weight": 9, "up.weight": 16, "head.weight": 1}
    assert kept.widths() == (sizes if level == "filter" else dict.fromkeys(sizes, 1))


def test_two_of_every_four_inputs_stay_and_other_weights_are_whole(model):
    sparsifier = attached(model, opt := sgd(model), level="2:4", nu=0.5, lam=0.5)
    fit(model, opt, 20)
    kept = sparsifier.structure()
    assert kept.granularity == "2:4"
    # The others have three inputs, one input, and inputs along another axis.
    whole = {"conv.weight": 216, "depthwise.weight": 72, "up.weight": 64}
    assert kept.widths() == {**whole, "head.weight": 10}
    duals = sparsifier.state_dict()["twins"]["head.weight"]["dual"][0].abs()
    fours = kept.keep["head.weight"]
    assert (fours.sum(dim=1) == 2).all()
    assert (duals.masked_fill(~fours, 9).amin(1) >= duals.masked_fill(fours, -1).amax(1)).all()


def test_before_the_first_step_the_largest_weights_of_every_four_stay(model):
    kept = attached(model, sgd(model), level="2:4").structure().keep["head.weight"]
    weights = model.head.weight.detach().abs()
    assert (weights.masked_fill(~kept, 9).amin(1) >= weights.masked_fill(kept, 0).amax(1)).all()


@pytest.mark.parametrize("level", ["filter", "weight"])
@pytest.mark.parametrize("density", [0.25, 0.5])
def test_the_ordered_rule_keeps_its_share_of_each_layer_the_earliest_first(model, level, density):
    sparsifier = attached(
        model, opt := sgd(model), level=level, rule="ordered", density=density, nu=0.3, lam=0.9
    )
    fit(model, opt, 37)  # in the middle of an epoch
    kept = sparsifier.structure().keep
    for name, mask in kept.items():
        rows = filter_rows(name, mask) if level == "filter" else mask.reshape(-1, 1)
        assert (rows.all(dim=1) == rows.any(dim=1)).all()
        assert rows.any(dim=1).sum() == round(density * len(rows))
    twins = sparsifier._twins["conv.weight"]
    entered = sparsifier._entry_epochs("conv.weight", twins)
    score = torch.where(entered < 0, 4, entered) - twins.weight_norms("conv.weight")
    chosen = kept["conv.weight"][:, 0, 0, 0] if level == "filter" else kept["conv.weight"]
    assert score[chosen].max() <= score[~chosen].min()
    assert len(entered.unique()) > 2, "the case would say little"


def test_detaching_shows_what_the_structure_keeps(model):
    sparsifier = attached(model, opt := sgd(model), level="weight", nu=0.5, lam=0.9)
    fit(model, opt, 20)
    kept = sparsifier.structure().keep
    dense = {name: model.get_parameter(name).detach().clone() for name in kept}
    sparsifier.detach()
    for name, mask in kept.items():
        assert torch.equal(model.get_parameter(name), torch.where(mask, dense[name], 0.0))
    after = sparsifier.structure().keep
    assert all(torch.equal(after[name], kept[name]) for name in kept)
    shown = {name: p.detach().clone() for name, p in model.named_parameters()}
    sparsifier.detach()
    assert all(torch.equal(p, shown[name]) for name, p in model.named_parameters())


def test_units_rank_by_what_the_weights_that_stay_leave_of_them(model):
    members = (Member("conv.weight", 0, torch.arange(8).view(8, 1), "filter"),)
    couplings = Couplings((Coupling("conv", 8, members),))
    sparsifier = attached(model, opt := sgd(model), couplings, level="weight", nu=0.5, lam=0.9)
    fit(model, opt, 20)
    expected = kept_norms(couplings, dict(model.named_parameters()), sparsifier.structure())
    assert torch.equal(sparsifier.path().couplings["conv"].score, expected["conv"])


def test_metrics_tell_the_coupling_loss_and_the_density(model):
    sparsifier = attached(model, opt := sgd(model), level="filter", nu=0.5, lam=0.7)
    fit(model, opt, 20)
    gaps = 0.0
    for name, twins in sparsifier._twins.items():
        weight = model.get_parameter(name).detach()
        gaps += float((weight - twins.gamma(name)[0].reshape(weight.shape)).square().sum())
    metrics = sparsifier.metrics()
    assert metrics["coupling_loss"] == pytest.approx(gaps / (2 * 0.5))
    structure = sparsifier.structure()
    assert metrics["density"] == pytest.approx(structure.num_kept / structure.num_units)
    assert 0 < metrics["support_share"] <= metrics["density"]


@pytest.mark.parametrize(
    "choice",
    [
        {"level": "weight"},
        {"level": "weight", "rule": "ordered", "density": 0.3},
        {"level": "filter", "preset": "split-lbi"},
        {"level": "2:4"},
    ],
    ids=str,
)
def test_a_resumed_run_is_the_run_that_never_stopped_bit_for_bit(model, choice, same):
    options = {"momentum": 0.0} if "preset" in choice else {}
    settings = {**choice, "nu": 0.5, "lam": 0.8}
    fresh = copy.deepcopy(model)
    whole = attached(model, opt := sgd(model, **options), **settings)
    fit(model, opt, 17)
    saved = copy.deepcopy((model.state_dict(), opt.state_dict(), whole.state_dict()))
    fit(model, opt, 23)
    again = attached(fresh, other := sgd(fresh, **options), **settings)
    fresh.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    again.load_state_dict(saved[2])
    fit(fresh, other, 23)
    assert same(again.state_dict(), whole.state_dict())
    assert same(dict(fresh.state_dict()), dict(model.state_dict()))
    assert same(dict(again.structure().keep), dict(whole.structure().keep))


def test_a_checkpoint_of_another_level_or_preset_is_refused_by_name(model):
    state = attached(model, sgd(model), level="weight").state_dict()
    with pytest.raises(TrainError, match="level weight, the run of dessilbi at level filter"):
        attached(model, sgd(model), level="filter").load_state_dict(state)
    convergent = attached(model, sgd(model, momentum=0), level="weight", preset="split-lbi")
    with pytest.raises(TrainError, match='of sparsity.preset "dessilbi", the run of "split-lbi"'):
        convergent.load_state_dict(state)


def test_the_convergent_form_refuses_a_rate_at_the_step_where_it_changes(model):
    with pytest.raises(TrainError, match=r"train.momentum = 0"):
        attached(model, sgd(model), preset="split-lbi")
    sparsifier = attached(model, opt := sgd(model, momentum=0), level="weight", preset="split-lbi")
    opt.param_groups[0]["lr"] = 0.04  # the first step settles it
    fit(model, opt, 3)
    opt.param_groups[0]["lr"] = 0.03
    with pytest.raises(TrainError, match=r"went from 0.04 to 0.03"):
        fit(model, opt, 1)
    assert sparsifier.state_dict()["step"] == 3


def test_an_unstable_step_is_refused_when_attached_and_when_it_comes(model):
    refused = sgd(model)
    with pytest.raises(TrainError, match=r"learning rate 0.05 is not below nu, 0.02"):
        attached(model, refused, level="weight", nu=0.02)
    assert not refused._optimizer_step_pre_hooks
    attached(model, opt := sgd(model), level="weight", nu=0.1)
    opt.param_groups[0]["lr"] = 0.1
    with pytest.raises(TrainError, match=r"learning rate 0.1 is not below nu, 0.1"):
        fit(model, opt, 1)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rule": "ordered"}, 'rule "ordered" needs a density'),
        ({"rule": "ordered", "density": 0.5, "level": "2:4"}, "another level"),
        ({"density": 0.5}, "density is 0.5, and the support is as large as it is"),
        ({"twin": "filter", "level": "weight"}, 'twin is "filter", and at level "weight"'),
        ({"density": 0.0, "rule": "ordered"}, "greater than 0"),
        ({"nu": 0.1, "entry_share": 0.2}, "nu is 0.1 and entry_share 0.2"),
    ],
)
def test_settings_that_say_nothing_or_too_little_are_refused(settings, match):
    with pytest.raises(ValidationError, match=match):
        SplitLBISettings(**settings)


@pytest.mark.parametrize(("weight", "expected"), [("one", 1.0), ("root", 27**0.5)])
def test_the_published_group_weights_are_for_the_asking(model, weight, expected):
    sparsifier = attached(model, sgd(model), level="filter", group_weight=weight, lam=0.3)
    twins = sparsifier.state_dict()["twins"]
    assert twins["conv.weight"]["threshold"] == pytest.approx(0.3 * expected)
    assert twins["head.weight"]["threshold"] == pytest.approx(0.3)


@pytest.mark.parametrize("weight", ["one", "root", "initial-norm"])
def test_nu_is_calibrated_to_the_clock_of_a_group_of_mean_norm(weight):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(3, 6, 5, bias=False)).double()
    with torch.no_grad():
        model[0].weight.div_(model[0].weight.flatten(1).norm(dim=1).view(-1, 1, 1)).mul_(0.6)
    horizon = Horizon(num_steps=400, path_time=40.0, seed=0)
    sparsifier = attached(
        model, opt := sgd(model, lr=0.1), horizon=horizon, level="filter", group_weight=weight
    )
    still = model[0].weight.detach().clone()
    for _ in range(200):
        model[0].weight.grad = torch.zeros_like(still)
        opt.step()
        model[0].weight.data.copy_(still)
    steps = sparsifier._twins["0.weight"].entries("0.weight")[0]
    assert (abs(steps - 0.35 * 400) <= 1).all()


def test_ordered_units_fill_their_share_of_each_coupling(model):
    scale = Member("norm.weight", 0, torch.arange(8).view(8, 1), "scale")
    filters = Member("depthwise.weight", 0, torch.arange(8).view(8, 1), "filter")
    couplings = Couplings((Coupling("c", 8, (filters, scale)),))
    sparsifier = attached(model, opt := sgd(model), couplings, rule="ordered", density=0.25)
    fit(model, opt, 20)
    assert sparsifier.structure().granularity == "channel"
    assert sparsifier.structure().widths() == {"c": 2}


@pytest.mark.parametrize("level", ["filter", "weight", "2:4"])
def test_a_network_without_weights_to_choose_from_is_refused(level):
    model = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(TrainError, match=f"No layer has weights for level {level}"):
        attached(model, sgd(model), level=level)


def test_a_shared_weight_has_one_twin(model):
    model.again = nn.Linear(4, 5)
    model.again.weight = model.head.weight
    sparsifier = attached(model, sgd(model), level="weight")
    assert list(sparsifier.structure().keep) == list(weight_names(model))
    assert "again.weight" not in sparsifier.structure().keep


def test_weights_of_zero_are_refused_at_every_level(model):
    nn.init.zeros_(model.head.weight)
    with pytest.raises(TrainError, match="head.weight: all weights that would carry the twin"):
        attached(model, sgd(model), level="weight")
