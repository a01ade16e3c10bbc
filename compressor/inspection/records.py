"""What an inspection found, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it would import torch, and the command line reads this file
    from compressor.couplings.coupling import Form

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True)
class Share:
    """One coupling that can shrink.

    Attributes:
        name: Of the coupling.
        units: How many there are.
        tensors: What shrinks with it.
        macs_share: Share of the network's MACs that leaves when all of its units but one leave, in
            [0, 1]. A weight between two couplings counts for both, so shares add up to more than 1.
        params_share: The same of its parameters.
    """

    name: str
    units: int
    tensors: tuple[str, ...]
    macs_share: float
    params_share: float


@dataclass(frozen=True)
class Held:
    """One coupling that cannot shrink; ``params_share`` is that of the layer it is named after.

    Counted are parameters that no other coupling reaches.
    """

    name: str
    units: int
    reason: str
    params_share: float


@dataclass(frozen=True)
class Unreached:
    """A layer of which no coupling that can shrink holds a parameter, and none is named after it.

    ``params_share`` is that of its own parameters, in [0, 1].
    """

    name: str
    type: str
    reason: str
    params_share: float


@dataclass(frozen=True)
class Outlook:
    """What a budget would leave if all couplings were thinned evenly, or why it cannot be met.

    Attributes:
        keep_macs: The budget, a share of the MACs.
        macs_share: Share of the MACs that is left, None where the budget cannot be met.
        params_share: The same of the parameters.
        narrowest: The smallest widths: coupling, units kept, units before.
        failure: Why the budget cannot be met, or None.
    """

    keep_macs: float
    macs_share: float | None
    params_share: float | None
    narrowest: tuple[tuple[str, int, int], ...]
    failure: str | None


@dataclass(frozen=True)
class ExportTrial:
    """How the ONNX export went: bytes of the file, or why there is none."""

    exporter: str
    opset: int
    seconds: float
    bytes: int | None
    failure: str | None


@dataclass(frozen=True)
class Inspection:
    """All that was found of one network.

    Attributes:
        image_shape: The images that it was counted and exported for.
        traced_shape: The images on which couplings were traced and tried.
        macs: For one image.
        params: Parameters.
        couplings: Those that can shrink, in the order of the network.
        frozen: Those that cannot.
        unreached: Layers, with parameters of their own, that neither list accounts for.
        unreached_share: Share of the parameters that no coupling that can shrink holds.
        outlooks: What some budgets would leave.
        export: The trial export of the dense network.
        form: How it would be cut: its own modules, with numbers mended, or the captured graph.
        second_engine: What the second coupling engine says, in words.
        unknown_operators: Operators without a rule, with the place of the first call of each.
    """

    image_shape: ImageShape
    traced_shape: tuple[int, ...]
    macs: int
    params: int
    couplings: tuple[Share, ...]
    frozen: tuple[Held, ...]
    unreached: tuple[Unreached, ...]
    unreached_share: float
    outlooks: tuple[Outlook, ...]
    export: ExportTrial
    form: "Form"
    second_engine: str
    unknown_operators: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """JSON value."""
        return asdict(self)
