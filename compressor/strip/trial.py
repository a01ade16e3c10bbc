"""Couplings put to the test before any training: cut one and compare, coupling by coupling.

A dependency graph can be wrong in ways that no look at shapes shows: channels added to the
network's own input, a split whose points are constants, a product that does not vanish with the
unit. Cutting and running shows all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from compressor.couplings.capture import Example, as_arguments
from compressor.couplings.coupling import Couplings, Form
from compressor.couplings.sharing import sharing_copy
from compressor.errors import CheckError, CouplingError, StripError
from compressor.strip.apply import apply
from compressor.strip.compare import FP64_BOUND, as_type, compare
from compressor.strip.plan import make_plan
from compressor.structure import Structure

FORWARD_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the forward pass of somebody else's network may raise when its widths change."""

TRIAL_SPREAD = 1000 * FP64_BOUND
"""How far outputs vary over the images of a trial at least, so that mistakes are seen."""


def freeze_what_fails(model: nn.Module, couplings: Couplings, example: Example) -> Couplings:
    """The couplings in a form that can be cut, with those frozen whose removal is not exact.

    Half of the units of all couplings are removed at once: from the network's own modules, with
    whole numbers mended, or from the captured graph, whichever is the first that succeeds. When
    none does, the couplings at fault are searched for. Values that a network starts from are shaken
    on a copy, since they hide mistakes.

    Args:
        model: The network; not touched.
        couplings: What was traced.
        example: Input batch of at least 2 images that differ.

    Raises:
        CouplingError: The network does not run as it is, or gives the same for all images, so that
            nothing can be tried; or each coupling can be cut alone, but not all of them together.
    """
    example = tree_map(lambda leaf: leaf.cpu() if isinstance(leaf, Tensor) else leaf, example)
    trial = Trial(_ready_for_trial(model, couplings, example), example)
    halves = _irregular_halves(couplings, seed=0)
    forms: tuple[Form, ...] = ("module", "mended", "graph") if couplings.program else ("module",)
    for form in forms:
        shaped = replace(couplings, form=form)
        if trial.failure(shaped, halves) is None:
            break
    else:
        shaped = _without_failing(trial, shaped, halves)
    halves = {coupling.name: halves[coupling.name] for coupling in shaped.free}
    return shaped.freeze(trial.failing(shaped, halves, trial.training_failure))


Judge = Callable[[Couplings, Mapping[str, Tensor]], str | None]
"""Couplings and what the named ones keep -> what goes wrong, or None."""


def drop_branches_that_fail(model: nn.Module, couplings: Couplings, example: Example) -> Couplings:
    """The couplings without those of their branches whose removal is not exact.

    All branches are removed at once, with half of the units of all other couplings.

    Args:
        model: The network; not touched.
        couplings: With branches, and in a form that can be cut.
        example: Input batch of at least 2 images that differ.

    Raises:
        CouplingError: Branches can be removed alone, but not together with single units.
    """
    if not couplings.branches:
        return couplings
    example = tree_map(lambda leaf: leaf.cpu() if isinstance(leaf, Tensor) else leaf, example)
    trial = Trial(_ready_for_trial(model, couplings, example), example)
    halves = _irregular_halves(couplings, seed=0)
    if trial.failure(couplings, {**halves, **_nothing_of(couplings)}) is None:
        return couplings
    failing = trial.failing(couplings, _nothing_of(couplings), trial.failure).keys()
    branches = tuple(b for b in couplings.branches if not failing & set(b.couplings))
    sound = replace(couplings, branches=branches)
    if reason := trial.failure(sound, {**halves, **_nothing_of(sound)}):
        raise CouplingError(
            f"Residual branches can be removed alone, but not together with units: {reason}. "
            'Set strip.depth = "keep".'
        )
    return sound


def _nothing_of(couplings: Couplings) -> dict[str, Tensor]:
    """No unit of each coupling that lies in a branch."""
    inside = {name for branch in couplings.branches for name in branch.couplings}
    empty = {c.name: torch.zeros(c.num_units, dtype=torch.bool) for c in couplings.free}
    return {name: none for name, none in empty.items() if name in inside}


