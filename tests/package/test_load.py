import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import compressor
from compressor import package
from compressor.errors import CheckError, ModelError
from compressor.files import read_json, write_json

FRESH = """
import sys, compressor
from safetensors.torch import load_file, save_file
import torch
torch.set_num_threads(int(sys.argv[3]))
module = compressor.load(sys.argv[1])
inputs = load_file(sys.argv[1] + "/samples.safetensors")["inputs"]
with torch.no_grad():
    save_file({"outputs": module(inputs)}, sys.argv[2])
"""

PLAIN = """
import sys
import numpy
import safetensors.numpy
images = safetensors.numpy.load_file("samples.safetensors")["inputs"]
with open("README.md") as file:
    blocks = [part.partition("```")[0] for part in file.read().split("```python")[1:]]
for block in blocks:
    if "compressor" in block:
        continue
    exec(block)
    if "logits" in block:
        found = logits if isinstance(logits, numpy.ndarray) else logits.detach().numpy()
        print(block.count(chr(10)) - 1, *found.ravel())
print(len(mean), len(std), "compressor" in sys.modules)
"""


def run(code, *words, cwd):
    command = [sys.executable, "-P", "-c", code, *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def samples(packed):
    return load_file(packed / "samples.safetensors")


def test_a_new_process_elsewhere_gives_the_same_outputs_bit_for_bit(packed, tmp_path):
    moved = Path(shutil.copytree(packed, tmp_path / "moved"))
    out = tmp_path / "out.safetensors"
    (tmp_path / "elsewhere").mkdir()
    run(FRESH, moved, out, torch.get_num_threads(), cwd=tmp_path / "elsewhere")
    assert torch.equal(load_file(out)["outputs"], samples(packed)["outputs"])
    assert sorted(p.name for p in (moved / "architecture").iterdir()) == ["residual.py"]


def test_plain_torch_and_plain_onnx_runtime_run_it_in_six_lines_as_its_readme_says(packed):
    torch_line, onnx_line, last = run(PLAIN, cwd=packed).splitlines()
    assert last == "1 1 False"
    for line in (torch_line, onnx_line):
        num_lines, *logits = line.split()
        assert num_lines == "3"
        expected = samples(packed)["outputs"].flatten().tolist()
        assert np.allclose(np.array(logits, dtype=float), expected, rtol=1e-4, atol=1e-4)


def test_six_lines_of_its_readme_name_the_classes_of_pictures(packed, digits, monkeypatch):
    text = (packed / "README.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```python")[1:]]
    lines = next(block for block in blocks if "compressor" in block).strip().splitlines()
    assert len(lines) == 6
    monkeypatch.chdir(packed)
    found = {"pixels": digits.validation.images[:8]}
    exec("\n".join(lines), found)
    expected = samples(packed)["outputs"].argmax(dim=1).tolist()
    assert found["names"] == [digits.classes[number] for number in expected]


def test_the_module_is_slim_frozen_in_evaluation_and_as_the_run_left_it(packed):
    module = compressor.load(packed)
    weights = load_file(packed.parent / "tune" / "weights.safetensors")
    assert not any(part.training for part in module.modules())
    assert module.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    counts = read_json(packed.parent / "strip" / "counts.json")
    params = sum(parameter.numel() for parameter in module.parameters())
    assert params == counts["slim"]["params"] < counts["dense"]["params"]


def test_labels_and_preprocessing_are_those_of_the_data(packed, digits):
    found = package.read(str(packed.parent))
    assert found.labels == digits.classes
    assert found.preprocessing.image_shape == digits.image_shape == (1, 8, 8)
    pixels = torch.from_numpy(digits.validation.images[:8])
    # The validation images of the run were cut with its own seed, which is that of the fixture.
    assert torch.equal(found.preprocessing.inputs(pixels), samples(packed)["inputs"])
    assert (found.description.name, found.description.preprocessing.stretched) == ("digits", False)


def test_loading_leaves_the_random_numbers_and_the_bytecode_setting_alone(packed):
    before, setting = torch.get_rng_state(), sys.dont_write_bytecode
    compressor.load(packed)
    assert torch.equal(torch.get_rng_state(), before)
    assert sys.dont_write_bytecode is setting


def test_a_changed_architecture_is_not_executed(copied, tmp_path):
    file = copied / "architecture" / "residual.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n{file.read_text()}")
    with pytest.raises(CheckError, match=r"architecture/residual\.py is not the file"):
        compressor.load(copied)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused(copied, reseal):
    path = copied / "weights.safetensors"
    weights = load_file(path)
    weights["classifier.bias"] = torch.zeros(3)
    save_file(weights, path)
    reseal(copied)
    with pytest.raises(ModelError, match=re.escape("classifier.bias has shape (3,) in the file")):
        compressor.load(copied)


def test_a_description_of_another_release_is_told_with_its_place(copied, reseal):
    description = read_json(copied / "package.json")
    description["preprocessing"]["gamma"] = 2.2
    write_json(copied / "package.json", description)
    reseal(copied)
    with pytest.raises(ModelError, match=r"package\.json: preprocessing\.gamma: .*release"):
        compressor.load(copied)
