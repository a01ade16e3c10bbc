"""Memory that is free again, given back to the system."""

import ctypes
import gc

GIVE_BACK_ALL = 0
"""Of ``malloc_trim``: bytes that the allocator may keep."""


def give_back() -> None:
    """Let the system have what is no longer used.

    Captured graphs refer to themselves, so that their tensors stay until the collector comes by,
    and the allocator of glibc keeps freed blocks of up to 32 MiB: after the couplings of a vision
    transformer that was half of all that the process held. Elsewhere only the first is done.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(GIVE_BACK_ALL)
