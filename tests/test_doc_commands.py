"""Every command of the README and the pages is run as it stands there, or at least understood.

What runs, runs on a copy of one finished run of the recipe ``digits``, with a few words more where
the defaults would take minutes. What needs other hardware, the network or more than half a minute
is parsed by the command line itself, its recipe read with its overrides, and is listed with the
reason.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from accelerate.commands.launch import launch_command_parser
from click.testing import CliRunner
from torch.distributed.run import get_args_parser

from compressor.cli import main
from compressor.data.catalog import SOURCES
from compressor.recipe import find_recipe, load_recipe

from .conftest import QUICK_BENCH
from .pages import PAGES, ROOT, blocks, commands

DOCUMENTED = sorted({command for text in PAGES.values() for command in commands(text)})

AS_MADE = tuple(word for setting in QUICK_BENCH for word in ("--set", setting))
"""With these the run that is there is the one that is asked for, so that its stages are kept."""

TINY = tuple(
    word
    for setting in (
        *("model.arguments.widths=[4, 4]", "train.epochs=1", "tune.epochs=1"),
        *("train.batch_size=320", "dense.batch_size=320"),
    )
    for word in ("--set", setting)
)
QUICK = (
    *TINY,
    *AS_MADE,
    # Something to remove, and a certificate for a network that has hardly seen an image.
    *("--set", "model.arguments.widths=[8, 16]", "--set", "strip.round_to=2"),
    *("--set", "strip.statistics=random"),
)
QUICK_GROWING = (*QUICK, "--set", "train.epochs=3")
FEW = ("--rounds", "4", "--max-seconds", "2")
DIGITS = "compressor run digits --out runs/digits"
FILES = "compressor bench runs/digits/export/dense.onnx runs/digits/export/model.onnx"

RUN: dict[str, tuple[str, ...]] = {
    "compressor list recipes": (),
    "compressor list methods": (),
    "compressor list data": (),
    "compressor list engines": (),
    "compressor show digits": (),
    "compressor show digits-dessilbi-weight": (),
    "compressor show digits-magnitude-2-4": (),
    "compressor show digits-split-lbi": (),
    "compressor data get digits": (),
    "compressor run digits --dry-run": (),
    "compressor inspect digits --out runs/digits": AS_MADE,
    DIGITS: AS_MADE,
    f"{DIGITS} --resume": AS_MADE,
    "compressor verify runs/digits/package": (),
    FILES: FEW,
    f"{FILES} --batch 32": FEW,
    f"{FILES} --clock process": FEW,
    "compressor bench runs/digits/export/model.onnx openvino:runs/digits/export/model.onnx": FEW,
    "compressor doctor runs/digits": ("--runs", "2"),
    "compressor slice runs/digits --keep-macs 0.5": AS_MADE,
    "compressor slice runs/digits --at-epoch 3 --tune 1": AS_MADE,
    "compressor compare runs/digits runs/demo --out compare.html": (),
    "compressor push runs/digits shelf/digits": (),
    "compressor ticket runs/digits --out digits.ticket": (),
}
"""Run as they stand, with these words behind them."""

TRAINED: dict[str, tuple[str, ...]] = {
    f"{DIGITS} --set strip.keep_macs=0.4": AS_MADE,
    f"{DIGITS} --set 'precision.profiles=[\"int8-ort-cpu\"]'": AS_MADE,
    "compressor run digits --set sparsity.method=network-slimming --out runs/slimming": QUICK,
    "compressor run digits --set sparsity.method=random --out runs/random": QUICK,
    "compressor run digits-gates --out runs/gates": QUICK,
    "compressor run digits-itop-weight --out runs/itop": QUICK,
    "compressor run digits-magnitude-weight --out runs/magnitude": QUICK,
    "compressor run digits-optg-weight --out runs/optg": QUICK,
    "compressor grow digits-grow --out runs/grown": QUICK_GROWING,
    "compressor grow digits-grow-strip --out runs/grown-and-stripped": QUICK_GROWING,
}
"""The same of those that train and export for longer; ``test_doc_runs.py`` runs them."""

HOURS = "trains for minutes to hours; tests/test_recipes.py runs every recipe for digits"
FETCHES = "fetches data"
NO_ENGINE = "needs NVIDIA's package or a GPU; tests/tensorrt builds and loads plans"
GPUS = "needs eight GPUs; the same with two processes on a CPU is run"

PARSED: dict[str, str] = {
    "compressor inspect torchvision:mobilenet_v2": "takes a minute; tests/test_inspection.py",
    "compressor inspect torchvision:resnet18 --engine torch-pruning": "takes a minute",
    "compressor data get fashion-mnist": FETCHES,
    "compressor run fashion-mnist": FETCHES,
    "compressor run fashion-mnist --out runs/demo --resume": FETCHES,
    "compressor run fashion-mnist --out runs/demo --set "
    "'precision.profiles=[\"int8-ort-cpu\"]'": FETCHES,
    "compressor transfer runs/digits digits --to mnist-5k": FETCHES,
    "compressor transfer runs/mnist fashion-mnist --seeds 3": FETCHES,
    "compressor run mine.toml --set strip.keep_macs=0.5 --out runs/mine": HOURS,
    "compressor init --model torchvision:mobilenet_v2 --weights net.pth --data photos "
    "--target keep_macs=0.5": "trains a real network; tests of its own",
    "compressor family runs/demo --sizes 1,0.5,0.25": "takes a minute; tests/sizes",
    "compressor pull shelf/digits fetched": "is run behind the push that it fetches",
    "compressor bench dense.plan slim.plan --clock cuda-events --cuda-graph both": NO_ENGINE,
    "compressor build mine.toml --out runs/mine": NO_ENGINE,
    "compressor build runs/digits/export/model.onnx --engine tensorrt --batch 1,8,32": NO_ENGINE,
    "compressor build runs/digits/export/model.onnx --engine tensorrt-rtx": NO_ENGINE,
}
"""Understood and not run, each with the reason."""

MANY = {
    "torchrun --nproc-per-node 8 -m compressor.cli run imagenet-8-gpus "
    "--set data.path=/data/imagenet --out runs/imagenet": GPUS,
    "torchrun --nproc-per-node 8 -m compressor.cli run mine.toml --out runs/mine --resume": GPUS,
    "accelerate launch --multi_gpu --num_processes 8 -m compressor.cli run mine.toml "
    "--out runs/mine": GPUS,
}
"""The same of several processes: their launchers parse what is theirs."""

TWO = "torchrun --nproc-per-node 2 -m compressor.cli train digits --out runs/two --device cpu"
COMPLETION = "eval '$(_COMPRESSOR_COMPLETE=bash_source compressor)'"
SHELL = {". .venv/bin/activate": "is the shell's own", COMPLETION: "is run without the eval"}


def of(program):
    return [command for command in DOCUMENTED if command.startswith(f"{program} ")]


@pytest.fixture
def here(digits_run, tmp_path, monkeypatch):
    """A folder of one's own with what the pages take as given, which is where commands run."""
    for name in ("digits", "demo"):
        shutil.copytree(digits_run.folder, tmp_path / "runs" / name)
    (tmp_path / "mine.toml").write_text(mine(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mine():
    """The recipe that the tour shows."""
    (recipe,) = [toml for toml in blocks(PAGES["docs/tour.md"], "toml") if 'name = "mine"' in toml]
    return recipe


def call(command, *more):
    return CliRunner().invoke(main, [*shlex.split(command)[1:], *more], catch_exceptions=False)


def understood(words):
    """Parse ``compressor`` words as the command line does; read the recipe that they name."""
    command, *words = main, *words
    while isinstance(command, click.Group):
        command, *words = command.commands[words[0]], *words[1:]
    with command.make_context(command.name, list(words)) as context:
        given = context.params
    if recipe := given.get("recipe"):
        is_recipe = command.name != "inspect" or ":" not in recipe
        return not is_recipe or load_recipe(find_recipe(recipe), given.get("overrides", ()))
    return given


def test_every_documented_command_is_run_or_has_its_reason():
    known = {*RUN, *TRAINED, *PARSED, *MANY, *SHELL, TWO, *of("make"), *of("python")}
    assert set(DOCUMENTED) - known == set()
    assert {*RUN, *TRAINED, *PARSED, *MANY, *SHELL, TWO} - set(DOCUMENTED) == set()


@pytest.mark.parametrize("command", RUN)
def test_it_runs_as_documented(here, command):
    result = call(command, *RUN[command])
    assert result.exit_code == 0, result.stderr
    assert result.output.strip()


@pytest.mark.parametrize("command", PARSED)
def test_it_is_understood_as_documented(here, command):
    assert understood(shlex.split(command)[1:])


def test_a_command_that_is_not_understood_would_be_told(here):
    with pytest.raises(click.UsageError):
        understood(["run", "digits", "--keep-macs", "0.5"])


def test_what_was_pushed_can_be_pulled_and_verified(here):
    for command in (*of("compressor push"), *of("compressor pull")):
        assert call(command).exit_code == 0
    assert call("compressor verify fetched").exit_code == 0


def test_two_processes_train_on_a_cpu_as_documented(here):
    words = [*shlex.split(TWO)[1:], "--quiet", *TINY]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", *words],
        env=alone,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (here / "runs" / "two" / "train" / "path.json").is_file()


@pytest.mark.parametrize("command", MANY)
def test_launchers_and_the_command_behind_them_are_understood(here, command):
    words = shlex.split(command)
    if words[0] == "torchrun":
        given = get_args_parser().parse_args(words[1:])
        count = int(given.nproc_per_node)
    else:
        given = launch_command_parser().parse_args(words[2:])
        count = given.num_processes
    assert (count, given.module, given.training_script) == (8, True, "compressor.cli")
    assert understood(given.training_script_args)


def test_the_shell_gets_its_completion():
    program = Path(sys.executable).with_name("compressor")
    asked = {**os.environ, "_COMPRESSOR_COMPLETE": "bash_source"}
    told = subprocess.run([program], env=asked, capture_output=True, text=True, check=True)
    assert "complete -o nosort -F _compressor_completion compressor" in told.stdout


def test_every_target_of_make_and_every_extra_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command.split()[1] for command in of("make")} <= targets
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installs = [shlex.split(command)[-1] for command in of("python")]
    named = {name for place in installs for name in re.findall(r"\[(.*)\]", place)}
    assert named
    assert named <= set(project["optional-dependencies"])
    assert all(command.startswith("python -m pip install ") for command in of("python"))


def test_every_data_set_that_is_fetched_exists():
    assert {command.split()[-1] for command in of("compressor data get")} <= set(SOURCES)


WITH_PYTHON = [
    page for page, text in PAGES.items() if page != "docs/api.md" and blocks(text, "python")
]
"""Those of ``docs/api.md`` have a test of their own."""


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs(here, page):
    names: dict[str, object] = {"__name__": page}
    for number, block in enumerate(blocks(PAGES[page], "python")):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
