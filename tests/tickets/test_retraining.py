"""Retraining under masks, as published, and retraining the stripped network are the same steps."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from compressor.couplings.coupling import named_tensors
from compressor.sparsity.held import Held
from compressor.strip.apply import apply
from compressor.strip.plan import make_plan
from compressor.structure import Structure
from compressor.train.optimizer import make_optimizer
from compressor.train.order import generator_for
from compressor.train.settings import TrainSettings

MADE = ("filter", "bias", "scale", "shift")
"""What makes a unit: at zero it gives nothing."""

SETTINGS = TrainSettings(epochs=1, lr=0.05, momentum=0.9, weight_decay=1e-2)
STEPS, BATCH = 12, 14


def masks_of(model, couplings, structure, kinds=MADE):
    """Masks over what makes the units that are left out."""
    tensors, masks = named_tensors(model), {}
    for coupling in couplings.free:
        for member in coupling.of_kind(*kinds):
            mask = masks.setdefault(
                member.tensor, torch.ones(tensors[member.tensor].shape, dtype=torch.bool)
            )
            member.zero_(mask, ~structure.keep[coupling.name])
    return Structure(masks, "weight")


def trained(model, task, couplings, masks=None):
    """Outputs of the model in evaluation, after every step of training on the same batches."""
    optimizer = make_optimizer(model, SETTINGS)
    held = None if masks is None else Held(masks)
    if held is not None:
        held.attach(model, optimizer, couplings)
    images, outputs = task.example(12).double(), []
    for step in range(STEPS):
        places = torch.arange(step * BATCH, (step + 1) * BATCH) % task.num_train
        batch = task.batch(places, generator_for(0, "batch", step))
        loss = cross_entropy(model.train()(batch.inputs.double()), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            outputs.append(model.eval()(images))
    return torch.stack(outputs)


@pytest.fixture(params=["residual", "plain"])
def case(request, toy_net, toy_couplings):
    """A network with norms and shortcuts or with biases alone, and half of its units."""
    model, couplings = toy_net(request.param).double(), toy_couplings[request.param]
    keep = {c.name: torch.arange(c.num_units) % 2 > 0 for c in couplings.free}
    return model, couplings, Structure(keep)


def test_masked_and_stripped_networks_stay_equal_while_they_train(case, toy_task):
    model, couplings, structure = case
    slim = apply(make_plan(model, couplings, structure), model)
    first = copy.deepcopy(slim.state_dict())
    masks = masks_of(model, couplings, structure)
    masked = trained(copy.deepcopy(model), toy_task, couplings, masks)
    stripped = trained(slim, toy_task, couplings)
    assert stripped.dtype == torch.float64
    assert not torch.equal(first["classifier.weight"], slim.classifier.weight)
    torch.testing.assert_close(masked, stripped, rtol=1e-9, atol=1e-9)


def test_the_masked_network_cut_afterwards_is_the_stripped_one(case, toy_task):
    model, couplings, structure = case
    plan = make_plan(model, couplings, structure)
    slim, full = apply(plan, model), copy.deepcopy(model)
    trained(full, toy_task, couplings, masks_of(model, couplings, structure))
    trained(slim, toy_task, couplings)
    cut = apply(plan, full).state_dict()
    for name, value in slim.state_dict().items():
        torch.testing.assert_close(cut[name], value, rtol=1e-9, atol=1e-9)


def published_and_stripped(kind, toy_net, toy_couplings, toy_task):
    """Largest difference of outputs after training: filters alone held, against stripped."""
    model, couplings = toy_net(kind).double(), toy_couplings[kind]
    keep = {c.name: torch.arange(c.num_units) % 2 > 0 for c in couplings.free}
    slim = apply(make_plan(model, couplings, Structure(keep)), model)
    masks = masks_of(model, couplings, Structure(keep), ["filter"])
    published = trained(model, toy_task, couplings, masks)
    return float((published - trained(slim, toy_task, couplings)).abs().max())


def test_filters_alone_held_do_where_shifts_start_at_zero(toy_net, toy_couplings, toy_task):
    # Behind a ReLU a channel of zeros has no gradient, so its shift never leaves zero.
    assert published_and_stripped("residual", toy_net, toy_couplings, toy_task) < 1e-9


def test_filters_alone_held_go_on_giving_their_biases(toy_net, toy_couplings, toy_task):
    assert published_and_stripped("plain", toy_net, toy_couplings, toy_task) > 1e-3
