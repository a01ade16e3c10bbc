"""The package's own README: what it is, and how to run it in six lines."""

from compressor.package.description import Description
from compressor.package.manifest import ARCHITECTURE

PAGE = """\
# {name}, slim

{params:,} parameters, {macs:,} multiply-accumulates an image. Of {test_images:,} test images
{accuracy:.2%} are right; the dense network had {dense_accuracy:.2%}.

## Run it

In this folder, with plain torch:

```python
import torch
network = torch.export.load("model.pt2").module()
logits = network(torch.from_numpy(images))
```

or with plain ONNX Runtime:

```python
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
logits = session.run(None, {{"images": images}})[0]
```

`images` is a float32 NumPy array of shape (any number, {channels}, {height}, {width}), made of
pixels 0 .. 255 by `(pixels / 255 - mean) / std`, channel by channel:
{stretched}
```python
mean, std = {mean}, {std}
```

Logit `i` is that of class `labels[i]`; `package.json` holds the labels. With the release of
compressor that `environment.json` names, `compressor.load(folder)` gives the network as a
`torch.nn.Module`, and `compressor.package.read(folder)` also labels and preprocessing.

## Check it

`compressor verify FOLDER` replays in seconds what can be replayed: the hash of every file, the
network against recorded outputs, program and ONNX file against the network, its size, the bounds
of its certificate. `samples.safetensors` holds {num_samples} validation images for that.

No file holds a pickle. {trust}
"""

TRUST_LIBRARY = """\
`manifest.json` tells damage, not malice: whoever changes files on purpose can
write it anew, so take packages only from people you trust."""

TRUST_FILE = """\
But `compressor.load` and `compressor verify` execute `{file}`,
the Python file that builds the network, once its hash is checked. `manifest.json` tells damage,
not malice: whoever changes files on purpose can write it anew, so load only packages of people you
trust. Running the program or the ONNX file does not execute that file."""

STRETCHED = "(pictures of other sizes are turned upright and stretched to this one first)\n"


def page(description: Description, num_samples: int) -> str:
    """The text of ``README.md``."""
    preprocessing, accuracy = description.preprocessing, description.accuracy
    channels, height, width = preprocessing.image_shape
    file = description.model.factory.rpartition(":")[0]
    brought = file.startswith(f"{ARCHITECTURE}/")
    return PAGE.format(
        name=description.name,
        params=description.counts.params,
        macs=description.counts.macs,
        accuracy=accuracy.slim,
        dense_accuracy=accuracy.dense,
        test_images=accuracy.test_images,
        channels=channels,
        height=height,
        width=width,
        stretched=STRETCHED if preprocessing.stretched else "",
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
        num_samples=num_samples,
        trust=TRUST_FILE.format(file=file) if brought else TRUST_LIBRARY,
    )
