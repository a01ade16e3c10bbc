"""Budgets in time on a small network: real layers, real files, real runs; no claim about speed."""

import io
from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.bench import staircase
from compressor.console import Console
from compressor.count import layer_macs
from compressor.couplings.trace import trace
from compressor.errors import BudgetError
from compressor.export.onnx import ExportSettings
from compressor.files import read_json
from compressor.stages import in_time
from compressor.stages.in_time import STORE_FILE, Measuring, Problem, say_in_time, solve_in_time
from compressor.strip import latency
from compressor.strip.budget import StripSettings
from compressor.strip.cost import Cost
from compressor.strip.target import OfAuto, TargetSettings
from compressor.structure import Path

IMAGE = (3, 24, 24)


def network():
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).eval()


def task(**chosen):
    torch.manual_seed(0)
    net, example = network(), torch.zeros(2, *IMAGE)
    couplings = trace(net, example)
    path = Path.of_scores("r", {c.name: torch.rand(c.num_units) for c in couplings.free})
    cost = Cost.of(net, couplings, layer_macs(net, example))
    return Problem(net, couplings, cost, path, StripSettings(round_to=16, **chosen))


@pytest.fixture
def around(tmp_path):
    console = Console(stream=io.StringIO())
    return Measuring(TargetSettings(), IMAGE, ExportSettings(), console, tmp_path)


class Idle:
    """A runner that nothing is asked of but to be there."""

    def prepare(self, batch):
        assert batch.shape == (1, *IMAGE)

    def close(self):
        pass


@pytest.fixture
def quick(monkeypatch):
    """Networks that are not built: 20 ms when dense, else by their MACs times a factor."""
    monkeypatch.setattr(in_time, "_runner", lambda *_: Idle())
    monkeypatch.setattr(in_time._Dense, "alone", lambda _dense: 20.0)

    def pretend(factor=1.0):
        def share(dense, structure):
            removed = {n: k.numel() - int(k.sum()) for n, k in structure.keep.items()}
            cost = dense.problem.cost
            return factor * cost.macs(removed) / cost.macs({})

        monkeypatch.setattr(in_time._Dense, "share", share)

    return pretend


def test_a_network_is_measured_and_all_of_it_recorded(around, tmp_path):
    structure, record = solve_in_time(task(keep_latency=0.5), around)
    assert 0 < structure.num_kept < structure.num_units
    assert all(width % 16 == 0 for width in structure.widths().values())
    assert record["asked"] == {
        "keep_latency": 0.5,
        "share": 0.5,
        "ms": pytest.approx(0.5 * record["dense_ms"]),
    }
    assert record["got"]["ms"] == pytest.approx(record["got"]["share"] * record["dense_ms"])
    assert record["got"]["share"] in [trial["got"] for trial in record["trials"]]
    assert record["method"]["clock"] == "process"
    (known,) = read_json(tmp_path / STORE_FILE).values()
    assert any(name.startswith("conv 64->64 ") for name in known["ms"])


@pytest.mark.parametrize(
    ("engine", "precision", "told"),
    [
        ("openvino", "fp32", "dense and slim: the float32 network"),
        ("onnxruntime", "int8", "dense and slim: an int8 file"),
    ],
)
def test_the_network_and_its_layers_are_measured_as_the_target_runs_them(
    around, tmp_path, monkeypatch, engine, precision, told
):
    pytest.importorskip(engine, reason="an extra that is not installed")
    # One width of each layer, few runs and no correction: what is reached is not claimed.
    monkeypatch.setattr(staircase, "SHARES", (1.0,))
    monkeypatch.setattr(in_time, "ROUNDS", 3)
    monkeypatch.setattr(latency, "MAX_CORRECTIONS", 0)
    target = TargetSettings(engine=engine, precision=precision)
    _, record = solve_in_time(task(keep_latency=0.9), replace(around, target=target))
    assert record["method"]["networks"].startswith(told)
    assert (record["target"]["engine"], record["target"]["precision"]) == (engine, precision)
    (known,) = read_json(tmp_path / STORE_FILE).values()
    assert (known["key"]["engine"], known["key"]["precision"]) == (engine, precision)
    assert any(name.startswith("conv 64->64 ") for name in known["ms"])


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_what_the_prediction_misses_is_corrected(around, quick, factor):
    quick(factor)
    _, record = solve_in_time(task(keep_latency=0.5), around)
    first, *others = record["trials"]
    assert others
    assert (others[0]["aimed"] > 0.5) == (first["got"] < 0.5)
    assert record["error"] == min(abs(trial["got"] / 0.5 - 1) for trial in record["trials"])
    assert record["error"] < abs(first["got"] / 0.5 - 1)
    assert record["met"] == (record["error"] <= 0.1)


