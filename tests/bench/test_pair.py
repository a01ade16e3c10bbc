import copy
import dataclasses
import io
import json
from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.bench import pair
from compressor.bench.engines import RUNNERS
from compressor.bench.pair import bench_pair
from compressor.bench.timer import BenchSettings
from compressor.console import Console
from compressor.engines import CpuEngine
from compressor.errors import CheckError, ModelError

QUICK = BenchSettings(
    batch_sizes=(1, 2), rounds=3, warmup_rounds=1, warmup_seconds=0, max_seconds=1
)
QUIET = Console(quiet=True)


@pytest.fixture
def fake_engine(monkeypatch, clock, fake, log):
    """The engine ``torch`` is a fake: 6 ms for networks named dense, 4 ms for slim ones."""

    def make(side, num_threads):
        return fake(side.module.name, {"dense": 6.0, "slim": 4.0}[side.module.name])

    monkeypatch.setitem(RUNNERS, "torch", make)
    monkeypatch.setitem(pair.CLOCKS, "wall", clock)
    return log


@pytest.fixture
def sides(side):
    def named(name):
        module = nn.Identity()
        module.name = name
        return dataclasses.replace(side, module=module)

    return named("dense"), named("slim")


def test_any_engine_of_the_cpu_can_be_asked_for_and_two_are_unless_said_otherwise():
    every = get_args(CpuEngine)
    assert BenchSettings(engines=every).engines == every
    assert BenchSettings().engines == ("onnxruntime", "torch")
    with pytest.raises(ValidationError, match="'onnxruntime', 'openvino' or 'torch'"):
        BenchSettings(engines=("tensorrt",))


@pytest.mark.parametrize("engine", get_args(CpuEngine))
def test_every_engine_computes_the_network(side, engine):
    pytest.importorskip(engine, reason="an extra that is not installed")
    batch = torch.randn(2, *side.image_shape)
    runner = RUNNERS[engine](side, 1)
    runner.prepare(batch)

    torch.testing.assert_close(runner.run(), side.module(batch).detach(), rtol=1e-4, atol=1e-5)
    assert runner.engine == engine


def test_real_engines_fill_a_record_of_plain_json(side):
    record = bench_pair(side, side, QUICK, QUIET)

    assert json.loads(json.dumps(record, allow_nan=False)) == record
    for name in ("dense", "slim", "speedup"):
        cells = {engine: list(batches) for engine, batches in record[name].items()}
        assert cells == {"onnxruntime": ["1", "2"], "torch": ["1", "2"]}
    assert record["dense"]["torch"]["2"]["samples"] == 3
    assert record["slim"]["onnxruntime"]["1"]["min"] > 0


def test_the_slim_network_in_two_thirds_of_the_time_is_one_and_a_half_times_as_fast(
    sides, fake_engine
):
    settings = QUICK.model_copy(update={"engines": ("torch",)})

    record = bench_pair(*sides, settings, QUIET)

    assert record["dense"]["torch"]["1"]["p50"] == pytest.approx(6.0)
    assert record["slim"]["torch"]["1"]["p50"] == pytest.approx(4.0)
    assert record["speedup"]["torch"]["2"] == pytest.approx(
        {"median": 1.5, "low": 1.5, "high": 1.5}
    )


def test_both_are_prepared_before_any_run_and_closed_after_the_last(sides, fake_engine):
    settings = QUICK.model_copy(update={"engines": ("torch",), "batch_sizes": (1,)})

    bench_pair(*sides, settings, QUIET)

    assert fake_engine[:2] == ["prepare dense", "prepare slim"]
    assert sorted(fake_engine[-2:]) == ["close dense", "close slim"]
    assert set(fake_engine[2:-2]) == {"dense", "slim"}


def test_the_record_says_how_it_was_measured(side):
    settings = QUICK.model_copy(update={"clock": "process", "engines": ("onnxruntime",)})

    method = bench_pair(side, side, settings, QUIET)["method"]

    assert method["clock"] == "process"
    assert method["num_threads"] == 1
    assert method["rounds"] == 3
    assert "interleaved" in method["order"]


def test_progress_names_engine_batch_and_ratio(sides, fake_engine):
    stream = io.StringIO()
    settings = QUICK.model_copy(update={"engines": ("torch",)})

    bench_pair(*sides, settings, Console(stream=stream))

    assert "torch, batch 2: 1.50 times as fast" in stream.getvalue()


def test_networks_for_different_images_are_not_compared(side):
    other = dataclasses.replace(side, image_shape=(3, 16, 16))

    with pytest.raises(ModelError, match=r"images of \[3, 8, 8\], the slim one of \[3, 16, 16\]"):
        bench_pair(side, other, QUICK, QUIET)


def test_a_network_that_gives_no_numbers_is_refused_and_not_timed(side):
    broken = copy.deepcopy(side.module)
    nn.init.constant_(broken[0].bias, float("inf"))
    settings = QUICK.model_copy(update={"engines": ("torch",)})

    with pytest.raises(CheckError, match=r"the slim network \(torch\) gives NaN or infinity"):
        bench_pair(side, dataclasses.replace(side, module=broken), settings, QUIET)
