"""What tells the measured times of one machine from those of another."""

import pytest

from compressor.bench import staircase_store
from compressor.bench.staircase_store import Store, machine
from compressor.strip.target import TargetSettings


@pytest.fixture
def on_unnamed(monkeypatch):
    """Be on a machine whose system says no name of its processor, as that of many Arm boards."""
    monkeypatch.setattr(staircase_store, "read_or_none", lambda _: "Features : asimd")

    def be(node):
        monkeypatch.setattr(staircase_store.platform, "node", lambda: node)
        return machine(TargetSettings())

    return be


def test_machines_without_a_name_of_their_processor_do_not_share_times(on_unnamed, tmp_path):
    store = Store(tmp_path / "staircase.json", on_unnamed("first"))
    store.add({"a": 1.0})

    assert Store(tmp_path / "staircase.json", on_unnamed("second")).times == {}
    assert Store(tmp_path / "staircase.json", on_unnamed("first")).times == {"a": 1.0}


def test_a_processor_that_says_nothing_is_called_by_its_kind(on_unnamed, monkeypatch):
    monkeypatch.setattr(staircase_store.platform, "processor", lambda: "")
    monkeypatch.setattr(staircase_store.platform, "machine", lambda: "aarch64")

    assert on_unnamed("board")["device"] == "aarch64 of board"
