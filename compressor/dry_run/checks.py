"""The checks of a dry run: each says in words what it found, or raises what is wrong."""

import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from compressor.context import Context
from compressor.count import count, layer_macs
from compressor.dry_run.data import dry_data
from compressor.errors import BudgetError, CompressorError
from compressor.export.onnx import export_onnx
from compressor.stages.in_time import Measuring, Problem, check_floors
from compressor.stages.ready import check_here
from compressor.stages.stripping import check_network
from compressor.stages.widths import multiple_of
from compressor.strip.budget import Budget, floor_structure, solve
from compressor.strip.cost import Cost
from compressor.structure import Path as UnitsPath
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
        context, couplings = self._context, self._context.couplings
        settings = strip.model_copy(update={"round_to": multiple_of(context).channels})
        cost = Cost.of(self._model, couplings, layer_macs(self._model, context.example))
        # No unit is worth more than another yet; whether widths can meet a budget is the same.
        path = UnitsPath.of_scores(
            "none", {c.name: torch.ones(c.num_units) for c in couplings.free}
        )
        if strip.in_time:
            problem = Problem(self._model, couplings, cost, path, settings)
            around = Measuring.of(self._recipe, context.data.image_shape, context.console)
            yield check_floors(problem, around)
        elif (budget := Budget.of(couplings, cost, settings)) is not None:
            solved = solve(couplings, cost, path, couplings.everything(), settings)
            floors = floor_structure(couplings, cost, path, settings)
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
