"""The search of a recipe that grows: from narrow to wide, instead of at full width."""

from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from compressor.context import Context
from compressor.count import layer_macs
from compressor.couplings.coupling import Couplings
from compressor.errors import TrainError
from compressor.files import write_json
from compressor.grow.growth import Growth, clock
from compressor.grow.rounds import Grown, grow
from compressor.grow.settings import GrowSettings
from compressor.grow.widen import widened
from compressor.grow.widths import Ceiling, Limits
from compressor.run import CHECKPOINT
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.stages.in_time import Measuring, Problem, latency_shares
from compressor.stages.training import epoch_teller, search, write_training
from compressor.stages.widths import multiple_of
from compressor.strip.budget import StripSettings, floor_of, removed_units, steps_of
from compressor.strip.cost import Cost
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.tasks.task import TaskLoss
from compressor.train.loop import Job, steps_per_epoch

CHECK_IMAGES = 8
"""On which the output must stay as it is when the network is widened."""


def train(context: Context, folder: Path) -> None:
    """The search at full width, or growing where the recipe says so."""
    if context.recipe.grow is None:
        search(context, folder)
    else:
        grow_network(context, folder, context.recipe.grow)


def grow_network(context: Context, folder: Path, settings: GrowSettings) -> None:
    """Grow; then what a search leaves, of the full network, and the film of the widths.

    Raises:
        TrainError: There are several processes, or the network can only be cut as a graph.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        raise TrainError("Growing works in one process. Start it without torchrun.")
    if context.couplings.form == "graph":
        raise TrainError(
            f"{context.recipe.model.factory} can only be cut as a captured graph, which does not "
            "grow. Leave [grow] out to search at full width."
        )
    on_epoch = epoch_teller(context, "train", context.recipe.train.epochs)
    around = context.surroundings(folder, on_epoch)
    with ExitStack() as stack:
        growth = _growth(context, settings, stack)
        grown = grow(growth, around, folder / CHECKPOINT)
    for frame in grown.film:
        context.run.log("growth", frame)
    _say(context, grown)
    _write(context, folder, growth, grown)


def _growth(context: Context, settings: GrowSettings, stack: ExitStack) -> Growth:
    recipe, model = context.recipe, context.fresh_model()
    method = recipe.sparsity
    assert isinstance(method, SplitLBISettings), "the recipe was checked"
    task, couplings = context.task_of(recipe.train), context.couplings
    cost = Cost.of(model, couplings, layer_macs(model, context.example))
    strip = recipe.strip.model_copy(update={"round_to": multiple_of(context).channels})
    steps = steps_of(couplings, cost, strip)
    whole = cost.macs({})

    def macs(structure: Structure) -> float:
        return cost.macs(removed_units(structure))

    ceilings = [Ceiling("ceiling_macs", settings.ceiling_macs, lambda s: macs(s) / whole)]
    if settings.ceiling_latency is not None:
        ceilings.append(_latency_ceiling(context, (model, couplings, cost), strip, stack))
    horizon = clock(recipe.train, settings, steps_per_epoch(task, recipe.train), recipe.seed)
    return Growth(
        full=model,
        limits=Limits(
            couplings,
            steps,
            {c.name: floor_of(c, strip, steps[c.name]) for c in couplings.free},
            ceilings,
        ),
        settings=settings,
        job=Job(
            stage="train",
            model=model,
            task=task,
            objective=TaskLoss(task),
            sparsifier=SplitLBI(method, horizon),
            couplings=couplings,
            settings=recipe.train,
            seed=recipe.seed,
        ),
        sparsifier=lambda: SplitLBI(method, horizon),
        inputs=context.task.example(CHECK_IMAGES),
        macs=macs,
    )


def _latency_ceiling(
    context: Context,
    network: tuple[nn.Module, Couplings, Cost],
    strip: StripSettings,
    stack: ExitStack,
) -> Ceiling:
    """The ceiling in time; what measures it is held open by ``stack``."""
    model, couplings, cost = network
    grow_settings = context.recipe.grow
    assert grow_settings is not None
    assert grow_settings.ceiling_latency is not None
    unranked = UnitsPath.of_scores(
        "none", {c.name: torch.zeros(c.num_units) for c in couplings.free}
    )
    problem = Problem(model, couplings, cost, unranked, strip)
    around = Measuring.of(context.recipe, context.data.image_shape, context.console)
    share = stack.enter_context(latency_shares(problem, around))
    return Ceiling("ceiling_latency", grow_settings.ceiling_latency, share)


def _say(context: Context, grown: Grown) -> None:
    first, last = grown.film[0], grown.film[-1]
    widened_rounds = sum("change_of_outputs" in frame for frame in grown.film)
    context.console.say(
        f"train: grew {widened_rounds} times in {len(grown.film)} rounds, from "
        f"{first['macs_share']:.1%} to {last['macs_share']:.1%} of the full network's MACs"
    )


def _write(context: Context, folder: Path, growth: Growth, grown: Grown) -> None:
    """The grown network inside the full one, so that everything after a search can follow."""
    whole = growth.cutting(growth.limits.couplings.everything())
    model: nn.Module = widened(grown.model, growth.full, grown.cutting, whole)
    images = grown.history[-1]["step"] * context.recipe.train.batch_size
    compute = {
        "images": images,
        "teacher_images": 0,
        "forward_macs": grown.film[-1]["forward_macs"],
    }
    write_training(context, folder, model, grown.history, compute)
    write_json(folder / "structure.json", grown.cutting.structure.to_json())
    write_json(folder / "path.json", grown.path.to_json())
    write_json(folder / "film.json", {"rounds": grown.film})
