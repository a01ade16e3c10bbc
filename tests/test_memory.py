import gc
import resource
import sys
import weakref
from pathlib import Path

import pytest
import torch

from compressor.memory import LARGE_BYTES, give_back

LARGE = torch.empty(1).expand(LARGE_BYTES)


class Node:
    """Something that refers to itself, as captured graphs do."""

    def __init__(self):
        self.itself = self
        self.content = bytearray(1 << 20)


def test_what_only_refers_to_itself_is_gone():
    seen = weakref.ref(Node())
    give_back([LARGE])
    assert seen() is None


def test_nothing_is_collected_for_small_networks(monkeypatch):
    monkeypatch.setattr(gc, "collect", lambda: pytest.fail("half a second for nothing"))
    give_back([torch.zeros(1000)])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what Linux says of itself")
def test_freed_blocks_are_given_back_to_the_system():
    def held():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    give_back([LARGE])
    before = held()
    # Small enough for the heap; every other one stays, so that none can be cut off at the end.
    blocks = [bytearray(b"x" * (64 << 10)) for _ in range(2048)]
    kept = blocks[::64]
    full = held()
    del blocks
    give_back([LARGE])
    assert full - before > 100 << 20
    assert held() - before < (full - before) / 2
    assert len(kept) == 32
