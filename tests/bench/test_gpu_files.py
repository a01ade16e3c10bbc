import dataclasses
import json

import pytest

from compressor.bench import files, gpu_files
from compressor.bench.files import FilesSettings, bench_files
from compressor.bench.gpu_files import ways_of
from compressor.bench.nvml import Gauge
from compressor.bench.subjects import FILE_ENGINES, parse_subjects
from compressor.bench.text import as_text
from compressor.console import Console
from compressor.errors import ModelError

from .gpu_fakes import COPY_IN_MS, COPY_OUT_MS, FakeDevice, FakeLauncher, FakeNvml, Timeline

QUICK = FilesSettings(
    rounds=3, settling_runs=0, warmup_rounds=1, warmup_seconds=0, clock="cuda-events"
)
BOTH = QUICK.model_copy(update={"cuda_graph": "both"})
QUIET = Console(quiet=True)
COOL, HOT = (1980, 2619, 40, 120_000, 0x0), (1410, 2619, 85, 700_000, 0x44)


@pytest.fixture
def timeline():
    return Timeline()


@pytest.fixture
def launched(monkeypatch, timeline):
    """TensorRT is a fake that launches on a timeline; settings are those of ``FakeLauncher``."""
    real, settings = FILE_ENGINES["tensorrt"], {}
    made = dataclasses.replace(real, open=lambda *_: FakeLauncher(timeline, **settings))
    monkeypatch.setitem(FILE_ENGINES, "tensorrt", made)
    return settings


@pytest.fixture
def seen(monkeypatch):
    """There is a device, and NVML shows these states in turn."""

    def show(*looks):
        nvml = FakeNvml(*looks)
        nvml.nvmlInit()
        monkeypatch.setattr(files, "TorchCuda", FakeDevice)
        monkeypatch.setattr(gpu_files, "open_gauge", lambda _: (Gauge(nvml, "handle"), None))
        return nvml

    return show


@pytest.fixture
def plans(make_plan, launched):
    return parse_subjects([str(make_plan("tensorrt"))])


def test_both_ways_of_launching_are_two_subjects_of_one_comparison(plans, seen):
    seen(COOL)

    record = bench_files(plans, BOTH, QUIET)

    graph, stream = record["subjects"]
    assert record["reference"] == graph["name"] == f"{plans[0].path} (graph)"
    assert [row["runner"]["launched"] for row in (graph, stream)] == ["graph", "stream"]
    assert [row["latency_ms"]["p50"] for row in (graph, stream)] == pytest.approx([2.0, 3.0])
    assert stream["speedup"]["median"] == pytest.approx(2 / 3)
    assert record["method"]["cuda_graph"] == "both"
    assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize(("cuda_graph", "asked"), [("on", "graph"), ("off", "stream")])
def test_one_way_of_launching_keeps_the_subjects_name(plans, seen, cuda_graph, asked):
    seen(COOL)

    record = bench_files(plans, QUICK.model_copy(update={"cuda_graph": cuda_graph}), QUIET)

    (row,) = record["subjects"]
    assert row["name"] == str(plans[0].path)
    assert row["runner"]["asked"] == row["runner"]["launched"] == asked


def test_a_file_on_the_cpu_stays_one_subject_beside_both_ways(plans, onnx_path):
    timed = ways_of([*parse_subjects([str(onnx_path)]), *plans], "both")

    assert [way.launch for way in timed] == [None, "graph", "stream"]
    assert timed[0].name == str(onnx_path)


def test_a_capture_that_failed_is_recorded_with_its_reason_for_its_subject_alone(
    plans, launched, seen
):
    seen(COOL)
    launched["refusal"] = "no CUDA graph: not permitted"

    record = bench_files(plans, BOTH, QUIET)

    graph, stream = (row["runner"] for row in record["subjects"])
    assert (graph["asked"], graph["launched"]) == ("graph", "stream")
    assert graph["fallback"] == "no CUDA graph: not permitted"
    assert stream["fallback"] is None
    assert record["subjects"][0]["trtexec"]["flags"] == ["--noDataTransfers", "--useSpinWait"]


def test_transfers_stand_apart_and_no_copy_is_launched_before_the_last_timed_run(
    plans, seen, timeline
):
    seen(COOL)

    (row,) = bench_files(plans, QUICK, QUIET)["subjects"]

    copies = row["transfers_ms"]
    assert row["latency_ms"]["p50"] == pytest.approx(2.0)
    assert copies["h2d"]["p50"] == pytest.approx(COPY_IN_MS)
    assert copies["d2h"]["p50"] == pytest.approx(COPY_OUT_MS)
    assert copies["latency_mean"] == pytest.approx(2.0 + COPY_IN_MS + COPY_OUT_MS)
    last_launch = len(timeline.log) - 1 - timeline.log[::-1].index("graph")
    assert timeline.log.index("in") > last_launch
    assert (timeline.log.count("in"), timeline.log.count("out")) == (4, 4)  # one to make events


