"""When a method is called around a step, and when it refuses."""

import pytest
import torch

from compressor.errors import TrainError
from compressor.sparsity.hooks import StepHooks


@pytest.fixture
def parameter():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return parameter


@pytest.fixture
def calls():
    return []


def hooked(optimizer, parameter, calls):
    return StepHooks(
        optimizer,
        lambda: calls.append(("before", parameter[0].item(), torch.is_grad_enabled())),
        lambda: calls.append(("after", parameter[0].item(), torch.is_grad_enabled())),
    )


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_a_method_sees_the_parameters_before_and_after_the_step_without_gradients(
    make, parameter, calls
):
    optimizer = make([parameter], lr=0.5, weight_decay=0.0)
    hooked(optimizer, parameter, calls)
    optimizer.step()
    assert calls == [("before", 1.0, False), ("after", pytest.approx(0.5), False)]


def test_nothing_is_called_once_the_hooks_are_removed(parameter, calls):
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    hooks = hooked(optimizer, parameter, calls)
    hooks.remove()
    hooks.remove()
    optimizer.step()
    assert calls == []
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_a_step_that_the_scaler_skips_calls_nothing(parameter, calls):
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    hooked(optimizer, parameter, calls)
    scaler = torch.amp.GradScaler("cpu")
    for factor, expected in ((torch.inf, 0), (1.0, 2)):
        optimizer.zero_grad()
        scaler.scale((parameter * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert len(calls) == expected


def test_a_scheduler_that_wraps_the_step_changes_nothing(parameter, calls):
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    hooked(optimizer, parameter, calls)
    optimizer.step()
    scheduler.step()
    assert len(calls) == 2


def test_no_closure_given_as_none_is_an_ordinary_step(parameter, calls):
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    hooked(optimizer, parameter, calls)
    optimizer.step(None)
    optimizer.step(closure=None)
    assert len(calls) == 4


@pytest.mark.parametrize("arguments", [((lambda: 0.0,), {}), ((), {"closure": lambda: 0.0})])
def test_a_closure_is_refused_before_anything_moves(arguments, parameter, calls):
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    hooked(optimizer, parameter, calls)
    places, names = arguments
    with pytest.raises(TrainError, match="SGD steps through a closure"):
        optimizer.step(*places, **names)
    assert calls == []
    assert parameter.tolist() == [1.0, 1.0]


def test_an_optimiser_that_needs_a_closure_is_refused_at_once(parameter, calls):
    optimizer = torch.optim.LBFGS([parameter])
    with pytest.raises(TrainError, match="LBFGS steps through a closure"):
        hooked(optimizer, parameter, calls)
    assert not optimizer._optimizer_step_pre_hooks
