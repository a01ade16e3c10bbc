"""A run -> its ticket."""

from importlib import metadata
from pathlib import Path

from torch import nn

from compressor.console import Console
from compressor.context import Context
from compressor.data.catalog import data_root
from compressor.errors import RunError
from compressor.files import read_json
from compressor.opened import OpenedRun, open_run
from compressor.package.write import packed_model
from compressor.recipe import shipped
from compressor.run import Run
from compressor.stages.weight_level import zero_outside_
from compressor.strip.apply import apply
from compressor.strip.certificate import weights_sha256
from compressor.strip.plan import StripPlan
from compressor.structure import Structure
from compressor.tickets.file import Ticket, read_ticket, tensors_of, tensors_sha256, write_file
from compressor.tickets.head import Head, Source

TICKET_NAME = "ticket.safetensors"
"""In the run directory, where no other place is given."""

STAGES = ("train", "strip")
"""What a ticket is made of."""

FIGURES = ("max_rel_diff_fp32", "max_rel_diff_fp64")


def make_ticket(folder: Path, out: Path, console: Console) -> Ticket:
    """Write the ticket of the run in ``folder`` to ``out``, and read it back as proof of it.

    The weights are those that the search started from and found, whatever ``ticket.weights`` had
    tuned.

    Raises:
        RunError: There is no run, it has grown, it is not stripped, or what it left is not what it
            wrote.
        ModelError: The network cannot be built from what the ticket holds.
    """
    opened = open_run(folder)
    run = opened.run
    if opened.recipe.grow is not None:
        raise RunError(
            f"{folder} has grown: it began with other widths, and took up units on the way, so "
            "there are no initial weights of this structure. Make the ticket of a run without "
            "[grow]."
        )
    _check_done(run)
    with run.locked():
        context = _context(opened, console)
        plan = StripPlan.from_json(read_json(run.path("strip", "plan.json")))
        masks = context.masks("strip")
        searched = apply(plan, context.searched_model())
        _check_certified(run, searched)
        initial, found = (
            _masked(slim, masks) for slim in (apply(plan, context.fresh_model()), searched)
        )
        tensors = tensors_of(initial, found, masks)
        write_file(out, _head(context, masks, tensors_sha256(tensors)), tensors)
    return read_ticket(out)


def _check_done(run: Run) -> None:
    """Refuse a run that is not stripped, or not as it was written.

    Raises:
        RunError: It is one of the two.
    """
    folder, done = run.folder, run.seconds()
    for stage in STAGES:
        if stage not in done:
            raise RunError(
                f"{folder}: stage {stage} is not done, and a ticket is made of it. "
                f"Run it first: `compressor {stage}`."
            )
        if changed := run.changed_files(stage):
            raise RunError(
                f"{folder / changed[0]} is not as {stage} wrote it. "
                f"Run {stage} again with --out {folder}."
            )


def _context(opened: OpenedRun, console: Console) -> Context:
    return Context(
        recipe=opened.recipe,
        run=opened.run,
        console=console,
        device="cpu",
        data_root=data_root(),
        model_folders=opened.model_folders,
        resume=False,
        is_main=True,
    )


def _check_certified(run: Run, slim: nn.Module) -> None:
    """Raise unless ``slim`` has the weights that the certificate is about.

    Raises:
        RunError: The search was made again, or the network's file was changed since.
    """
    certificate = read_json(run.path("strip", "certificate.json"))
    # With norms at random the certificate is about other weights.
    if (
        certificate["statistics"] == "trained"
        and weights_sha256(slim) != certificate["slim_sha256"]
    ):
        raise RunError(
            f"{run.folder}: the plan leaves other weights of the search than the certificate is "
            f"about. Run strip again with --out {run.folder}."
        )


def _masked(slim: nn.Module, masks: Structure | None) -> nn.Module:
    """``slim``, with what its masks leave out at zero."""
    if masks is not None:
        zero_outside_(slim, masks)
    return slim


def _head(context: Context, masks: Structure | None, digest: str) -> Head:
    recipe, run, shape = context.recipe, context.run, context.data.image_shape
    folders = (*context.model_folders, shipped("models").parent)
    model, file = packed_model(recipe.model, folders)
    certificate = read_json(run.path("strip", "certificate.json"))
    return Head(
        recipe=recipe.name,
        method=recipe.sparsity.method,
        model=model,
        seed=recipe.seed,
        num_classes=context.data.num_classes,
        in_channels=shape[0],
        image_shape=shape,
        source=None if file is None else Source(name=file.name, text=file.read_text("utf-8")),
        libraries=_libraries(recipe.model.factory),
        structure=read_json(run.path("strip", "structure.json")),
        plan=read_json(run.path("strip", "plan.json")),
        masks=None if masks is None else masks.granularity,
        certificate={name: certificate[name] for name in FIGURES},
        tensors_sha256=digest,
    )


def _libraries(factory: str) -> dict[str, str]:
    home = factory.rpartition(":")[0]
    names = ("torch",) if home.endswith(".py") else ("torch", home)
    return {name: metadata.version(name) for name in names}
