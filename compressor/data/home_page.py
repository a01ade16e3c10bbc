"""Fetch a data set from its home page and leave its arrays in a folder, in a process of its own.

``python -m compressor.data.home_page MNIST FOLDER`` writes ``FOLDER/arrays.npz``. A process of
its own, since torchvision knows no time-out, prints while it works, and unpickles CIFAR-10
(after it has checked the md5 of what it downloaded): none of that belongs into the user's process.
"""

import socket
import sys
from pathlib import Path

import numpy as np

ARRAYS_FILE = "arrays.npz"

STALL_LIMIT_S = 10
"""A server that says nothing for so long is taken for unreachable."""


def download(dataset: str, folder: Path) -> None:
    """Write both splits of ``torchvision.datasets.<dataset>`` to ``folder/arrays.npz``."""
    from torchvision import datasets

    make = getattr(datasets, dataset)
    train = make(folder, train=True, download=True)
    test = make(folder, train=False, download=True)
    np.savez(
        folder / ARRAYS_FILE,
        train_images=np.asarray(train.data),
        train_labels=np.asarray(train.targets),
        test_images=np.asarray(test.data),
        test_labels=np.asarray(test.targets),
    )


def main(arguments: list[str]) -> int:
    """Download; on failure say why in one line on stderr and return 1."""
    dataset, folder = arguments
    socket.setdefaulttimeout(STALL_LIMIT_S)
    try:
        download(dataset, Path(folder))
    except (OSError, RuntimeError, EOFError) as error:
        sys.stderr.write(f"\n{type(error).__name__}: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
