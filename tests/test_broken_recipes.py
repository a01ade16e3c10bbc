"""Recipes with one fault each: exit status 2, and one line with its place and the way out."""

import pytest
from click.testing import CliRunner

from compressor.cli import main

GOOD = """name = "mine"
seed = 3

[model]
factory = "models/residual.py:residual_net"
arguments = { widths = [8, 16] }

[data]
source = "digits"

[sparsity]
method = "dessilbi"

[train]
epochs = 2
batch_size = 64
lr = 0.1

[strip]
keep_macs = 0.5
round_to = 4

[tune]
epochs = 1
"""

FAULTS = {
    "unknown key": (
        ("lr = 0.1", "learning_rat = 0.1"),
        "learning_rat",
        "train.learning_rat: there is no such key. There are",
    ),
    "misspelt key": (
        ("batch_size", "bacth_size"),
        "bacth_size",
        "train.bacth_size: there is no such key. Did you mean batch_size?",
    ),
    "misspelt section": (
        ("[strip]", "[stripe]"),
        "[stripe]",
        "stripe: there is no such key. Did you mean strip?",
    ),
    "key of another section": (
        ("lr = 0.1", "opset = 20"),
        "opset",
        "train.opset: there is no such key. It is a key of [export].",
    ),
    "key of the top in a section": (
        ("lr = 0.1", "seed = 3"),
        "seed = 3\n\n[strip]",
        "train.seed: there is no such key. seed stands at the top of the recipe, not in a section.",
    ),
    "setting of another method": (
        ('"dessilbi"', '"gates"\nnu = 10'),
        "nu = 10",
        "sparsity.nu: there is no such key. It is a setting of dessilbi.",
    ),
    "wrong type": (
        ("epochs = 2", 'epochs = "two"'),
        "epochs",
        'train.epochs = "two": input should be a valid integer.',
    ),
    "out of range": (
        ("keep_macs = 0.5", "keep_macs = 50"),
        "keep_macs",
        "strip.keep_macs = 50: input should be less than or equal to 1.",
    ),
    "no number": (
        ("lr = 0.1", "lr = nan"),
        "lr",
        "train.lr = NaN: input should be a finite number.",
    ),
    "value in place of a section": (
        ("[tune]\nepochs = 1", "[[tune]]\nepochs = 1"),
        "[[tune]]",
        'tune = [{"epochs": 1}]: this is a section. Write [tune] and its keys.',
    ),
    "not TOML": (
        ("lr = 0.1", "lr: 0.1"),
        "lr:",
        "this is not TOML: expected '=' after a key in a key/value pair in 'lr: 0.1'. Mend that",
    ),
    "text that does not end": (
        ('"digits"', '"digits'),
        "source",
        "this is not TOML: illegal character '\\n' in 'source = \"digits'. Mend that place.",
    ),
    "key given twice": (
        ("lr = 0.1", "lr = 0.1\nlr = 0.2"),
        "lr = 0.2",
        "train.lr is given again, first in line 17. Keep one of them.",
    ),
    "section given twice": (
        ("[tune]", "[train]"),
        "[train]\nepochs = 1",
        "train is given again, first in line 14. Keep one of them.",
    ),
    "missing key": (
        ("epochs = 2\n", ""),
        "[train]",
        "train.epochs: the key is missing. Add it.",
    ),
    "unknown method": (
        ('"dessilbi"', '"desslbi"'),
        "method",
        "sparsity.method: 'desslbi' is not a method. Did you mean dessilbi?",
    ),
    "unknown data": (
        ('"digits"', '"digit"'),
        "source",
        "data.source: there is no data source 'digit': did you mean 'digits'.",
    ),
    "unknown choice": (
        ("lr = 0.1", 'schedule = "cosin"'),
        "schedule",
        "train.schedule = \"cosin\": input should be 'constant', 'cosine' or 'linear'.",
    ),
    "two budgets": (
        ("round_to = 4", "keep_params = 0.5"),
        "[strip]",
        "strip: keep_macs = 0.5 and keep_params = 0.5 are two budgets; give one.",
    ),
    "nothing that removes": (
        ("keep_macs = 0.5\n", ""),
        None,
        "the recipe: random has no support of its own, so without a budget nothing would be",
    ),
    "setting that the method forbids": (
        ('"dessilbi"', '"dessilbi"\npreset = "split-lbi"'),
        "[train]",
        "train.momentum = 0.9: dessilbi as set under sparsity needs 0.0. Write train.momentum",
    ),
    "setting without effect": (
        ("[strip]", "[target]\nnum_threads = 2\n\n[strip]"),
        "num_threads",
        "target.num_threads = 2: only a budget in time depends on it, and there is none.",
    ),
    "name that is none": (
        ('"mine"', '"My run"'),
        "name",
        'name = "My run": use small letters, digits and any of . _ - only.',
    ),
    "unknown function of a model file": (
        (":residual_net", ":residual_nets"),
        "factory",
        "has no function 'residual_nets'. Did you mean residual_net?",
    ),
    "missing model file": (
        ("models/residual.py", "models/gone.py"),
        "factory",
        "model.factory: models/gone.py: there is no such file. Looked for",
    ),
    "unknown network of torchvision": (
        ("models/residual.py:residual_net", "torchvision:resnt18"),
        "factory",
        "torchvision has no model 'resnt18'. Did you mean resnet18?",
    ),
    "arguments that the model does not take": (
        ("widths", "width"),
        "factory",
        "cannot be built with",
    ),
    "missing weights": (
        ("arguments = ", 'weights = "gone.pth"\narguments = '),
        "weights",
        "model.weights: gone.pth: there are no weights.",
    ),
    "missing folder": (
        ('"digits"', '"image-folder"\npath = "no/photos"\nimage_size = 8'),
        "path",
        "data.path: no/photos is not a folder",
    ),
    "more images than there are": (
        ('"digits"', '"digits"\ntrain_images = 5000'),
        "train_images",
        "data.train_images: train_images is 5000, but digits has 1295 training images",
    ),
    "budget below the floors": (
        ("keep_macs = 0.5", "keep_macs = 0.01\nfloor_share = 0.5"),
        "keep_macs",
        "strip.keep_macs: The budget keeps 0.01 of the MACs, but the floors alone cost",
    ),
}
"""By what is wrong: what is changed in the recipe, where the fault then stands, what is told."""

