"""TensorRT's layers beside the exported graph: real ONNX files, and an engine that is a fake."""

import ctypes
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from compressor.commands.group import Commands
from compressor.doctor import engines
from compressor.doctor.command import doctor
from compressor.doctor.diagnosis import examine
from compressor.doctor.engines import NOT_MEASURED
from compressor.doctor.graphs import NETWORK, Exported, owners
from compressor.doctor.kernels import unplaced_share
from compressor.doctor.layer_times import layer_times
from compressor.doctor.settings import DoctorSettings
from compressor.doctor.tensorrt_times import (
    OVERHEAD_US,
    WARM_RUNS,
    build_plans,
    plan_times,
    profile_plans,
)
from compressor.doctor.text import as_text
from compressor.errors import CheckError, ModelError
from compressor.export.graph_count import onnx_macs
from compressor.files import sha256
from compressor.tensorrt.inspector import read_layers
from compressor.tensorrt.load import here
from compressor.tensorrt.module import Kit, open_kit
from compressor.tensorrt.settings import BuildSettings
from compressor.tensorrt.sidecar import Shapes, Sidecar, write_sidecar

from ..tensorrt.fakes import Context, Engine, FakeCuda, fake_module

BATCH = 2
IMAGES = np.ones((BATCH, 3, 16, 16), np.float32)
STRANGE = "Strange work"


def tensor(name, width):
    return {"Name": name, "Dimensions": [BATCH, width, 16, 16], "Datatype": "Float"}


def described(path):
    """A plan of the file as the inspector might show it: each convolution with what follows it."""
    nodes = list(onnx.load(path).graph.node)
    groups = []
    for node in nodes:
        if node.op_type in ("Conv", "ReduceMean", "Gemm") or not groups:
            groups.append([])
        groups[-1].append(node)
    layers = [
        {
            "Name": " + ".join(node.name for node in group),
            "LayerType": "CaskConvolution",
            "Metadata": "\x1f".join(f"[ONNX Layer: {node.name}]" for node in group),
            "Inputs": [tensor(group[0].input[0], 8)],
            "Outputs": [tensor(group[-1].output[0], 8)],
        }
        for group in groups
    ]
    moved = {"Name": "moved", "LayerType": "Reformat", "Inputs": [tensor("images", 3)]}
    layers[0]["Inputs"] = [tensor("packed", 3)]
    return [moved | {"Outputs": [tensor("packed", 3)]}, *layers, {"Name": STRANGE}]


class PlanContext(Context):
    """Writes one number wherever its output lies; its n-th run takes 1/n ms for each layer."""

    runs = 0

    def execute_async_v3(self, stream_handle):
        logits = (ctypes.c_float * (2 * self.shape[0])).from_address(self.tensors["logits"])
        logits[:] = [self.engine.written] * len(logits)
        return super().execute_async_v3(stream_handle)

    def report_to_profiler(self):
        self.runs += 1
        self.engine.told.append(self.engine.name)
        names = [layer["Name"] for layer in json.loads(self.engine.layers)["Layers"]]
        self.times = [(name, 1 / self.runs) for name in names]
        return super().report_to_profiler()


class PlanEngine(Engine):
    """Takes images, and shows the layers of a file."""

    def __init__(self, cuda, name, path):
        super().__init__(cuda.log)
        self.name, self.told, self.written = name, cuda.told, 0.0
        self.layers = json.dumps({"Layers": described(path)})

    def get_tensor_profile_shape(self, name, profile_index):  # noqa: ARG002 - the engine's own
        return [(1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16)]

    def create_execution_context(self):
        return PlanContext(self, self.log)


@pytest.fixture
def cuda():
    """A GPU; whose layers were timed stands in ``told``, in order."""
    fake = FakeCuda()
    fake.told = []
    return fake


