"""E7: gates of differentiable sparsification reach exact zeros by SGD alone.

lambda is that of the product, whose regulariser is the sum of the gates where all are equal; gates
start at one. No step selects anything, and a gate counts as zero if every weight and bias that it
multiplies is 0.0 to the last bit. Beside the quasi-norm with p = 1/2 the plain sum is reported.
"""

from typing import Any

import torch
from claims_digits import (
    WIDTHS,
    Run,
    accuracy,
    couplings_of,
    digits,
    epochs_of,
    horizon_of,
    network,
    settings_of,
    trained_accuracy,
)
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.sparsity.gates import Gates, GatesSettings
from compressor.tasks.classification import Classification
from compressor.tasks.task import Batch, Task
from compressor.train.settings import TrainSettings

Figures = dict[str, Any]

STRENGTH = 0.01
"""The paper's lambda."""


def gates(seed: int, effort: float) -> Figures:
    """Gates at exact zero and accuracy; the dense network; and scales under plain L1."""
    task, settings = digits(), settings_of(epochs_of(effort))
    control = scaled(network(seed))
    Run(control, task, settings, seed, objective=PlainL1(task, STRENGTH)).train()
    scales = torch.cat([layer.scale.detach() for layer in scaled_layers(control)])
    gated = {name: _gated(p, task, settings, seed) for name, p in (("gates", 0.5), ("sum", 1.0))}
    return {
        "zero_share": gated["gates"][0],
        "gates_accuracy": gated["gates"][1],
        "sum_zero_share": gated["sum"][0],
        "sum_accuracy": gated["sum"][1],
        "dense_accuracy": trained_accuracy(network(seed), task, settings, seed),
        "control_zeros": int((scales == 0).sum()),
        "control_smallest": float(scales.abs().min()),
        "control_accuracy": accuracy(control, task),
    }


def _gated(
    p: float, task: Classification, settings: TrainSettings, seed: int
) -> tuple[float, float]:
    """Share of gates at exact zero, and accuracy."""
    net = network(seed)
    couplings = couplings_of(net, task)
    wanted = GatesSettings(form="independent", strength=STRENGTH, p=p)
    method = Gates(wanted, horizon_of(task, settings, seed))
    Run(net, task, settings, seed).train(method, couplings)
    return num_zero(net, couplings) / sum(WIDTHS), accuracy(net, task)


def num_zero(net: nn.Module, couplings: Couplings) -> int:
    """Filters that are zero to the last bit, with their biases."""
    tensors, zeros = named_tensors(net), 0
    for coupling in couplings.free:
        members = coupling.of_kind("filter", "bias")
        rows = torch.cat([member.rows(tensors[member.tensor]) for member in members], dim=1)
        zeros += int((rows == 0).all(dim=1).sum())
    return zeros


class Scaled(nn.Module):
    """A convolution whose channels have a scale each, one at first."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.scale = nn.Parameter(torch.ones(convolution.out_channels))

    def forward(self, images: Tensor) -> Tensor:
        """Scaled outputs."""
        outputs: Tensor = self.convolution(images) * self.scale.view(1, -1, 1, 1)
        return outputs


def scaled(net: nn.Module) -> nn.Module:
    """``net`` with a scale on every channel of its convolutions."""
    features = net.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    for place, layer in enumerate(features):
        if isinstance(layer, nn.Conv2d):
            features[place] = Scaled(layer)
    return net


def scaled_layers(net: nn.Module) -> list[Scaled]:
    """Its layers with scales."""
    return [layer for layer in net.modules() if isinstance(layer, Scaled)]


class PlainL1:
    """The task's loss and lambda times the sum of the magnitudes of all scales."""

    def __init__(self, task: Task, strength: float) -> None:
        self._task, self._strength = task, strength

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Both together."""
        scales = [layer.scale.abs().sum() for layer in scaled_layers(model)]
        total = self._task.loss(model(batch.inputs), batch)
        return total + self._strength * torch.stack(scales).sum()
