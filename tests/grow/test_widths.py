"""Which couplings are widened."""

import pytest
import torch

from compressor.couplings.coupling import Coupling, Couplings
from compressor.errors import BudgetError
from compressor.grow.settings import GrowSettings
from compressor.grow.widths import (
    Ceiling,
    Limits,
    first_structure,
    leading,
    next_structure,
    spent,
    stripped,
    with_widths,
)
from compressor.structure import NEVER, Path, Structure, UnitPath

COUPLINGS = Couplings((Coupling("a", 16, ()), Coupling("b", 40, ())))
SETTINGS = GrowSettings(start_share=0.25, saturated=0.8, growth=1.5)


def limits(ceiling=1.0, steps=(4, 4)):
    share = Ceiling("ceiling_macs", ceiling, lambda s: s.num_kept / 56)
    return Limits(COUPLINGS, dict(zip("ab", steps, strict=True)), {"a": 2, "b": 4}, [share])


def test_growing_starts_with_whole_steps_of_the_share_asked_for():
    assert first_structure(limits(), SETTINGS).widths() == {"a": 4, "b": 12}


def test_growing_starts_at_the_floors_at_least():
    small = SETTINGS.model_copy(update={"start_share": 0.01})
    assert first_structure(limits(steps=(1, 1)), small).widths() == {"a": 2, "b": 4}


def test_a_saturated_coupling_is_widened_by_the_factor_in_whole_steps():
    now = leading(COUPLINGS, {"a": 4, "b": 12})
    found = next_structure(limits(), now, {"a": 0.5, "b": 0.8}, SETTINGS)
    assert found.widths() == {"a": 4, "b": 20}


def test_no_coupling_grows_past_the_full_network():
    now = leading(COUPLINGS, {"a": 16, "b": 38})
    found = next_structure(limits(), now, {"a": 1.0, "b": 1.0}, SETTINGS)
    assert found.widths() == {"a": 16, "b": 40}


def test_the_fullest_coupling_has_what_the_ceiling_leaves():
    now = leading(COUPLINGS, {"a": 4, "b": 12})
    found = next_structure(limits(ceiling=26 / 56), now, {"a": 0.85, "b": 0.95}, SETTINGS)
    assert found.widths() == {"a": 4, "b": 20}


def test_a_coupling_that_does_not_fit_leaves_room_for_the_next():
    now = leading(COUPLINGS, {"a": 4, "b": 12})
    found = next_structure(limits(ceiling=20 / 56), now, {"a": 0.85, "b": 0.95}, SETTINGS)
    assert found.widths() == {"a": 8, "b": 12}


def test_nothing_saturated_changes_nothing():
    now = leading(COUPLINGS, {"a": 4, "b": 12})
    found = next_structure(limits(), now, {"a": 0.79, "b": 0.0}, SETTINGS)
    assert all(found.keep[name].equal(now.keep[name]) for name in "ab")


def test_a_ceiling_below_the_start_is_refused():
    with pytest.raises(BudgetError, match=r"grow.ceiling_macs = 0.1: .* 0.286 of the full"):
        first_structure(limits(ceiling=0.1), SETTINGS)


def test_the_leading_units_are_kept():
    assert leading(COUPLINGS, {"a": 2, "b": 1}).keep["a"].equal(torch.arange(16) < 2)


def units(steps):
    entry = torch.tensor(steps)
    never = entry == NEVER
    score = torch.arange(len(steps), dtype=torch.float64)
    return UnitPath(entry, torch.where(never, torch.inf, entry.double()), score)


def test_units_that_have_not_entered_are_stripped_to_whole_steps_by_score():
    structure = Structure({"a": torch.arange(16) >= 8, "b": torch.arange(40) < 8})
    path = Path("x", {"a": units([5, -1, -1, -1, -1, 7, -1, -1]), "b": units([1] * 8)})
    less = stripped(limits(), structure, path)
    assert less.keep["a"].nonzero().flatten().tolist() == [8, 13, 14, 15]
    assert less.keep["b"].equal(structure.keep["b"])


def test_floors_stay_where_nothing_has_entered():
    structure = leading(COUPLINGS, {"a": 8, "b": 8})
    path = Path("x", {"a": units([-1] * 8), "b": units([-1] * 8)})
    assert stripped(limits(), structure, path).widths() == {"a": 4, "b": 4}


def test_what_is_left_goes_to_the_coupling_whose_units_entered_first():
    structure = leading(COUPLINGS, {"a": 4, "b": 4})
    path = Path("x", {"a": units([9, 9, 9, 9]), "b": units([1, 2, 3, NEVER])})
    found = spent(limits(), structure, path, lambda s: s.num_kept, allowed=13)
    assert found.widths() == {"a": 4, "b": 8}
    found = spent(limits(), structure, path, lambda s: s.num_kept, allowed=16)
    assert found.widths() == {"a": 8, "b": 8}


def test_units_are_added_where_there_are_none_and_the_others_stay():
    structure = Structure({"a": torch.arange(6) % 2 == 1})
    assert with_widths(structure, {"a": 5}).keep["a"].tolist() == [True] * 4 + [False, True]
