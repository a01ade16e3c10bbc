"""Several processes, and one that is killed."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from compressor.train.checkpoint import load_state
from compressor.train.loop import Surroundings

from ..methods import CASES, case_id, eager

WORKER = Path(__file__).with_name("worker.py")
PATIENCE_SECONDS = 300


def start(order, **environment):
    command = [sys.executable, str(WORKER), json.dumps(order)]
    return subprocess.Popen(command, env={**os.environ, **environment})


@pytest.fixture
def worker():
    return runpy.run_path(str(WORKER))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def run_two(folder, norm, cases):
    """Two processes that train with each of ``cases`` (settings by name); what each left behind."""
    order = {"out": str(folder), "threads": 1, "norm": norm, "cases": cases}
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    processes = [start(order, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)]
    try:
        assert [process.wait(PATIENCE_SECONDS) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {name: [load_state(folder / f"{name}-{rank}") for rank in range(2)] for name in cases}


def settings_of(cases):
    return {case_id(case): eager(case).model_dump(mode="json") for case in cases}


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """What two processes left behind, for every method at every level."""
    return run_two(tmp_path_factory.mktemp("norm"), True, settings_of(CASES))


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_two_processes_end_with_the_same_weights_and_structure(case, of_two, same):
    first, second = of_two[case_id(case)]
    for part in ("weights", "structure", "path"):
        assert same(first[part], second[part]), part
    assert first["history"][-1]["step"] == 12


def test_two_processes_give_what_one_gives(tmp_path, worker, same):
    found = run_two(tmp_path, False, {"plain": worker["ENTERS_SOON"].model_dump(mode="json")})
    first, second = found["plain"]
    assert same(first["weights"], second["weights"])
    alone = worker["result"](worker["make_job"](), Surroundings(device="cpu"))
    for name, value in alone["weights"].items():
        assert torch.allclose(first["weights"][name], value, atol=1e-5), name
    assert same(first["structure"], alone["structure"])
    assert alone["structure"]["0"].any()
    assert first["history"][-1]["step"] == alone["history"][-1]["step"] == 12


def test_a_killed_process_is_gone_on_with_bit_for_bit(tmp_path, worker, same):
    point = tmp_path / "point"
    # Sums over several threads are taken in another order, so both must have as many.
    process = start({"kill": str(point), "threads": torch.get_num_threads()})
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (point / "state.json").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
            assert process.poll() is None, "the process ended by itself"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 1 <= load_state(point)["step"] < 12
    again = Surroundings(device="cpu", checkpoints=point, resume=True)
    resumed = worker["result"](worker["make_job"](), again)
    straight = worker["result"](worker["make_job"](), Surroundings(device="cpu"))
    assert same(resumed, straight)
