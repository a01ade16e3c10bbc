"""Structures and paths: what they count, and that files give them back."""

import json

import pytest
import torch

from compressor.errors import StructureError
from compressor.structure import NEVER, Path, Structure, UnitPath


def structure() -> Structure:
    return Structure({"a": torch.tensor([True, False, True, False]), "b": torch.tensor([True])})


def test_structure_counts_its_units():
    made = structure()
    assert (made.num_units, made.num_kept, made.sparsity) == (5, 3, 0.4)
    assert made.widths() == {"a": 2, "b": 1}


def test_structure_without_units_has_sparsity_zero():
    assert Structure({}).sparsity == 0


@pytest.mark.parametrize("keep", [torch.ones(3), torch.ones(2, 2).bool(), torch.tensor(True)])
def test_structure_of_anything_but_one_bool_per_unit_is_refused(keep):
    with pytest.raises(StructureError, match="^a: a structure holds one bool per unit, not torch"):
        Structure({"a": keep})


@pytest.mark.parametrize(
    "keep", [{}, {"a": [True, False]}, {"a": [False, False], "b": [True, True, True]}]
)
def test_structure_survives_json(keep):
    made = Structure({name: torch.tensor(kept) for name, kept in keep.items()})
    read = Structure.from_json(json.loads(json.dumps(made.to_json())))
    assert read.keep.keys() == made.keep.keys()
    assert all(torch.equal(read.keep[name], made.keep[name]) for name in keep)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"keep": [1]},
        {"keep": {"a": {"units": 3}}},
        {"keep": {"a": {"units": 3, "kept": [3]}}},
        {"keep": {"a": {"units": -1, "kept": []}}},
        {"keep": {"a": {"units": "three", "kept": []}}},
    ],
)
def test_structure_that_cannot_be_read_is_refused_in_one_line(value):
    with pytest.raises(
        StructureError, match="^The structure cannot be read .* Use a structure"
    ) as e:
        Structure.from_json(value)
    assert "\n" not in str(e.value)


def path() -> Path:
    units = UnitPath(
        entry_step=torch.tensor([3, NEVER, 1]),
        entry_time=torch.tensor([0.3, torch.inf, 0.1], dtype=torch.float64),
        score=torch.tensor([1 / 3, 0.0, 2.5], dtype=torch.float64),
    )
    return Path("planted", {"a": units})


def test_path_survives_json_to_the_bit():
    text = json.dumps(path().to_json(), allow_nan=False)
    read, made = Path.from_json(json.loads(text)), path()
    assert read.method == "planted"
    for field in ("entry_step", "entry_time", "score"):
        first, second = getattr(read.couplings["a"], field), getattr(made.couplings["a"], field)
        assert first.dtype == second.dtype
        assert torch.equal(first, second)


def test_unit_that_never_entered_has_no_time_in_the_file():
    assert path().to_json()["couplings"]["a"]["entry_time"] == [0.3, None, 0.1]


def test_path_of_scores_lets_no_unit_enter():
    made = Path.of_scores("magnitude", {"a": torch.tensor([2.0, 1.0])})
    units = made.couplings["a"]
    assert units.entry_step.tolist() == [NEVER, NEVER]
    assert units.entry_time.isinf().all()
    assert made.scores()["a"].tolist() == [2.0, 1.0]
    assert made.scores()["a"].dtype == torch.float64


@pytest.mark.parametrize(
    "value", [{}, {"couplings": {}}, {"method": "m", "couplings": {"a": {"entry_time": ["x"]}}}]
)
def test_path_that_cannot_be_read_is_refused_in_one_line(value):
    with pytest.raises(
        StructureError, match=r"^The path cannot be read .* Use a path\.json"
    ) as error:
        Path.from_json(value)
    assert "\n" not in str(error.value)
