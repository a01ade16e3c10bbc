"""Mean and standard deviation of the channels of a set of images."""

import numpy as np

from compressor.data.source import Images, Statistics

NUM_VALUES = 256
BLOCK_IMAGES = 256


def channel_statistics(images: Images) -> tuple[Statistics, Statistics]:
    """Mean and standard deviation of each channel over all pixels, for images scaled to [0, 1].

    Counting how often each of the 256 values occurs is exact, and needs one block of images in
    memory at a time, so that images larger than memory can be read from disk.

    Args:
        images: Shape ``(num_images, channels, height, width)``.

    Returns:
        Means and standard deviations (of the whole, not of a sample), one per channel.
    """
    counts = np.zeros((images.shape[1], NUM_VALUES), dtype=np.int64)
    for start in range(0, len(images), BLOCK_IMAGES):
        block = images[start : start + BLOCK_IMAGES]
        for channel in range(images.shape[1]):
            counts[channel] += np.bincount(block[:, channel].ravel(), minlength=NUM_VALUES)
    shares = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(NUM_VALUES) / (NUM_VALUES - 1)
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
    return tuple(mean.tolist()), tuple(std.tolist())
