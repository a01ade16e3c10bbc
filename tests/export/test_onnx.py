import contextlib
import logging
import sys
from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.utils import parametrize

from compressor.errors import ExportError, MissingExtra
from compressor.export import onnx as home
from compressor.export.onnx import (
    Exported,
    ExportSettings,
    export_onnx,
    exported_by_tracing,
    first_cause,
    no_chatter,
)
from compressor.export.verify import check_parity, parity, random_inputs

IMAGE_SHAPE = (3, 16, 16)
SETTINGS = ExportSettings()


class HalfMask(nn.Module):
    def __init__(self):
        super().__init__()
        # Larger than what the exporter folds by itself: 64 * 64 * 9 > 8,192.
        self.register_buffer("mask", (torch.arange(64) % 2).float().reshape(64, 1, 1, 1))

    def forward(self, weight):
        return weight * self.mask


class ByHand(torch.autograd.Function):
    """Reads memory, which the exporter cannot follow, and says what it is in ONNX."""

    @staticmethod
    def forward(_context, values):
        assert values.data_ptr()
        return values.clamp(min=0)

    @staticmethod
    def symbolic(graph, values):
        return graph.op("Relu", values)


class Foreign(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        return ByHand.apply(self.norm(self.layer(images))).mean((2, 3))


class Branching(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


@pytest.fixture(scope="module")
def proto(exported):
    return onnx.load(str(exported))


def test_norms_and_dropout_are_gone_from_the_file(proto):
    operators = Counter(node.op_type for node in proto.graph.node)

    assert operators["Conv"] == 2
    assert operators.keys().isdisjoint({"BatchNormalization", "Dropout"})


def test_the_batch_is_the_only_free_size(proto):
    values = [*proto.graph.input, *proto.graph.output]
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in values
    }

    assert shapes == {"images": ["batch", 3, 16, 16], "logits": ["batch", 10]}


def test_all_weights_are_in_one_file(exported):
    assert list(exported.parent.iterdir()) == [exported]


def test_the_network_is_left_as_it_was(net, fresh_net, exported):
    state = net.state_dict()

    assert all(module.training for module in net.modules())
    assert all(torch.equal(state[name], value) for name, value in fresh_net.state_dict().items())


def test_the_same_network_gives_the_same_bytes(net, exported, tmp_path):
    again = tmp_path / "again.onnx"

    export_onnx(net, IMAGE_SHAPE, again, SETTINGS)

    assert again.read_bytes() == exported.read_bytes()


def test_the_file_names_no_folder_of_this_machine(exported):
    assert str(Path(__file__).parent).encode() not in exported.read_bytes()
    assert b"site-packages" not in exported.read_bytes()


@pytest.mark.parametrize("opset", [18, 25])
def test_the_asked_opset_is_the_one_in_the_file(net, tmp_path, opset):
    path = tmp_path / "model.onnx"

    export_onnx(net, IMAGE_SHAPE, path, ExportSettings(opset=opset))

    assert [entry.version for entry in onnx.load(str(path)).opset_import] == [opset]


def test_a_forward_that_cannot_be_traced_is_named_in_one_line_and_writes_nothing(tmp_path, capfd):
    path = tmp_path / "model.onnx"

    with pytest.raises(
        ExportError, match=r"Branching cannot be exported .*data-dependent"
    ) as refused:
        export_onnx(Branching(), IMAGE_SHAPE, path, SETTINGS)

    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_exporter_of_the_file_is_said(net, tmp_path):
    how = export_onnx(net, IMAGE_SHAPE, tmp_path / "model.onnx", SETTINGS)

    assert how == Exported("dynamo")


def test_where_the_exporter_gives_up_the_older_one_writes_the_file_and_it_is_said_why(tmp_path):
    net, path = Foreign().eval(), tmp_path / "model.onnx"

    how = export_onnx(net, IMAGE_SHAPE, path, SETTINGS)

    assert how.exporter == "torchscript"
    assert how.why.startswith("Foreign cannot be exported for images of [3, 16, 16]: ")
    check_parity(parity(net, path, random_inputs(IMAGE_SHAPE)), path)


def with_bias(proto):
    (bias,) = (t for t in proto.graph.initializer if t.name == "head.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 9, bias.name))


def for_one_size_of_batch(proto):
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(with_bias, "relative_l2 to the network is"), (for_one_size_of_batch, "the inputs are")],
)
def test_a_file_of_the_first_exporter_that_is_wrong_is_written_by_the_older_one(
    net, tmp_path, monkeypatch, spoil, why
):
    write = home.exported

    def spoiled(*given):
        proto = write(*given)
        spoil(proto)
        return proto

    monkeypatch.setattr(home, "exported", spoiled)
    path = tmp_path / "model.onnx"

    how = export_onnx(net, IMAGE_SHAPE, path, SETTINGS)

    assert how.exporter == "torchscript"
    assert how.why.startswith(f"{path}: {why}")
    check_parity(parity(net, path, random_inputs(IMAGE_SHAPE)), path)


