"""The weights that the stripped network is tuned from: those found, or others by the same plan."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressor.context import Context
from compressor.errors import BudgetError
from compressor.files import read_json, share_file, write_json
from compressor.recipe import shipped
from compressor.run import CHECKPOINT
from compressor.stages.weight_level import zero_outside_
from compressor.strip.apply import apply
from compressor.strip.as_drawn import apply_as_drawn
from compressor.strip.certificate import weights_sha256
from compressor.strip.plan import StripPlan
from compressor.structure import Structure
from compressor.tasks.model import build_model
from compressor.tasks.weights import load_weights
from compressor.train.checkpoint import save_weights
from compressor.train.loop import Job, Record, Surroundings, train
from compressor.train.order import generator_for
from compressor.train.ticket import DENSE, FRESH, KEEP

TICKET_FILE = "ticket.json"
"""Which weights ``strip`` left for tuning, where they are not those that the search found."""

Origin = dict[str, Any]


def epoch_file(epoch: int) -> str:
    """Name of the weights after an epoch, from 1, in the folder of the search."""
    return f"epoch-{epoch}.safetensors"


def search_keeping(context: Context, folder: Path, job: Job, around: Surroundings) -> list[Record]:
    """Train the search, and save the weights after the epoch that the ticket goes back to.

    They wait beside the checkpoint, which is all of an unfinished stage that outlives a stop.
    """
    epoch = context.recipe.ticket.epoch
    if epoch is None:
        return train(job, around)
    waiting = folder / CHECKPOINT / epoch_file(epoch)

    def on_epoch(record: Record) -> None:
        if record["epoch"] == epoch and context.is_main:
            save_weights(waiting, job.model)
        around.on_epoch(record)

    # A checkpoint replaces its whole folder, so it gets one of its own.
    checkpoints = folder / CHECKPOINT / "loop"
    history = train(job, replace(around, checkpoints=checkpoints, on_epoch=on_epoch))
    if context.is_main and waiting.is_file():
        share_file(waiting, folder / waiting.name)
    return history


def tuned_from(
    context: Context, folder: Path, plan: StripPlan, slim: nn.Module, masks: Structure | None
) -> nn.Module:
    """The slim network as tuning starts from it; a record in ``folder`` if it is not ``slim``.

    Args:
        context: Its recipe names the weights.
        folder: Of the unfinished stage.
        plan: What made ``slim``.
        slim: The slim network with the weights that the search found.
        masks: Of the slim network's single weights; what they leave out is zero in other weights.

    Raises:
        BudgetError: The search had no such epoch.
    """
    if context.recipe.ticket.weights == KEEP:
        return slim
    network, origin = _others(context)
    cut = apply_as_drawn if context.recipe.ticket.weights == FRESH else apply
    start = cut(plan, network)
    if masks is not None:
        zero_outside_(start, masks)
    weights = context.recipe.ticket.weights
    record = {"weights": weights, **origin, "sha256": weights_sha256(start)}
    write_json(folder / TICKET_FILE, record)
    context.console.say(
        f"strip: tuning starts from other weights than were found (ticket.weights = {weights})"
    )
    return start


def _others(context: Context) -> tuple[nn.Module, Origin]:
    """The network at full width with the weights that the recipe names, and where they are from."""
    model, ticket = context.fresh_model(), context.recipe.ticket
    if ticket.weights == FRESH:
        seed = generator_for(context.recipe.seed, "ticket", FRESH).initial_seed()
        # Buffers that are not saved stay those of the recipe's seed, which every stage builds.
        model.load_state_dict(_drawn(context, seed).state_dict())
        return model, {"seed": seed}
    if ticket.weights == DENSE:
        return context.dense_model(), {"stage": "dense"}
    if ticket.epoch is None:
        return model, {"seed": context.recipe.seed, "file": context.recipe.model.weights}
    epochs = len(read_json(context.run.path("train", "history.json")))
    if ticket.epoch > epochs:
        raise BudgetError(
            f"ticket.weights = {ticket.weights}: the search ended after {epochs} epochs. "
            "Name one of them."
        )
    load_weights(model, context.run.path("train", epoch_file(ticket.epoch)))
    return model, {"epoch": ticket.epoch}


def _drawn(context: Context, seed: int) -> nn.Module:
    settings = context.recipe.model.model_copy(update={"weights": None})
    folders = (*context.model_folders, shipped("models").parent)
    data = context.data
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(settings, data.num_classes, data.image_shape[0], folders)
