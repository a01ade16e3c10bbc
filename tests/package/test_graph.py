"""Which programs are refused by their text, before torch is given them."""

import json
import re
import zipfile

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.export import Dim
from torchvision.models import MobileNetV2, SwinTransformer, VisionTransformer

from compressor.cli import main
from compressor.errors import CheckError
from compressor.package.check import check_package
from compressor.package.expressions import is_guard
from compressor.package.graph import OF_FILES, check_text, foreign_in, is_function, is_structure
from compressor.package.program import save_program

GRAPH = "model/models/model.json"


class OddlyNamed(nn.Module):
    """Settings for a part of the graph, a branch, sizes of the batch, and keys of all kinds."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"a-b": nn.Linear(12, 5), "3x3 out": nn.Linear(5, 3)})
        self.requires_grad_(False)  # else torch warns while it follows the branch

    def forward(self, images):
        batch, channels, *_ = images.shape
        with torch.no_grad():
            mean = images.mean((2, 3)).reshape(batch * channels, 1).view(batch, -1)
        with torch.autocast("cpu", enabled=False):
            wide = nn.functional.pad(images.reshape(batch, -1)[:, :10], (1, 1), mode="constant")
        index = torch.arange(batch * 2)[:batch]
        hidden = self.layers["a-b"](wide)[index]
        hidden = torch.cond(hidden.sum() > 0, lambda x: x + 1, lambda x: x - 1, (hidden,))
        return torch.einsum("bc,bc->bc", self.layers["3x3 out"](hidden), mean)


NETWORKS = {
    "oddly-named": OddlyNamed,
    "mobilenet": lambda: MobileNetV2(num_classes=3, width_mult=0.25),
    "vision-transformer": lambda: VisionTransformer(32, 16, 1, 2, 16, 16, num_classes=3),
    "swin": lambda: SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=3),
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_no_real_network_is_refused(tmp_path, build):
    save_program(build(), (3, 32, 32), tmp_path / "model.pt2")
    assert list(foreign_in(tmp_path / "model.pt2")) == []


def test_guards_that_torch_writes_are_such(tmp_path):
    class Halves(nn.Module):
        def forward(self, x):
            y = x.reshape(-1, 2, x.shape[1] * 2) if x.shape[0] > 3 else x
            return y, x.new_zeros(int(x.shape[0] / 2)), x[: x.shape[0] - 1]

    example = (torch.zeros(8, 6),)
    shapes = ({0: Dim.AUTO, 1: Dim.AUTO},)
    torch.export.save(
        torch.export.export(Halves(), example, dynamic_shapes=shapes), tmp_path / "model.pt2"
    )
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        guards = json.loads(archive.read(GRAPH))["guards_code"]
    assert len(guards) > 3
    assert [guard for guard in guards if not is_guard(guard)] == []


def edit(folder, change):
    """Write the graph of the program anew, as ``change`` makes it of its JSON value."""
    path = folder / "model.pt2"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    value = json.loads(members[GRAPH])
    members[GRAPH] = json.dumps(change(value) or value)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def touches(mark):
    """An expression that leaves a mark where it is evaluated."""
    return f"__import__('pathlib').Path('{mark}').touch()"


def in_sizes(value, mark):
    text = re.sub(r'"expr_str": "[^"]*"', f'"expr_str": "{touches(mark)}"', json.dumps(value))
    return json.loads(text)


def in_the_name_of_the_input(value, mark):
    (name,) = value["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"]
    return json.loads(json.dumps(value).replace(f'"{name}"', f'"{name}={touches(mark)}"'))


def in_a_size_that_is_a_mapping(value, mark):
    def change(entry):
        if isinstance(entry, dict):
            return {
                key: {"a": touches(mark)} if key == "expr_str" else change(below)
                for key, below in entry.items()
            }
        return list(map(change, entry)) if isinstance(entry, list) else entry

    return change(value)


def in_a_function(value, mark):
    value["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def in_a_function_that_is_handed_on(value, mark):
    operand = value["graph_module"]["graph"]["nodes"][0]["inputs"][0]
    operand["arg"] = {"as_operator": "torch.ops.load_library"}


def in_a_guard(value, mark):
    value["guards_code"] = [touches(mark)]


def in_the_name_of_a_node(value, mark):
    value["graph_module"]["graph"]["nodes"][0]["name"] = f"a = {touches(mark)}; b"


def in_the_name_of_a_parameter(value, mark):
    spec = value["graph_module"]["signature"]["input_specs"][0]
    next(iter(spec.values()))["parameter_name"] = f'a"); {touches(mark)}; ("'


def in_the_structure(value, mark):
    signature = value["graph_module"]["module_call_graph"][0]["signature"]
    enum = '{"__enum__": true, "fqn": "antigravity:a", "name": "a"}'
    signature["out_spec"] = json.dumps([1, {"type": "x", "context": enum, "children_spec": []}])


def in_a_setting_of_no_known_kind(value, mark):
    value["graph_module"]["graph"]["nodes"][0]["metadata"]["source_fn_stack"] = touches(mark)


EXECUTED = [in_sizes, in_the_name_of_the_input]

EDITS = [
    *(*EXECUTED, in_a_size_that_is_a_mapping, in_a_function, in_a_function_that_is_handed_on),
    *(in_a_guard, in_the_name_of_a_node, in_the_name_of_a_parameter, in_the_structure),
    in_a_setting_of_no_known_kind,
]


@pytest.mark.parametrize("change", EDITS)
def test_code_in_the_text_is_refused_before_torch_reads_it(copied, reseal, tmp_path, change):
    mark = tmp_path / "mark"
    edit(copied, lambda value: change(value, mark))
    reseal(copied)
    result = CliRunner().invoke(main, ["verify", str(copied)])
    assert (result.exit_code, result.stdout) == (3, "")
    assert re.fullmatch(r".*model\.pt2: .* as code .* Do not use this package\.\n", result.stderr)
    with pytest.raises(CheckError, match=r"is nothing that a plain network needs"):
        check_package(copied)
    assert not mark.exists()


def test_a_package_with_code_in_the_text_is_not_pulled(copied, reseal, tmp_path):
    edit(copied, lambda value: in_sizes(value, tmp_path / "mark"))
    reseal(copied)
    result = CliRunner().invoke(main, ["pull", str(copied), str(tmp_path / "pulled")])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "model.pt2: expr_str " in result.stderr
    assert not (tmp_path / "pulled").exists()
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("change", EXECUTED)
def test_what_is_refused_would_have_been_executed(copied, tmp_path, change):
    mark = tmp_path / "mark"
    edit(copied, lambda value: change(value, mark))
    with pytest.raises(Exception, match=r"."):  # whatever torch then trips over
        torch.export.load(copied / "model.pt2").module()(torch.zeros(1))
    assert mark.exists()


def test_a_long_text_is_shortened_in_the_one_line_that_names_it(copied, tmp_path):
    edit(copied, lambda value: in_the_name_of_a_node(value, tmp_path / ("m" * 500)))
    with pytest.raises(CheckError, match=r"^[^\n]*model\.pt2: name \"a = .{76}\.\.\.\"") as raised:
        check_text(copied / "model.pt2")
    assert "m" * 90 not in str(raised.value)


@pytest.mark.parametrize(
    "target",
    [
        *("torch.hub.load", "torch.ops.load_library", "torch.load", "torch.ops.aten.__class__.mro"),
        *("torch.ops.aten.add.Tensor.py_impl", "torch.ops.aten.add.overloads", "math.__loader__"),
        *("torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "#other:load"),
        *("torch.ops.aten.no_such.default", "torch.ops.other.add.default", "_operator.call"),
        *("_operator.attrgetter", "torch.ops.higher_order.scan", "os.system", "torch.ops.aten.add"),
    ],
)
def test_functions_that_are_no_operators_on_tensors_are_foreign(target):
    assert not is_function(target)


@pytest.mark.parametrize(
    "target", ["torch.ops.aten.__and__.Tensor", "torch.ops.aten.add_.Tensor", "torch.sym_max"]
)
def test_operators_and_arithmetic_of_sizes_are_not(target):
    assert is_function(target)


def test_no_other_operator_of_aten_is_given_a_file():
    named = {
        schema.name.removeprefix("aten::")
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("aten::")
        for argument in schema.arguments
        if re.search(r"file|path|folder|dir$|module|library", argument.name)
        if argument.type.annotation_str in ("str", "Optional[str]", "List[str]")
    }
    assert named == set(OF_FILES)


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        *(("builtins.dict", "[\"a': exec('1'), 'b\"]"), ("builtins.dict", '[{"__enum__": true}]')),
        *(("collections.defaultdict", "null"), ("builtins.tuple", {}), ("builtins.list", "{")),
    ],
)
def test_structures_that_import_or_quote_are_foreign(kind, context):
    node = {"type": kind, "context": context, "children_spec": []}
    assert not is_structure(json.dumps([1, node]))
    assert is_structure(json.dumps([1, node | {"type": "builtins.dict", "context": '["a", 1]'}]))
