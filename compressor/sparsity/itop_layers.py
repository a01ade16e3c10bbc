"""Which candidates of a weight or coupling ITOP drops and grows, and how they are left out."""

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, named_tensors
from compressor.sparsity.candidates import Candidates, Tensors, Units
from compressor.sparsity.carriers import carriers, is_mixed, makers
from compressor.sparsity.itop_schedule import num_exchanged
from compressor.sparsity.masks import keep_largest


class Layer:
    """The candidates of one weight or coupling, and which of them are kept.

    Attributes:
        shown: What is zero where a candidate is left out.
        is_blind: What is left out has no gradient that says what it would be worth.
        mask: True is kept.
        explored: What was kept at some time.
    """

    mask: Tensor
    explored: Tensor

    def __init__(self, shown: Candidates, *makers: Candidates, is_blind: bool = False) -> None:
        self.name, self.shown, self._parts = shown.name, shown, (shown, *makers)
        self.size, self.is_blind = shown.shape.numel(), is_blind

    def set(self, mask: Tensor, explored: Tensor) -> None:
        """Begin with these masks."""
        self.mask, self.explored, self.num_kept = mask, explored, int(mask.sum())

    def worth(self, tensors: Tensors) -> Tensor:
        """Squared magnitude of each; of a unit, that of what makes it times that of its readers."""
        return torch.stack([part.dot(tensors, tensors) for part in self._parts]).prod(0)

    def exchange(self, tensors: Tensors, promise: Tensor, share: float) -> Tensor:
        """Drop those of least worth and grow the most promising others; returns who grows."""
        num = num_exchanged(share, self.num_kept, self.size)
        dropped = keep_largest(self.worth(tensors).neg().masked_fill(~self.mask, -torch.inf), num)
        grown = keep_largest(promise.masked_fill(self.mask, -torch.inf), num)
        self.mask = (self.mask & ~dropped) | grown
        self.explored = self.explored | grown
        return grown

    def bear_(self, tensors: Tensors, born: Tensors, grown: Tensor) -> None:
        """Start grown units that could not move from zero at the values they were born with."""
        if not self.is_blind:
            return
        values = {name: born[name].clone() for name in self.shown.tensors}
        self.shown.multiply_(values, grown)
        for name, value in values.items():
            tensors[name].add_(value)

    def silence_(self, tensors: Tensors) -> None:
        """Make what is left out zero, and what makes it."""
        for part in self._parts:
            part.multiply_(tensors, self.mask)

    def score(self, worth: Tensor) -> Tensor:
        """Of kept units their magnitude over the mean, plus one; of others 0. float64, on the CPU.

        Args:
            worth: Of each unit now, on any device.
        """
        norm, mask = worth.sqrt().cpu().double(), self.mask.cpu()
        mean = norm[mask].mean()
        return mask * (1.0 + (norm / mean if mean > 0 else torch.ones_like(norm)))


def of_coupling(coupling: Coupling, model: nn.Module) -> Layer:
    """The units of a coupling, left out by zeroing what reads them where that is enough.

    It is not where no layer reads them, or where a norm mixes them with others: there all that
    makes a unit is zero, and it is born again when it grows.
    """
    device = named_tensors(model)[coupling.members[0].tensor].device
    readers = coupling.of_kind("input")
    if readers and not is_mixed(coupling, model):
        parts = (readers, carriers(coupling, model))
        return Layer(*(Units(coupling, members, device) for members in parts))
    return Layer(Units(coupling, makers(coupling), device), is_blind=True)
