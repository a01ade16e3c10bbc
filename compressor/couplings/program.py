"""What is kept of a captured network so that its graph can be cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from compressor.couplings.classes import Classes
from compressor.couplings.coupling import Coupling
from compressor.couplings.flow import Flow


@dataclass(frozen=True)
class Program:
    """A captured network with the labels of all its tensors.

    Attributes:
        nodes: Operator calls in order.
        values: What each node gives, with its sheets.
        coupling_of_label: For each label the place of its coupling in ``names``; -1 where none.
        unit_of_label: For each label its unit in that coupling.
        names: Names of the couplings.
        unknown: Operators without a rule that labels reached, with the module that calls each.
        inputs: The arguments that it was captured with, as ``described`` has them.
    """

    nodes: tuple[fx.Node, ...]
    values: Mapping[fx.Node, Any]
    coupling_of_label: Tensor
    unit_of_label: Tensor
    names: tuple[str, ...]
    unknown: Mapping[str, str]
    inputs: Any
    templates: dict[torch.dtype, fx.GraphModule] = field(default_factory=dict, compare=False)
    """Captured graphs without data, by the network's type of numbers, to be used again."""

    def kept_labels(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Which labels stay, bool, when the named couplings keep the given units; others whole."""
        kept = torch.ones(len(self.unit_of_label), dtype=torch.bool)
        for place, name in enumerate(self.names):
            if name in keep:
                mine = self.coupling_of_label == place
                kept[mine] = keep[name][self.unit_of_label[mine]]
        return kept


def program_of(
    flow: Flow,
    classes: Classes,
    couplings: tuple[Coupling, ...],
    inputs: Any,
) -> Program:
    """The program of a flow whose free couplings are ``couplings``."""
    labels_of = {(owned.name, owned.axis): owned.labels for owned in flow.ledger.owned}
    count = int(classes.of_label.max()) + 1 if len(classes.of_label) else 0
    coupling_of_class, unit_of_class = torch.full((2, count), -1).unbind()
    for place, coupling in enumerate(couplings):
        member = coupling.members[0]
        numbers = classes.of_label[labels_of[member.tensor, member.axis][member.index[:, 0]]]
        coupling_of_class[numbers] = place
        unit_of_class[numbers] = torch.arange(coupling.num_units)
    return Program(
        nodes=tuple(node for node in flow.values if node.op == "call_function"),
        values=flow.values,
        coupling_of_label=coupling_of_class[classes.of_label],
        unit_of_label=unit_of_class[classes.of_label],
        names=tuple(coupling.name for coupling in couplings),
        unknown=flow.unknown,
        inputs=inputs,
    )
