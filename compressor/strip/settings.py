"""What a recipe says of stripping: the budget, limits on widths, how couplings are found."""

from typing import Literal

from pydantic import Field, model_validator

from compressor.couplings.coupling import Engine, Heads
from compressor.settings import Settings
from compressor.strip.certificate import Statistics
from compressor.strip.order import Order, Widths
from compressor.strip.target import RoundTo

Depth = Literal["keep", "remove"]
"""Whether residual branches may go as blocks."""


class StripSettings(Settings):
    """What the slim network may cost. At most one budget; without one the support is kept as it is.

    A budget of MACs or parameters is never passed, and where widths allow it missed by 2 % at most.
    One in time is approached from both sides: what was measured in the end is within 10 % of it, or
    a warning says by how much it is not.
    """

    keep_macs: float | None = Field(default=None, gt=0, le=1)
    """Share of the dense network's MACs that the slim one may use."""
    keep_params: float | None = Field(default=None, gt=0, le=1)
    """Share of the dense network's parameters that the slim one may have."""
    keep_latency: float | None = Field(default=None, gt=0, le=1)
    """Share of the dense network's time on the target that the slim one may take."""
    latency_ms: float | None = Field(default=None, gt=0)
    """Time on the target that the slim network may take for one batch, in milliseconds."""
    at_epoch: int | None = Field(default=None, ge=1)
    """In place of a budget: keep what had entered the support by the end of this epoch."""
    floor_share: float = Field(default=0.1, ge=0, le=1)
    """Share of its units that every coupling keeps at least; one unit in any case."""
    round_to: RoundTo = 8
    """Channels that widths are multiples of (or the whole width): engines are slow at odd ones.
    ``auto``: what suits the target. A coupling with fewer channels goes in steps of four."""
    order: Order = "score"
    """What ranks the units of one coupling: the method's ``score``; the time of ``entry``; one
    factor of the score, ``dual`` norm, ``filter`` norm or norm ``scale``; or chance, a control. A
    coupling that has not the factor, such as one without norms, goes by its score."""
    widths: Widths = "cut"
    """How much each coupling keeps. ``cut``: one cut through the values of the order, each over
    its coupling's mean; ``raw``: the same without that division; ``score``: one cut through the
    scores over their means, whatever the order; ``entries``: one through the times of entry;
    ``uniform``: the same share of every coupling; ``half``: the geometric mean of score and
    uniform; ``per-mac``, ``entries-per-mac``: scores, times of entry over the root of the MACs of
    a unit."""
    depth: Depth = "keep"
    """With ``remove`` a coupling that lies whole inside a removable residual branch may lose all of
    its units. The branch then goes as a block, its last norm or layer with it: the masked network
    of the certificate has that at zero. The slim network is the captured graph."""
    engine: Engine = "both"
    """What finds couplings: index flow checked by torch-pruning, or one of the two alone."""
    heads: Heads = "whole"
    """What may leave attention: whole heads, or the same entries of every head."""
    statistics: Statistics = "trained"
    """Norms of the network that the certificate compares: as trained, or at random, which shows a
    mistake that norms near the identity would hide."""
    # Strictness would refuse the lists that TOML and JSON have in place of tuples.
    keep: tuple[str, ...] = Field(default=(), strict=False)
    """Layers that keep all of their outputs, by name or glob; what reads them may still shrink."""
    freeze: tuple[str, ...] = Field(default=(), strict=False)
    """Layers of which nothing is removed, neither outputs nor inputs, by name or glob."""

    @model_validator(mode="after")
    def _one_budget(self) -> "StripSettings":
        given = [f"{name} = {value:g}" for name, value in self.budget().items()]
        given += [] if self.at_epoch is None else [f"at_epoch = {self.at_epoch}"]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given[:2])} are two budgets; give one")
        return self

    def budget(self) -> dict[str, float]:
        """The budget by its key in the recipe; empty where there is none."""
        return {name: value for name in BUDGETS if (value := getattr(self, name)) is not None}

    @property
    def in_time(self) -> bool:
        """Whether the budget is one of time, which has to be measured."""
        return self.keep_latency is not None or self.latency_ms is not None

    @property
    def multiple(self) -> int:
        """``round_to`` as a number, which whoever knows the target has put in place of auto."""
        assert self.round_to != "auto", "auto is resolved before anything is solved"
        return self.round_to


BUDGETS = ("keep_macs", "keep_params", "keep_latency", "latency_ms")
"""Settings that are budgets."""
