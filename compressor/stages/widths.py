"""Widths that suit the target: the multiple they go by, and what became of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from compressor.bench.blocks import onnxruntime_block
from compressor.console import Console
from compressor.context import Context
from compressor.couplings.coupling import Couplings
from compressor.files import write_json
from compressor.strip.alignment import Alignment, alignment, channels
from compressor.strip.cost import Cost
from compressor.strip.target import LEAST, Multiple, OfAuto, TargetSettings, multiple_for
from compressor.structure import Structure

MAX_NAMED = 3
"""Couplings that a warning names; the record names all."""


def multiple_of(context: Context) -> Multiple:
    """The multiple of channels that the recipe asks widths to be, and why.

    In messages the number stands as the recipe has it, with what ``auto`` came to.
    """
    recipe, capability = context.recipe, torch.backends.cpu.get_cpu_capability()
    given = recipe.strip.round_to
    multiple = multiple_for(given, recipe.target, onnxruntime_block, capability)
    return replace(multiple, channels=OfAuto(multiple.channels)) if given == "auto" else multiple


def engine_multiple(target: TargetSettings) -> Multiple:
    """The multiple of channels that suits a target, whatever widths are rounded to."""
    capability = torch.backends.cpu.get_cpu_capability()
    return multiple_for("auto", target, onnxruntime_block, capability)


def write_widths(context: Context, cost: Cost, structure: Structure, folder: Path) -> None:
    """Write and tell what widths the slim network has, and how many of them suit the target.

    ``widths.json`` has an entry for each coupling, ``alignment.json`` what holds for all.
    """
    asked, suits = multiple_of(context), engine_multiple(context.recipe.target)
    aligned = alignment(cost, context.couplings, structure, suits.channels)
    entries = width_entries(context.couplings, cost, structure, suits.channels)
    write_json(folder / "widths.json", entries)
    record = {
        "round_to": asdict(asked),
        "suits_target": asdict(suits),
        "target": context.recipe.target.model_dump(),
        **aligned.to_json(),
    }
    write_json(folder / "alignment.json", record)
    say_alignment(aligned, context.recipe.target, context.console)


def say_alignment(aligned: Alignment, target: TargetSettings, console: Console) -> None:
    """Tell the aligned share, and warn of widths that engines are slow at."""
    console.say(
        f"strip: {aligned.num_aligned} of {aligned.num_weights} weights have multiples of "
        f"{aligned.multiple} channels, which suits {target.engine}, with "
        f"{aligned.macs_share:.1%} of the MACs"
    )
    if aligned.odd:
        more = f" and {len(aligned.odd) - MAX_NAMED} more" if len(aligned.odd) > MAX_NAMED else ""
        console.warn(
            f"Couplings with a number of channels that is no multiple of {LEAST}, which "
            f"{target.engine} is slow at: {', '.join(aligned.odd[:MAX_NAMED])}{more}. "
            'Set strip.round_to = "auto", or to a multiple of four.'
        )


def width_entries(
    couplings: Couplings, cost: Cost, structure: Structure, multiple: int
) -> list[dict[str, Any]]:
    """For each coupling its units, those kept, their channels, and what it costs."""
    whole, kept = cost.macs({}), structure.widths()
    return [
        {
            "coupling": c.name,
            "units": c.num_units,
            "kept": kept[c.name],
            "channels": (wide := channels(c, cost, kept[c.name])),
            "aligned": wide % multiple == 0,
            "share_of_macs": 1 - cost.macs({c.name: c.num_units}) / whole,
        }
        for c in couplings.free
    ]
