"""E4: the augmented loss of DessiLBI falls at every step, with all images and no momentum."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from claims_digits import LAMBDA_ONE, digits
from torch import Tensor, nn
from torch.nn import functional

from compressor.couplings.trace import trace
from compressor.sparsity.base import Horizon
from compressor.sparsity.prox import group_soft_threshold
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.train.order import generator_for

Figures = dict[str, Any]

NUM_IMAGES, HIDDEN = 256, 32
STEPS = 4000
RUNS = ((1.0, 0.05), (5.0, 0.1))
"""nu and alpha of each run."""

TWINNED = "1.weight"
"""The hidden layer: its rows are the units."""


def descend(seed: int, effort: float) -> Figures:
    """Figures of each run."""
    return {"runs": [_run(nu, alpha, seed, max(40, round(effort * STEPS))) for nu, alpha in RUNS]}


def _run(nu: float, alpha: float, seed: int, num_steps: int) -> Figures:
    task = digits()
    batch = task.batch(torch.arange(NUM_IMAGES), generator_for(seed, "images"))
    inputs, targets = batch.inputs.double(), batch.targets
    net = _network(seed, inputs[0].numel())
    optimizer = torch.optim.SGD(net.parameters(), lr=alpha)
    horizon = Horizon(num_steps, num_steps * alpha, seed)
    method = SplitLBI(SplitLBISettings(twin="filter", nu=nu, lam=LAMBDA_ONE), horizon)
    method.attach(net, optimizer, trace(net, inputs[:2]))
    course = _Course(net, nu)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(inputs), targets)
        loss.backward()
        course.look(float(loss.detach()), _twin(method), alpha)
        optimizer.step()
    with torch.no_grad():
        course.look(float(functional.cross_entropy(net(inputs), targets)), _twin(method), 0.0)
    method.detach()
    return course.figures()


def _network(seed: int, num_inputs: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(num_inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 10)
        return nn.Sequential(nn.Flatten(), *layers).double()


def _twin(method: SplitLBI) -> tuple[Tensor, Tensor]:
    """Z and Gamma of now; Gamma from its definition, kappa being one."""
    state: Mapping[str, Any] = next(iter(method.state_dict()["twins"].values()))
    dual = state["dual"][0]
    return dual, group_soft_threshold(dual, state["threshold"])


class _Course:
    """What is seen of a run, a look before each step and one after the last."""

    def __init__(self, net: nn.Module, nu: float) -> None:
        self._net, self._nu = net, nu
        self._losses: list[float] = []
        self._moves: list[float] = []
        self._places: list[Tensor] = []
        self._invariant: Tensor | None = None
        self._pushes: Tensor | float = 0.0
        self._fault = 0.0

    @torch.no_grad()
    def look(self, loss: float, twin: tuple[Tensor, Tensor], alpha: float) -> None:
        """Augmented loss, how far (W, Gamma) moved, and whether Z + W + sum alpha G has changed."""
        dual, gamma = twin
        weights = self._net.get_parameter(TWINNED)
        self._losses.append(loss + float((weights - gamma).square().sum()) / (2 * self._nu))
        place = torch.cat([p.flatten() for p in (*self._net.parameters(), gamma)])
        if self._places:
            self._moves.append(float((place - self._places.pop()).square().sum()))
        self._places.append(place)
        invariant = dual + weights + self._pushes
        if self._invariant is None:
            self._invariant = invariant
        self._fault = max(self._fault, float((invariant - self._invariant).abs().max()))
        if weights.grad is not None:
            self._pushes = self._pushes + alpha * weights.grad

    def figures(self) -> Figures:
        """Largest rise of the augmented loss, and moves in the first and last quarter."""
        rises = [after - before for before, after in pairwise(self._losses)]
        quarter = len(self._moves) // 4
        return {
            "steps": len(self._moves),
            "largest_rise": max(rises),
            "num_rises": sum(rise > 0 for rise in rises),
            "first_quarter": sum(self._moves[:quarter]),
            "last_quarter": sum(self._moves[-quarter:]),
            "invariant_fault": self._fault,
            "losses": [self._losses[0], self._losses[-1]],
        }
