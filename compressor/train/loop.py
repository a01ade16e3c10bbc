"""The one training loop: search, tuning and the dense reference are all this loop.

Methods enter through a ``Sparsifier``, losses through an ``Objective``. The order of images, their
augmentation and the learning rate are functions of seed and step alone, so a run that goes on from
a checkpoint is, on a CPU with as many threads, the run that never stopped, bit for bit.
"""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from compressor.console import Advance
from compressor.errors import TrainError
from compressor.structure import Structure
from compressor.tasks.task import Batch, Task
from compressor.train.checkpoint import load_state, save_state
from compressor.train.device import make_accelerator, memory_format
from compressor.train.job import Job as Job
from compressor.train.job import Record as Record
from compressor.train.job import Surroundings as Surroundings
from compressor.train.masking import masked_accuracy, some_inputs
from compressor.train.optimizer import lay_out_as_parameters_, make_optimizer
from compressor.train.order import batch_places, epoch_order, generator_for
from compressor.train.schedule import learning_rate
from compressor.train.settings import TrainSettings
from compressor.train.stopping import Look, StopRule, verdict

MIN_PART = 2
"""Images in each part of a batch: batch norm has no variance of a single one."""

ACCELERATE_MARKS = {"forward", "_is_accelerate_prepared"}
"""Attributes that accelerate leaves on a model, even when asked to unwrap it."""

NOTE_STEPS = 20
"""The loss is read, shown and checked once in so many steps; reading it waits for the device."""


def steps_per_epoch(task: Task, settings: TrainSettings) -> int:
    """Optimiser steps in an epoch; the last, incomplete batch is left out.

    Raises:
        TrainError: There are fewer images than one batch has.
    """
    steps = task.num_train // settings.batch_size
    if steps == 0:
        raise TrainError(
            f"There are {task.num_train} training images and batch_size is {settings.batch_size}. "
            "Lower batch_size, or give more images."
        )
    return steps