def test_what_neither_writes_rightly_is_refused_with_the_fault_of_the_first(
    net, tmp_path, monkeypatch
):
    def spoiled(write, spoil):
        def written(*given):
            proto = write(*given)
            spoil(proto)
            return proto

        return written

    for name, spoil in (("exported", with_bias), ("exported_by_tracing", for_one_size_of_batch)):
        monkeypatch.setattr(home, name, spoiled(getattr(home, name), spoil))

    with pytest.raises(ExportError, match=r"model\.onnx: relative_l2 .* wrote another network"):
        export_onnx(net, IMAGE_SHAPE, tmp_path / "model.onnx", SETTINGS)

    assert list(tmp_path.iterdir()) == []


def test_a_network_that_gives_no_numbers_itself_can_be_exported(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    nn.init.constant_(net[0].bias, float("nan"))

    assert export_onnx(net, IMAGE_SHAPE, tmp_path / "n.onnx", SETTINGS).exporter == "dynamo"


def test_the_older_exporter_gives_up_where_it_would_take_one_way_for_all():
    assert exported_by_tracing(Branching(), IMAGE_SHAPE, 20) is None


def test_masks_left_on_the_network_are_refused_and_the_older_file_stays(tmp_path):
    net = nn.Sequential(nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64), nn.Flatten())
    parametrize.register_parametrization(net[0], "weight", HalfMask())
    path = tmp_path / "model.onnx"
    path.write_text("older")

    with pytest.raises(ExportError, match=r"model\.onnx: the weight of \w+ is computed at each"):
        export_onnx(net, (64, 8, 8), path, SETTINGS)

    assert path.read_text() == "older"


def test_a_network_above_the_size_of_one_file_is_refused_by_its_size(tmp_path):
    with torch.device("meta"):
        net = nn.Linear(50_000, 10_000)

    with pytest.raises(ExportError, match=r"Linear has 2\.00 GB of weights.*at most 1\.9 GB"):
        export_onnx(net, IMAGE_SHAPE, tmp_path / "model.onnx", SETTINGS)


def test_a_network_of_another_precision_is_refused(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3).bfloat16())

    with pytest.raises(ExportError, match=r"1\.weight is torch\.bfloat16.*model\.float\(\)"):
        export_onnx(net, IMAGE_SHAPE, tmp_path / "model.onnx", SETTINGS)


@pytest.mark.parametrize("module", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_its_install_command(net, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtra, match=f"python -m pip install {module}$"):
        export_onnx(net, IMAGE_SHAPE, tmp_path / "model.onnx", SETTINGS)


@pytest.mark.parametrize("opset", [17, 26, "20"])
def test_opsets_that_the_exporter_does_not_reach_are_refused(opset):
    with pytest.raises(ValidationError, match="opset"):
        ExportSettings(opset=opset)


def test_the_innermost_cause_is_the_one_named():
    outer, middle = RuntimeError("advice\nin general"), ValueError("one level down")
    outer.__cause__, middle.__cause__ = middle, KeyError()

    assert first_cause(outer) == "KeyError."


def test_loggers_and_stderr_are_silent_in_the_block_only(capsys):
    before = logging.root.manager.disable

    with contextlib.suppress(KeyError), no_chatter():
        enabled = logging.getLogger("any").isEnabledFor(logging.ERROR)
        sys.stderr.write("chatter\n")
        raise KeyError
    sys.stderr.write("news\n")

    assert not enabled
    assert logging.root.manager.disable == before
    assert capsys.readouterr().err == "news\n"
