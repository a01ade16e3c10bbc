from functools import partial
from pathlib import Path

import onnx
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.errors import CheckError, DataError
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.export.precision import (
    GateSettings,
    PrecisionSettings,
    Yardstick,
    make_file,
)
from compressor.export.precision_writers import Source
from compressor.export.profiles import PROFILES
from compressor.export.quant_calibration import QuantSettings
from compressor.export.verify import predictor
from compressor.file_profile import read_profile
from compressor.files import read_json, sha256, write_json
from compressor.tasks.classification import Classification, TaskSettings

SETTINGS = PrecisionSettings(
    profiles=("int8-ort-cpu",),
    quant=QuantSettings(num_images=128),
    gate=GateSettings(max_accuracy_drop=0.02),
)
WIDTH = 12
LOUD = 1e6


class DigitNet(nn.Module):
    """Three layers; channel 0 of ``middle`` is ``loud`` times too large, and brought back after.

    What the network computes does not depend on ``loud``, but to eight bits the other channels of
    that layer are nothing beside it, and in float16 it is infinite.
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.middle = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.register_buffer("scale", torch.ones(WIDTH, 1, 1))
        self.head = nn.Linear(WIDTH * 16, 10)

    def forward(self, images):
        hidden = torch.relu(self.norm(self.stem(images)))
        hidden = torch.relu(self.middle(hidden)) * self.scale
        return self.head(hidden.flatten(1))

    @torch.no_grad()
    def turn_up_(self):
        self.middle.weight[0] *= LOUD
        self.middle.bias[0] *= LOUD
        self.scale[0] /= LOUD
        return self


@pytest.fixture(scope="module")
def task(digits):
    return Classification(digits, TaskSettings())


@pytest.fixture(scope="module")
def trained(task):
    """Weights of a network trained on the digits for a second."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = DigitNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _epoch in range(4):
        order = torch.randperm(task.num_train, generator=generator)
        for start in range(0, task.num_train, 64):
            batch = task.batch(order[start : start + 64], generator)
            optimizer.zero_grad()
            task.loss(net(batch.inputs), batch).backward()
            optimizer.step()
    return net.state_dict()


@pytest.fixture(scope="module")
def make_source(trained, task, tmp_path_factory):
    """The trained network with real training images, quiet or loud."""

    def make(loud=False):
        net = DigitNet()
        net.load_state_dict({name: value.clone() for name, value in trained.items()})
        net = net.turn_up_() if loud else net
        path = tmp_path_factory.mktemp("precision") / "float.onnx"
        export_onnx(net, (1, 8, 8), path, ExportSettings())
        images = task.batch(torch.arange(128), torch.Generator()).inputs
        return Source(net.eval(), (1, 8, 8), path, images)

    return make


@pytest.fixture(scope="module")
def quiet(make_source):
    return make_source()


@pytest.fixture(scope="module")
def loud(make_source):
    return make_source(loud=True)


@pytest.fixture(scope="module")
def yardstick(task):
    return Yardstick(task.example(100), partial(task.accuracy, held="validation"))


@pytest.mark.parametrize("name", ["fp16", "int8-ort-cpu", "int8-tensorrt"])
def test_a_trained_network_keeps_its_accuracy_in_every_profile(quiet, yardstick, name, tmp_path):
    record = make_file(PROFILES[name], quiet, yardstick, tmp_path / "made.onnx", SETTINGS)

    assert record.float_accuracy > 0.95
    assert record.search.accuracy >= record.float_accuracy - 0.02
    assert record.search.kept == ()
    assert record.figures.top1_agreement >= 0.97
    assert record.sha256 == sha256(tmp_path / "made.onnx")


def test_fp8_is_measured_and_gated_without_a_device(quiet, yardstick, tmp_path):
    record = make_file(PROFILES["fp8-tensorrt"], quiet, yardstick, tmp_path / "made.onnx", SETTINGS)

    assert record.measured_by == "onnxruntime-as-written"
    assert record.search.accuracy >= record.float_accuracy - 0.02
    assert len(record.search.kept) < 3


