"""The end of the package's README: how to run it in six lines, and how to check it."""

from collections.abc import Mapping

from compressor.data.pictures import Resize
from compressor.package.description import Description
from compressor.package.manifest import ARCHITECTURE

PAGE = """\
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
compressor that `environment.json` names, it is a `torch.nn.Module` with all that belongs to it:

```python
import torch
from compressor.package import read
package = read(".")
with torch.no_grad():
    logits = package.module(package.preprocessing.inputs(torch.from_numpy(pixels)))
names = [package.labels[number] for number in logits.argmax(dim=1).tolist()]
```

`pixels` are uint8, of the same shape as `images`.{pictures}

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

RESIZED: Mapping[Resize, str] = {
    "stretch": "turned upright and stretched to this one",
    "crop": "turned upright and scaled by their shorter side, of which the middle is taken,",
}
"""What becomes of pictures of other sizes."""

OF_PICTURES = " `package.preprocessing.read(*files)` makes inputs of picture files."


def page(description: Description, num_samples: int) -> str:
    """What ``README.md`` says after the card."""
    preprocessing = description.preprocessing
    # Packages of before there was a choice say only that it was the first of them.
    resize: Resize | None = preprocessing.resize or ("stretch" if preprocessing.stretched else None)
    channels, height, width = preprocessing.image_shape
    file = description.model.factory.rpartition(":")[0]
    brought = file.startswith(f"{ARCHITECTURE}/")
    return PAGE.format(
        channels=channels,
        height=height,
        width=width,
        stretched=f"(pictures of other sizes are {RESIZED[resize]} first)\n" if resize else "",
        pictures=OF_PICTURES if preprocessing.resize else "",
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
        num_samples=num_samples,
        trust=TRUST_FILE.format(file=file) if brought else TRUST_LIBRARY,
    )
