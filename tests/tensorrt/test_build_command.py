"""``compressor build`` of a recipe or of a file: options that are for one of them."""

import json
from pathlib import Path

import click
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from compressor.bench.onnx_input import onnx_image_shape
from compressor.errors import MissingExtra, ModelError
from compressor.file_profile import FileProfile, note_profile_
from compressor.tensorrt import module
from compressor.tensorrt.command import BuildCommand, as_text
from compressor.tensorrt.precision import Precisions
from compressor.tensorrt.sidecar import sidecar_path
from compressor.tensorrt.sparse import SparseReport

from .graphs import convolution, dense_weight, kinds_in_turn, save, two_of_four


@pytest.fixture
def asked():
    return []


@pytest.fixture
def command(asked):
    """The command around one that keeps what it is asked of a recipe."""
    options = [
        click.Option(["--out"], type=click.Path(path_type=Path), help="Run directory."),
        click.Option(["--set", "overrides"], multiple=True, help="Override a setting."),
        click.Option(["--seed"], type=int, help="Override the seed."),
        click.Option(["--engine"], type=click.Choice(["both", "index-flow"]), help="What finds."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print as JSON."),
    ]
    callback = lambda **given: asked.append(given)  # noqa: E731
    of_recipes = click.Command(
        "build", params=[click.Argument(["recipe"]), *options], callback=callback, help="Build."
    )
    return BuildCommand(of_recipes, onnx_image_shape)


def call(command, *words):
    return CliRunner().invoke(command, list(map(str, words)))


def test_of_a_recipe_the_pipeline_is_asked_with_its_own_options(command, asked):
    words = ("--seed", 3, "--set", "a=1", "--set", "b=2", "--engine", "both", "--out", "x")
    assert call(command, "digits", *words).exit_code == 0
    assert asked == [
        {
            **{"recipe": "digits", "out": Path("x"), "overrides": ("a=1", "b=2")},
            **{"seed": 3, "engine": "both", "as_json": False},
        }
    ]


def test_of_a_recipe_no_engine_is_chosen_unless_one_is_given(command, asked):
    call(command, "digits")
    assert asked[0]["engine"] is None


@pytest.mark.engines
def test_of_a_file_a_plan_is_built_and_no_recipe_run(command, asked, tmp_path):
    path, plan = convolution(tmp_path / "net.onnx"), tmp_path / "other.plan"
    words = ("--engine", "tensorrt-rtx", "--batch", "2,3,4", "--out", plan, "--json")
    done = call(command, path, *words, "--set", "tf32=false")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(sidecar_path(plan).read_text())
    assert not json.loads(done.stdout)["settings"]["tf32"]
    assert asked == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("net.onnx", "--seed", "3"), "--seed can only be given for recipes."),
        (("net.onnx", "--engine", "both"), "--engine both: of a file, give tensorrt or tensorrt-r"),
        (("digits", "--batch", "1,2,3"), "--batch can only be given for files such as model.onnx."),
        (
            ("digits", "--engine", "tensorrt-rtx"),
            "--engine tensorrt-rtx: of a recipe, give both or index-flow. The engine of its plans "
            "is a setting: --set tensorrt.engine=tensorrt-rtx.",
        ),
        (("digits", "--engine", "cuda"), "'cuda' is not one of"),
    ],
)
def test_options_for_the_other_use_are_refused(command, asked, words, told):
    done = call(command, *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert asked == []


def test_of_a_file_the_engine_is_tensorrt_unless_another_is_given(command, tmp_path, monkeypatch):
    seen = []

    def refuse(flavour):
        seen.append(flavour)
        raise MissingExtra("not here")

    monkeypatch.setattr(module, "open_kit", refuse)
    path = convolution(tmp_path / "net.onnx")
    call(command, path)
    call(command, path, "--engine", "tensorrt-rtx")
    assert seen == ["tensorrt", "tensorrt-rtx"]


def test_help_explains_both_uses(command):
    shown = " ".join(call(command, "--help").stdout.split())
    assert "RECIPE | ONNX" in shown
    assert "Of a recipe: Run directory. Of a file: The plan; FILE.plan by default." in shown


def rectifier(path, shape):
    """Write ``Relu(images)``, which has no weights; ``shape`` is that of the images."""
    images, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")
    )
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], [images], [logits], [])


@pytest.mark.parametrize(
    ("kind", "told"), [("NHWC", "channels last (NHWC)"), ("weightless", "holds no weights")]
)
def test_a_file_that_is_no_network_for_images_is_refused(command, tmp_path, kind, told):
    path = rectifier(tmp_path / "net.onnx", ["b", 32, 32, 3])
    if kind == "NHWC":
        proto = onnx.load(path)
        proto.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, (1,), [1.0]))
        onnx.save(proto, str(path))
    done = call(command, path, "--engine", "tensorrt-rtx")
    assert isinstance(done.exception, ModelError)
    assert told in str(done.exception)
    assert not path.with_suffix(".plan").exists()


def noted(path, profile):
    proto = onnx.load(path)
    note_profile_(proto, FileProfile(profile, ("tensorrt", "tensorrt-rtx")))
    onnx.save(proto, str(path))
    return path


@pytest.mark.engines
class TestGate:
    """Of a file alone: its own profile sets the gate, unless another is given."""

    def built(self, command, path, *words):
        done = call(command, path, "--engine", "tensorrt-rtx", *words)
        assert done.exit_code == 0, done.output
        return done.stdout

    def test_the_files_own_profile_sets_it(self, command, tmp_path):
        path = noted(kinds_in_turn(tmp_path / "net.onnx", ["fp16", "fp32"]), "fp16")
        gate = json.loads(self.built(command, path, "--json"))["settings"]["gate"]
        assert gate == {"precision": "fp16", "min_share": pytest.approx(0.45)}

    def test_a_gate_that_is_given_stands(self, command, tmp_path):
        path = noted(convolution(tmp_path / "net.onnx"), "fp32")
        words = ("--set", "gate.precision=fp32", "--set", "gate.min_share=0.5")
        said = self.built(command, path, *words)
        assert "gate: fp32 in a share of at least 0.50 of them" in said

    def test_a_file_without_a_note_has_none_and_that_is_said(self, command, tmp_path):
        said = self.built(command, convolution(tmp_path / "net.onnx"))
        assert "no gate: the file does not say its profile" in said

    def test_what_became_of_sparse_weights_is_said(self, command, tmp_path):
        path = convolution(tmp_path / "net.onnx", weight=two_of_four(dense_weight()))
        said = self.built(command, path, "--set", "sparse_weights=true")
        assert "1 layers eligible for 2:4; sparse tactics: unknown by their names" in said


def test_changes_of_layout_and_a_wish_without_effect_are_said(make_sidecar):
    plan, sidecar = make_sidecar()
    report = SparseReport(eligible=("a",), refused={}, chosen=(), num_logged=0, log=())
    read = Precisions(products={"fp16": 2}, others={}, num_reformats=3)
    lines = as_text(plan, sidecar.model_copy(update={"sparse": report, "precisions": read}))
    assert "changes of layout or type in it: 3\n" in lines
    assert "warning: sparse_weights is on and no layer runs a sparse tactic" in lines
