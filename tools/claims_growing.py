"""E8: a network grows from few filters to as many as its path asks for.

After Fu et al., arXiv 1905.09449: it trains for some epochs along DessiLBI's path; a layer of which
nearly all filters have entered is too narrow and is widened. Once nothing enters any more it is
trained as it is. The rounds are the product's own (``compressor.grow``): the output stays as it is
when the network is widened, and momentum and path go on.
"""

import tempfile
from pathlib import Path
from typing import Any

from claims_digits import (
    WIDTHS,
    Run,
    accuracy,
    couplings_of,
    digits,
    epochs_of,
    network,
    settings_of,
)

from compressor.count import count, layer_macs
from compressor.grow.growth import Growth, clock
from compressor.grow.rounds import Grown, grow
from compressor.grow.settings import GrowSettings
from compressor.grow.widths import Ceiling, Limits
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.strip.budget import removed_units
from compressor.strip.cost import Cost
from compressor.structure import Structure
from compressor.tasks.classification import Classification
from compressor.tasks.task import TaskLoss
from compressor.train.loop import Job, Surroundings, steps_per_epoch

Figures = dict[str, Any]

FIRST_WIDTH = 4
SATURATED = 0.8
"""The paper's tau: a layer with this share of its filters in is widened."""

LEAST_STEP, GROWTH = 2, 1.1
ROUND_EPOCHS, LAST_EPOCHS = 10, 40
MOST_ROUNDS = 60
"""A network that still grows then does not end."""


def grown(seed: int, effort: float) -> Figures:
    """Accuracy and MACs of the grown network, and of a fixed one trained for as many epochs."""
    task = digits()
    made = grown_network(seed, effort, task)
    epochs = epochs_of(effort, LAST_EPOCHS)
    Run(made.model, task, settings_of(epochs), seed).train()
    last = made.film[-1]
    total = epochs + last["epoch"]
    fixed = network(seed)
    Run(fixed, task, settings_of(total), seed).train()
    images = steps_per_epoch(task, settings_of(1)) * settings_of(1).batch_size
    fixed_macs = count(fixed, task.example(2)).macs
    return {
        "ended": last["epoch"] < rounds_of(effort) * epochs_of(effort, ROUND_EPOCHS),
        "rounds": len(made.film),
        "widths": [list(frame["widths"].values()) for frame in made.film],
        "grown_accuracy": accuracy(made.model, task),
        "fixed_accuracy": accuracy(fixed, task),
        "grown_macs": last["macs"],
        "fixed_macs": fixed_macs,
        # Of forward passes; training costs three of them, on both sides.
        "grown_training_macs": last["forward_macs"] + last["macs"] * epochs * images,
        "fixed_training_macs": fixed_macs * total * images,
        "fixed_widths": list(WIDTHS),
        "epochs": total,
    }


def rounds_of(effort: float) -> int:
    """Rounds at most."""
    return max(2, round(effort * MOST_ROUNDS))


def grown_network(seed: int, effort: float, task: Classification) -> Grown:
    """The network when growing has ended; nu is the product's own for rounds of this length."""
    full = network(seed)
    couplings = couplings_of(full, task)
    cost = Cost.of(full, couplings, layer_macs(full, task.example(2)))
    whole = cost.macs({})

    def macs(structure: Structure) -> float:
        return cost.macs(removed_units(structure))

    settings = GrowSettings(
        start_share=1e-6,
        saturated=SATURATED,
        growth=GROWTH,
        round_epochs=epochs_of(effort, ROUND_EPOCHS),
    )
    training = settings_of(rounds_of(effort) * settings.round_epochs)
    horizon = clock(training, settings, steps_per_epoch(task, training), seed)
    growth = Growth(
        full=full,
        limits=Limits(
            couplings,
            steps={c.name: LEAST_STEP for c in couplings.free},
            floors={c.name: FIRST_WIDTH for c in couplings.free},
            ceilings=[Ceiling("ceiling_macs", 1.0, lambda structure: macs(structure) / whole)],
        ),
        settings=settings,
        job=Job(
            stage="claims",
            model=full,
            task=task,
            objective=TaskLoss(task),
            sparsifier=SplitLBI(SplitLBISettings(twin="filter"), horizon),
            couplings=couplings,
            settings=training,
            seed=seed,
        ),
        sparsifier=lambda: SplitLBI(SplitLBISettings(twin="filter"), horizon),
        inputs=task.example(8),
        macs=macs,
    )
    with tempfile.TemporaryDirectory() as folder:
        return grow(growth, Surroundings(device="cpu"), Path(folder))
