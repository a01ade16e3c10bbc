"""What all settings have in common: typed, frozen, and no unknown key."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of one part of the project, written in a recipe and saved in full with each run.

    Unknown keys and wrong types are refused, nothing changes after the recipe is read, and each
    field says its unit and, where it has one, its symbol in the paper.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
