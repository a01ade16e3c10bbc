"""What is measured: each method at each of its levels, in the forms that cost differently."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from compressor.errors import RecipeError
from compressor.settings import Settings
from compressor.sparsity.base import Horizon, Sparsifier
from compressor.sparsity.catalog import METHODS

NUM_STEPS, NUM_EPOCHS = 3900, 10
"""Length of the run that a method believes to be in: ten epochs of CIFAR-10 in batches of 128."""

Values = dict[str, Any]

FALLBACK: Values = {"density": 0.5}
"""Settings that a method may require, and what they are here."""

FORMS: dict[tuple[str, str], tuple[Values, ...]] = {
    ("dessilbi", "unit"): ({}, {"twin": "filter"}),
    ("magnitude", "unit"): ({}, {"schedule": "cubic", "density": 0.5}),
    ("magnitude", "weight"): ({"schedule": "cubic", "density": 0.5},),
    ("magnitude", "2:4"): ({"schedule": "cubic"},),
    ("itop", "unit"): ({}, {"grow": "random"}),
    ("itop", "weight"): ({}, {"grow": "random"}),
}
"""Settings, beside the level, under which a method at a level is measured; else the defaults."""


@dataclass(frozen=True)
class Rare:
    """How a method comes to do in every step what it ordinarily does in one of many.

    Attributes:
        settings: Beside the form's.
        num_epochs: Epochs in the run, for methods that work once in each.
        form: What a form has to have for it to do so at all.
    """

    settings: Values = field(default_factory=dict)
    num_epochs: int = NUM_EPOCHS
    form: Values = field(default_factory=dict)


RARE: dict[str, Rare] = {
    "magnitude": Rare(settings={"interval": 1}, form={"schedule": "cubic"}),
    "itop": Rare(settings={"interval": 1}),
    "optg": Rare(num_epochs=NUM_STEPS),
}
"""Methods whose masks change in one of many steps."""


@dataclass(frozen=True)
class Case:
    """One method in one form at one level.

    Attributes:
        method: Its name in the catalog.
        level: One of its levels.
        form: Settings that differ from the defaults, beside the level.
    """

    method: str
    level: str
    form: Values

    def settings(self) -> Settings:
        """The method's settings.

        Raises:
            RecipeError: The method requires something that is not known here.
        """
        return _settings(self.method, self.level, self.form)

    def make(self, path_rate: float) -> Sparsifier:
        """The method, in a run whose learning rate is ``path_rate``; nearly no step is rare."""
        return METHODS[self.method].build(self.settings(), _horizon(path_rate, NUM_EPOCHS))

    def make_rare(self, path_rate: float) -> Sparsifier:
        """The method, doing its rare work in every step; only where ``has_rare``."""
        rare = RARE[self.method]
        settings = _settings(self.method, self.level, {**self.form, **rare.settings})
        return METHODS[self.method].build(settings, _horizon(path_rate, rare.num_epochs))

    @property
    def has_rare(self) -> bool:
        """Whether some steps do more than others."""
        return self.method in RARE and RARE[self.method].form.items() <= self.form.items()


def in_words(form: Values) -> list[str]:
    """Settings as ``name=value``."""
    return [f"{name}={value}" for name, value in form.items()]


def cases(methods: Sequence[str] | None = None, levels: Sequence[str] | None = None) -> list[Case]:
    """All cases of these methods at these levels; None is all."""
    return [
        Case(name, level, form)
        for name, method in METHODS.items()
        if methods is None or name in methods
        for level in method.levels
        if levels is None or level in levels
        for form in FORMS.get((name, level), ({},))
    ]


def _settings(method: str, level: str, values: Values) -> Settings:
    settings: type[Settings] = METHODS[method].settings
    fields = settings.model_fields
    required = {name: FALLBACK[name] for name in FALLBACK if name in fields}
    needed = {name: value for name, value in required.items() if fields[name].is_required()}
    at_level = {"level": level} if "level" in fields else {}
    try:
        return settings(**{**needed, **at_level, **values})
    except ValidationError as failure:
        fault = failure.errors()[0]
        name = ".".join(str(place) for place in fault["loc"]) or "settings"
        raise RecipeError(
            f"{method} at level {level}: {name}: {fault['msg']}. "
            "Add it to FALLBACK or FORMS in tools/bench_step_cases.py."
        ) from failure


def _horizon(path_rate: float, num_epochs: int) -> Horizon:
    return Horizon(NUM_STEPS, path_rate * NUM_STEPS, seed=0, num_epochs=num_epochs)