def test_under_wall_time_transfers_are_not_taken_apart(plans, seen, timeline):
    seen(COOL)

    (row,) = bench_files(plans, QUICK.model_copy(update={"clock": "wall"}), QUIET)["subjects"]

    assert row["transfers_ms"] is None
    assert row["trtexec"]["tool"] is None
    assert "in" not in timeline.log


def test_the_gpus_state_is_recorded_marked_and_given_back(plans, seen):
    nvml = seen(COOL, HOT)

    record = bench_files(plans, QUICK, QUIET)

    assert record["gpu"]["device"]["name"] == "NVIDIA A10"
    assert record["gpu"]["before"]["sm_mhz"] == 1980
    assert record["gpu"]["throttled"] == ["sw_power_cap", "hw_thermal_slowdown"]
    assert nvml.num_open == 0


def test_nvml_is_given_back_when_a_plan_cannot_be_opened(plans, seen, monkeypatch):
    nvml = seen(COOL)

    def broken(path, num_threads):
        raise ModelError("cannot be opened")

    opened = dataclasses.replace(FILE_ENGINES["tensorrt"], open=broken)
    monkeypatch.setitem(FILE_ENGINES, "tensorrt", opened)

    with pytest.raises(ModelError, match="cannot be opened"):
        bench_files(plans, QUICK, QUIET)

    assert nvml.num_open == 0


def test_a_state_that_cannot_be_read_is_said_in_record_and_page(plans, monkeypatch):
    monkeypatch.setattr(files, "TorchCuda", FakeDevice)
    monkeypatch.setattr(gpu_files, "open_gauge", lambda _: (None, "pynvml cannot be imported"))

    record = bench_files(plans, QUICK, QUIET)

    assert record["gpu"]["unavailable"] == "pynvml cannot be imported"
    assert record["gpu"]["throttled"] is None
    assert "were not looked at: pynvml cannot be imported" in as_text(record, 200)


def test_the_clock_of_a_gpu_and_a_file_on_the_cpu_are_refused_in_one_line(plans, onnx_path):
    subjects = [*plans, *parse_subjects([str(onnx_path)])]

    with pytest.raises(ModelError, match=r"net\.onnx runs on the CPU.*Use the clock wall") as told:
        bench_files(subjects, QUICK, QUIET)

    assert "\n" not in str(told.value)


@pytest.mark.parametrize("cuda_graph", ["off", "both"])
def test_a_cuda_graph_where_all_files_run_on_the_cpu_is_refused(onnx_path, cuda_graph):
    settings = FilesSettings(rounds=2, cuda_graph=cuda_graph)

    with pytest.raises(ModelError, match=f"--cuda-graph {cuda_graph} is for files on a GPU"):
        bench_files(parse_subjects([str(onnx_path)]), settings, QUIET)


def test_the_page_shows_launches_transfers_switches_and_throttling(plans, seen):
    seen(COOL, HOT)

    page = as_text(bench_files(plans, BOTH, QUIET), width=400)

    assert "(graph): launched from a CUDA graph." in page
    assert "(stream): launched kernel by kernel" in page
    assert "H2D 0.5 ms and D2H 0.25 ms (p50); in, run and out 2.75 ms (mean)" in page
    assert (
        "GPU Compute Time of trtexec 10.x under --noDataTransfers --useSpinWait --useCudaGraph; "
        "to its H2D Latency and D2H Latency, without --noDataTransfers" in page
    )
    assert "GPU: NVIDIA A10, compute capability 8.6, driver of unknown version." in page
    assert "SM clock 1980, 1410 (1410) MHz" in page
    assert "The GPU throttled (sw_power_cap, hw_thermal_slowdown)" in page


def test_the_page_says_when_nothing_throttled_or_when_nobody_could_know(plans, seen):
    seen(COOL)
    record = bench_files(plans, QUICK, QUIET)
    assert "No throttling at any look." in as_text(record, 200)

    record["gpu"] |= {"throttled": None, "refused": {"reasons": "Not Supported"}}
    page = as_text(record, 200)
    assert "Whether the GPU throttled is not known." in page
    assert "NVML did not give reasons: Not Supported." in page


def test_plans_of_11_are_comparable_under_the_tools_defaults(plans, launched, seen):
    seen(COOL)
    launched["version"] = "11.4.0.12"

    page = as_text(bench_files(plans, QUICK, QUIET), width=400)

    assert "trtexec 11.x under no switches: its defaults" in page
    assert "with --includeDataTransfers" in page


def test_files_on_the_cpu_have_no_gpu_in_their_record(onnx_path):
    settings = FilesSettings(rounds=2, clock="process")

    record = bench_files(parse_subjects([str(onnx_path)]), settings, QUIET)

    assert record["gpu"] is None
    assert record["method"]["cuda_graph"] is None
    assert record["subjects"][0]["trtexec"]["why_not"] == "CPU"
    assert "GPU" not in as_text(record, 200)
