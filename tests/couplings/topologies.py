"""Small networks, one for each way in which channels get coupled.

Every class draws one pattern and nothing else. ``frozen`` names the couplings that must not be cut
and a piece of the reason; every other coupling must be free.
"""

from .topologies_attention import ATTENTION
from .topologies_convolution import CONVOLUTION
from .topologies_movement import MOVEMENT
from .topologies_norms import NORMS
from .topologies_sharing import SHARING
from .topology import Topology, conv, pooled

__all__ = ["TOPOLOGIES", "Topology", "conv", "pooled"]

TOPOLOGIES: dict[str, Topology] = CONVOLUTION | SHARING | MOVEMENT | NORMS | ATTENTION
