"""Gates by hand-written chain rule, against the same network with gates written in autograd."""

import pytest
import torch
from torch.func import functional_call

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import weight_names
from compressor.sparsity.carriers import carriers
from compressor.sparsity.gate_functions import (
    first_alpha,
    first_beta,
    first_weights,
    gated_weights,
    over_threshold,
    quasi_norm,
    unit_gates,
)
from compressor.sparsity.gate_sets import at_guard, share_of_threshold
from compressor.sparsity.gates import Gates, GatesSettings

STEPS, LR, DECAY = 10, 0.1, 0.01


def scalar(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def units_shown(base, couplings, model, gates):
    """Base values times gates, out of place, so that autograd goes through."""
    shown = dict(base)
    for coupling in couplings.free:
        for member in carriers(coupling, model):
            tensor = shown[member.tensor]
            ones = torch.ones(tensor.shape[member.axis], dtype=torch.float64)
            spread = gates[coupling.name].repeat_interleave(member.index.shape[1])
            along = ones.scatter(0, member.index.flatten(), spread)
            shape = [-1 if axis == member.axis else 1 for axis in range(tensor.dim())]
            shown[member.tensor] = tensor * along.view(shape)
    return shown


def loss_of(model, shown, images):
    return functional_call(model, shown, (images,)).square().mean()


def trained(model, couplings, images, settings):
    """Parameters and method after some steps of our own."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=DECAY)
    method = Gates(settings, Horizon(STEPS, STEPS * LR, seed=0))
    method.attach(model, optimizer, couplings)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
    method.detach()
    return dict(model.named_parameters()), method


def descend(base, own, rates, shown_of, pulled):
    """The same in plain autograd; ``own`` are alphas and betas, ``rates`` are over ``LR``."""
    groups = [{"params": list(base.values()), "weight_decay": DECAY}]
    groups += [{"params": [own[name]], "lr": LR * rates[name]} for name in own]
    optimizer = torch.optim.SGD(groups, lr=LR, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        shown = shown_of()
        pulled(shown).backward()
        optimizer.step()
    return shown_of()


def close(a, b):
    return all(torch.allclose(a[name], b[name], rtol=0, atol=1e-10) for name in a)


@pytest.mark.parametrize("kind", ["residual", "plain"])
@pytest.mark.parametrize("form", ["independent", "competitive"])
@pytest.mark.parametrize("flow", ["plain", "rectified"])
def test_units_move_as_in_a_network_with_gates_in_autograd(
    kind, form, flow, toy_net, toy_couplings, toy_task
):
    model, couplings = toy_net(kind).double().eval(), toy_couplings[kind]
    images = toy_task.example(8).double()
    base = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    own, rates = {}, {}
    for c in couplings.free:
        alpha = torch.full((c.num_units,), first_alpha(), dtype=torch.float64)
        own[f"{c.name} alpha"] = alpha.requires_grad_()
        own[f"{c.name} beta"] = scalar(first_beta(c.num_units))
        rates |= {f"{c.name} alpha": 0.5, f"{c.name} beta": 0.5 / c.num_units}

    def gates():
        return {
            c.name: unit_gates(own[f"{c.name} alpha"], own[f"{c.name} beta"], form, flow)
            for c in couplings.free
        }

    def pulled(shown):
        pull = sum(quasi_norm(values, 0.5) for values in gates().values())
        return loss_of(model, shown, images) + 0.05 * pull

    expected = descend(
        base, own, rates, lambda: units_shown(base, couplings, model, gates()), pulled
    )
    settings = GatesSettings(form=form, flow=flow, strength=0.05, rate=0.5)
    found, method = trained(model, couplings, images, settings)
    assert close(found, expected)
    assert method.metrics()["guarded_share"] == 0


@pytest.mark.parametrize("flow", ["plain", "rectified"])
def test_weights_move_as_in_a_network_with_thresholds_in_autograd(flow, toy_net, toy_task):
    model, images = toy_net().double().eval(), toy_task.example(8).double()
    base, own, rates = {}, {}, {}
    gated = weight_names(model)
    for name, p in model.named_parameters():
        weights = p.detach()
        base[name] = (first_weights(weights) if name in gated else weights.clone()).requires_grad_()
    for name in gated:
        weights = model.get_parameter(name).detach()
        own[name] = scalar(first_beta(weights.numel()))
        rates[name] = 1 / float(weights.numel() * weights.abs().mean().square())

    def shown_of():
        return base | {name: gated_weights(base[name], own[name], flow) for name in gated}

    def pulled(shown):
        sizes = (over_threshold(base[name].abs(), own[name], flow) for name in gated)
        pull = sum(quasi_norm(some, 0.5) for some in sizes)
        return loss_of(model, shown, images) + 1e-3 * pull

    expected = descend(base, own, rates, shown_of, pulled)
    settings = GatesSettings(level="weight", flow=flow, strength=1e-3)
    found, method = trained(model, Couplings(()), images, settings)
    assert close(found, expected)
    kept = method.structure().keep
    assert all(torch.equal(kept[name], expected[name] != 0) for name in gated)
    assert 0.02 < method.structure().sparsity < 0.9


def test_units_that_share_a_tensor_each_see_the_others_gates():
    model = torch.nn.Linear(3, 2, bias=False).double()
    rows = Coupling("rows", 2, (Member("weight", 0, torch.tensor([[0], [1]]), "filter"),))
    columns = Member("weight", 1, torch.tensor([[0], [1], [2]]), "filter")
    couplings = Couplings((rows, Coupling("columns", 3, (columns,))))
    images = torch.arange(12.0).view(4, 3).double() / 10
    base = {"weight": model.weight.detach().clone().requires_grad_()}
    sizes = {"rows": 2, "columns": 3}
    own = {
        f"{n} alpha": torch.full((k,), first_alpha(), dtype=torch.float64) for n, k in sizes.items()
    }
    own = {name: alpha.requires_grad_() for name, alpha in own.items()}
    own |= {f"{n} beta": scalar(first_beta(k)) for n, k in sizes.items()}
    rates = {f"{n} alpha": 1.0 for n in sizes} | {f"{n} beta": 1 / k for n, k in sizes.items()}

    def gates():
        return {n: unit_gates(own[f"{n} alpha"], own[f"{n} beta"], "independent") for n in sizes}

    expected = descend(
        base,
        own,
        rates,
        lambda: units_shown(base, couplings, model, gates()),
        lambda shown: loss_of(model, shown, images),
    )
    settings = GatesSettings(form="independent", strength=0.0)
    found, _ = trained(model, couplings, images, settings)
    assert close(found, expected)


@pytest.mark.parametrize(("level", "form"), [("unit", "independent"), ("weight", "competitive")])
def test_however_strong_the_pull_something_of_each_set_lives(
    level, form, toy_net, toy_couplings, toy_task
):
    model, images = toy_net(), toy_task.example(8)
    settings = GatesSettings(level=level, form=form, strength=30.0)
    found, method = trained(model, toy_couplings["residual"], images, settings)
    structure = method.structure()
    assert all(kept.any() for kept in structure.keep.values())
    assert structure.sparsity > 0.3
    assert all(value.isfinite().all() for value in found.values())
    held = [gates for gates in method._sets if at_guard(gates)]
    assert held
    assert all(float(share_of_threshold(gates).max()) == pytest.approx(1 / 0.9) for gates in held)
    assert "but for the guard" in method.notices()[-1]


def test_a_weight_tensor_of_zeros_is_refused_by_name(toy_net):
    model = toy_net()
    torch.nn.init.zeros_(model.classifier.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    method = Gates(GatesSettings(level="weight"), Horizon(1, LR, seed=0))
    with pytest.raises(TrainError, match=r"classifier\.weight: all of its weights are zero"):
        method.attach(model, optimizer, Couplings(()))