SEVERAL = {"setting that the method forbids": 2}
"""Changes that are more than one fault: a line for each."""


FOUND_LATER = (
    *("unknown function of a model file", "missing model file", "unknown network of torchvision"),
    *("arguments that the model does not take", "missing weights", "missing folder"),
    *("more images than there are", "budget below the floors"),
)
"""Those that are not found by reading the recipe."""


def line_of(place, text):
    """Number of the line, from 1, that begins with ``place``."""
    return f"\n{text}".split(f"\n{place}")[0].count("\n") + 1


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPRESSOR_DATA", str(tmp_path / "data"))

    def run(text, *more):
        (tmp_path / "mine.toml").write_text(text)
        words = ["run", "mine.toml", "--device", "cpu", "--quiet", "--out", "out", *more]
        result = CliRunner().invoke(main, words)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result

    return run


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        *((fault, ("--dry-run",)) for fault in FAULTS),
        # The same without a dry run, of those that it alone looks for.
        *((fault, ()) for fault in FOUND_LATER),
    ],
)
def test_a_fault_is_one_line_with_its_place_and_the_way_out(call, tmp_path, fault, more):
    (old, new), place, told = FAULTS[fault]
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    if fault == "nothing that removes":
        text = text.replace("dessilbi", "random")
    result = call(text, *more)
    assert (tmp_path / "out").exists() == (not more)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]
    assert result.exit_code == 2, result.output
    assert len(lines) == SEVERAL.get(fault, 1), lines
    where = "mine.toml" if place is None else f"mine.toml, line {line_of(place, text)}"
    assert lines[0].startswith(f"{where}: "), lines[0]
    assert told in lines[0]


def test_there_are_twenty_of_them():
    assert len(FAULTS) >= 20


def test_two_faults_are_two_lines_each_with_its_own(call):
    result = call(GOOD.replace("lr = 0.1", "lr = -1").replace('"mine"', '"My run"'), "--dry-run")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        "mine.toml, line 1",
        "mine.toml, line 17",
    ]


def test_a_fault_of_an_override_names_the_override_and_no_line(call, tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    result = CliRunner().invoke(main, ["run", "mine.toml", "--set", "train.lr=-1"])
    assert result.stderr == (
        "mine.toml with --set: train.lr = -1: input should be greater than 0.\n"
    )


def test_a_section_that_an_override_makes_has_no_line_of_the_file(call, tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    result = CliRunner().invoke(main, ["run", "mine.toml", "--set", "stop.rul=share"])
    assert all(
        line.startswith("mine.toml with --set: stop.") for line in result.stderr.splitlines()
    )
    assert "stop.rul: there is no such key. Did you mean rule?" in result.stderr


def test_without_a_fault_the_checks_hold(call):
    result = call(GOOD, "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [row.split()[1] for row in result.stdout.splitlines() if row[:1].strip()] == [
        "holds"
    ] * 6
