"""PyTorch as an engine: eager mode, on the CPU."""

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class TorchRunner:
    """Runs a copy of a network in evaluation mode, so the network itself is left as it is."""

    engine = "torch"

    def __init__(self, model: nn.Module, num_threads: int) -> None:
        self._model = copy.deepcopy(model).cpu().eval()
        self._num_threads = num_threads
        self._batch: Tensor | None = None

    def prepare(self, batch: Tensor) -> None:
        """Fix the input of every following ``run``; shape ``(batch, *image_shape)``."""
        self._batch = batch.detach().cpu().contiguous()

    def run(self) -> Tensor:
        """Output for the prepared batch."""
        assert self._batch is not None, "prepare comes before run"
        with torch_threads(self._num_threads), torch.inference_mode():
            output: Tensor = self._model(self._batch)
        return output

    def close(self) -> None:
        """Drop the copy of the network and the batch."""
        del self._model
        self._batch = None


@contextlib.contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Use ``num_threads`` threads inside the block: PyTorch's count belongs to the whole process.

    Set for each run and not once, since other runners and the caller may want other counts.
    """
    before = torch.get_num_threads()
    if before == num_threads:
        yield
        return
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
