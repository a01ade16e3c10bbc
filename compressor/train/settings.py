"""Settings of a training stage."""

from typing import Literal

from pydantic import Field

from compressor.settings import Settings
from compressor.tasks.classification import Augment


class OptimiserSettings(Settings):
    """How weights move; the same for searching, tuning and the dense reference."""

    batch_size: int = Field(default=128, ge=2)
    """Images per optimiser step over all processes and accumulated batches."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that each batch is cut into to save memory."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """What turns gradients into steps."""
    lr: float = Field(default=0.1, gt=0)
    """Largest learning rate."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of sgd."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """On weights of two and more dimensions; norms and biases have none."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """How the rate falls from ``lr`` to zero."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the rate rises from zero to ``lr``; at most the whole stage is."""
    augment: Augment | None = None
    """How training images vary in this stage; None takes ``task.augment``."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of forward and backward; weights and methods stay in float32."""
    memory_format: Literal["contiguous", "channels-last"] = "channels-last"
    """Layout of images in memory; changes speed only."""


class TrainSettings(OptimiserSettings):
    """One training stage."""

    epochs: int = Field(ge=1)
    """Passes over the training images."""


class SearchSettings(TrainSettings):
    """The search for the path; its rate is constant, since a falling one stops the path's clock."""

    schedule: Literal["constant", "cosine", "linear"] = "constant"


class DenseTrainSettings(OptimiserSettings):
    """The dense reference."""

    epochs: int | None = Field(default=None, ge=1)
    """Passes over the training images; None takes as many as search and tuning have together."""


class TuneSettings(TrainSettings):
    """Tuning the slim network."""

    epochs: int = Field(ge=0)
    """Passes over the training images; with 0 only norm statistics are re-estimated."""
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the loss that compares with the dense network's outputs (distillation).

    The rest compares with the labels, and ``task.label_smoothing`` smooths that part alone. With 0,
    and no ``features``, the dense network is not asked.
    """
    temperature: float = Field(default=2.0, gt=0)
    """Softens both outputs before they are compared."""
    features: tuple[str, ...] = Field(default=(), strict=False)
    """Modules whose attention maps are compared with the dense network's, by name or glob.

    ``*`` matches no dot: ``layer*`` are the stages, ``layer1.*`` the blocks of one. Both networks
    must have the modules, so it is refused where the slim network is a captured graph. Outputs are
    read as (images, channels, height, width) or (images, tokens, channels). The dense network then
    sees every batch: unlike its outputs, its features are not remembered.
    """
    feature_weight: float = Field(default=1.0, gt=0)
    """What is added for ``features``: this times 1 minus the cosine of the maps, their mean."""
    norm_divisor: Literal["kept", "plain"] = "kept"
    """What layer and group norms divide by after channels have left them.

    ``kept`` goes on with the old number, so that the stripped network is the masked one; ``plain``
    takes the ordinary norms from the start of tuning on, which engines run as one operator.
    """
    norm_batches: int = Field(default=50, ge=0)
    """Batches over which norm statistics are re-estimated straight after stripping."""
