"""A training job for processes of their own: what several of them, or a killed one, must give."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.data.source import ImageData, Split
from compressor.sparsity.base import Horizon
from compressor.sparsity.catalog import METHODS
from compressor.sparsity.split_lbi import SplitLBISettings
from compressor.tasks.classification import Classification, TaskSettings
from compressor.tasks.task import TaskLoss
from compressor.train.checkpoint import save_state
from compressor.train.loop import Job, Surroundings, train
from compressor.train.settings import TrainSettings


class SlowTask(Classification):
    """Waits before each batch, so that there is a time to be killed in."""

    pause = 0.0

    def batch(self, places, generator):
        time.sleep(self.pause)
        return super().batch(places, generator)


def make_data():
    draw = np.random.default_rng(0)

    def split(num_images):
        images = draw.integers(0, 255, (num_images, 1, 6, 6)).astype(np.uint8)
        return Split(images, np.arange(num_images) % 3)

    return ImageData("noise", split(60), split(6), split(6), ("a", "b", "c"), (0.5,), (0.3,))


ENTERS_SOON = SplitLBISettings(nu=1.0, lam=0.2)


def make_job(norm=False, pause=0.0, sparsity=ENTERS_SOON):
    """Three epochs of four steps; fifteen images do not divide evenly over two processes."""
    torch.manual_seed(0)
    between = nn.BatchNorm2d(6) if norm else nn.Identity()
    model = nn.Sequential(nn.Conv2d(1, 6, 3), between, nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    task = SlowTask(make_data(), TaskSettings(augment="none"))
    task.pause = pause
    filters = Member("0.weight", 0, torch.arange(6).view(6, 1), "filter")
    scales = Member("1.weight", 0, torch.arange(6).view(6, 1), "scale")
    members = (filters, scales) if norm else (filters,)
    horizon = Horizon(num_steps=12, path_time=1.2, seed=0, num_epochs=3)
    return Job(
        stage="train",
        model=model,
        task=task,
        objective=TaskLoss(task),
        sparsifier=METHODS[sparsity.method].build(sparsity, horizon),
        couplings=Couplings((Coupling("0", 6, members),)),
        settings=TrainSettings(epochs=3, batch_size=15, lr=0.1),
        seed=0,
    )


def result(job, surroundings):
    """Everything that a run leaves behind, as one state."""
    history = train(job, surroundings)
    return {
        "weights": dict(job.model.state_dict()),
        "structure": dict(job.sparsifier.structure().keep),
        "path": job.sparsifier.path().to_json(),
        "history": history,
    }


def main(order):
    torch.set_num_threads(order["threads"])
    if "kill" in order:
        point = Path(order["kill"])
        often = Surroundings(device="cpu", checkpoints=point, checkpoint_seconds=-1.0)
        train(make_job(pause=0.1), often)
        return
    rank, surroundings = os.environ["RANK"], Surroundings(device="cpu")
    for name, settings in order["cases"].items():
        sparsity = METHODS[settings["method"]].settings(**settings)
        found = result(make_job(order["norm"], sparsity=sparsity), surroundings)
        save_state(Path(order["out"]) / f"{name}-{rank}", found)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