@pytest.mark.parametrize("name", ["bf16", "int8-openvino"])
def test_openvino_measures_what_is_made_for_it(quiet, yardstick, name, tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is an extra that is not installed")

    record = make_file(PROFILES[name], quiet, yardstick, tmp_path / "made.onnx", SETTINGS)

    assert record.measured_by == "openvino"
    assert record.search.accuracy >= record.float_accuracy - 0.02
    assert 0 < record.figures.relative_l2 < 0.05


def test_the_accuracy_in_the_record_is_that_of_the_file_that_stands(quiet, yardstick, tmp_path):
    path = tmp_path / "made.onnx"
    record = make_file(PROFILES["int8-ort-cpu"], quiet, yardstick, path, SETTINGS)

    again = yardstick.accuracy(predictor(OnnxRuntimeRunner(path, num_threads=1)))

    assert again == record.search.accuracy


def test_the_file_says_what_it_is_and_what_it_was_made_of(quiet, yardstick, tmp_path):
    make_file(PROFILES["int8-tensorrt"], quiet, yardstick, tmp_path / "made.onnx", SETTINGS)

    note = read_profile(tmp_path / "made.onnx")

    assert note.name == "int8-tensorrt"
    assert note.engines == ("tensorrt", "tensorrt-rtx")
    assert note.float_sha256 == sha256(quiet.float_path)
    assert note.calibration == {"method": "minmax", "num_images": 128}


def test_a_record_is_ready_for_json(quiet, yardstick, tmp_path):
    record = make_file(PROFILES["fp16"], quiet, yardstick, tmp_path / "made.onnx", SETTINGS)

    write_json(tmp_path / "record.json", record.to_json())

    assert read_json(tmp_path / "record.json")["search"]["exhausted"] is False


def test_images_go_through_a_runner_in_small_batches_and_come_back_in_order():
    sizes = []

    class Doubling:
        engine = "fake"

        def prepare(self, batch):
            self.batch = batch
            sizes.append(len(batch))

        def run(self):
            return 2 * self.batch

    images = torch.arange(150.0).view(-1, 1)

    assert torch.equal(predictor(Doubling())(images), 2 * images)
    assert sizes == [64, 64, 22]


@pytest.mark.parametrize("name", ["int8-ort-cpu", "int8-tensorrt", "fp16"])
def test_exactly_the_layer_of_enormous_outliers_stays_in_float32(loud, yardstick, name, tmp_path):
    record = make_file(PROFILES[name], loud, yardstick, tmp_path / "made.onnx", SETTINGS)

    assert record.search.kept == ("middle",)
    assert record.search.rebuilds[0].kept == ()
    assert record.search.rebuilds[0].accuracy < 0.5
    assert record.search.accuracy >= record.float_accuracy - 0.02


def test_the_kept_layer_is_not_quantised_in_the_file_and_its_neighbour_is(
    loud, yardstick, tmp_path
):
    make_file(PROFILES["int8-tensorrt"], loud, yardstick, tmp_path / "made.onnx", SETTINGS)

    graph = onnx.load(str(tmp_path / "made.onnx")).graph
    stored = {tensor.name for tensor in graph.initializer}

    weights = [node.input[1] for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert [name in stored for name in weights] == [False, True, False]


def test_spent_tries_leave_a_file_of_what_sufficed_and_say_so(loud, yardstick, tmp_path):
    few = SETTINGS.model_copy(update={"gate": GateSettings(max_evaluations=3)})

    path = tmp_path / "made.onnx"
    record = make_file(PROFILES["int8-ort-cpu"], loud, yardstick, path, few)

    assert record.search.exhausted
    assert "middle" in record.search.kept
    assert len(record.search.rebuilds) == 3
    again = yardstick.accuracy(predictor(OnnxRuntimeRunner(path, num_threads=1)))
    assert again == record.search.accuracy >= record.float_accuracy - 0.005


def test_a_single_try_that_fails_is_refused_by_name_and_no_file_is_left(loud, yardstick, tmp_path):
    one = SETTINGS.model_copy(update={"gate": GateSettings(max_evaluations=1)})

    with pytest.raises(CheckError, match=r"^made\.onnx \(profile int8-ort-cpu\): accuracy 0\."):
        make_file(PROFILES["int8-ort-cpu"], loud, yardstick, tmp_path / "made.onnx", one)

    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_outputs_are_no_numbers_is_refused_even_if_the_accuracy_is_right(
    loud, yardstick, tmp_path
):
    blind = Yardstick(yardstick.compared, lambda _predict: 1.0)

    with pytest.raises(CheckError, match=r"100 of 100 images made\.onnx \(profile fp16\) gives"):
        make_file(PROFILES["fp16"], loud, blind, tmp_path / "made.onnx", SETTINGS)


def test_no_images_to_compare_on_are_refused(quiet, yardstick, tmp_path):
    nothing = Yardstick(yardstick.compared[:0], yardstick.accuracy)

    with pytest.raises(DataError, match="no images to compare"):
        make_file(PROFILES["fp16"], quiet, nothing, tmp_path / "made.onnx", SETTINGS)


@pytest.mark.parametrize("drop", [-0.1, 1.5])
def test_a_drop_is_a_share(drop):
    with pytest.raises(ValidationError, match="max_accuracy_drop"):
        GateSettings(max_accuracy_drop=drop)


def test_nothing_is_printed(quiet, yardstick, tmp_path, capfd):
    entropy = SETTINGS.model_copy(
        update={"quant": QuantSettings(num_images=32, method="entropy", batch_size=32)}
    )

    make_file(PROFILES["int8-tensorrt"], quiet, yardstick, Path(tmp_path / "a.onnx"), entropy)

    assert capfd.readouterr() == ("", "")
