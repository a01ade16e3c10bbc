"""Growing: rounds of training along the path, and the network widened between them.

After the growing networks of Fu et al., Exploring Structural Sparsity of Deep Networks via Inverse
Scale Spaces, arXiv 1905.09449. There each layer grows by itself, from fresh weights and with
optimiser and twins started anew; here a coupling grows as one, the output stays as it is, and
momentum, norm statistics and the path go on.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from compressor.files import read_json, write_json
from compressor.grow.carry import brought
from compressor.grow.film import frame_of, full_path, support_shares, under_way
from compressor.grow.growth import Film, Growth, Stand
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
        film: One entry a round; see ``film.frame_of``.
    """

    model: nn.Module
    cutting: Cutting
    path: UnitsPath
    history: list[Record]
    film: Film


def grow(growth: Growth, around: Surroundings, folder: Path) -> Grown:
    """Grow a network; what an earlier call that was stopped left in ``folder`` goes on.

    Args:
        growth: What grows.
        around: Where and how rounds are trained; checkpoints go into ``folder``.
        folder: For checkpoints and the film.

    Raises:
        BudgetError: The network that growing starts from is above a ceiling.
        CheckError: A growth changed the output.
        TrainError: A round cannot be trained.
    """
    stand = _stand(growth, folder)
    limit = growth.job.settings.epochs
    while True:
        last = min(limit, (stand.number + 1) * growth.settings.round_epochs)
        place = folder / f"round-{stand.number}"
        job = _job(growth, stand, last)
        history = train(job, replace(around, checkpoints=place, resume=True))
        sparsifier = job.sparsifier
        assert isinstance(sparsifier, SplitLBI)
        shares = support_shares(sparsifier.structure())
        structure = next_structure(growth.limits, stand.cutting.structure, shares, growth.settings)
        stand.film.append(frame_of(growth, stand, history, shares))
        same = structure.widths() == stand.cutting.structure.widths()
        stand.idle = stand.idle + 1 if same and not under_way(stand.film) else 0
        path, steps = sparsifier.path(), [structure]
        if last < limit and stand.idle >= growth.settings.patience:
            steps = _strip(growth, stand, path)
        if last == limit or not steps:
            whole = full_path(growth, stand.cutting, path)
            return Grown(stand.model, stand.cutting, whole, history, stand.film)
        _go_on(growth, stand, sparsifier, steps, folder)


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


def _go_on(
    growth: Growth,
    stand: Stand,
    sparsifier: SplitLBI,
    structures: Sequence[Structure],
    folder: Path,
) -> None:
    """Bring the network and all that is known of it to the last structure; the next checkpoint."""
    old_place = folder / f"round-{stand.number - 1}"
    state = load_state(old_place)
    assert state is not None, "a round ends with a checkpoint"
    for structure in structures:
        if structure.widths() != stand.cutting.structure.widths():
            after = growth.cutting(structure)
            state, sparsifier = brought(growth, stand, after, state, sparsifier)
    save_state(folder / f"round-{stand.number}", state)
    # From here on the next round counts; a stop before it repeats the widening.
    saved = {
        "film": stand.film,
        "idle": stand.idle,
        "strips": stand.strips,
        "structure": stand.cutting.structure.to_json(),
    }
    write_json(folder / FILM_FILE, saved)
    shutil.rmtree(old_place, ignore_errors=True)
