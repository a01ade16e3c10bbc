"""Experiments on DessiLBI's path through the digits: E1, E2, E3, E3b, E3c and E9."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from claims_digits import (
    EPOCHS,
    LAMBDA_ONE,
    Keep,
    Run,
    accuracy,
    couplings_of,
    digits,
    epochs_of,
    horizon_of,
    masked,
    network,
    random_like,
    settings_of,
    share_of,
    slim,
    trained_accuracy,
)
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, Kind, named_tensors
from compressor.sparsity.held import Held
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.structure import Path, Structure
from compressor.tasks.classification import Classification
from compressor.train.loop import Record, Surroundings

Figures = dict[str, Any]

NU = 5.0
TICKET_SHARE, MOST_SHARE = 0.4, 0.6
"""Where the search is stopped: 40 to 60 % of the filters are in."""

EARLY_SHARE = 0.2
SMALL_BATCH = 32
"""For half of the classes: as many steps in an epoch as with all of them."""


class Watched:
    """A method whose support is looked at after every step.

    Attributes:
        entries: Units that came in, counted at each step.
        exits: Units that went out.
    """

    def __init__(self, method: SplitLBI) -> None:
        self._method = method
        self.entries = self.exits = 0
        self._before: Mapping[str, Tensor] = {}

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Attach the method, and look after it."""
        self._method.attach(model, optimizer, couplings)
        self._before = self._method.structure().keep
        self._handle = optimizer.register_step_post_hook(self._look)

    def _look(self, *_: Any) -> None:
        now = self._method.structure().keep
        for name, kept in now.items():
            self.entries += int((kept & ~self._before[name]).sum())
            self.exits += int((~kept & self._before[name]).sum())
        self._before = now

    def detach(self) -> None:
        """Stop looking, and detach the method."""
        self._handle.remove()
        self._method.detach()

    def penalty(self) -> Tensor | None:
        """That of the method."""
        return self._method.penalty()

    def structure(self) -> Structure:
        """That of the method."""
        return self._method.structure()

    def path(self) -> Path:
        """That of the method."""
        return self._method.path()

    def metrics(self) -> dict[str, float]:
        """Those of the method."""
        return self._method.metrics()

    def notices(self) -> list[str]:
        """Those of the method."""
        return self._method.notices()

    def state_dict(self) -> dict[str, Any]:
        """That of the method."""
        return self._method.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """That of the method."""
        self._method.load_state_dict(state)


@dataclass
class Course:
    """What was seen of a path, an entry for each epoch.

    Attributes:
        keep: The support.
        dense: Accuracy of W.
        sparse: Accuracy of W*, the weights inside the support.
        entries: Of filters, over all steps.
        exits: Of filters, over all steps.
    """

    keep: list[Keep] = field(default_factory=list)
    dense: list[float] = field(default_factory=list)
    sparse: list[float] = field(default_factory=list)
    entries: int = 0
    exits: int = 0


def search(
    net: nn.Module, task: Classification, seed: int, effort: float, batch: int, *, accuracies: bool
) -> Course:
    """Train ``net`` along the path; nu goes with the length of the run, whose clock it sets."""
    settings = settings_of(epochs_of(effort), batch)
    nu = NU * settings.epochs / EPOCHS
    method = SplitLBI(
        SplitLBISettings(twin="filter", nu=nu, lam=LAMBDA_ONE), horizon_of(task, settings, seed)
    )
    watched, couplings, course = Watched(method), couplings_of(net, task), Course()

    def look(_record: Record) -> None:
        keep = dict(method.structure().keep)
        course.keep.append(keep)
        if accuracies:
            course.dense.append(accuracy(net, task))
            course.sparse.append(accuracy(masked(net, couplings, keep), task))

    around = Surroundings(device="cpu", on_epoch=look)
    Run(net, task, settings, seed, around=around).train(watched, couplings)
    course.entries, course.exits = watched.entries, watched.exits
    return course


