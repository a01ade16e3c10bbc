"""What the functions for Python share: values that a person gave, and networks as they are."""

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from torch import Tensor, nn

from compressor.count import count
from compressor.errors import RecipeError
from compressor.package.description import Counts
from compressor.recipe_faults import faults_of
from compressor.settings import Settings

Given = TypeVar("Given", bound=Settings)


def read(kind: type[Given], what: str, given: Mapping[str, Any]) -> Given:
    """Settings of values that a person gave.

    Raises:
        RecipeError: All that is wrong with them, in one line.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as failure:
        raise RecipeError(f"{what}: {'; '.join(faults_of(failure, kind))}") from failure


def still(network: nn.Module) -> nn.Module:
    """A copy on the CPU in evaluation mode."""
    return copy.deepcopy(network).cpu().eval()


def counts_of(network: nn.Module, images: Tensor) -> Counts:
    """Size of a network, its MACs for one of ``images``."""
    counted = count(network, images)
    return Counts(macs=counted.macs, params=counted.params, bytes=counted.bytes)
