"""Every error that a user can cause.

```
CompressorError           exit status 1: something is wrong with what was given, or with the machine
├── RecipeError           exit status 2: the recipe or the command line
├── DataError             a data set that is missing, broken or not usable
├── ModelError            a network that cannot be built, loaded or run
│   └── CouplingError     a network whose couplings cannot be found or do not hold together
├── StructureError        a structure that does not fit the network
├── StripError            units that cannot be removed
│   └── BudgetError       a budget that cannot be met
├── TrainError            training that cannot start or go on
├── RunError              a run directory that cannot be read or written
├── ExportError           a file that cannot be exported
├── MissingExtra          an optional dependency that is not installed
└── CheckError            exit status 3: a check did not hold
```

Each message is one line: what is wrong with its value, where, and what to do.
Anything else that is raised is a bug of ours and keeps its traceback.
"""


class CompressorError(Exception):
    """A mistake that the user can mend; shown in one line, without a traceback."""

    exit_status = 1


class RecipeError(CompressorError):
    """The recipe or an override is wrong."""

    exit_status = 2


class DataError(CompressorError):
    """A data set is missing, broken or not usable."""


class ModelError(CompressorError):
    """A network cannot be built, loaded or run."""


class CouplingError(ModelError):
    """The couplings of a network cannot be found or do not hold together."""


class StructureError(CompressorError):
    """A structure does not fit the network it is used with."""


class StripError(CompressorError):
    """Units cannot be removed from a network."""


class BudgetError(StripError):
    """A budget cannot be met.

    Attributes:
        floor: The least share that could be asked for, in (0, 1]; None where it is not known.
    """

    def __init__(self, message: str, floor: float | None = None) -> None:
        super().__init__(message)
        self.floor = floor


class TrainError(CompressorError):
    """Training cannot start or go on."""


class RunError(CompressorError):
    """A run directory cannot be read or written."""


class ExportError(CompressorError):
    """A network cannot be exported."""


class MissingExtra(CompressorError):
    """An optional dependency is not installed."""


class CheckError(CompressorError):
    """A check did not hold."""

    exit_status = 3