@pytest.fixture
def times(networks):
    """The dense plan's layers beside its graph, after two runs of which one was slower."""
    found = read_layers(json.dumps({"Layers": described(networks["dense"])}), "net.plan")
    runs = [{layer.name: 0.01 * factor for layer in found} for factor in (2, 1)]
    exported = Exported(onnx.load(networks["dense"]).graph)
    return plan_times(found, [run | {"unlisted": 0.02} for run in runs], exported)


@pytest.fixture
def plans(networks, tmp_path, cuda):
    """A kit and two plans with their sidecars; the engine of a plan follows from its bytes."""
    engines = {name.encode(): PlanEngine(cuda, name, path) for name, path in networks.items()}
    kit = Kit("tensorrt", fake_module(None), cuda)
    kit.trt.Runtime.deserialize_cuda_engine = lambda _self, serialised: engines[serialised]
    files = {}
    for name, path in networks.items():
        files[name] = tmp_path / f"{name}.plan"
        files[name].write_bytes(name.encode())
        sizes = (BATCH, 3, 16, 16)
        sidecar = Sidecar(
            built_with=here(kit),
            settings=BuildSettings(),
            plan_sha256=sha256(files[name]),
            onnx_name=path.name,
            onnx_sha256=sha256(path),
            onnx_profile=None,
            onnx_precisions={"fp32": 4},
            shapes={"images": Shapes(min=sizes, opt=sizes, max=sizes)},
            sparse=None,
            precisions=None,
            not_inspected="it is a fake",
            warnings=(),
        )
        write_sidecar(files[name], sidecar)
    return SimpleNamespace(kit=kit, files=files, engines=engines)


def test_each_layer_belongs_to_the_module_of_the_weight_in_it(times):
    found = set(owners(times.exported, times.nodes, times.work).values())

    assert found == {"stem", "block.conv1", "block.conv2", NETWORK, "classifier"}


def test_the_layers_of_a_plan_share_all_macs_of_the_file(times, networks):
    layers = layer_times(networks["dense"], times, BATCH)

    assert sum(layer.macs for layer in layers.values()) == BATCH * onnx_macs(networks["dense"])
    assert (layers["stem"].in_channels, layers["stem"].out_channels) == (3, 32)


def test_the_fastest_run_of_a_layer_counts_and_its_bytes_are_those_of_its_tensors(times):
    kernel = next(kernel for kernel in times.kernels if kernel.op == "CaskConvolution")

    assert kernel.us == pytest.approx(10)
    assert kernel.moved_bytes == 4 * BATCH * (3 + 8) * 16 * 16


def test_a_reformat_in_front_belongs_to_the_layer_that_reads_it(times, networks):
    layers = layer_times(networks["dense"], times, BATCH)

    assert times.work["moved"] == []
    assert layers["stem"].layout_us == pytest.approx(10)
    assert layers["stem"].num_kernels == 2
    assert layers["stem"].fixed_us == 2 * OVERHEAD_US


def test_layers_that_hold_no_node_are_the_networks_own_and_their_share_is_told(times):
    found = owners(times.exported, times.nodes, times.work)
    total = sum(kernel.us for kernel in times.kernels)

    assert (found[STRANGE], found["unlisted"]) == (NETWORK, NETWORK)
    assert unplaced_share(times) == pytest.approx((10 + 20) / total)


