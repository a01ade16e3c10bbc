"""How long a run will take here, from measured steps, and how many epochs fit into the time."""

from dataclasses import dataclass

from compressor.init.trial import Export, Speed

MOST_TUNE, MOST_SCRATCH = 15, 40
"""Epochs of tuning beyond which little is won, from weights and from scratch."""

LEAST_TUNE, LEAST_SEARCH = 3, 2
"""Fewer leave a path of too few moments, or a network that has not mended."""

SEARCH_PART = 3
"""Tuning has so many times the epochs of the search."""

TABLE_SECONDS = 20.0
"""Longest time for the rounds of one engine and batch size; see ``bench.max_seconds``."""

ROUNDS = 300
BATCHES = (1, 32)
RUNS_A_ROUND = 4
"""Both networks, each after an untimed run."""
ENGINES = 2

EXPORTS = 3
"""Of a run: the untrained network as a trial, the dense and the slim one."""

PACKING_SECONDS = 25.0
"""Certificate, package, its check in a process of its own, report; as on small networks."""


@dataclass(frozen=True)
class Epochs:
    """Epochs of each stage; ``dense`` is 0 where the given weights are the dense network."""

    search: int
    tune: int
    dense: int


@dataclass(frozen=True)
class Forecast:
    """Seconds of each part of a run on this machine, as busy as it was."""

    search: float
    tune: float
    dense: float
    rest: float

    @property
    def total(self) -> float:
        """Of the whole run."""
        return self.search + self.tune + self.dense + self.rest


def seconds_besides(coupling_seconds: float, export: Export) -> float:
    """What a run takes beside training: couplings, exports, checks, timing, packing."""
    cells = [
        min(TABLE_SECONDS, ROUNDS * RUNS_A_ROUND * batch * export.dense_ms / 1000)
        for batch in BATCHES
    ]
    return coupling_seconds + EXPORTS * export.seconds + ENGINES * sum(cells) + PACKING_SECONDS


def choose_epochs(
    speed: Speed, num_train: int, seconds: float, *, most_tune: int, trains_dense: bool
) -> Epochs:
    """As many epochs as fit into ``seconds``, though not fewer than a run needs.

    Args:
        speed: Measured.
        num_train: Pictures of an epoch.
        seconds: For all training.
        most_tune: Epochs of tuning at most.
        trains_dense: Whether the dense network is trained too, as long as the slim one.
    """
    best = _epochs(LEAST_TUNE, trains_dense)
    for tune in range(LEAST_TUNE, most_tune + 1):
        epochs = _epochs(tune, trains_dense)
        if forecast(speed, num_train, epochs, rest=0.0).total > seconds:
            break
        best = epochs
    return best


def _epochs(tune: int, trains_dense: bool) -> Epochs:
    search = max(LEAST_SEARCH, round(tune / SEARCH_PART))
    return Epochs(search, tune, search + tune if trains_dense else 0)


def forecast(speed: Speed, num_train: int, epochs: Epochs, rest: float) -> Forecast:
    """Seconds of a run with these epochs; tuning asks the dense network about every picture."""
    return Forecast(
        search=epochs.search * num_train * speed.search,
        tune=epochs.tune * num_train * (speed.slim + speed.teacher),
        dense=epochs.dense * num_train * speed.dense,
        rest=rest,
    )
