"""What ``compressor init`` is asked for; light, since the command line reads it."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from compressor.engines import ENGINES, EngineName
from compressor.errors import RecipeError
from compressor.overrides import near

SHARES = ("keep_macs", "keep_params", "keep_latency")
BUDGETS = (*SHARES, "latency_ms")
"""What can be asked for, as in ``[strip]``."""

EXAMPLES = "keep_macs=0.5 or latency_ms=3@onnxruntime"
DEFAULT_TARGET = "keep_macs=0.5"
DEFAULT_MINUTES = 10.0


@dataclass(frozen=True)
class Target:
    """One budget.

    Attributes:
        key: As in ``[strip]``.
        value: A share in (0, 1], or milliseconds.
        engine: What the network is to run on; None leaves it open.
    """

    key: str
    value: float
    engine: EngineName | None = None

    @property
    def option(self) -> str:
        """As ``compressor slice`` takes it."""
        return f"--{self.key.replace('_', '-')} {self.value:g}"


@dataclass(frozen=True)
class Asked:
    """What a recipe is wanted for.

    Attributes:
        model: ``torchvision:NAME``, ``timm:NAME`` or ``path/to/file.py:NAME``.
        data: Folder of class folders.
        targets: Budgets, one or more; the first is the recipe's, others are later slices.
        weights: Weights to start from; None starts from scratch.
        image_size: Side of the pictures, in pixels; None chooses one.
        minutes: What the whole run may take on this machine, if that is possible.
    """

    model: str
    data: Path
    targets: tuple[Target, ...]
    weights: Path | None = None
    image_size: int | None = None
    minutes: float = DEFAULT_MINUTES


def read_target(text: str) -> Target:
    """``KEY=NUMBER`` or ``KEY=NUMBER@ENGINE``.

    Raises:
        RecipeError: It is not written so, a name is unknown, or the number is out of range.
    """
    parts = re.fullmatch(r"([a-z_-]+)=([^@]+)(?:@(.+))?", text.strip())
    if parts is None:
        raise RecipeError(f"--target {text}: write KEY=NUMBER, {EXAMPLES}.")
    key, number, engine = parts[1].replace("-", "_"), parts[2], parts[3]
    if key not in BUDGETS:
        raise RecipeError(f"--target {text}: there is no budget {key!r}. {near(key, BUDGETS)}")
    try:
        value = float(number)
    except ValueError:
        raise RecipeError(f"--target {text}: {number!r} is not a number. See {EXAMPLES}.") from None
    highest = 1.0 if key in SHARES else math.inf
    if not (0 < value <= highest and math.isfinite(value)):
        allowed = "a share above 0, at most 1" if key in SHARES else "milliseconds above 0"
        raise RecipeError(f"--target {text}: {number} is not {allowed}.")
    if engine is not None and engine not in ENGINES:
        told = near(engine, tuple(ENGINES))
        raise RecipeError(f"--target {text}: there is no engine {engine!r}. {told}")
    return Target(key, value, ENGINES[engine].name if engine is not None else None)


def read_targets(texts: tuple[str, ...]) -> tuple[Target, ...]:
    """All targets, which must be for one engine.

    Raises:
        RecipeError: One is wrong, or two name different engines.
    """
    targets = tuple(map(read_target, texts))
    engines = sorted({target.engine for target in targets if target.engine is not None})
    if len(engines) > 1:
        raise RecipeError(
            f"--target names the engines {' and '.join(engines)}: one recipe has one. "
            "Write a recipe for each, by another --out."
        )
    return targets
