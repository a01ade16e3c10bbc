"""Right answers of each class, as ``verify/verify.json`` holds them."""

from pydantic import NonNegativeInt, model_validator

from compressor.report.paired import Change, paired_change
from compressor.report.part import Part


class ClassCounts(Part):
    """Test images of one class, and how many of them are right."""

    name: str
    images: NonNegativeInt
    dense_right: NonNegativeInt
    slim_right: NonNegativeInt
    both_right: NonNegativeInt

    @model_validator(mode="after")
    def _possible(self) -> "ClassCounts":
        least = max(0, self.dense_right + self.slim_right - self.images)
        if not least <= self.both_right <= min(self.dense_right, self.slim_right) <= self.images:
            raise ValueError("the counts contradict each other")
        return self

    def change(self) -> Change:
        """Slim accuracy minus dense accuracy; there must be images."""
        neither = self.images - self.dense_right - self.slim_right + self.both_right
        return paired_change(
            self.both_right,
            self.dense_right - self.both_right,
            self.slim_right - self.both_right,
            neither,
        )
