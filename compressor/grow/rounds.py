"""Growing: rounds of training along the path, and the network widened between them.

After the growing networks of Fu et al., Exploring Structural Sparsity of Deep Networks via Inverse
Scale Spaces, arXiv 1905.09449. There each layer grows by itself, from fresh weights and with
optimiser and twins started anew; here a coupling grows as one, the output stays as it is, and
momentum, norm statistics and the path go on.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from compressor.files import read_json, write_json
from compressor.grow.carry import Carried, brought
from compressor.grow.film import frame_of, full_path, outlook, support_shares, under_way
from compressor.grow.growth import Film, Frame, Growth, Stand
from compressor.grow.widen import Cutting, fresh
from compressor.grow.widths import first_structure, next_structure, spent, stripped
from compressor.sparsity.split_lbi import SplitLBI
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.train.checkpoint import load_state, save_state
from compressor.train.job import Job, Record, Surroundings
from compressor.train.loop import train

FILM_FILE = "film.json"


@dataclass(frozen=True)
class Grown:
    """What came out.

    Attributes:
        model: The grown network.
        cutting: Its cut of the full network.
        path: Over the units of the full network; what was never there has not entered.
        history: Records of all epochs.
        film: One frame a round.
    """

    model: nn.Module
    cutting: Cutting
    path: UnitsPath
    history: list[Record]
    film: Film


def grow(
    growth: Growth,
    around: Surroundings,
    folder: Path,
    on_round: Callable[[Frame], None] = lambda _frame: None,
) -> Grown:
    """Grow a network; what an earlier call that was stopped left in ``folder`` goes on.

    Args:
        growth: What grows.
        around: Where and how rounds are trained; checkpoints go into ``folder``.
        folder: For checkpoints and the film.
        on_round: Called with the frame of each round once it is over and the network is widened; a
            round that was stopped just then is told again.

    Raises:
        BudgetError: The network that growing starts from is above a ceiling.
        CheckError: A growth changed the output.
        TrainError: A round cannot be trained.
    """
    stand = _stand(growth, folder)
    while True:
        history, sparsifier = _round(growth, stand, around, folder)
        path = sparsifier.path()
        steps = _steps(growth, stand, path)
        stand.film[-1] |= outlook(growth, stand.film[-1], steps[-1] if steps else None)
        if not steps:
            on_round(stand.film[-1])
            whole = full_path(growth, stand.cutting, path)
            return Grown(stand.model, stand.cutting, whole, history, stand.film)
        carried = _widened(growth, stand, _carried(stand, sparsifier, folder), steps)
        stand.cutting, stand.model = carried.cutting, carried.model
        on_round(stand.film[-1])
        _save(stand, carried, folder)


def _round(
    growth: Growth, stand: Stand, around: Surroundings, folder: Path
) -> tuple[list[Record], SplitLBI]:
    """Train the next round; its frame is then the last of the film."""
    last = min(growth.job.settings.epochs, (stand.number + 1) * growth.settings.round_epochs)
    job = _job(growth, stand, last)
    place = folder / f"round-{stand.number}"
    history = train(job, replace(around, checkpoints=place, resume=True))
    sparsifier = job.sparsifier
    assert isinstance(sparsifier, SplitLBI)
    shares = support_shares(sparsifier.structure())
    stand.film.append(frame_of(growth, stand, history, shares))
    return history, sparsifier


def _steps(growth: Growth, stand: Stand, path: UnitsPath) -> list[Structure]:
    """The structures up to that of the next round, one after the other; none at the end."""
    now, frame = stand.cutting.structure, stand.film[-1]
    structure = next_structure(growth.limits, now, frame["entered"], growth.settings)
    same = structure.widths() == now.widths()
    stand.idle = stand.idle + 1 if same and not under_way(stand.film) else 0
    if frame["epoch"] == growth.job.settings.epochs:
        return []
    return _strip(growth, stand, path) if stand.idle >= growth.settings.patience else [structure]


def _strip(growth: Growth, stand: Stand, path: UnitsPath) -> list[Structure]:
    """The structures of a strip and of what is grown in its place; none where growing has ended."""
    now = stand.cutting.structure
    less = stripped(growth.limits, now, path)
    if stand.strips >= growth.settings.strips or less.widths() == now.widths():
        return []
    stand.strips, stand.idle = stand.strips + 1, 0
    more = spent(growth.limits, less, path, growth.macs, growth.macs(now))
    stand.film[-1]["stripped_to"] = less.widths()
    return [less, more]


def _stand(growth: Growth, folder: Path) -> Stand:
    """Where an earlier call stopped, or the beginning."""
    file = folder / FILM_FILE
    if not file.is_file():
        cutting = growth.cutting(first_structure(growth.limits, growth.settings))
        return Stand(cutting, fresh(growth.full, cutting), [])
    saved = read_json(file)
    cutting = growth.cutting(Structure.from_json(saved["structure"]))
    # Its weights are in the checkpoint of the round.
    model = fresh(growth.full, cutting)
    return Stand(cutting, model, saved["film"], saved["idle"], saved["strips"])


def _job(growth: Growth, stand: Stand, last_epoch: int) -> Job:
    settings = growth.job.settings.model_copy(update={"epochs": last_epoch})
    return replace(
        growth.job,
        model=stand.model,
        sparsifier=growth.sparsifier(),
        couplings=stand.cutting.couplings,
        settings=settings,
    )


def _carried(stand: Stand, sparsifier: SplitLBI, folder: Path) -> Carried:
    """What the round that is over has left."""
    state = load_state(folder / f"round-{stand.number - 1}")
    assert state is not None, "a round ends with a checkpoint"
    return Carried(stand.cutting, stand.model, state, sparsifier)


def _widened(
    growth: Growth, stand: Stand, carried: Carried, structures: Sequence[Structure]
) -> Carried:
    """What is carried, brought to the last structure.

    A growth leaves in the frame by how much the outputs changed, relative to the largest.
    """
    for structure in structures:
        if structure.widths() == carried.cutting.structure.widths():
            continue
        carried, change = brought(growth, carried, growth.cutting(structure), stand.number)
        if change is not None:
            stand.film[-1]["change_of_outputs"] = change.in_float64
            stand.film[-1]["change_of_outputs_fp32"] = change.in_float32
    return carried


def _save(stand: Stand, carried: Carried, folder: Path) -> None:
    """Write where growing stands, and the checkpoint that the next round begins with."""
    save_state(folder / f"round-{stand.number}", dict(carried.state))
    # From here on the next round counts; a stop before it repeats the widening.
    saved = {
        "film": stand.film,
        "idle": stand.idle,
        "strips": stand.strips,
        "structure": stand.cutting.structure.to_json(),
    }
    write_json(folder / FILM_FILE, saved)
    shutil.rmtree(folder / f"round-{stand.number - 1}", ignore_errors=True)
