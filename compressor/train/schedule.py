"""Learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

import math

from compressor.train.settings import TrainSettings


def learning_rate(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    """Rate of optimiser step ``step`` (from 0).

    Rises linearly over the warm-up, then is constant, or falls along half a cosine or a line to
    zero at the end of the last epoch.
    """
    total = settings.epochs * steps_per_epoch
    warmup = min(total, round(settings.warmup_epochs * steps_per_epoch))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    share_done = (step - warmup) / max(1, total - warmup)
    match settings.schedule:
        case "constant":
            return settings.lr
        case "linear":
            return settings.lr * (1 - share_done)
        case "cosine":
            return settings.lr * 0.5 * (1 + math.cos(math.pi * share_done))


def path_time(settings: TrainSettings, steps_per_epoch: int) -> float:
    """Sum of the learning rates over the whole stage."""
    steps = range(settings.epochs * steps_per_epoch)
    return sum(learning_rate(settings, step, steps_per_epoch) for step in steps)
