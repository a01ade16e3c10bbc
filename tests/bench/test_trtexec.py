import pytest

from compressor.bench.trtexec import COMPUTE_FLAGS, TOOLS, TRANSFER_FLAGS, comparable, gpu_facts


def told(launched, version):
    return {"asked": "graph", "launched": launched, "engine_version": version}


@pytest.mark.parametrize(
    ("flavour", "version", "launched", "tool", "flags"),
    [
        (
            *("tensorrt", "10.16.1.11", "graph", "trtexec 10.x"),
            ["--noDataTransfers", "--useSpinWait", "--useCudaGraph"],
        ),
        (
            *("tensorrt", "10.12.0", "stream", "trtexec 10.x"),
            ["--noDataTransfers", "--useSpinWait"],
        ),
        ("tensorrt", "11.4.0", "graph", "trtexec 11.x", []),
        ("tensorrt", "11.4.0", "stream", "trtexec 11.x", ["--noCudaGraph"]),
        (
            *("tensorrt-rtx", "1.7.1.116", "stream", "tensorrt_rtx 1.x"),
            ["--rtxCudaGraphStrategy=disable"],
        ),
    ],
)
def test_a_row_names_the_tool_that_loads_its_plan_and_the_switches_that_time_the_same(
    flavour, version, launched, tool, flags
):
    found = comparable(flavour, "cuda-events", told(launched, version))

    assert (found["tool"], found["figure"], found["flags"]) == (tool, "GPU Compute Time", flags)
    assert found["why_not"] is None


def test_transfers_are_on_by_default_in_10_and_asked_for_in_11():
    ten = comparable("tensorrt", "cuda-events", told("graph", "10.16"))["transfers"]
    eleven = comparable("tensorrt", "cuda-events", told("graph", "11.1"))["transfers"]

    assert ten.startswith("H2D Latency and D2H Latency")
    assert "without --noDataTransfers" in ten
    assert "with --includeDataTransfers" in eleven


def test_wall_time_of_a_gpu_is_comparable_to_nothing_and_says_why():
    found = comparable("tensorrt", "wall", told("graph", "10.16"))

    assert (found["tool"], found["flags"]) == (None, None)
    assert "the clock wall holds each output's copy" in found["why_not"]


def test_a_cpu_is_comparable_to_nothing():
    assert comparable("onnxruntime", "wall", {})["why_not"] == "CPU"


def test_a_release_whose_defaults_are_not_known_is_said_and_not_guessed():
    found = comparable("tensorrt", "cuda-events", told("graph", "12.0"))

    assert found["tool"] is None
    assert "tensorrt 12.0" in found["why_not"]


def test_every_tool_has_its_switches_for_both_ways_of_launching():
    tools = {tool for releases in TOOLS.values() for tool in releases.values()}

    assert tools == set(COMPUTE_FLAGS) == set(TRANSFER_FLAGS)
    assert all(set(ways) == {"graph", "stream"} for ways in COMPUTE_FLAGS.values())


def test_a_records_facts_of_a_gpu_change_with_the_clock():
    assert gpu_facts("wall") == {}
    assert "GPU Compute Time" in gpu_facts("cuda-events")["comparable_to_trtexec"]
