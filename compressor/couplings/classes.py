"""What the flow found out -> couplings: classes of united labels are units, alike ones a coupling.

A tensor stays a tensor only if what leaves it are whole rows, columns or the like. So where labels
change along two axes at once (heads times entries of a head, groups times places), classes are
united until they change along one of them only.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, fx

from compressor.couplings.coupling import Coupling, Couplings, FrozenCoupling, Kind, Member
from compressor.couplings.flow import Flow
from compressor.couplings.ledger import Edges, Ledger, pairs_once
from compressor.couplings.sheets import NO_LABEL, Value, compact, first_along, varying

PADDED = "they share rows with values that keep their width"
"""Why a class is frozen that meets elements without label in an array of several ways to shrink."""

Key = tuple[str, int]
"""An axis of a tensor."""

Signature = frozenset[tuple[str, int, int]]
"""Which tensors a unit has entries of: (tensor, axis, how many)."""


@dataclass(frozen=True)
class Classes:
    """The unit of each label.

    Attributes:
        of_label: int64, shape ``(labels,)``: number of the class.
        reasons: Why a class is frozen, by number.
    """

    of_label: Tensor
    reasons: Mapping[int, str]

    def of(self, labels: Tensor) -> Tensor:
        """Classes of an array of labels; -1 where there is none."""
        found = self.of_label[labels.clamp_min(0)]
        return torch.where(labels == NO_LABEL, NO_LABEL, found)


def classes_of(flow: Flow) -> Classes:
    """Classes of all labels, with whole rows and columns as units."""
    ledger = flow.ledger
    joint = _joint_sheets(flow.values)
    numbers = _components(ledger.num_labels, ledger.edges)
    while edges := _edges_to_rows(ledger, numbers, joint):
        numbers = _components(int(numbers.max()) + 1, edges)[numbers]
    reasons: dict[int, str] = {}
    for labels, reason in ledger.frozen:
        for number in set(numbers[labels].tolist()):
            reasons.setdefault(number, reason)
    return Classes(numbers, reasons)


def _components(count: int, edges: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    if not edges:
        return torch.arange(count)
    rows = torch.cat([first for first, _ in edges]).numpy()
    columns = torch.cat([second for _, second in edges]).numpy()
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return torch.from_numpy(numbers).to(torch.int64)


def _joint_sheets(values: Mapping[fx.Node, object]) -> list[Tensor]:
    """Labels that change along several axes at once, each once."""
    found: dict[tuple[int, ...], Tensor] = {}
    for value in values.values():
        for one in value if isinstance(value, tuple) else (value,):
            for sheet in one.sheets if isinstance(one, Value) else ():
                if len(sheet.axes) > 1:
                    small = compact(sheet.labels)
                    found.setdefault((small.data_ptr(), *small.shape, *small.stride()), small)
    return list(found.values())


def _edges_to_rows(ledger: Ledger, numbers: Tensor, joint: Sequence[Tensor]) -> list[Edges]:
    """Pairs of classes that keep an array from losing whole rows while they are two.

    A class that meets an element without label is frozen: that element stays.
    """
    edges: list[Edges] = []
    for labels in joint:
        classes = numbers[labels.clamp_min(0)].masked_fill(labels == NO_LABEL, NO_LABEL)
        axes = [a for a in varying(labels) if bool((classes != classes.narrow(a, 0, 1)).any())]
        if len(axes) < 2:
            continue
        # Of two as long the inner one: queries, keys and values stand side by side outside.
        longest = max(reversed(axes), key=lambda axis: labels.shape[axis])
        firsts = first_along(classes, [axis for axis in axes if axis != longest])
        one, other = pairs_once(classes, firsts)
        owned = (one != NO_LABEL) & (other != NO_LABEL)
        ledger.freeze(_labels_of(numbers, torch.cat([one[~owned], other[~owned]])), PADDED)
        # Where only elements without label differ, nothing is left to unite.
        if len(different := (owned & (one != other)).nonzero().flatten()):
            edges.append((one[different], other[different]))
    return edges


def _labels_of(numbers: Tensor, classes: Tensor) -> Tensor:
    """Labels of the given classes; of what is no class there are none."""
    return torch.isin(numbers, classes).nonzero().flatten()


def couplings_of(flow: Flow, classes: Classes) -> Couplings:
    """Couplings of a network: units that have entries of the same tensors.

    Each is named after the first layer that produces it, and they are in the order of those layers.
    """
    entries = _entries(flow, classes)
    kinds = {(owned.name, owned.axis): flow.ledger.role(owned) for owned in flow.ledger.owned}
    free: list[Coupling] = []
    frozen: list[FrozenCoupling] = []
    taken: dict[str, int] = defaultdict(int)
    for (tensor, _), numbers in _by_first_filter(entries, kinds):
        name = tensor.rpartition(".")[0] or tensor
        for reason, members in _by_reason(classes, numbers).items():
            taken[name] += 1
            title = name if taken[name] == 1 else f"{name}#{taken[name]}"
            if reason is None:
                free.append(_coupling(title, members, entries, kinds))
            else:
                frozen.append(FrozenCoupling(title, len(members), reason))
    return Couplings(tuple(free), tuple(frozen))


def _by_first_filter(
    entries: Mapping[int, Mapping[Key, list[int]]], kinds: Mapping[Key, Kind]
) -> list[tuple[Key, list[int]]]:
    """Classes with entries of the same tensors, each group with the filters that come first."""
    groups: dict[Signature, list[int]] = defaultdict(list)
    for number, places in entries.items():
        signature = frozenset((*key, len(found)) for key, found in places.items())
        groups[signature].append(number)
    order = {key: place for place, key in enumerate(kinds)}
    firsts = [
        (min(filters, key=order.__getitem__), numbers)
        for numbers in groups.values()
        if (filters := [key for key in entries[numbers[0]] if kinds[key] == "filter"])
    ]
    return sorted(firsts, key=lambda first: order[first[0]])


def _entries(flow: Flow, classes: Classes) -> dict[int, dict[Key, list[int]]]:
    """For each class the places it has on each axis of each tensor, in the tensors' order."""
    entries: dict[int, dict[Key, list[int]]] = defaultdict(lambda: defaultdict(list))
    for owned in flow.ledger.owned:
        for place, number in enumerate(classes.of_label[owned.labels].tolist()):
            entries[number][owned.name, owned.axis].append(place)
    return entries


def _by_reason(classes: Classes, numbers: Sequence[int]) -> dict[str | None, list[int]]:
    split: dict[str | None, list[int]] = defaultdict(list)
    for number in numbers:
        split[classes.reasons.get(number)].append(number)
    return split


def _coupling(
    name: str,
    numbers: Sequence[int],
    entries: Mapping[int, Mapping[Key, list[int]]],
    kinds: Mapping[Key, Kind],
) -> Coupling:
    members = tuple(
        Member(
            tensor=key[0],
            axis=key[1],
            index=torch.tensor([entries[number][key] for number in numbers]),
            kind=kinds[key],
        )
        for key in entries[numbers[0]]
    )
    return Coupling(name, len(numbers), members)
