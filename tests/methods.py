"""Every method at every level, with settings under which things happen within ten steps."""

from compressor.sparsity.catalog import METHODS

ENTERS_SOON = {"nu": 0.2, "lam": 0.5}

EAGER = {
    **{("dessilbi", level): ENTERS_SOON for level in METHODS["dessilbi"].levels},
    ("gates", "unit"): {"form": "independent", "strength": 0.1, "rate": 2.0},
    ("gates", "weight"): {"strength": 3e-3},
    ("magnitude", "weight"): {"density": 0.3, "schedule": "cubic"},
    ("magnitude", "2:4"): {"schedule": "cubic"},
}
"""By method and level, beside the level itself."""

CASES = [(name, level) for name, method in METHODS.items() for level in method.levels]
"""Method and level."""

WITHOUT_NORMS = [case for case in CASES if case[0] != "network-slimming"]
"""Those that also work on networks without norms."""

STEPPING = [
    case
    for case in CASES
    if case[0] not in {"dense", "random"} and case not in {("magnitude", "unit")}
]
"""Those that have a hand in the optimiser's step."""


def case_id(case):
    """A name for the reports of pytest."""
    return "-".join(case)


def eager(case):
    """Settings with which units or weights leave, or enter, within ten steps."""
    name, level = case
    settings = METHODS[name].settings
    at_level = {"level": level} if "level" in settings.model_fields else {}
    return settings(**at_level, **EAGER.get(case, {}))
