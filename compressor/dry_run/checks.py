"""The checks of a dry run: each says in words what it found, or raises what is wrong."""

import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from compressor.context import Context
from compressor.count import count
from compressor.dry_run.data import dry_data
from compressor.errors import BudgetError, CompressorError
from compressor.export.onnx import export_onnx
from compressor.stages.early import asked_of
from compressor.stages.in_time import Measuring, check_floors
from compressor.stages.ready import check_here
from compressor.stages.stripping import check_network
from compressor.strip.budget import Budget, floor_structure, solve
from compressor.train.loop import steps_per_epoch


class Checks:
    """The checks of one recipe; what one of them made, the next ones use.

    Args:
        context: Of a run whose directory is for the taking; nothing is written there.
        stages: Those that would be run.
    """

    def __init__(self, context: Context, stages: tuple[str, ...]) -> None:
        self._context, self._recipe, self._stages = context, context.recipe, stages

    def recipe(self) -> Iterator[str]:
        """What the recipe asks for; that it is in order was found when it was read."""
        recipe = self._recipe
        budget = ", ".join(f"{key} = {value:g}" for key, value in recipe.strip.budget().items())
        way = "growing" if recipe.grow else "search"
        yield (
            f"{recipe.name}: {recipe.model.factory}, {way} by {recipe.sparsity.method}, "
            f"{budget or 'no budget'}, {recipe.train.epochs} + {recipe.tune.epochs} epochs"
        )

    def data(self) -> Iterator[str]:
        """Data that is there and whole, and a batch of it for each stage that trains."""
        context, recipe = self._context, self._recipe
        read = dry_data(recipe.data, context.data_root, recipe.seed)
        context.data = read.images
        yield read.told
        for settings in (recipe.dense_settings(), recipe.train, recipe.tune):
            task = context.task_of(settings)
            if read.is_whole:
                steps_per_epoch(task, settings)
            places = torch.arange(min(settings.batch_size, task.num_train))
            batch = task.batch(places, torch.Generator().manual_seed(recipe.seed))
        yield f"a training batch: {' x '.join(map(str, batch.inputs.shape))}"

    def network(self) -> Iterator[str]:
        """A network that builds, takes the images, and has couplings that can be cut."""
        counts, couplings = count(self._model, self._context.example), self._context.couplings
        yield f"{counts.params:,} parameters, {counts.macs:,} MACs an image"
        check_network(self._context, self._model)
        yield (
            f"{couplings.num_units:,} units in {len(couplings.free)} couplings can be removed, "
            f"{len(couplings.frozen)} couplings are kept whole"
        )

    def budget(self) -> Iterator[str]:
        """A budget that is above the floors; one of time is measured."""
        strip = self._recipe.strip
        if strip.at_epoch is not None and strip.at_epoch > self._recipe.train.epochs:
            raise BudgetError(
                f"strip.at_epoch = {strip.at_epoch}: the search has {self._recipe.train.epochs} "
                "epochs. Name one of them."
            )
        context, problem = self._context, asked_of(self._context, self._model)
        if strip.in_time:
            around = Measuring.of(self._recipe, context.data.image_shape, context.console)
            yield check_floors(problem, around)
            return
        couplings, settings = problem.couplings, problem.settings
        if (budget := Budget.of(couplings, problem.cost, settings)) is not None:
            of = couplings, problem.cost, problem.path
            solved = solve(*of, couplings.everything(), settings)
            floors = floor_structure(*of, settings)
            yield (
                f"widths can be found that keep {budget.reached(couplings, solved):.1%} of the "
                f"{budget.word}; the floors alone keep {budget.reached(couplings, floors):.1%}"
            )
        else:
            ends = (
                "growing ends at its ceiling"
                if self._recipe.grow
                else "what the search keeps stays"
            )
            yield f"none: {ends}"

    def export(self) -> Iterator[str]:
        """The untrained network as ONNX, run by ONNX Runtime; the file is not kept."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "untrained.onnx"
            shape = self._context.data.image_shape
            how = export_onnx(self._model, shape, path, self._recipe.export)
            size = path.stat().st_size
        yield (
            f"{size:,} bytes, opset {self._recipe.export.opset}; ONNX Runtime gives what the "
            "network gives"
        )
        if how.why is not None:
            yield f"PyTorch's older exporter, {how.exporter}, is needed: {how.why}"

    def engines(self) -> Iterator[str]:
        """Engines and devices that the stages need."""
        faults: list[str] = []
        for stage in self._stages:
            try:
                check_here(self._recipe, (stage,))
            except CompressorError as failure:
                faults += str(failure).splitlines()
        if faults:
            raise CompressorError("\n".join(dict.fromkeys(faults)))
        yield f"timed by {', '.join(self._recipe.bench.engines)}; all that is needed is installed"

    @cached_property
    def _model(self) -> nn.Module:
        return self._context.fresh_model().eval()
