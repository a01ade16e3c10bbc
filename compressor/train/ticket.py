"""What a recipe says of its ticket: which weights the stripped network is tuned from."""

import re

from pydantic import Field, field_validator

from compressor.settings import Settings

KEEP, REWIND, DENSE, FRESH = "keep", "rewind", "dense", "fresh"

TO_EPOCH = re.compile(r"rewind-to-epoch-([1-9][0-9]{0,8})")


class TicketSettings(Settings):
    """The ticket: the structure that the search found, and weights to train it from.

    The structure and the certificate are always those of the weights that the search found; what
    changes is what is cut by the same plan for tuning.
    """

    weights: str = Field(default=KEEP)
    """``keep``: those that the search found; ``rewind``: those that it started from;
    ``rewind-to-epoch-K``, as in ``rewind-to-epoch-3``: those after an epoch of it, as the network
    stood then, with what the method had at zero at zero; ``dense``: those of the dense network,
    trained without sparsity, for a structure that was searched beside it; ``fresh``: another draw,
    of a seed that follows from the recipe's, as large as if drawn for the slim widths, without the
    weights of ``model.weights``."""

    @field_validator("weights")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value in (KEEP, REWIND, DENSE, FRESH) or TO_EPOCH.fullmatch(value):
            return value
        raise ValueError(
            f'"{value}" is none of keep, rewind, dense, fresh and rewind-to-epoch-K with a number '
            "K from 1, as in rewind-to-epoch-3; choose one"
        )

    @property
    def epoch(self) -> int | None:
        """Epoch of the search, from 1, that tuning goes back to; None where it goes to none."""
        found = TO_EPOCH.fullmatch(self.weights)
        return int(found[1]) if found else None


def ticket_faults(
    ticket: TicketSettings, epochs: int, tune_epochs: int, *, grows: bool
) -> list[str]:
    """What stands against tuning from other weights than were found, a line each.

    Args:
        ticket: The section of the recipe.
        epochs: Of the search.
        tune_epochs: Of tuning.
        grows: Whether the network grows in place of a search at full width.
    """
    if ticket.weights == KEEP:
        return []
    found, faults = f'ticket.weights = "{ticket.weights}"', []
    if not tune_epochs:
        faults += [
            f"{found}: with tune.epochs = 0 these weights would never be trained. Give tune.epochs "
            '(--tune of a slice), or write "keep".'
        ]
    if ticket.epoch is not None and ticket.epoch > epochs:
        faults += [
            f"{found}: the search has no such epoch, train.epochs is {epochs}. Name one of them, "
            "or raise train.epochs."
        ]
    if grows and ticket.weights != FRESH:
        faults += [
            f"{found}: a network that grows begins with other widths, and takes up units on the "
            'way, so there is nothing to go back to. Write "keep" or "fresh", or leave [grow] out.'
        ]
    return faults
