import contextlib
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compressor.doctor import onnxruntime_times
from compressor.doctor.kernels import Kernel
from compressor.doctor.onnxruntime_times import (
    WARM_RUNS,
    kernels_of,
    name_after_kernels_,
    profile_files,
)
from compressor.errors import CheckError, MissingExtra

IMAGES = np.ones((1, 3, 16, 16), np.float32)


def event(name, us, op="Conv", category="Node"):
    arguments = {
        "op_name": op,
        "node_index": "0",
        "activation_size": "100",
        "output_size": "20",
        "parameter_size": "3",
    }
    return {"cat": category, "name": f"{name}_kernel_time", "dur": us, "args": arguments}


def test_the_fastest_of_the_runs_that_count_is_taken():
    events = [event("a", us) for us in (1, 1, 30, 20, 40)]

    assert WARM_RUNS == 2
    assert kernels_of(events, runs=3) == [Kernel("a", "Conv", 20.0, 120, 3)]


def test_a_kernel_called_twice_in_a_run_counts_twice():
    events = [event("a", 10)] * (2 * (WARM_RUNS + 2))

    assert kernels_of(events, runs=2)[0].us == 20.0


def test_kernels_come_in_the_order_in_which_they_run_and_other_events_are_left_out():
    one_run = [event("b", 5), event("session", 900, category="Session"), event("a", 5)]

    kernels = kernels_of(one_run * (WARM_RUNS + 1), runs=1)

    assert [kernel.name for kernel in kernels] == ["b", "a"]


def test_nodes_without_a_name_are_named_as_their_kernels_operator_by_operator():
    nodes = [
        onnx.helper.make_node(op, [], [], name=name)
        for op, name in (("Relu", ""), ("Mul", ""), ("Relu", "known"), ("Relu", ""))
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    order = (("Relu_7", "Relu"), ("Mul_9", "Mul"), ("known", "Relu"), ("Relu_8", "Relu"))

    name_after_kernels_(graph, [Kernel(name, op, 1.0, 0, 0) for name, op in order])

    assert [node.name for node in graph.node] == ["Relu_7", "Mul_9", "known", "Relu_8"]


def test_a_real_profile_has_every_node_of_the_engines_graph_once(networks):
    profiles = profile_files(networks, IMAGES, num_threads=1, runs=2)

    for found in profiles.values():
        assert [kernel.name for kernel in found.kernels] == [n.name for n in found.nodes]
        assert all(kernel.moved_bytes > 0 for kernel in found.kernels)


def test_the_files_take_turns_and_who_is_first_changes(networks, monkeypatch):
    real, order = onnxruntime_times._run, []

    def spy(path, session, images):
        order.append(path.stem)
        real(path, session, images)

    monkeypatch.setattr(onnxruntime_times, "_run", spy)
    profile_files(networks, IMAGES, num_threads=1, runs=1)

    assert order == ["dense", "slim", "slim", "dense", "dense", "slim"]


def test_only_the_runs_that_count_are_held_in_rounds(networks):
    entered = []

    class Watch:
        @contextlib.contextmanager
        def round(self):
            entered.append("in")
            yield
            entered.append("out")

    profile_files(networks, IMAGES, num_threads=1, runs=3, watch=Watch())

    assert entered == ["in", "out"] * 3


def test_nothing_is_left_in_the_working_directory(networks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    profile_files(networks, IMAGES, num_threads=1, runs=1)

    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_no_numbers_are_refused(networks, tmp_path):
    model = onnx.load(networks["slim"])
    bias = next(t for t in model.graph.initializer if t.name == "classifier.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(10, np.nan, np.float32), bias.name))
    onnx.save(model, tmp_path / "broken.onnx")

    with pytest.raises(CheckError, match=r"broken\.onnx gives NaN"):
        profile_files({"slim": tmp_path / "broken.onnx"}, IMAGES, num_threads=1, runs=1)


def test_a_missing_engine_is_named_with_its_install_command(networks, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingExtra, match="python -m pip install onnxruntime"):
        profile_files(networks, IMAGES, num_threads=1, runs=1)
