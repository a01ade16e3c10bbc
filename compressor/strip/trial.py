"""Couplings put to the test before any training: cut one and compare, coupling by coupling.

A dependency graph can be wrong in ways that no look at shapes shows: channels added to the
network's own input, a split whose points are constants, a product that does not vanish with the
unit. Cutting and running shows all of them.
"""

import copy

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings
from compressor.errors import CouplingError
from compressor.strip.certificate import FP64_BOUND, certify
from compressor.structure import Structure


def freeze_what_fails(model: nn.Module, couplings: Couplings, example: Tensor) -> Couplings:
    """The same couplings, with those frozen whose removal breaks the network or is not exact.

    Every other unit of all couplings is removed at once; only when that fails is each coupling
    tried alone. Norm statistics and affine values are randomised on a copy, since default ones hide
    mistakes.

    Args:
        model: The network; not touched.
        couplings: What was traced.
        example: Input batch of at least 2 images.

    Raises:
        CouplingError: Each coupling can be cut alone, but not all of them together.
    """
    shaken = shake_norms(model, seed=0)
    everything = couplings.everything().keep
    halves = {coupling.name: _every_other(coupling.num_units) for coupling in couplings.free}
    if _failure(shaken, couplings, Structure(halves), example) is None:
        return couplings
    reasons = {}
    for name, half in halves.items():
        if reason := _failure(shaken, couplings, Structure({**everything, name: half}), example):
            reasons[name] = reason
    sound = couplings.freeze(reasons)
    kept = Structure({coupling.name: halves[coupling.name] for coupling in sound.free})
    if reason := _failure(shaken, sound, kept, example):
        raise CouplingError(
            f"Each coupling can be cut alone, but not all together: {reason}. "
            "Keep parts of the network out of stripping."
        )
    return sound


def shake_norms(model: nn.Module, seed: int) -> nn.Module:
    """A copy of ``model`` whose batch norms have random statistics, scales and shifts."""
    generator = torch.Generator().manual_seed(seed)
    shaken = copy.deepcopy(model).cpu()
    with torch.no_grad():
        for layer in shaken.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                    if tensor is not None:
                        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return shaken


def _every_other(num_units: int) -> Tensor:
    return torch.arange(num_units) % 2 == 0


def _failure(
    model: nn.Module, couplings: Couplings, structure: Structure, example: Tensor
) -> str | None:
    try:
        figure = certify(model, couplings, structure, [example.cpu()]).max_rel_diff_fp64
    except RuntimeError as failure:
        first_line = str(failure).strip().splitlines()[0]
        return f"the network does not run without half of these channels ({first_line})"
    if not figure <= FP64_BOUND:
        return f"removing half of these channels changes the output by {figure:.2g}"
    return None
