"""A network restricted to a structure for a while, and how good it is then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, mask_, named_tensors
from compressor.structure import Structure
from compressor.tasks.task import Task
from compressor.train.norms import reestimate_norms
from compressor.train.order import batch_places, epoch_order, generator_for


@contextmanager
def masked(model: nn.Module, couplings: Couplings, structure: Structure) -> Iterator[None]:
    """Inside, what ``structure`` leaves out of ``model`` is zero; after, all is back to the bit.

    Kept aside is what masking writes to, and all buffers, so that norm statistics may be estimated
    anew inside.

    Raises:
        StructureError: The structure empties a coupling, or is of another network.
    """
    tensors = named_tensors(model)
    names = {m.tensor for c in couplings.free for m in c.members if m.kind != "statistic"}
    names |= set(dict(model.named_buffers(remove_duplicate=False)))
    names |= {name for branch in couplings.branches for name in branch.last}
    # Storage and values both: a branch that goes is given new storage, anything else new values.
    aside = [(tensors[name], tensors[name].data) for name in sorted(names)]
    values = [storage.clone() for _, storage in aside]
    try:
        mask_(model, couplings, structure)
        yield
    finally:
        with torch.no_grad():
            for (tensor, storage), value in zip(aside, values, strict=True):
                tensor.data = storage
                tensor.copy_(value)


def some_inputs(
    task: Task,
    batch_size: int,
    seed: int,
    num_batches: int,
    place: Callable[[Tensor], Tensor] = lambda images: images,
) -> Iterator[Tensor]:
    """Training images in the order of an epoch before the first, put where ``place`` puts them."""
    order = epoch_order(task.num_train, seed, epoch=-1)
    for batch in range(min(num_batches, len(order) // batch_size)):
        places = batch_places(order, batch, batch_size)
        yield place(task.batch(places, generator_for(seed, "norms", batch)).inputs)


def masked_accuracy(
    model: nn.Module,
    couplings: Couplings,
    structure: Structure,
    inputs: Iterator[Tensor],
    accuracy: Callable[[nn.Module], float],
) -> float:
    """Accuracy of ``model`` restricted to ``structure``; the model is then as it was.

    Args:
        model: In eval mode.
        couplings: Its own.
        structure: Empties no coupling.
        inputs: Over these norm statistics are estimated first, since those of the whole network
            are far from what the narrower one sees; without any they stay.
        accuracy: Of a network as it is.
    """
    with masked(model, couplings, structure):
        reestimate_norms(model, inputs)
        return accuracy(model)
