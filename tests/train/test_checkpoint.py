import json
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from compressor.errors import TrainError
from compressor.train.checkpoint import (
    STATE_FILE,
    TENSORS_FILE,
    load_state,
    pack,
    save_state,
    save_weights,
    unpack,
)

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


@st.composite
def some_tensor(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    seed, dtype = draw(st.integers(0, 9)), draw(st.sampled_from(DTYPES))
    values = 10 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype)


keys = st.text("ab.#0", max_size=3) | st.sampled_from(["__tensor__", "__pairs__", "__float__"])
leaves = (
    some_tensor() | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
)
states = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(st.integers() | keys, inner, max_size=3)
        | st.dictionaries(st.tuples(st.integers(), keys), inner, max_size=2)
    ),
    max_leaves=12,
)


def equal(a, b):
    """The same types, shapes and values, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@given(state=states)
def test_what_is_packed_comes_back_through_json(state):
    tensors = {}
    text = json.dumps(pack(state, tensors), allow_nan=False)
    assert equal(unpack(json.loads(text), tensors), state)


def test_a_whole_optimiser_comes_back_through_files(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "model": dict(model.state_dict())}
    save_state(tmp_path / "point", state)
    assert equal(load_state(tmp_path / "point"), state)


def test_names_that_meet_in_one_place_keep_their_tensors(tmp_path):
    state = {"a.b": torch.zeros(1), "a": {"b": torch.ones(2)}, "1": torch.ones(1), 1: torch.ones(3)}
    save_state(tmp_path / "point", state)
    assert equal(load_state(tmp_path / "point"), state)


def test_files_are_json_and_safetensors_and_nothing_is_pickled(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("pickled")

    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "save", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    save_state(tmp_path / "point", {"step": 3, "w": torch.ones(2, 2)})
    assert load_state(tmp_path / "point")["step"] == 3
    assert {p.name for p in (tmp_path / "point").iterdir()} == {STATE_FILE, TENSORS_FILE}
    assert json.loads((tmp_path / "point" / STATE_FILE).read_text())["step"] == 3
    assert load_file(tmp_path / "point" / TENSORS_FILE)["state.w"].shape == (2, 2)


def test_a_checkpoint_does_not_follow_the_weights_it_was_made_of():
    tensors, weight = {}, torch.ones(2)
    packed = pack({"w": weight}, tensors)
    weight.zero_()
    assert unpack(packed, tensors)["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes"])
def test_anything_else_is_refused_with_its_place(value):
    with pytest.raises(TypeError, match=r"state\.a\.1 is a .*, which a checkpoint cannot hold"):
        pack({"a": [0, value]}, {})


def test_a_new_checkpoint_takes_the_place_of_the_old_one(tmp_path):
    for step in (1, 2):
        save_state(tmp_path / "point", {"step": step, "w": torch.full((2,), float(step))})
    state = load_state(tmp_path / "point")
    assert state["step"] == 2
    assert state["w"].tolist() == [2.0, 2.0]
    assert [path.name for path in tmp_path.iterdir()] == ["point"]


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path):
    save_state(tmp_path / "point", {"step": 1})
    with pytest.raises(TypeError):
        save_state(tmp_path / "point", {"step": object()})
    assert load_state(tmp_path / "point") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["point"]


def test_no_checkpoint_is_none(tmp_path):
    assert load_state(tmp_path / "point") is None


def cut_tensors(folder):
    data = (folder / TENSORS_FILE).read_bytes()
    (folder / TENSORS_FILE).write_bytes(data[:-3])


def cut_json(folder):
    text = (folder / STATE_FILE).read_text()
    (folder / STATE_FILE).write_text(text[: len(text) // 2])


def no_tensors(folder):
    (folder / TENSORS_FILE).unlink()


def other_bytes(folder):
    (folder / STATE_FILE).write_bytes(b"\xff\xfe\x00")


def other_key(folder):
    path = folder / STATE_FILE
    path.write_text(path.read_text().replace("state.w", "state.v"))


@pytest.mark.parametrize("damage", [cut_tensors, cut_json, no_tensors, other_bytes, other_key])
def test_a_damaged_checkpoint_is_one_line(damage, tmp_path):
    save_state(tmp_path / "point", {"step": 3, "w": torch.ones(8)})
    damage(tmp_path / "point")
    with pytest.raises(TrainError, match="point: the checkpoint is damaged") as told:
        load_state(tmp_path / "point")
    assert "\n" not in str(told.value)


def test_weights_are_written_whole_even_where_they_are_tied(tmp_path):
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    save_weights(tmp_path / "weights.safetensors", model)
    assert equal(
        load_file(tmp_path / "weights.safetensors"), dict(sorted(model.state_dict().items()))
    )
