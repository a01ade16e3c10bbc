"""Stages of the couplings: what can be removed, and its removal with the proof of it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from compressor.context import Context
from compressor.count import count, layer_macs
from compressor.errors import BudgetError, ModelError
from compressor.export.onnx import export_onnx
from compressor.files import read_json, write_json
from compressor.stages.growing import check_grows
from compressor.stages.in_time import Measuring, Problem, say_in_time, solve_in_time
from compressor.stages.ticket import tuned_from
from compressor.stages.weight_level import num_nonzero, num_outside, partial_masks, slim_masks
from compressor.stages.widths import multiple_of, write_widths
from compressor.strip.apply import apply
from compressor.strip.budget import Cost, solve
from compressor.strip.certificate import certify
from compressor.strip.explain import explain
from compressor.strip.plan import make_plan
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.summary import NO_GAIN
from compressor.train.checkpoint import save_weights
from compressor.train.features import Features
from compressor.train.mask_file import MASKS_FILE, save_masks

CERTIFICATE_IMAGES = 64
"""Real images in the certificate, beside as many random ones and some of another size."""

LATENCY_FILE = "latency_budget.json"
"""What was asked and measured, where the budget is one of time."""


def inspect(context: Context, folder: Path) -> None:
    """Couplings and size of the dense network, and its export, before anything is trained."""
    couplings, model = context.couplings, context.fresh_model()
    check_network(context, model)
    shape, trial = context.data.image_shape, folder / "preflight.onnx"
    how = export_onnx(model, shape, trial, context.recipe.export)
    trial.unlink()
    if how.why is not None:
        context.console.warn(f"PyTorch's older exporter, {how.exporter}, is needed: {how.why}")
    write_json(
        folder / "couplings.json",
        {
            "free": [
                {"name": c.name, "units": c.num_units, "tensors": [m.tensor for m in c.members]}
                for c in couplings.free
            ],
            "frozen": [asdict(frozen) for frozen in couplings.frozen],
            "branches": [
                {"name": branch.name, "couplings": list(branch.couplings)}
                for branch in couplings.branches
            ],
            "counts": asdict(count(model, context.example)),
        },
    )
    context.console.say(
        f"inspect: {couplings.num_units} units in {len(couplings.free)} couplings can be removed, "
        f"{len(couplings.frozen)} couplings are kept whole"
    )


def check_network(context: Context, model: nn.Module) -> None:
    """Find out before a search what the network does not allow.

    Raises:
        CouplingError: Its couplings cannot be found.
        ModelError: Its outputs do not fit the data, or nothing can be removed.
        TrainError: Its features cannot be watched in tuning, or it cannot grow as asked.
        BudgetError: What growing starts from is above a ceiling.
    """
    recipe, couplings = context.recipe, context.couplings
    context.check_output(model)
    if not couplings.free:
        reasons = "; ".join(f"{frozen.name}: {frozen.reason}" for frozen in couplings.frozen)
        raise ModelError(f"No unit of {recipe.model.factory} can be removed: {reasons}.")
    if recipe.tune.features:
        # In the form in which it will be cut: a captured graph has no modules to watch.
        uncut = apply(make_plan(model, couplings, couplings.everything()), model)
        Features(uncut, model, recipe.tune.features, context.example)
    if recipe.grow is not None:
        check_grows(context, recipe.grow)


def strip(context: Context, folder: Path) -> None:
    """The budget solved along the path, the units outside removed, and the proof of it."""
    recipe, couplings = context.recipe, context.couplings
    model = context.searched_model()
    cost = Cost.of(model, couplings, layer_macs(model, context.example))
    structure = _solved(context, model, cost, folder)
    images = context.task.example(CERTIFICATE_IMAGES)
    certificate = certify(
        model,
        couplings,
        structure,
        [images],
        seed=recipe.seed,
        statistics=recipe.strip.statistics,
    )
    certificate.check()
    plan = make_plan(model, couplings, structure)
    slim = apply(plan, model)
    counts = _counts(context, model, slim)
    dense_counts, slim_counts = counts["dense"], counts["slim"]
    write_json(folder / "plan.json", plan.to_json())
    write_json(folder / "structure.json", structure.to_json())
    write_json(folder / "certificate.json", certificate.to_json())
    write_json(folder / "counts.json", counts)
    blocks = f", removed as blocks: {', '.join(certificate.branches)}" if plan.branches else ""
    context.console.say(
        f"strip: {structure.num_kept} of {structure.num_units} units kept, "
        f"{slim_counts['macs'] / dense_counts['macs']:.1%} of the MACs, "
        f"{slim_counts['params'] / dense_counts['params']:.1%} of the parameters, "
        f"stripped equals masked to {certificate.max_rel_diff_fp32:.1e}{blocks}"
    )
    write_widths(context, cost, structure, folder)
    kept = None
    if (masks := context.masks("train")) is not None:
        kept = slim_masks(plan, model, slim, masks)
        save_masks(folder / MASKS_FILE, kept)
        for line in _of_weights(counts, slim, kept, len(partial_masks(masks))):
            context.console.say(line)
    start = tuned_from(context, folder, plan, slim, kept)
    save_weights(folder / "weights.safetensors", start)


def _solved(context: Context, model: nn.Module, cost: Cost, folder: Path) -> Structure:
    """The structure that the recipe asks for; a budget in time leaves its record in ``folder``."""
    run, couplings, console = context.run, context.couplings, context.console
    path = UnitsPath.from_json(read_json(run.path("train", "path.json")))
    support = _support(context, path)
    multiple = multiple_of(context)
    settings = context.recipe.strip.model_copy(update={"round_to": multiple.channels})
    if settings.in_time:
        around = Measuring.of(context.recipe, context.data.image_shape, console)
        structure, record = solve_in_time(Problem(model, couplings, cost, path, settings), around)
        write_json(folder / LATENCY_FILE, record)
        say_in_time(record, console)
        return structure
    structure = solve(couplings, cost, path, support, settings)
    if notice := explain(couplings, cost, path, structure, settings):
        console.warn(notice)
    return structure


def _support(context: Context, path: UnitsPath) -> Structure:
    """What the search kept in the end, or by the end of the epoch that the recipe names.

    Raises:
        BudgetError: The search had no such epoch, or nothing had entered by then.
    """
    run, epoch = context.run, context.recipe.strip.at_epoch
    if epoch is None:
        return Structure.from_json(read_json(run.path("train", "structure.json")))
    history = read_json(run.path("train", "history.json"))
    if epoch > len(history):
        raise BudgetError(
            f"strip.at_epoch = {epoch}: the search had {len(history)} epochs. Name one of them."
        )
    support = path.support_after(history[epoch - 1]["step"])
    if not support.num_kept:
        epochs = range(epoch + 1, len(history) + 1)
        first = next((e for e in epochs if _kept_after(path, history, e)), None)
        way = "No unit ever did." if first is None else f"The first did in epoch {first}; name it."
        raise BudgetError(
            f"strip.at_epoch = {epoch}: no unit had entered the support of {path.method} by its "
            f"end. {way}"
        )
    return support


def _kept_after(path: UnitsPath, history: list[dict[str, Any]], epoch: int) -> int:
    return path.support_after(history[epoch - 1]["step"]).num_kept


def _counts(context: Context, model: nn.Module, slim: nn.Module) -> dict[str, dict[str, int]]:
    """Sizes of the searched network at full width and of the slim one, by their names."""
    return {
        name: asdict(count(network, context.example)) | {"nonzero_params": num_nonzero(network)}
        for name, network in (("dense", model), ("slim", slim))
    }


def _of_weights(
    counts: Mapping[str, Mapping[str, int]], slim: nn.Module, masks: Structure, num_partial: int
) -> Iterator[str]:
    """What a person should know of single weights that are zero, a line each."""
    nonzero = counts["slim"]["nonzero_params"]
    yield (
        f"strip: {nonzero / counts['slim']['params']:.1%} of the slim network's parameters are not "
        f"zero, {nonzero / counts['dense']['params']:.1%} of the dense network's. {NO_GAIN}"
    )
    if masks.granularity == "2:4":
        whole = num_partial - len(partial_masks(masks))
        rest = f"; {whole} of {num_partial} layers have no groups any more and are whole"
        yield (
            "strip: the cut takes groups of four apart; taken anew for tuning, they leave out "
            f"{num_outside(slim, masks)} weights that are not zero{rest if whole else ''}"
        )
