"""The search of a recipe that grows: from narrow to wide, instead of at full width."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from compressor.context import Context
from compressor.count import layer_macs
from compressor.couplings.coupling import Couplings
from compressor.errors import TrainError
from compressor.files import write_json
from compressor.grow.growth import Frame, Growth, clock
from compressor.grow.rounds import Grown, grow
from compressor.grow.settings import GrowSettings
from compressor.grow.widen import widened
from compressor.grow.widths import Ceiling, Limits, first_structure, leading
from compressor.run import CHECKPOINT
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.stages.in_time import Measuring, Problem, latency_shares
from compressor.stages.training import epoch_teller, search, write_training
from compressor.stages.widths import multiple_of
from compressor.strip.budget import StripSettings, floor_of, removed_units, steps_of
from compressor.strip.cost import Cost
from compressor.strip.plan import make_plan
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

    ``check_grows`` has found nothing against it.
    """
    _check_alone()
    on_epoch = epoch_teller(context, "train", context.recipe.train.epochs)
    around = context.surroundings(folder, on_epoch)

    def on_round(frame: Frame) -> None:
        context.run.log("growth", frame)
        context.console.say(f"train: {told(frame)}")

    with ExitStack() as stack:
        growth = _growth(context, settings, stack)
        grown = grow(growth, around, folder / CHECKPOINT, on_round)
    _say(context, grown)
    _write(context, folder, growth, grown)


def check_grows(context: Context, settings: GrowSettings) -> None:
    """Find out, before anything is trained, whether the network can grow as it is asked to.

    Raises:
        TrainError: There are several processes, or widening the network would change its output.
        BudgetError: What growing starts from is above a ceiling, or its time cannot be measured.
    """
    _check_alone()
    name, model, couplings = context.recipe.model.factory, context.fresh_model(), context.couplings
    if couplings.form == "graph":
        raise TrainError(
            f"{name} can only be cut as a captured graph, which does not grow. Leave [grow] out to "
            "search at full width."
        )
    narrow = leading(couplings, {c.name: 1 for c in couplings.free})
    if norms := sorted(make_plan(model, couplings, narrow).divisors):
        raise TrainError(
            f"{name}: the norm {norms[0]} takes its statistics over several channels, so new ones "
            "would change the output. Grow a network with batch norm, or leave [grow] out."
        )
    with ExitStack() as stack:
        first_structure(_limits(context, settings, model, stack), settings)


def _check_alone() -> None:
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        raise TrainError("Growing works in one process. Start it without torchrun.")


def told(frame: Frame) -> str:
    """A round and its forecast, for a person."""
    widths, macs_share = _in_words(frame["widths"]), frame["macs_share"]
    units, wide = frame["entered"], frame["widths"]
    entered = sum(share * wide[name] for name, share in units.items()) / sum(wide.values())
    line = (
        f"round to epoch {frame['epoch']}: widths {widths}, {macs_share:.1%} of the full network's "
        f"MACs, {entered:.0%} of the units in; cost so far {frame['cost_share']:.1%} of a search "
        "at full width"
    )
    if frame["next_widths"] is None:
        return line
    return (
        f"{line}, {frame['cost_share_at_end']:.1%} by the last epoch if it stays at the next "
        f"widths, {_in_words(frame['next_widths'])}"
    )


def _in_words(widths: Mapping[str, int]) -> str:
    return "-".join(str(width) for width in widths.values())


def _cost(context: Context, model: nn.Module) -> Cost:
    return Cost.of(model, context.couplings, layer_macs(model, context.example))


def _limits(context: Context, settings: GrowSettings, model: nn.Module, stack: ExitStack) -> Limits:
    """What bounds the widths; what measures a ceiling in time is held open by ``stack``."""
    couplings, cost = context.couplings, _cost(context, model)
    multiple = multiple_of(context).channels
    strip = context.recipe.strip.model_copy(update={"round_to": multiple})
    steps = steps_of(couplings, cost, strip)

    def share(structure: Structure) -> float:
        return cost.macs(removed_units(structure)) / cost.macs({})

    ceilings = [Ceiling("ceiling_macs", settings.ceiling_macs, share)]
    if settings.ceiling_latency is not None:
        ceilings.append(_latency_ceiling(context, (model, couplings, cost), strip, stack))
    floors = {c.name: floor_of(c, strip, steps[c.name]) for c in couplings.free}
    return Limits(couplings, steps, floors, ceilings)


def _growth(context: Context, settings: GrowSettings, stack: ExitStack) -> Growth:
    recipe, model, couplings = context.recipe, context.fresh_model(), context.couplings
    method, task = recipe.sparsity, context.task_of(recipe.train)
    assert isinstance(method, SplitLBISettings), "the recipe was checked"
    cost = _cost(context, model)
    horizon = clock(recipe.train, settings, steps_per_epoch(task, recipe.train), recipe.seed)
    return Growth(
        full=model,
        limits=_limits(context, settings, model, stack),
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
        macs=lambda structure: cost.macs(removed_units(structure)),
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
