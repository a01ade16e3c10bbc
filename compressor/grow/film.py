"""The film of a growing network: a picture at the end of each round, and its path."""

from collections.abc import Mapping
from typing import Any

import torch

from compressor.grow.growth import Film, Frame, Growth, Stand
from compressor.grow.widen import Cutting
from compressor.structure import Path, Structure, UnitPath
from compressor.train.job import Record


def support_shares(support: Structure) -> dict[str, float]:
    """Share of each coupling's units that has entered, in [0, 1]."""
    return {name: float(kept.double().mean()) for name, kept in support.keep.items()}


def under_way(film: Film) -> bool:
    """Whether couplings that are not full may still fill.

    They may while units enter, and as long as the path has not reached every coupling.
    """
    if min(film[-1]["entered"].values()) == 0:
        return True
    counts = [_num_entered(frame) for frame in film[-2:]]
    return counts[-1] > (counts[0] if len(counts) > 1 else 0)


def _num_entered(frame: Frame) -> int:
    # Of shares alone the sum hangs on how each was rounded.
    widths: Mapping[str, int] = frame["widths"]
    return sum(round(frame["entered"][name] * width) for name, width in widths.items())


def frame_of(
    growth: Growth, stand: Stand, history: list[Record], shares: Mapping[str, float]
) -> Frame:
    """One picture of the film, taken at the end of a round.

    Returns:
        ``epoch`` and ``step`` at its end; ``widths`` of the couplings; ``macs`` of the network,
        ``macs_share`` of the full one's; ``entered``, shares in [0, 1]; ``validation_accuracy``;
        ``forward_macs``: MACs of one forward pass of every image trained on so far; ``cost_share``:
        the same as a share of those of a search at full width for all epochs.
    """
    structure, record = stand.cutting.structure, history[-1]
    before = stand.film[-1] if stand.film else {"step": 0, "forward_macs": 0}
    images = (record["step"] - before["step"]) * growth.job.settings.batch_size
    macs = growth.macs(structure)
    forward_macs = before["forward_macs"] + round(macs) * images
    return {
        "epoch": record["epoch"],
        "step": record["step"],
        "widths": structure.widths(),
        "macs": round(macs),
        "macs_share": macs / growth.macs(growth.limits.couplings.everything()),
        "entered": dict(shares),
        "validation_accuracy": record["validation_accuracy"],
        "forward_macs": forward_macs,
        "cost_share": forward_macs / _full_cost(growth, record),
    }


def outlook(growth: Growth, frame: Frame, structure: Structure | None) -> dict[str, Any]:
    """What follows a round.

    Args:
        growth: What grows.
        frame: Of the round.
        structure: What the next round trains; None where growing has ended.

    Returns:
        ``next_widths``, or None; ``cost_share_at_end``: the ``cost_share`` after the last epoch if
        the network grows no further than that.
    """
    if structure is None:
        return {"next_widths": None, "cost_share_at_end": frame["cost_share"]}
    images = _last_step(growth, frame) - frame["step"]
    rest = round(growth.macs(structure)) * images * growth.job.settings.batch_size
    at_end = frame["cost_share"] + rest / _full_cost(growth, frame)
    return {"next_widths": structure.widths(), "cost_share_at_end": at_end}


def _last_step(growth: Growth, record: Mapping[str, Any]) -> int:
    """Step after which the last epoch ends, by a record of the end of another one."""
    per_epoch: int = record["step"] // record["epoch"]
    return per_epoch * growth.job.settings.epochs


def _full_cost(growth: Growth, record: Mapping[str, Any]) -> int:
    """MACs of a forward pass of all images of a search at full width."""
    images = _last_step(growth, record) * growth.job.settings.batch_size
    return round(growth.macs(growth.limits.couplings.everything())) * images


def full_path(growth: Growth, cutting: Cutting, path: Path) -> Path:
    """The path of a grown network over the units of the full one."""
    empty = Path.of_scores(
        path.method,
        {c.name: torch.zeros(c.num_units) for c in growth.limits.couplings.free},
    )
    couplings = {}
    for name, nothing in empty.couplings.items():
        kept, units = cutting.structure.keep[name], path.couplings[name]
        couplings[name] = UnitPath(
            entry_step=nothing.entry_step.masked_scatter(kept, units.entry_step),
            entry_time=nothing.entry_time.masked_scatter(kept, units.entry_time),
            score=nothing.score.masked_scatter(kept, units.score),
            factors={
                key: torch.zeros_like(nothing.score).masked_scatter(kept, factor)
                for key, factor in units.factors.items()
            },
        )
    return Path(path.method, couplings)
