"""The rows of a transfer: from which weights each starts, and which units it keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from compressor.context import Context
from compressor.couplings.coupling import check_fit
from compressor.files import write_json
from compressor.pipeline import Given
from compressor.recipe import shipped
from compressor.sizes.timing import UNTIMED
from compressor.stages import stripping
from compressor.stages.training import write_training
from compressor.strip.as_drawn import apply_as_drawn
from compressor.strip.plan import make_plan
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.tasks.model import build_model
from compressor.transfer.fit import Fit, check_takes, fit, with_drawn_head, without_data
from compressor.transfer.origin import Origin, State, put_back

Start = Callable[[Origin, Context, Structure], State]
"""Tensors of the new network at full width that a row starts from."""

Choose = Callable[[Origin, Context], Structure]
"""The units that a row keeps."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: Of its folder too.
        weights: From where they come, for people.
        units: Which are kept, for people.
        start: Makes the weights.
        choose: Chooses the units.
    """

    name: str
    weights: str
    units: str
    start: Start
    choose: Choose


def _kept(origin: Origin, context: Context, structure: Structure) -> State:
    del structure
    return _moved(origin, context, origin.kept_weights())


def _dense(origin: Origin, context: Context, structure: Structure) -> State:
    del structure
    return _moved(origin, context, origin.dense_weights())


def _moved(origin: Origin, context: Context, state: State) -> State:
    return fitted(origin, context).moved(state, context.fresh_model().state_dict())


def _fresh(origin: Origin, context: Context, structure: Structure) -> State:
    """Fresh weights at full width, as large inside the structure as if drawn for its widths."""
    del origin
    model = context.fresh_model()
    plan = make_plan(model, context.couplings, structure)
    return put_back(model.state_dict(), apply_as_drawn(plan, model).state_dict(), plan)


def _found(origin: Origin, context: Context) -> Structure:
    del context
    return origin.structure


def _everything(origin: Origin, context: Context) -> Structure:
    del origin
    return context.couplings.everything()


def _random(origin: Origin, context: Context) -> Structure:
    return random_like(origin.structure, context.recipe.seed)


def random_like(structure: Structure, seed: int) -> Structure:
    """As many units of each coupling as ``structure`` keeps, drawn by ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for name, kept in structure.keep.items():
        keep[name] = torch.zeros_like(kept)
        keep[name][torch.randperm(kept.numel(), generator=generator)[: int(kept.sum())]] = True
    return Structure(keep)


FOUND, ALL, CHANCE = "those of the run", "all", "as many in each coupling, by chance"
RUN_SLIM = "the run's, as tuned"
ROWS = {
    row.name: row
    for row in (
        Row("ticket", RUN_SLIM, FOUND, _kept, _found),
        Row("ticket-fresh", "fresh", FOUND, _fresh, _found),
        Row("dense-fine-tuned", "the run's dense network", ALL, _dense, _everything),
        Row("random", f"{RUN_SLIM} where they were; searched", CHANCE, _kept, _random),
    )
}
"""Rows that have a run of their own; ``dense``, from scratch, is the dense stage of each."""

RECORD = "transfer.json"
"""In the place of the search: what was taken from where."""


def given(row: Row, origin: Origin) -> dict[str, Given]:
    """What stands in for stages of the row's run: the search is given, and nothing is timed."""
    source = origin.fingerprint
    return {
        "inspect": Given(lambda context, folder: _inspect(origin, context, folder), source),
        "train": Given(lambda c, folder: _write(row, origin, c, folder), [row.name, source]),
        # Widths are those of the run, which has been timed.
        **UNTIMED,
    }


def _inspect(origin: Origin, context: Context, folder: Path) -> None:
    """The ordinary stage, and whether the run fits, before anything is trained."""
    check_takes(context.fresh_model(), context.example)
    for note in fitted(origin, context).notes():
        context.console.say(f"transfer: {note}")
    check_fit(context.couplings, origin.structure)
    stripping.inspect(context, folder)


def fitted(origin: Origin, context: Context) -> Fit:
    """How the run's network goes into that of the new task."""
    settings = without_data(context.recipe.model)
    folders = (*context.model_folders, shipped("models").parent)

    def build(num_classes: int, channels: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return build_model(settings, num_classes, channels, folders)

    data, model = context.data, context.fresh_model()
    return fit(origin.dense_weights(), model, build, data.num_classes, data.image_shape[0])


def _write(row: Row, origin: Origin, context: Context, folder: Path) -> None:
    """What a search leaves: weights at full width, the structure, and a path without entries."""
    if not context.is_main:
        return
    structure, model = row.choose(origin, context), context.fresh_model()
    found, seed = fitted(origin, context), context.recipe.seed
    state = with_drawn_head(row.start(origin, context, structure), found.head, seed)
    model.load_state_dict(state)
    write_training(context, folder, model, [], {"images": 0, "teacher_images": 0})
    scores = {name: kept.double() for name, kept in structure.keep.items()}
    path = UnitsPath.of_scores(f"{origin.method}, {row.name}", scores)
    write_json(folder / "structure.json", structure.to_json())
    write_json(folder / "path.json", path.to_json())
    write_json(folder / RECORD, _record(row, origin, found))


def _record(row: Row, origin: Origin, found: Fit) -> Mapping[str, object]:
    return {
        "row": row.name,
        "weights": row.weights,
        "units": row.units,
        "run": str(origin.run.folder),
        "notes": list(found.notes()),
    }
