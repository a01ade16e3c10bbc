"""Where a transfer comes from: the structure and the weights that a run has found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from compressor.errors import RunError
from compressor.files import fingerprint, read_json, sha256
from compressor.grow.widen import Between
from compressor.opened import open_run
from compressor.recipe import Recipe
from compressor.run import Run
from compressor.strip.plan import StripPlan
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.train.mask_file import MASKS_FILE

State = Mapping[str, Tensor]

WEIGHTS = "weights.safetensors"

FILES = (
    ("train", "path.json"),
    ("train", WEIGHTS),
    ("dense", WEIGHTS),
    ("strip", "structure.json"),
    ("tune", "plan.json"),
    ("tune", WEIGHTS),
)
"""Stage and name of what a transfer reads of a run."""


@dataclass(frozen=True)
class Origin:
    """A run whose structure is taken to another task.

    Attributes:
        run: Its directory.
        recipe: What it was made by.
        model_folders: Where its factory file was looked for.
        structure: What it keeps.
        method: What found that.
    """

    run: Run
    recipe: Recipe
    model_folders: tuple[Path, ...]
    structure: Structure
    method: str

    @classmethod
    def open(cls, folder: Path) -> "Origin":
        """The run in ``folder``.

        Raises:
            RunError: There is none, it is not done up to ``tune``, or a file of it was changed.
        """
        opened = open_run(folder)
        run = opened.run
        _check_whole(run)
        return cls(
            run=run,
            recipe=opened.recipe,
            model_folders=opened.model_folders,
            structure=Structure.from_json(read_json(run.path("strip", "structure.json"))),
            method=UnitsPath.from_json(read_json(run.path("train", "path.json"))).method,
        )

    @property
    def fingerprint(self) -> str:
        """Of all that a transfer reads of the run."""
        return fingerprint([sha256(self.run.path(stage, name)) for stage, name in FILES])

    @property
    def has_masks(self) -> bool:
        """Whether it also left out single weights."""
        return (self.run.folder / "train" / MASKS_FILE).is_file()

    def dense_weights(self) -> State:
        """The dense network as it was trained."""
        return load_file(self.run.path("dense", WEIGHTS))

    def kept_weights(self) -> State:
        """The network at full width: the slim one, as tuned, at its places in the searched one."""
        tuned = load_file(self.run.path("tune", WEIGHTS))
        plan = StripPlan.from_json(read_json(self.run.path("tune", "plan.json")))
        return put_back(load_file(self.run.path("train", WEIGHTS)), tuned, plan)


@torch.no_grad()
def put_back(full: State, slim: State, plan: StripPlan) -> dict[str, Tensor]:
    """``full`` with the tensors of ``slim`` at the places that ``plan`` cut them from.

    Branches that were removed as blocks stay as they are in ``full``.
    """
    places = {
        (cut.tensor, cut.axis): (torch.arange(len(cut.keep)), torch.tensor(cut.keep))
        for cut in plan.cuts
    }
    between = Between(axes=places, units={})
    whole = {name: tensor.clone() for name, tensor in full.items()}
    for name in whole.keys() & slim.keys():
        between.put_(name, whole[name], slim[name])
    return whole


def _check_whole(run: Run) -> None:
    """Refuse a run that lacks something, or has something that its stage did not write."""
    for stage, name in FILES:
        path = run.path(stage, name)
        if stage not in run.seconds():
            raise RunError(f"{path}: the stage is not done. Run it: `compressor {stage}`.")
        if f"{stage}/{name}" in run.changed_files(stage):
            raise RunError(
                f"{path} is not as {stage} wrote it. Run {stage} again with --out {run.folder}."
            )
