"""What a recipe says of its ticket: which weights the stripped network is tuned from."""

import re

from pydantic import Field, field_validator

from compressor.settings import Settings

KEEP, REWIND, FRESH = "keep", "rewind", "fresh"

TO_EPOCH = re.compile(r"rewind-to-epoch-([1-9][0-9]{0,8})")


class TicketSettings(Settings):
    """The ticket: the structure that the search found, and weights to train it from.

    The structure and the certificate are always those of the weights that the search found; what
    changes is what is cut by the same plan for tuning.
    """

    weights: str = Field(default=KEEP)
    """``keep``: those that the search found; ``rewind``: those that it started from;
    ``rewind-to-epoch-K``, as in ``rewind-to-epoch-3``: those after an epoch of it, as the network
    stood then, with what the method had at zero at zero; ``fresh``: another draw, of a seed that
    follows from the recipe's, without the weights of ``model.weights``."""

    @field_validator("weights")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value in (KEEP, REWIND, FRESH) or TO_EPOCH.fullmatch(value):
            return value
        raise ValueError(
            f'"{value}" is none of keep, rewind, fresh and rewind-to-epoch-K with a number K from '
            "1, as in rewind-to-epoch-3; choose one"
        )

    @property
    def epoch(self) -> int | None:
        """Epoch of the search, from 1, that tuning goes back to; None where it goes to none."""
        found = TO_EPOCH.fullmatch(self.weights)
        return int(found[1]) if found else None


def ticket_faults(ticket: TicketSettings, epochs: int, *, grows: bool) -> list[str]:
    """What stands against going back to an epoch of the search, a line each.

    Args:
        ticket: The section of the recipe.
        epochs: Of the search.
        grows: Whether the network grows in place of a search at full width.
    """
    if ticket.epoch is None:
        return []
    found, faults = f'ticket.weights = "{ticket.weights}"', []
    if ticket.epoch > epochs:
        faults += [
            f"{found}: the search has no such epoch, train.epochs is {epochs}. Name one of them, "
            "or raise train.epochs."
        ]
    if grows:
        faults += [
            f"{found}: a network that grows is of other widths after its epochs. Write "
            '"rewind", or leave [grow] out.'
        ]
    return faults
