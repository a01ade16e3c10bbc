"""Units on DessiLBI's path: when each entered, and what it is worth."""

from collections.abc import Mapping

from torch import Tensor

from compressor.couplings.coupling import Coupling, unit_norms
from compressor.sparsity.lbi_choice import relative_product
from compressor.sparsity.lbi_groups import GroupTwins
from compressor.sparsity.twin import Twins
from compressor.structure import UnitPath


def unit_path(coupling: Coupling, twins: Twins, tensors: Mapping[str, Tensor]) -> UnitPath:
    """Entries of a coupling's units so far, their scores, and the factors of these.

    Args:
        coupling: Of the network.
        twins: Hold the twin of its name, whose groups are its units.
        tensors: Of the network, by name.
    """
    assert isinstance(twins, GroupTwins), "units are groups"
    factors = {
        "dual": twins.dual_norms(coupling.name),
        "filter": unit_norms(tensors, coupling.of_kind("filter")),
    }
    if scales := coupling.of_kind("scale"):
        factors["scale"] = unit_norms(tensors, scales)
    steps, times = twins.entries(coupling.name)
    return UnitPath(
        entry_step=steps.to("cpu", copy=True),
        entry_time=times.to("cpu", copy=True),
        score=relative_product(factors.values()),
        factors={name: factor.detach().cpu().double() for name, factor in factors.items()},
    )
