"""What the shell completes beside commands and options: recipes, and names of data sets.

The shell asks at every tab, so nothing here may import PyTorch.
"""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def complete_recipe(
    _ctx: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Names of shipped recipes; files where what was typed begins none of them."""
    from compressor.shipped import shipped_recipes

    return _names(shipped_recipes(), typed) or [CompletionItem(typed, type="file")]


def complete_data(
    _ctx: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Names of data sources."""
    from compressor.data.catalog import SOURCES

    return _names(SOURCES, typed)


def _names(known: Iterable[str], typed: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in known if name.startswith(typed)]
