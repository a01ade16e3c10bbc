"""What holds a layer's time: one documented rule, all of its figures from the profile itself.

Asked in this order, the first that holds:

1. ``layout change``: more than half of its time goes into kernels that only change how a tensor
   lies in memory.
2. ``unaligned``: a convolution whose channels are no multiple of the engine's block (of 4 where it
   has none), if that shows beside the dense network's layer of that name: a MAC takes at least
   `UNALIGNED_FACTOR` times as long, or, where kernels are too short for that to say anything (3),
   the whole layer `SLOWER_FACTOR` times, for all its smaller size.
3. ``overhead``: its kernels take what the engine needs to call a kernel, or less.
4. ``memory``: it does fewer MACs for each byte it moves than the machine can do while it moves one
   byte. Both rates are the best that any layer of the two networks reached.
5. ``compute``: all others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from compressor.doctor.layer_times import LayerTime

Class = Literal["compute", "memory", "overhead", "layout change", "unaligned"]

LAYOUT_SHARE = 0.5

UNALIGNED_FACTOR = 1.1
"""Measured on 3x3 convolutions (ONNX Runtime 1.31, Zen 5), one MAC against that of 64 channels: 60
channels 1.15, 62 channels 1.42, 52 channels 1.54; at multiples of 16 from 32 on at most 1.1."""

SLOWER_FACTOR = 1.2
"""Kernels of some microseconds are measured in whole ones."""

CHANNEL_MULTIPLE = 4
"""With other numbers of input channels ONNX Runtime leaves its blocked layout."""


@dataclass(frozen=True)
class Rates:
    """The best that any layer reached, among those that are not all fixed cost.

    Attributes:
        macs_per_us: Multiply-accumulates in a microsecond; 0 where no layer is long enough.
        bytes_per_us: Bytes moved in a microsecond; 0 likewise.
    """

    macs_per_us: float
    bytes_per_us: float

    @classmethod
    def of(cls, layers: Iterable[LayerTime]) -> "Rates":
        """The rates of these layers, of one network or several profiled together."""
        long = [layer for layer in layers if not is_overhead(layer) and layer.us]
        return cls(
            macs_per_us=max((layer.macs_per_us for layer in long), default=0.0),
            bytes_per_us=max((layer.moved_bytes / layer.us for layer in long), default=0.0),
        )

    @property
    def macs_per_byte(self) -> float:
        """Below this many MACs for each byte a layer waits for memory; 0 if that is unknown."""
        return self.macs_per_us / self.bytes_per_us if self.bytes_per_us else 0.0


def class_of(layer: LayerTime, dense: LayerTime | None, rates: Rates, block: int | None) -> Class:
    """What holds the time of ``layer``, by the rule above.

    Args:
        layer: Of the slim network.
        dense: The layer of that name in the dense one, if it is there.
        rates: Of both networks.
        block: Channels in one block of the engine; None where it has no blocks.
    """
    if layer.layout_us > LAYOUT_SHARE * layer.us:
        return "layout change"
    if dense is not None and is_unaligned(layer, dense, block):
        return "unaligned"
    if is_overhead(layer):
        return "overhead"
    return "memory" if layer.macs < rates.macs_per_byte * layer.moved_bytes else "compute"


def is_unaligned(layer: LayerTime, dense: LayerTime, block: int | None) -> bool:
    """Whether odd channels cost ``layer`` time, beside the dense network's layer."""
    if not odd_channels(layer, block):
        return False
    # The fixed cost of short kernels makes each of few MACs dear, whatever the channels are.
    if is_overhead(layer):
        return layer.us >= SLOWER_FACTOR * dense.us
    return cost_factor(layer, dense) >= UNALIGNED_FACTOR


def is_overhead(layer: LayerTime) -> bool:
    """Whether the kernels of ``layer`` are too short for what they compute to matter."""
    return layer.us <= layer.fixed_us


def cost_factor(layer: LayerTime, dense: LayerTime) -> float:
    """How many times as long a MAC takes in ``layer`` as in ``dense``; 0 where either has none."""
    return dense.macs_per_us / layer.macs_per_us if layer.macs_per_us else 0.0


def odd_channels(layer: LayerTime, block: int | None) -> list[int]:
    """Channels, in and out, that the engine has to pad or work around; only convolutions have any.

    Fewer input channels than a block are read as they are, so they are not odd; that is how the
    first layer reads its three colours.
    """
    if layer.op != "Conv":
        return []
    unit = block or CHANNEL_MULTIPLE
    inputs, outputs = layer.in_channels, layer.out_channels
    odd = []
    if inputs is not None and inputs > unit and inputs % unit:
        odd.append(inputs)
    if outputs is not None and outputs % unit:
        odd.append(outputs)
    return odd
