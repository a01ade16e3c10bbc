"""The couplings of a network, found by index flow, checked by torch-pruning, tried by cutting."""

from dataclasses import replace

from torch import Tensor, nn

from compressor.couplings.capture import Example
from compressor.couplings.coupling import Agreement, Coupling, Couplings, Engine, Heads
from compressor.couplings.index_flow import index_flow
from compressor.couplings.trace import trace
from compressor.errors import CouplingError
from compressor.memory import give_back
from compressor.strip.budget import Depth
from compressor.strip.depth import with_branches
from compressor.strip.trial import freeze_what_fails

CHECK_SECONDS = 20.0
"""How long torch-pruning may take to check; the networks that it masters take less."""

Unit = frozenset[tuple[str, int, int]]
"""The entries of a unit: (tensor, axis, position)."""


def find_couplings(
    model: nn.Module,
    example: Example,
    engine: Engine = "both",
    *,
    check_seconds: float = CHECK_SECONDS,
    depth: Depth = "keep",
    heads: Heads = "whole",
) -> Couplings:
    """Couplings of ``model``, each tried by cutting it; the model is not touched.

    Args:
        model: Any module.
        example: Input batch of at least 2 images that differ, or a tuple of positional arguments.
        engine: Which engine.
        check_seconds: How long torch-pruning may take where it only checks.
        depth: With ``remove`` the couplings carry the residual branches that may go.
        heads: What may leave attention; torch-pruning has no choice there.

    Raises:
        CouplingError: The network cannot be traced or tried, or the engines contradict each other.
        StripError: Branches were asked of torch-pruning, which captures no graph.
    """
    if engine == "torch-pruning":
        couplings = _of_torch_pruning(model, example, heads)
    else:
        traced = index_flow(model, example, heads)
        give_back(model.parameters())
        couplings = freeze_what_fails(model, traced, example)
        agreement = Agreement(("index-flow",))
        if engine == "both":
            agreement = _second_opinion(model, example, couplings, check_seconds)
            give_back(model.parameters())
        couplings = replace(couplings, agreement=agreement)
    return with_branches(model, couplings, example) if depth == "remove" else couplings


def _of_torch_pruning(model: nn.Module, example: Example, heads: Heads) -> Couplings:
    if heads != "whole":
        raise CouplingError(
            f'heads = "{heads}" needs index flow; torch-pruning has no choice of what leaves '
            "attention. Use the other engine."
        )
    couplings = freeze_what_fails(model, trace(model, _one_tensor(example)), example)
    return replace(couplings, agreement=Agreement(("torch-pruning",)))


def _one_tensor(example: Example) -> Tensor:
    if isinstance(example, Tensor):
        return example
    if len(example) == 1 and isinstance(example[0], Tensor):
        return example[0]
    raise CouplingError(
        f"torch-pruning takes one tensor, the network {len(example)} inputs. Use index flow."
    )


def _second_opinion(
    model: nn.Module, example: Example, couplings: Couplings, seconds: float
) -> Agreement:
    try:
        others = trace(model, _one_tensor(example), seconds=seconds)
    except CouplingError as failure:
        return Agreement(("index-flow",), note=str(failure))
    same, different = compare_units(couplings, others)
    if different:
        # Some answers of torch-pruning are wrong, and cutting shows it.
        doubtful = Couplings(different)
        different = freeze_what_fails(model, doubtful, example).free
        if different:
            raise _contradiction(couplings, different[0])
        refuted = tuple(coupling.name for coupling in doubtful.free)
    else:
        refuted = ()
    return Agreement(("index-flow", "torch-pruning"), same, refuted)


def compare_units(couplings: Couplings, others: Couplings) -> tuple[int, tuple[Coupling, ...]]:
    """How many couplings of ``others`` have the same units here, and which have other ones.

    A coupling of one unit is never cut, and one that is frozen here is no contradiction.
    """
    units = {unit for coupling in couplings.free for unit in units_of(coupling)}
    entries = {entry for unit in units for entry in unit}
    same, different = 0, []
    for other in others.free:
        theirs = units_of(other)
        if other.num_units < 2 or not any(unit & entries for unit in theirs):
            continue
        if all(unit in units for unit in theirs):
            same += 1
        else:
            different.append(other)
    return same, tuple(different)


def units_of(coupling: Coupling) -> list[Unit]:
    """The entries of each unit."""
    found: list[set[tuple[str, int, int]]] = [set() for _ in range(coupling.num_units)]
    for member in coupling.members:
        for unit, positions in enumerate(member.index.tolist()):
            found[unit] |= {(member.tensor, member.axis, position) for position in positions}
    return [frozenset(unit) for unit in found]


def _contradiction(couplings: Couplings, other: Coupling) -> CouplingError:
    ours = {unit for coupling in couplings.free for unit in units_of(coupling)}
    theirs = next(unit for unit in units_of(other) if unit not in ours)
    nearest = max(ours, key=lambda unit: len(unit & theirs))
    tensor, axis, position = min(theirs ^ nearest)
    holder = "torch-pruning" if (tensor, axis, position) in theirs else "index flow"
    return CouplingError(
        f"{other.name}: the coupling engines contradict each other: only {holder} has entry "
        f"{position} on axis {axis} of {tensor} in a unit. Choose one with --engine."
    )