def test_milliseconds_are_a_share_of_the_dense_network(around, quick):
    quick()
    _, record = solve_in_time(task(latency_ms=12.0), around)
    assert (record["asked"]["share"], record["asked"]["ms"]) == (0.6, 12.0)
    assert record["asked"]["latency_ms"] == 12.0


def test_more_time_than_the_dense_network_takes_keeps_everything(around, quick):
    quick()
    structure, record = solve_in_time(task(latency_ms=50.0), around)
    assert structure.sparsity == 0
    assert record["asked"]["share"] == 1


def test_a_time_below_the_floors_is_refused_with_what_they_take(around, quick):
    quick(2.0)
    with pytest.raises(BudgetError, match="strip.keep_latency = 0.02: the floors alone") as error:
        solve_in_time(task(keep_latency=0.02), around)
    assert "take 2.84 ms, 0.142 of the dense network's 20 ms" in str(error.value)
    assert "lower strip.floor_share (0.1) or strip.round_to (16)." in str(error.value)


def test_a_multiple_that_was_left_to_the_target_is_named_as_it_was_written(around, quick):
    quick(2.0)
    problem = task(keep_latency=0.02)
    auto = problem.settings.model_copy(update={"round_to": OfAuto(16)})
    with pytest.raises(BudgetError, match=r'strip.round_to \("auto", which is 16 here\)'):
        solve_in_time(replace(problem, settings=auto), around)


def test_floors_that_are_quicker_than_predicted_are_not_refused(around, quick):
    quick(0.2)
    structure, record = solve_in_time(task(keep_latency=0.025), around)
    assert structure.num_kept > 0
    assert record["got"]["share"] < 0.03


def test_a_target_that_cannot_be_timed_is_refused_before_anything_is_measured(around, monkeypatch):
    monkeypatch.setattr(in_time, "_runner", lambda *_: pytest.fail("nothing should be built"))
    elsewhere = replace(around, target=TargetSettings(engine="tensorrt"))
    with pytest.raises(BudgetError, match="cannot be measured layer by layer yet"):
        solve_in_time(task(keep_latency=0.5), elsewhere)


def test_layers_that_were_measured_before_are_not_measured_again(around, quick, monkeypatch):
    quick()
    solve_in_time(task(keep_latency=0.5), around)
    monkeypatch.setattr(staircase, "measure", lambda *_: pytest.fail("measured again"))
    solve_in_time(task(keep_latency=0.6), around)


def said(**changed):
    record = {
        "asked": {"keep_latency": 0.5, "share": 0.5, "ms": 5.0},
        "predicted": {"share": 0.49, "ms": 4.9},
        "got": {"share": 0.52, "ms": 5.2},
        "dense_ms": 10.0,
        "error": 0.04,
        "met": True,
        "target": {"engine": "onnxruntime", "precision": "fp32"},
        **changed,
    }
    stream = io.StringIO()
    say_in_time(record, Console(stream=stream))
    return " ".join(stream.getvalue().split())


def test_asked_predicted_and_got_are_told():
    assert (
        "5.2 ms of 10 ms, 52.0% of the dense network's latency on onnxruntime fp32; asked 50.0%, "
        "predicted 49.0%" in said()
    )
    assert "warning" not in said()


def test_a_budget_that_is_missed_is_a_warning():
    assert "warning: The budget in time is missed by 14%" in said(met=False, error=0.14)
