"""A family of sizes, as ``family.json`` holds it, and where a run has one."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from compressor.report.part import Part, Share
from compressor.report.timings import SpeedUp

FAMILY_FILE = "family.json"


def family_file(folder: Path) -> Path | None:
    """Where the family of the run in ``folder`` lies: in it, or beside it as ``NAME-family``."""
    beside = folder.resolve()
    places = (folder / "family", beside.with_name(f"{beside.name}-family"))
    files = (place / FAMILY_FILE for place in places)
    return next((file for file in files if file.is_file()), None)


class Accuracies(Part):
    """On validation images, where there was training, and on test images."""

    validation: Share | None
    test: Share


class Sized(Part):
    """A network with its accuracy and its costs; latency is the median in milliseconds."""

    accuracy: Accuracies
    macs: PositiveInt
    params: PositiveInt
    bytes: PositiveInt
    latency_ms: PositiveFloat
    speedup: SpeedUp


class Member(Sized):
    """One size; ``dominated`` are the costs by which another is as accurate and no dearer."""

    share: Share
    dominated: list[str]


class Family(Part):
    """``family.json``; families of before do not say the settings and the device of theirs."""

    tune_epochs: NonNegativeInt
    overrides: list[str] = Field(default_factory=list)
    device: str | None = None
    dense: Sized
    members: list[Member]

    @property
    def judged_by(self) -> Literal["validation", "test"]:
        """Which images decide who is dominated: validation images, if all members have them."""
        has_validation = all(one.accuracy.validation is not None for one in self.members)
        return "validation" if has_validation else "test"