def test_the_plans_run_by_turns_and_the_fastest_of_the_last_runs_counts(plans, networks, cuda):
    found = profile_plans(plans.kit, plans.files, networks, IMAGES, runs=2)

    assert cuda.told == ["dense", "slim", "slim", "dense"] * ((WARM_RUNS + 2) // 2)
    assert found["slim"].kernels[0].us == pytest.approx(1000 / (WARM_RUNS + 2))


def test_a_plan_of_another_file_is_refused(plans, networks):
    files = {"dense": networks["slim"]}

    with pytest.raises(ModelError, match=r"was built from another dense\.onnx"):
        profile_plans(plans.kit, {"dense": plans.files["dense"]}, files, IMAGES, runs=2)


def test_outputs_that_are_no_numbers_are_refused(plans, networks):
    plans.engines[b"slim"].written = float("nan")

    with pytest.raises(CheckError, match=r"For 2 of 2 images .*slim\.onnx gives NaN"):
        profile_plans(plans.kit, plans.files, networks, IMAGES, runs=2)


def test_without_a_device_nothing_is_built(networks, tmp_path):
    kit = Kit("tensorrt", fake_module(None), FakeCuda(available=False))

    with pytest.raises(ModelError, match="tensorrt needs a CUDA device"):
        build_plans(kit, networks, BATCH, tmp_path)

    assert list(tmp_path.glob("*.plan")) == []


@pytest.mark.engines
def test_a_run_is_taken_apart_with_real_builds_and_an_engine_that_is_a_fake(run, networks, cuda):
    rtx = open_kit("tensorrt-rtx", FakeCuda(available=False))
    opened = []
    runtime = fake_module(None).Runtime

    def open_next(_self, _serialised):
        # Each plan is opened twice: read back when it is built, then profiled.
        name = ("dense", "slim")[len(opened) % 2]
        opened.append(PlanEngine(cuda, name, networks[name]))
        return opened[-1]

    runtime.deserialize_cuda_engine = open_next
    fakes = {"Runtime": runtime, "TensorIOMode": fake_module(None).TensorIOMode}
    kit = Kit("tensorrt", SimpleNamespace(**{**vars(rtx.trt), **fakes}), cuda)

    found = examine(run, DoctorSettings(engine="tensorrt", batch_size=BATCH, runs=2), kit)

    rows = {row.name: row for row in found.rows}
    assert rows["block.conv1"].dense.out_channels == 32
    assert rows["block.conv1"].slim.out_channels == 18
    assert found.method["unmeasured"] == NOT_MEASURED
    assert found.method["gpu"]["name"] == "NVIDIA A10"
    assert set(found.method["unplaced_share"]) == {"dense", "slim"}
    assert len(found.top) == 3
    page = " ".join(as_text(found, width=200).split())
    assert "tensorrt, batch 2, NVIDIA A10, channels best in multiples of 8" in page
    assert "Not measured: TensorRT's layers could not be timed" in page
    assert f"take {OVERHEAD_US:g} us or less" in page
    json.dumps(found.to_json(), allow_nan=False)


@pytest.fixture
def invoke():
    group = Commands("compressor")
    group.add_command(doctor)
    return lambda *words: CliRunner().invoke(group, ["doctor", *map(str, words)])


def test_the_command_says_in_one_line_that_there_is_no_device(invoke, run, monkeypatch):
    kit = Kit("tensorrt", fake_module(None), FakeCuda(available=False))
    monkeypatch.setattr(engines, "open_kit", lambda _flavour: kit)

    result = invoke(run, "--engine", "tensorrt")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "tensorrt needs a CUDA device" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("option", [("--threads", 1), ("--clock", "wall")])
def test_options_of_the_cpu_are_refused_for_tensorrt(invoke, run, option):
    result = invoke(run, "--engine", "tensorrt", *option)

    assert result.exit_code == 2
    assert f"{option[0]} can only be given for --engine onnxruntime" in result.stderr


def test_the_help_calls_tensorrt_unmeasured(invoke):
    assert "not measured" in " ".join(invoke("--help").stdout.split())


@pytest.mark.gpu
def test_a_run_is_taken_apart_on_a_gpu(run):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    pytest.importorskip("tensorrt", reason="tensorrt is not installed", exc_type=ImportError)

    found = examine(run, DoctorSettings(engine="tensorrt", batch_size=BATCH, runs=5))

    rows = {row.name for row in found.rows}
    assert {"stem", "block.conv1", "block.conv2", "classifier"} <= rows
    assert found.slim_us > 0
    # What holds no node of the file would be time that nobody can act on.
    assert max(found.method["unplaced_share"].values()) < 0.5