@dataclass(frozen=True)
class Trial:
    """A shaken network and the images it is tried with."""

    model: nn.Module
    example: Example

    def failure(self, couplings: Couplings, keep: Mapping[str, Tensor]) -> str | None:
        """What goes wrong when the named couplings keep the given units, others all; or None."""
        structure = Structure({**couplings.everything().keep, **keep})
        batch = as_type(self.example, torch.float64)
        try:
            figure, _ = compare(self.model, couplings, structure, [batch], torch.float64)
        except (CheckError, StripError, CouplingError, *FORWARD_FAILURES) as failure:
            return f"the network does not run without half of these ({_first_line(failure)})"
        if not figure <= FP64_BOUND:
            return f"removing half of these channels changes the output by {figure:.2g}"
        return None

    def training_failure(self, couplings: Couplings, keep: Mapping[str, Tensor]) -> str | None:
        """What goes wrong in training mode: auxiliary heads read channels that eval leaves alone.

        A captured graph holds nothing that eval mode leaves out, so there nothing can.
        """
        if couplings.form == "graph" or not _trains(self.model, self.example):
            return None
        structure = Structure({**couplings.everything().keep, **keep})
        try:
            slim = apply(make_plan(self.model, couplings, structure), self.model)
            _run_in_training(slim, self.example)
        except FORWARD_FAILURES as failure:
            reason = _first_line(failure)
            return f"the network does not train without half of these ({reason})"
        return None

    def failing(
        self, couplings: Couplings, halves: Mapping[str, Tensor], judge: Judge
    ) -> dict[str, str]:
        """Couplings that fail alone, with the reason of ``judge``, searched for by halving."""
        reason = judge(couplings, halves)
        if reason is None:
            return {}
        names = list(halves)
        if len(names) == 1:
            return {names[0]: reason}
        middle = len(names) // 2
        parts = (names[:middle], names[middle:])
        found: dict[str, str] = {}
        for part in parts:
            found |= self.failing(couplings, {name: halves[name] for name in part}, judge)
        return found


def _trains(model: nn.Module, example: Example) -> bool:
    try:
        _run_in_training(model, example)
    except FORWARD_FAILURES:
        return False
    return True


@torch.no_grad()
def _run_in_training(model: nn.Module, example: Example) -> None:
    with torch.random.fork_rng(devices=[]):
        sharing_copy(model).train()(*as_arguments(example))


def _without_failing(trial: Trial, couplings: Couplings, halves: Mapping[str, Tensor]) -> Couplings:
    sound = couplings.freeze(trial.failing(couplings, halves, trial.failure))
    kept = {coupling.name: halves[coupling.name] for coupling in sound.free}
    if reason := trial.failure(sound, kept):
        raise CouplingError(
            f"Each coupling can be cut alone, but not all together: {reason}. "
            "Use a network whose layers adapt to their widths."
        )
    return sound


@torch.no_grad()
def shake(model: nn.Module, example: Example, seed: int) -> nn.Module:
    """A copy of ``model`` on the CPU, in eval mode, without values that hide mistakes.

    It shares the storage of the parameters that are as they were: read it, or copy it first.

    Norm scales and shifts, and every other parameter whose values are all the same (a head that
    starts at zero, say), become random in [0.5, 1.5]. The norms then take their statistics from
    ``example``: with those of a new network, or random ones, the images are no more than a
    rounding error of the outputs of a deep network, and so is any mistake.
    """
    generator = torch.Generator().manual_seed(seed)
    shaken = sharing_copy(model).cpu().eval()
    for layer in shaken.modules():
        is_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        for tensor in layer.parameters(recurse=False):
            if tensor.is_floating_point() and (is_norm or _is_constant(tensor)):
                values = torch.rand(tensor.shape, generator=generator) + 0.5
                tensor.data = values.to(tensor.dtype)
    _settle_norms(shaken, example)
    return shaken


def _settle_norms(model: nn.Module, example: Example) -> None:
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    model(*as_arguments(example))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _is_constant(tensor: Tensor) -> bool:
    return bool((tensor == tensor.flatten()[:1]).all())


def _irregular_halves(couplings: Couplings, seed: int) -> dict[str, Tensor]:
    """Some half of the units of each coupling, without a pattern that could hide a mistake.

    Neither may the units be such that a reshape maps them to themselves, nor the shares equal: a
    network that computes one width from another would stand equal shares and no others.
    """
    generator = torch.Generator().manual_seed(seed)
    halves = {}
    for coupling in couplings.free:
        order = torch.randperm(coupling.num_units, generator=generator)
        share = 0.35 + 0.3 * float(torch.rand(1, generator=generator))
        halves[coupling.name] = order < max(1, round(coupling.num_units * share))
    return halves


def _ready_for_trial(model: nn.Module, couplings: Couplings, example: Example) -> nn.Module:
    """The shaken network, once it is known that removing nothing succeeds and images matter."""
    try:
        shaken = shake(model, example, seed=0)
        whole, batch = couplings.everything(), as_type(example, torch.float64)
        difference, spread = compare(shaken, couplings, whole, [batch], torch.float64)
    except FORWARD_FAILURES as failure:
        raise CouplingError(
            f"The network does not run on its example input: {_first_line(failure)}. "
            "Check the network and the shape of the images."
        ) from failure
    if not difference <= FP64_BOUND:
        raise CouplingError(
            f"Two runs of the network on the same images differ by {difference:.2g}. "
            "Make its forward deterministic in eval mode, and its weights finite."
        )
    if not spread > TRIAL_SPREAD:
        raise CouplingError(
            f"The outputs of the network vary by {spread:.2g} over the example images, "
            "too little to try its couplings. Give two images that differ, and a live network."
        )
    return shaken


def _first_line(failure: Exception) -> str:
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0]