def train(job: Job, surroundings: Surroundings) -> list[Record]:
    """Train ``job.model`` in place and leave it on the CPU; one record per epoch.

    Raises:
        TrainError: The loss is not finite, a batch cannot be divided as asked, or a checkpoint does
            not fit.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(job.seed)
        loop = _Loop(job, surroundings)
        try:
            return loop.run()
        finally:
            loop.close()


class _Loop:
    """State of one running job."""

    def __init__(self, job: Job, surroundings: Surroundings) -> None:
        self._job, self._around = job, surroundings
        self._engine = make_accelerator(job.settings, surroundings.device)
        self._per_epoch = steps_per_epoch(job.task, job.settings)
        _check_parts(job.settings, self._engine.num_processes)
        self._step = 0
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self._engine.device)
        self._history: list[Record] = []
        self._saved_at = time.monotonic()
        self._format = memory_format(job.settings)
        self._own_attributes = set(vars(job.model))
        job.model.to(self._engine.device).to(memory_format=self._format)
        self._optimizer = make_optimizer(job.model, job.settings)
        job.sparsifier.attach(job.model, self._optimizer, job.couplings)
        self._support = _copied(job.sparsifier.structure()) if job.stop else Structure({})
        self._model, self._stepper = self._engine.prepare(job.model, self._optimizer)
        if surroundings.resume and surroundings.checkpoints is not None:
            self._load(surroundings.checkpoints)

    def run(self) -> list[Record]:
        job, total = self._job, self._job.settings.epochs * self._per_epoch
        with self._around.console.track(job.stage, total, done=self._step) as advance:
            while self._step < total and not self._stopped:
                self._epoch(advance)
        return self._history

    @property
    def _stopped(self) -> bool:
        return bool(self._history) and "stopped" in self._history[-1]

    def close(self) -> None:
        self._job.sparsifier.detach()
        model = self._engine.unwrap_model(self._model, keep_fp32_wrapper=False)
        for mark in ACCELERATE_MARKS - self._own_attributes:
            vars(model).pop(mark, None)
        model.to("cpu").to(memory_format=torch.contiguous_format)

    def _epoch(self, advance: Advance) -> None:
        epoch, first = divmod(self._step, self._per_epoch)
        order = epoch_order(self._job.task.num_train, self._job.seed, epoch)
        self._model.train()
        started = time.monotonic()
        for batch in range(first, self._per_epoch):
            self._train_step(order, epoch, batch)
            advance(self._note() if self._step % NOTE_STEPS == 0 else "")
            # Not after the last batch: a checkpoint there would lose the record of the epoch.
            due = time.monotonic() - self._saved_at > self._around.checkpoint_seconds
            if due and batch + 1 < self._per_epoch:
                self._mean_loss()  # raises where going on from here would be in vain
                self._save()
        seconds = time.monotonic() - started
        self._finish_epoch(epoch, (self._per_epoch - first) / max(seconds, 1e-9))
        self._save()

    def _train_step(self, order: Tensor, epoch: int, batch: int) -> None:
        settings = self._job.settings
        rate = learning_rate(settings, self._step, self._per_epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        rank, world = self._engine.process_index, self._engine.num_processes
        places = batch_places(order, batch, settings.batch_size, rank, world)
        for part, some in enumerate(places.tensor_split(settings.accumulate)):
            generator = generator_for(self._job.seed, "batch", epoch, batch, part, rank)
            self._accumulate(self._job.task.batch(some, generator), len(some) / len(places))
        self._step += 1

    def _accumulate(self, batch: Batch, share: float) -> None:
        """Add the gradient of one part, ``share`` of this process's images; step after the last."""
        targets = batch.targets.to(self._engine.device)
        batch = Batch(self._placed(batch.inputs), targets, batch.places)
        # accelerate divides by the number of parts, and processes average their gradients; both
        # are right for parts of equal size only. This makes it the mean over the whole batch.
        num_parts = self._job.settings.accumulate * self._engine.num_processes
        weight = len(batch.places) * num_parts / self._job.settings.batch_size
        with self._engine.accumulate(self._model):
            loss = self._job.objective.loss(self._model, batch)
            if (penalty := self._job.sparsifier.penalty()) is not None:
                loss = loss + penalty
            self._engine.backward(loss * weight)
            self._stepper.step()
            self._stepper.zero_grad()
        self._loss_sum += loss.detach().double() * share

    def _placed(self, inputs: Tensor) -> Tensor:
        """Inputs on the device, images in the layout of the model."""
        moved = inputs.to(self._engine.device, non_blocking=True)
        return moved.contiguous(memory_format=self._format) if moved.dim() == 4 else moved

    def _mean_loss(self) -> float:
        """Mean loss of this epoch so far."""
        steps = (self._step - 1) % self._per_epoch + 1
        loss = float(self._loss_sum) / steps
        if not math.isfinite(loss):
            raise TrainError(
                f"{self._job.stage}: the loss is {loss} at step {self._step}. "
                f"Lower its lr ({self._job.settings.lr:g}), or give it a warm-up."
            )
        return loss

    def _note(self) -> str:
        return f"loss {self._mean_loss():.3f}"

    def _finish_epoch(self, epoch: int, steps_per_second: float) -> None:
        job, settings = self._job, self._job.settings
        metrics, structure = job.sparsifier.metrics(), job.sparsifier.structure()
        of_units = structure.granularity == "channel"
        record: Record = {
            "stage": job.stage,
            "epoch": epoch + 1,
            "step": self._step,
            "lr": learning_rate(settings, self._step - 1, self._per_epoch),
            "loss": self._mean_loss(),
            "validation_accuracy": self._validation_accuracy(self._model),
            "images_per_second": steps_per_second * settings.batch_size,
            "support": structure.widths() if metrics and of_units else {},
            **({} if of_units else {"kept_share": 1.0 - structure.sparsity}),
            "notices": job.sparsifier.notices(),
            **metrics,
        }
        if job.stop is not None:
            record |= self._verdict(job.stop, record, structure)
        self._history.append(record)
        self._loss_sum.zero_()
        self._around.on_epoch(record)

    def _verdict(self, rule: StopRule, record: Record, structure: Structure) -> Record:
        """What the rule says of an epoch; the first process alone looks, so that all stop alike."""
        found: Record = {}
        if self._engine.is_main_process:
            ask = partial(self._masked_accuracy, structure)
            found = verdict(rule, Look(self._support, structure, ask), self._history, record)
        self._support = _copied(structure)
        found = broadcast_object_list([found])[0]
        if record["epoch"] == self._job.settings.epochs:
            found.pop("stopped", None)  # it ends by itself
        return found

    def _masked_accuracy(self, structure: Structure, norm_batches: int) -> float:
        job, size = self._job, self._job.settings.batch_size
        inputs = some_inputs(job.task, size, job.seed, norm_batches, self._placed)
        # Not the wrapped model: its forward waits for the other processes.
        model = self._engine.unwrap_model(self._model)
        return masked_accuracy(model, job.couplings, structure, inputs, self._validation_accuracy)

    def _validation_accuracy(self, model: nn.Module) -> float:
        model.eval()

        @torch.no_grad()
        def predict(inputs: Tensor) -> Tensor:
            outputs: Tensor = model(self._placed(inputs))
            return outputs

        return self._job.task.accuracy(predict, "validation")

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self._around.checkpoints is None or not self._engine.is_main_process:
            return
        scaler = self._engine.scaler
        save_state(
            self._around.checkpoints,
            {
                "step": self._step,
                "loss_sum": float(self._loss_sum),
                "history": self._history,
                "model": self._engine.unwrap_model(self._model).state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "sparsifier": self._job.sparsifier.state_dict(),
                "support": dict(self._support.keep),
                "random": torch.get_rng_state(),
                "scaler": scaler.state_dict() if scaler is not None else {},
            },
        )

    def _load(self, folder: Path) -> None:
        state = load_state(folder)
        if state is None:
            return
        try:
            self._restore(state)
        except (RuntimeError, ValueError, KeyError) as failure:
            raise TrainError(
                f"{folder}: the checkpoint is of another network, method or optimiser "
                f"({' '.join(str(failure).split())[:200]}). Delete the folder to train anew."
            ) from failure

    def _restore(self, state: dict[str, Any]) -> None:
        self._engine.unwrap_model(self._model).load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        lay_out_as_parameters_(self._optimizer)
        self._job.sparsifier.load_state_dict(state["sparsifier"])
        torch.set_rng_state(state["random"])
        if self._engine.scaler is not None:
            self._engine.scaler.load_state_dict(state["scaler"])
        if self._job.stop is not None:
            self._support = Structure(state["support"], self._support.granularity)
        self._step, self._history = state["step"], state["history"]
        self._loss_sum.fill_(state["loss_sum"])


def _copied(structure: Structure) -> Structure:
    """Masks that the method does not change under our hands."""
    keep = {name: kept.clone() for name, kept in structure.keep.items()}
    return Structure(keep, structure.granularity)


def _check_parts(settings: TrainSettings, num_processes: int) -> None:
    """Raise unless each part of a batch has two images, which batch norm needs."""
    num_parts = settings.accumulate * num_processes
    if settings.batch_size < MIN_PART * num_parts:
        raise TrainError(
            f"batch_size is {settings.batch_size}, and {settings.accumulate} accumulated parts on "
            f"{num_processes} processes leave fewer than {MIN_PART} images to a part. "
            "Raise batch_size, or lower accumulate."
        )
