"""Peak and present bytes of tensors: counted one by one on a CPU, by the allocator on CUDA."""

import gc
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Meter(Protocol):
    """Counts the bytes of tensors that are made inside its block, until they are freed."""

    @property
    def peak(self) -> int:
        """Most bytes at one moment since ``restart_peak``."""
        ...

    def __enter__(self) -> Self:
        """Begin to count."""
        ...

    def __exit__(self, *failure: Any) -> None:
        """Count no more."""
        ...

    def watch(self, tensors: Iterable[Tensor]) -> None:
        """Count these as well, though they were made before."""
        ...

    def live(self) -> int:
        """Bytes of now, after what nobody can reach any more has gone."""
        ...

    def restart_peak(self) -> None:
        """Forget the peak so far."""
        ...


def meter_of(device: torch.device) -> Meter:
    """The meter for tensors on ``device``."""
    return AllocatorBytes() if device.type == "cuda" else LiveBytes()


class LiveBytes(TorchDispatchMode):
    """Bytes of all storages that operators make inside the block, each once, until it is freed.

    PyTorch counts no peak on a CPU, and the memory of a process has in it what the allocator keeps
    for later. This is exact for tensors, however many views there are of one storage, as they stand
    after each operator. What a kernel allocates and frees within itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self._peak = self._now = 0
        self._sizes: dict[int, int] = {}
        self._endings: dict[int, weakref.finalize[Any, Any]] = {}

    @property
    def peak(self) -> int:
        """Most bytes at one moment since ``restart_peak``."""
        return self._peak

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage._cdata for storage in storages((args, kwargs))}
        outputs = func(*args, **(kwargs or {}))
        for storage in storages(outputs):
            # A view of what was there before the block is none of its making.
            if storage._cdata in self._sizes or storage._cdata not in given:
                self._see(storage)
        return outputs

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Count no more."""
        super().__exit__(kind, failure, trace)
        for ending in self._endings.values():
            ending.detach()

    def _see(self, storage: torch.UntypedStorage) -> None:
        # Addresses come again, but never before the storage that had one is forgotten.
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            self._endings[key] = weakref.finalize(storage, self._forget, key)
        # A storage that was there may have been resized.
        self._now += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self._peak = max(self._peak, self._now)

    def watch(self, tensors: Iterable[Tensor]) -> None:
        """Count these as well, though they were made before."""
        for storage in storages(list(tensors)):
            self._see(storage)

    def _forget(self, key: int) -> None:
        self._now -= self._sizes.pop(key)
        del self._endings[key]

    def live(self) -> int:
        """Bytes of now, after what nobody can reach any more has gone."""
        gc.collect()
        return self._now

    def restart_peak(self) -> None:
        """Forget the peak so far."""
        self._peak = self.live()


def storages(values: Any) -> Iterator[torch.UntypedStorage]:
    """Storages of all tensors in nested ``values``."""
    for leaf in tree_leaves(values):
        if isinstance(leaf, Tensor):
            yield leaf.untyped_storage()


class AllocatorBytes:
    """What PyTorch's CUDA allocator has given out beyond what it had when the block began."""

    def __init__(self) -> None:
        self._before = 0

    @property
    def peak(self) -> int:
        """Most bytes at one moment since ``restart_peak``, workspaces of kernels included."""
        return int(torch.cuda.max_memory_allocated()) - self._before

    def __enter__(self) -> Self:
        """Begin to count."""
        gc.collect()
        self._before = int(torch.cuda.memory_allocated())
        return self

    def __exit__(self, *failure: Any) -> None:
        """Nothing to end: the allocator always counts."""

    def watch(self, tensors: Iterable[Tensor]) -> None:
        """Count these as well, though they were made before."""
        sizes = {storage._cdata: storage.nbytes() for storage in storages(list(tensors))}
        self._before -= sum(sizes.values())

    def live(self) -> int:
        """Bytes of now, after what nobody can reach any more has gone."""
        gc.collect()
        return int(torch.cuda.memory_allocated()) - self._before

    def restart_peak(self) -> None:
        """Forget the peak so far."""
        gc.collect()
        torch.cuda.reset_peak_memory_stats()
