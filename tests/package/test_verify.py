import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from compressor import verify_package
from compressor.cli import main
from compressor.errors import CheckError
from compressor.files import read_json, write_json
from compressor.package.verify import FP32_TOLERANCE, TORCH_TOLERANCE


def call(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def failed(verification):
    return [check.what for check in verification.checks if not check.holds]


def edit_weights(folder, change):
    path = folder / "weights.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def test_all_of_a_package_as_it_was_made_holds(packed):
    verification = verify_package(packed)
    assert verification.holds
    figures = {check.what: check.found for check in verification.checks}
    assert figures["network against recorded outputs"] <= TORCH_TOLERANCE
    for inputs in ("samples", "random images"):
        assert figures[f"torch.export program against network, {inputs}"] <= TORCH_TOLERANCE
        assert figures[f"ONNX file against network, {inputs}"] <= FP32_TOLERANCE
    assert figures["files that are as packaged, no pickle in them"] > 5
    verification.check()


def test_other_weights_are_noticed_by_every_comparison(copied, reseal):
    edit_weights(copied, lambda weights: weights["classifier.bias"].add_(0.01))
    reseal(copied)
    verification = verify_package(copied)
    assert failed(verification) == [
        "network against recorded outputs",
        *("torch.export program against network, samples", "ONNX file against network, samples"),
        "torch.export program against network, random images",
        "ONNX file against network, random images",
    ]
    with pytest.raises(CheckError, match=r"recorded outputs is 0\.0\d+, not <= 1e-05; torch"):
        verification.check()


def test_weights_that_are_no_numbers_do_not_pass(copied, reseal):
    edit_weights(copied, lambda weights: weights["classifier.bias"].fill_(torch.nan))
    reseal(copied)
    result = call("verify", copied, "--json")
    assert result.exit_code == 3
    checks = {check["what"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks["network against recorded outputs"]["holds"] is False
    assert checks["network against recorded outputs"]["found"] == "inf or nan"


@pytest.mark.parametrize(
    ("key", "figure", "what"),
    [
        ("max_rel_diff_fp32", 1e-3, "certificate, stripped against masked, float32"),
        ("max_rel_diff_fp64", 1e-9, "certificate, stripped against masked, float64"),
        ("output_spread", 0.0, "certificate, spread of outputs"),
    ],
)
def test_a_certificate_outside_its_bounds_does_not_hold(copied, reseal, key, figure, what):
    certificate = read_json(copied / "certificate.json")
    write_json(copied / "certificate.json", certificate | {key: figure, "bound_fp32": 1.0})
    reseal(copied)
    assert failed(verify_package(copied)) == [what]


def test_another_size_than_recorded_does_not_hold(copied, reseal):
    description = read_json(copied / "package.json")
    description["counts"]["params"] += 1
    write_json(copied / "package.json", description)
    reseal(copied)
    assert failed(verify_package(copied)) == ["parameters"]


def test_a_pickle_does_not_hold_even_with_a_manifest_that_knows_it(copied, reseal):
    torch.save({"a": torch.ones(1)}, copied / "extra.pt")
    reseal(copied)
    with pytest.raises(CheckError, match=r"extra\.pt:extra/data\.pkl holds a pickle"):
        verify_package(copied)


class Marks:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def change_program(folder, changed):
    """Write ``model.pt2`` anew with other bytes in some members."""
    path = folder / "model.pt2"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | changed).items():
            archive.writestr(name, data)


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_pickle_in_the_program_is_told_before_anything_unpickles_it(
    copied, reseal, tmp_path, protocol
):
    stream = io.BytesIO()
    torch.save(Marks(tmp_path / "mark"), stream, pickle_protocol=2)
    data = stream.getvalue() if protocol else pickle.dumps(Marks(tmp_path / "mark"), 0)
    change_program(copied, {"model/data/sample_inputs/model.pt": data})
    reseal(copied)
    result = call("verify", copied)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "model.pt2:model/data/sample_inputs/model.pt holds a pickle" in result.stderr
    assert not (tmp_path / "mark").exists()


def test_a_program_that_torch_cannot_read_is_one_line(copied, reseal):
    change_program(copied, {"model/models/model.json": b"{}"})
    reseal(copied)
    with pytest.raises(CheckError, match=r"model\.pt2 cannot be loaded by torch .*environment"):
        verify_package(copied)


def test_a_program_that_is_no_archive_is_one_line(copied, reseal):
    (copied / "model.pt2").write_bytes(b"no archive")
    reseal(copied)
    with pytest.raises(CheckError, match=r"model\.pt2 is a broken archive"):
        verify_package(copied)


@pytest.mark.parametrize("run", [False, True])
def test_the_command_prints_a_line_for_each_check(packed, run):
    result = call("verify", packed.parent if run else packed)
    assert (result.exit_code, result.stderr) == (0, "")
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["check", "found", "allowed"]
    assert len(rows) == len(verify_package(packed).checks)
    assert all(row.endswith(" holds") for row in rows)
    assert rows[0].split()[-3:] == ["11", "11", "holds"]


def test_what_does_not_hold_is_in_the_table_and_in_one_line_with_status_three(copied, reseal):
    edit_weights(copied, lambda weights: weights["classifier.bias"].add_(1))
    reseal(copied)
    result = call("verify", copied)
    assert result.exit_code == 3
    assert "DOES NOT HOLD" in result.stdout
    assert re.fullmatch(rf"{copied}: network against .*\n", result.stderr)


def test_a_changed_byte_is_status_three_and_the_name_of_the_file(copied):
    (copied / "model.onnx").write_bytes(b"")
    result = call("verify", copied)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "model.onnx is not the file that was packaged" in result.stderr


@pytest.mark.parametrize(
    "words", [["--out", "o"], ["--seed", "0"], ["--set", "seed=1"], ["--resume"]]
)
def test_options_of_recipes_are_refused_for_a_package(packed, words):
    result = call("verify", packed, *words)
    assert result.exit_code == 2
    assert f"{words[0]} " in result.stderr
    assert "for recipes" in result.stderr


def test_a_folder_without_a_package_is_still_no_recipe(tmp_path):
    result = call("verify", tmp_path)
    assert result.exit_code == 2
    assert f"{tmp_path} is a folder" in result.stderr
