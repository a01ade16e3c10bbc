"""Trial steps: where they are made, and of which slim network."""

import pytest
import torch

from compressor.errors import BudgetError
from compressor.init import trial
from compressor.init.rates import Rates
from compressor.init.trial import find_cutting, time_steps

RATES = Rates("sgd", 16, memory=0, search=0.01, tune=0.01, dense=0.01, weight_decay=0.0)


@pytest.fixture
def cutting(make_net, digits):
    return find_cutting(make_net(), digits)


def test_the_forward_pass_is_timed_where_steps_are_made(make_net, digits, cutting, monkeypatch):
    asked = []
    monkeypatch.setattr(trial, "on_cpu", lambda device: asked.append(device) or True)
    speed = time_steps(make_net(), digits, cutting, RATES, 1.0, "none")
    assert asked == ["auto"]
    assert min(speed.search, speed.dense, speed.slim, speed.teacher) > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_all_forward_passes_of_a_trial_are_on_the_gpu(make_net, digits, cutting):
    seen, model = set(), make_net()
    model.register_forward_hook(lambda _module, inputs, _out: seen.add(inputs[0].device.type))
    time_steps(model, digits, cutting, RATES, 1.0, "none")
    assert seen == {"cuda"}
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_the_nearest_share_of_what_cannot_be_had_is_what_the_floors_leave(cutting):
    with pytest.raises(BudgetError) as refused:
        trial.thinned(cutting.couplings, cutting.cost, 0.01)
    nearest = cutting.nearest(0.01)
    assert nearest == pytest.approx(refused.value.floor)
    assert cutting.left(nearest).failure is None
    assert cutting.nearest(0.99) == 0.99
