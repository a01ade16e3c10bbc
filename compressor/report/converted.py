"""Files in other precisions, as ``export/precisions.json`` holds them."""

from pydantic import Field, NonNegativeFloat, PositiveInt

from compressor.report.part import Part, Share


class Search(Part):
    """Which layers stayed in float32, and the accuracy on the validation images with them."""

    kept: list[str]
    accuracy: Share
    exhausted: bool = False


class Figures(Part):
    """Outputs against those of the float32 file; no ``sqnr_db`` where nothing differs."""

    relative_l2: NonNegativeFloat
    sqnr_db: float | None


class Converted(Part):
    """One file: its profile, what it was measured by, and what came out."""

    profile: str
    engines: list[str] = Field(min_length=1)
    num_bytes: PositiveInt
    measured_by: str
    computed_in: str | None = None
    """In what it was measured; where a run of before does not say, neither does the report."""
    float_accuracy: Share
    search: Search
    figures: Figures
