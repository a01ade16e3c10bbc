"""What the stages of one run share: its recipe, its files, its data and its networks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.console import Console
from compressor.couplings.coupling import Couplings
from compressor.data.catalog import load_data
from compressor.data.source import ImageData
from compressor.errors import ModelError
from compressor.export.onnx import Exported
from compressor.export.per_class import Guesses
from compressor.files import fingerprint, read_json
from compressor.recipe import Recipe, shipped
from compressor.run import CHECKPOINT, Run
from compressor.strip.apply import apply
from compressor.strip.find import find_couplings
from compressor.strip.hold import hold
from compressor.strip.plan import StripPlan
from compressor.structure import Structure
from compressor.tasks.classification import Classification
from compressor.tasks.model import Start, start_model
from compressor.tasks.weights import load_weights
from compressor.train.device import Device, on_cpu
from compressor.train.loop import Record, Surroundings
from compressor.train.mask_file import MASKS_FILE, load_masks
from compressor.train.settings import OptimiserSettings


@dataclass(frozen=True)
class DenseAnswers:
    """The dense network on the test images.

    Attributes:
        accuracy: Share of them that it gets right.
        guesses: The class that it gives each of them.
        file: What is on record of its ONNX file: accuracy, parity and its bound.
    """

    accuracy: float
    guesses: Guesses
    file: dict[str, Any]


@dataclass
class Shared:
    """What several runs of one network share in memory.

    Attributes:
        couplings: Those found and tried, by the fingerprint of what they depend on.
        dense_files: The dense network's ONNX files likewise, each with its SHA-256.
        dense_answers: What the dense network and such a file answer on the test images likewise.
    """

    couplings: dict[str, Couplings] = field(default_factory=dict)
    dense_files: dict[str, tuple[Path, str, Exported]] = field(default_factory=dict)
    dense_answers: dict[str, DenseAnswers] = field(default_factory=dict)


@dataclass
class Context:
    """What the stages of one run share; the parts that take time are made when first used.

    ``ahead`` names the stages that the run is to go through; what only a later one needs is no
    fault of a run that ends before it.
    """

    recipe: Recipe
    run: Run
    console: Console
    device: Device
    data_root: Path
    model_folders: tuple[Path, ...]
    resume: bool
    is_main: bool
    shared: Shared = field(default_factory=Shared)
    ahead: frozenset[str] = frozenset()

    @cached_property
    def data(self) -> ImageData:
        """The data set, its validation images cut out."""
        data = load_data(self.recipe.data, self.data_root, self.recipe.seed)
        for notice in data.notices:
            self._warn_once(notice)
        return data

    @cached_property
    def task(self) -> Classification:
        """What is learned."""
        return Classification(self.data, self.recipe.task)

    def task_of(self, stage: OptimiserSettings) -> Classification:
        """What is learned, with the stage's own augmentation if it names one."""
        if stage.augment is None:
            return self.task
        settings = self.recipe.task.model_copy(update={"augment": stage.augment})
        return Classification(self.data, settings)

    @cached_property
    def couplings(self) -> Couplings:
        """Couplings of the network, each of them tried, without those that the recipe holds."""
        model, settings = self.fresh_model(), self.recipe.strip
        key = self._fingerprint("strip", {"engine", "depth", "heads"})
        if (found := self.shared.couplings.get(key)) is None:
            found = find_couplings(
                model, self.example, settings.engine, depth=settings.depth, heads=settings.heads
            )
            self.shared.couplings[key] = found
        held = hold(found, model, settings)
        for line in held.lines():
            self.console.say(line)
        if settings.depth == "remove":
            names = ", ".join(branch.name for branch in held.couplings.branches) or "none"
            self.console.say(f"residual branches that may go as blocks: {names}")
        return held.couplings

    def _fingerprint(self, section: str, keys: set[str]) -> str:
        """Of the network, the data and some settings."""
        values = self.recipe.model_dump(mode="json", include={"seed", "model", "data", section})
        values[section] = {key: values[section][key] for key in sorted(keys)}
        return fingerprint(values)

    @property
    def torch_device(self) -> torch.device:
        """Where large passes are made."""
        return torch.device("cpu" if on_cpu(self.device) else "cuda")

    @property
    def example(self) -> Tensor:
        """Two images as the network takes them."""
        return self.task.example(2)

    def fresh_model(self) -> nn.Module:
        """The network as training starts from it; always the same one."""
        return self.start().model

    def start(self) -> Start:
        """The network as training starts from it, and what became of the weights given for it."""
        folders = (*self.model_folders, shipped("models").parent)
        channels = self.data.image_shape[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            start = start_model(self.recipe.model, self.data.num_classes, channels, folders)
        for notice in start.notices:
            self._warn_once(notice)
        return start

    def _warn_once(self, notice: str) -> None:
        if notice not in self._warned:
            self._warned.add(notice)
            self.console.warn(notice)

    @cached_property
    def _warned(self) -> set[str]:
        return set()

    @torch.no_grad()
    def check_output(self, model: nn.Module) -> None:
        """Raise unless ``model`` gives one number per class.

        Raises:
            ModelError: Its outputs have another shape.
        """
        found, num_classes = tuple(model.eval()(self.example).shape), self.data.num_classes
        if found != (len(self.example), num_classes):
            raise ModelError(
                f"{self.recipe.model.factory} gives outputs of shape {list(found)} for "
                f"{len(self.example)} images of {num_classes} classes. Give one number per class, "
                f"shape {[len(self.example), num_classes]}."
            )

    def dense_model(self) -> nn.Module:
        """The dense reference, trained."""
        return self._load(self.fresh_model(), "dense")

    def searched_model(self) -> nn.Module:
        """The network that the search trained, still of full size."""
        return self._load(self.fresh_model(), "train")

    def slim_model(self, stage: str) -> nn.Module:
        """The slim network with the weights of ``strip`` or ``tune``."""
        return self._load(apply(self.plan(stage), self.fresh_model()), stage)

    def stripped(self, plan: StripPlan) -> nn.Module:
        """The network as strip left it, cut after a plan for the same weights."""
        return self._load(apply(plan, self.fresh_model()), "strip")

    def plan(self, stage: str) -> StripPlan:
        """How the network of ``strip`` or ``tune`` is made from a fresh one."""
        return StripPlan.from_json(read_json(self.run.path(stage, "plan.json")))

    def masks(self, stage: str) -> Structure | None:
        """Which single weights ``train`` or ``strip`` kept; None where the method keeps units."""
        path = self.run.folder / stage / MASKS_FILE
        return load_masks(path) if path.is_file() else None

    def _load(self, model: nn.Module, stage: str) -> nn.Module:
        load_weights(model, self.run.path(stage, "weights.safetensors"))
        return model.eval()

    def surroundings(self, folder: Path, on_epoch: Callable[[Record], None]) -> Surroundings:
        """Where and how a stage trains; its checkpoints lie in its unfinished folder."""
        return Surroundings(
            console=self.console,
            device=self.device,
            checkpoints=folder / CHECKPOINT,
            resume=self.resume,
            on_epoch=on_epoch,
        )
