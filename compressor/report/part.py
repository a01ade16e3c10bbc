"""What all parts of a run's files have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, in [0, 1]."""


class Part(BaseModel):
    """A part of a run's file: every field is needed, any other key is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
