"""Which images come when: a pure function of seed, epoch and step.

Because no generator carries over from batch to batch, a run that is resumed at any step sees what
the run that never stopped would have seen. Any number of processes share the same batches; how
their images are augmented also follows the process.
"""

import hashlib

import torch
from torch import Tensor


def generator_for(seed: int, *place: int | str) -> torch.Generator:
    """A fresh generator for one place of a run, such as ``("batch", epoch, step)``."""
    words = "/".join(str(word) for word in (seed, *place))
    digest = hashlib.sha256(words.encode()).digest()
    # 63 bits: torch takes seeds as signed integers.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def epoch_order(num_images: int, seed: int, epoch: int) -> Tensor:
    """A permutation of all training images, int64, shape ``(num_images,)``."""
    return torch.randperm(num_images, generator=generator_for(seed, "order", epoch))


def batch_places(
    order: Tensor, batch: int, batch_size: int, rank: int = 0, world: int = 1
) -> Tensor:
    """The images that process ``rank`` of ``world`` takes of one batch of the epoch."""
    return order[batch * batch_size : (batch + 1) * batch_size][rank::world]
