"""Memory that is free again, given back to the system."""

import contextlib
import ctypes
import gc
from collections.abc import Iterable, Iterator

from torch import Tensor

LARGE_BYTES = 200_000_000
"""Networks of fewer bytes are not worth the half second that a collection of all objects takes."""

GIVE_BACK_ALL = 0
"""Of ``malloc_trim``: bytes that the allocator may keep."""


def give_back(held: Iterable[Tensor]) -> None:
    """Let the system have what is no longer used, where the tensors ``held`` are large.

    Captured graphs refer to themselves, so that their tensors stay until the collector comes by,
    and the allocator of glibc keeps freed blocks of up to 32 MiB: after the couplings of a vision
    transformer that was half of all that the process held. Elsewhere only the first is done.
    """
    if sum(tensor.numel() * tensor.element_size() for tensor in held) < LARGE_BYTES:
        return
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(GIVE_BACK_ALL)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the block, or of a function decorated with this.

    Its pauses are not those of what is timed, and what it frees may call back into a library that
    is busy.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
