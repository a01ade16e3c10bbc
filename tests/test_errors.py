import inspect
import re

import pytest

from compressor import errors
from compressor.errors import CompressorError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass)]


def test_every_error_stands_in_the_drawn_tree_below_its_parent():
    tree = errors.__doc__.split("```")[1]
    rows = [re.match(r"([│ ├└─]*)(\w+)", line).groups() for line in tree.strip().splitlines()]
    parents, drawn = {}, {}
    for indent, name in rows:
        parents[len(indent)] = name
        drawn[name] = parents.get(len(indent) - 4)
    made = {c.__name__: c.__base__.__name__ for c in CLASSES if c is not CompressorError}
    assert {name: parent for name, parent in drawn.items() if parent} == made


@pytest.mark.parametrize("kind", CLASSES)
def test_the_exit_status_is_two_for_recipes_three_for_checks_and_one_for_the_rest(kind):
    expected = {"RecipeError": 2, "CheckError": 3}.get(kind.__name__, 1)
    assert kind.exit_status == expected


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_can_be_caught_as_the_projects_own(kind):
    with pytest.raises(CompressorError, match="mend it"):
        raise kind("mend it")
