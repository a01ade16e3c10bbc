"""Structures of single weights on their way through a run: zeros, live units, slim masks."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, first_names, named_tensors
from compressor.couplings.sharing import sharing_copy
from compressor.errors import StructureError
from compressor.sparsity.candidates import live_units
from compressor.sparsity.masks import has_groups, two_of_four
from compressor.strip.apply import apply
from compressor.strip.plan import StripPlan
from compressor.structure import Path, Structure


def num_nonzero(model: nn.Module) -> int:
    """Parameters that are not zero, a shared one once."""
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def num_outside(model: nn.Module, structure: Structure) -> int:
    """Weights that are not zero although ``structure`` leaves them out.

    Raises:
        StructureError: The structure is of another network.
    """
    tensors = _fitting(model, structure)
    outside = (tensors[name][~kept] for name, kept in structure.keep.items())
    return sum(int(torch.count_nonzero(some)) for some in outside)


@torch.no_grad()
def zero_outside_(model: nn.Module, structure: Structure) -> None:
    """Set every weight that ``structure`` leaves out to zero, in place.

    Raises:
        StructureError: The structure is of another network.
    """
    tensors = _fitting(model, structure)
    for name, kept in structure.keep.items():
        tensors[name].masked_fill_(~kept.to(tensors[name].device), 0)


def live_support(couplings: Couplings, structure: Structure, path: Path) -> Structure:
    """Units that a structure of single weights leaves something of; at least one of a coupling.

    Where it leaves none alive, the best by the path stays: no layer is ever emptied.
    """
    alive, scores = live_units(couplings, structure), path.scores()
    return Structure(
        {name: kept if kept.any() else _best(scores[name]) for name, kept in alive.keep.items()}
    )


def _best(scores: Tensor) -> Tensor:
    return torch.arange(scores.numel()) == scores.argmax()


def slim_masks(
    plan: StripPlan, model: nn.Module, slim: nn.Module, structure: Structure
) -> Structure:
    """The masks of the slim network: those of ``model``, cut exactly as its weights are.

    Where two of four stay, a cut takes the groups apart. They are then taken anew, the two largest
    weights of every four that now follow each other; a weight whose inputs no longer divide by four
    is whole from then on, and one that was whole before stays so.

    Args:
        plan: What ``slim`` was made by.
        model: The network before.
        slim: The network after, with the weights that the plan left.
        structure: Of the single weights of ``model``.

    Raises:
        StructureError: The structure is of another network.
    """
    masks = _cut(plan, model, structure)
    if structure.granularity == "2:4":
        old, tensors, partial = first_names(model), named_tensors(slim), partial_masks(structure)
        masks = {
            name: _pairs(tensors[name].detach().abs()) if old[name] in partial else kept
            for name, kept in masks.items()
        }
    return Structure(masks, structure.granularity)


def partial_masks(structure: Structure) -> frozenset[str]:
    """Parameters of which anything is left out."""
    return frozenset(name for name, kept in structure.keep.items() if not kept.all())


def _pairs(sizes: Tensor) -> Tensor:
    has_pairs = has_groups(sizes.shape)
    return two_of_four(sizes) if has_pairs else torch.ones_like(sizes, dtype=torch.bool)


def _cut(plan: StripPlan, model: nn.Module, structure: Structure) -> dict[str, Tensor]:
    """Masks cut by the one way there is: as the weights of a network that goes through the plan."""
    masked = sharing_copy(model)
    tensors = _fitting(masked, structure)
    for name, kept in structure.keep.items():
        tensors[name].data = kept.to(tensors[name])
    slim = apply(plan, masked)
    # Layers that share a weight name it differently, in a captured graph perhaps in another order.
    old, new = first_names(model), first_names(slim)
    masks = {
        new[name]: tensor.detach() != 0
        for name, tensor in named_tensors(slim).items()
        if old.get(name) in structure.keep
    }
    assert plan.branches or structure.keep.keys() == {old[name] for name in masks}, "masks are lost"
    return masks


def _fitting(model: nn.Module, structure: Structure) -> Mapping[str, Tensor]:
    tensors = named_tensors(model)
    for name, kept in structure.keep.items():
        found = tuple(tensors[name].shape) if name in tensors else "nothing"
        if found != tuple(kept.shape):
            raise StructureError(
                f"{name}: the mask has shape {tuple(kept.shape)}, the network has {found} there. "
                "Use the masks with the network they were trained on."
            )
    return tensors