def follow(seed: int, effort: float) -> Figures:
    """E1 and E2: support and accuracies along the path."""
    course = search(network(seed), digits(), seed, effort, 64, accuracies=True)
    total = sum(len(kept) for kept in course.keep[0].values())
    return {
        "support": [sum(int(kept.sum()) for kept in keep.values()) for keep in course.keep],
        "filters": total,
        "entries": course.entries,
        "exits": course.exits,
        "accuracy_dense": course.dense,
        "accuracy_sparse": course.sparse,
    }


def stopped(course: Sequence[Keep], share: float) -> tuple[Keep, int]:
    """The first support with this share of the filters and none of the layers empty; its epoch.

    If it is never reached it is the last one, and an empty layer keeps its first filter.
    """
    for epoch, keep in enumerate(course, start=1):
        if share_of(keep) >= share and all(kept.any() for kept in keep.values()):
            return keep, epoch
    last = {name: kept.clone() for name, kept in course[-1].items()}
    for kept in last.values():
        kept[0] |= not kept.any()
    return last, len(course)


def masks_of(net: nn.Module, couplings: Couplings, keep: Keep, *kinds: Kind) -> Structure:
    """Masks over the entries of some kinds that make units which are left out."""
    tensors, masks = named_tensors(net), {}
    for coupling in couplings.free:
        for member in coupling.of_kind(*kinds):
            mask = torch.ones_like(tensors[member.tensor], dtype=torch.bool)
            member.zero_(mask, ~keep[coupling.name])
            masks[member.tensor] = mask
    return Structure(masks, "weight")


def tickets(seed: int, effort: float) -> Figures:
    """E3: tickets of an early stop, rewound and trained as the dense network, and random ones.

    The ticket of E3 is also trained at full width, with masks that are held fixed (E3c): those of
    the published code, over the filters alone, and masks over their biases too.
    """
    task, start = digits(), network(seed)
    couplings, settings = couplings_of(start, task), settings_of(epochs_of(effort))
    course = search(copy.deepcopy(start), task, seed, effort, 64, accuracies=False)

    def trained(keep: Keep) -> float:
        return trained_accuracy(slim(start, couplings, keep), task, settings, seed)

    def held(keep: Keep, *kinds: Kind) -> float:
        net = copy.deepcopy(start)
        masks = masks_of(net, couplings, keep, *kinds)
        Run(net, task, settings, seed).train(Held(masks), couplings)
        return accuracy(net, task)

    figures: Figures = {}
    for name, share in (("ticket", TICKET_SHARE), ("early", EARLY_SHARE)):
        keep, epoch = stopped(course.keep, share)
        figures |= {f"{name}_epoch": epoch, f"{name}_share": share_of(keep)}
        figures[f"{name}_filters"] = [int(kept.sum()) for kept in keep.values()]
        figures[f"{name}_accuracy"] = trained(keep)
        figures[f"{name}_random_accuracy"] = trained(random_like(keep, seed))
        if name == "ticket":
            figures["masked_filters_accuracy"] = held(keep, "filter")
            figures["masked_units_accuracy"] = held(keep, "filter", "bias")
    dense = copy.deepcopy(start)
    return {**figures, "dense_accuracy": trained_accuracy(dense, task, settings, seed)}


def transfer(seed: int, effort: float) -> Figures:
    """E9: a structure found on the digits 0 to 4, trained on 5 to 9."""
    first, second = digits(range(5)), digits(range(5, 10))
    settings = settings_of(epochs_of(effort), SMALL_BATCH)
    start, fresh = network(seed, num_classes=5), network(seed + 1000, num_classes=5)
    couplings = couplings_of(start, first)
    course = search(copy.deepcopy(start), first, seed, effort, SMALL_BATCH, accuracies=False)
    keep, epoch = stopped(course.keep, TICKET_SHARE)

    def trained(net: nn.Module) -> float:
        return trained_accuracy(net, second, settings, seed)

    # The head is new in all cases: it never saw a digit before, and its classes are others.
    return {
        "epoch": epoch,
        "share": share_of(keep),
        "same_init_accuracy": trained(slim(start, couplings, keep)),
        "fresh_init_accuracy": trained(slim(fresh, couplings, keep)),
        "random_accuracy": trained(slim(start, couplings, random_like(keep, seed))),
        "dense_accuracy": trained(copy.deepcopy(start)),
    }
