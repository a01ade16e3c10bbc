"""Genuine TensorRT bindings over empty libraries: they import, and show every name and signature.

The binding of a release comes from the package index, 1.3 MB, without the libraries that it needs.
Nine functions that return null take their place: nothing can be run, everything can be looked at.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

PACKAGE = "tensorrt-cu13-bindings"
SECONDS = 120

SYMBOLS = {
    "nvinfer": (
        *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL"),
        *("createInferRuntime_INTERNAL", "getBuilderPluginRegistry", "getPluginRegistry"),
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": (
        *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
        "getNvOnnxParserVersion",
    ),
}
"""Library -> what the binding looks for in it."""


def binding(version, cache):
    """Folder with the unpacked binding of a release; ``cache`` keeps what was downloaded."""
    folder = cache / version
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            unpacked = Path(temporary) / "unpacked"
            with zipfile.ZipFile(download(version, Path(temporary))) as wheel:
                wheel.extractall(unpacked)
            # Another process of the same tests may have been faster: its folder is as good.
            with contextlib.suppress(OSError):
                unpacked.replace(folder)
    assert (folder / "tensorrt_bindings").is_dir()
    return folder


def download(version, folder):
    """The wheel of a release, put into ``folder``."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    what = ("--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{PACKAGE}=={version}")
    done = subprocess.run([*pip, *what], capture_output=True, text=True, timeout=SECONDS)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.fail(f"{PACKAGE} {version} could not be downloaded: {last}", pytrace=False)
    return wheels[0]


def libraries(version, folder):
    """Compile the empty libraries of a release into ``folder``."""
    folder.mkdir(parents=True)
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.fail("there is no C compiler: install gcc or clang", pytrace=False)
    for library, symbols in SYMBOLS.items():
        name = f"lib{library}.so.{version.partition('.')[0]}"
        source = folder / f"{library}.c"
        source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
        options = ("-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name))
        subprocess.run([compiler, *options, str(source)], check=True, timeout=SECONDS)
    return folder
