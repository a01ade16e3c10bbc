"""``fashion-mnist``: pictures of clothes, 28 x 28 grey pixels, in the form of MNIST.

Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017.
"""

from pathlib import Path

from compressor.data.fetch import DebianPackage, HomePage, InstalledFolder
from compressor.data.idx import read_idx_pair
from compressor.data.store import Route, StoredSource, read_home_page

DEBIAN_FOLDER = "usr/share/datasets/fashion-mnist"

FASHION_MNIST = StoredSource(
    name="fashion-mnist",
    description="60,000 + 10,000 grey pictures of clothes, 28 x 28 pixels, 10 classes",
    licence="MIT",
    size_note="31 MB to fetch, 55 MB on disk",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    mean=(0.2860,),
    std=(0.3530,),
    sha256="ece172613115fb18b120bec8f6c02271af90b8b8f0a5af5c51cbd5ceed68e619",
    routes=(
        Route(InstalledFolder(Path("/") / DEBIAN_FOLDER), read_idx_pair),
        Route(HomePage("FashionMNIST"), read_home_page),
        Route(DebianPackage("dataset-fashion-mnist", DEBIAN_FOLDER), read_idx_pair),
    ),
)
