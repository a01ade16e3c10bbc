"""The step benchmark: exact bytes, honest ratios, bars that hold; never an absolute time."""

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from compressor.errors import CheckError
from compressor.settings import Settings
from compressor.sparsity.base import Method
from compressor.sparsity.catalog import METHODS
from compressor.sparsity.dense import Dense

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import bench_step  # the tools are no package
import bench_step_cases
from bench_step_cases import Case, Rare, cases
from bench_step_measure import (
    Setting,
    Times,
    memory_of,
    time_against_sgd,
    timing,
)
from bench_step_memory import LiveBytes
from bench_step_page import as_markdown, missed

CPU = torch.device("cpu")
ROW = {
    "model": "resnet18",
    "method": "dessilbi",
    "level": "unit",
    "form": {"twin": "filter"},
    "step_ratio": 1.05,
    "step_ratio_quartiles": [1.02, 1.09],
    "optimizer_ratio": 1.9,
    "optimizer_ratio_quartiles": [1.8, 2.1],
    "optimizer_share": 0.04,
    "optimizer_share_quartiles": [0.03, 0.05],
    "update_ratio": None,
    "sgd_step_ms": 300.0,
    "memory_ratio": 1.2,
    "peak_bytes": 120_000_000,
    "sgd_peak_bytes": 100_000_000,
    "state_bytes": 20_000_000,
    "twinned_bytes": 20_000_000,
    "missed": [],
}


@pytest.fixture(scope="module")
def tiny():
    """A network of one hidden layer with a norm, and a batch of six images of three by three."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4)]
        images = torch.randn(6, 3, 3, 3)
    return bench_step.make_setting(nn.Sequential(*layers), images, torch.arange(6) % 4, CPU)


class HolderSettings(Settings):
    method: Literal["holder"] = "holder"
    density: float


class Holder(Dense):
    """Keeps a copy of every parameter, like a method with one tensor of state."""

    def attach(self, model, optimizer, couplings):
        super().attach(model, optimizer, couplings)
        self.copies = [p.detach().clone() for p in model.parameters()]


@pytest.fixture
def holder(monkeypatch):
    """``Holder`` in the catalog; some of its steps are rare."""
    method = Method("holder", "none", "Holds.", HolderSettings, Holder)
    monkeypatch.setitem(METHODS, "holder", method)
    monkeypatch.setitem(bench_step_cases.RARE, "holder", Rare())
    return Case("holder", "unit", {})


def parameter_bytes(model):
    return sum(p.nbytes for p in model.parameters())


def test_each_storage_counts_once_until_its_last_view_is_gone():
    with LiveBytes() as meter:
        whole = torch.zeros(1000)
        part = whole.view(10, 100)[2:]
        assert meter.live() == 4000
        del whole
        assert meter.live() == 4000
        del part
        assert meter.live() == 0
    assert meter.peak == 4000


def test_the_peak_has_what_an_expression_needs_in_passing():
    with LiveBytes() as meter:
        values = torch.zeros(1000)
        meter.restart_peak()
        total = (values + 1).exp().sum()
        assert meter.live() == 4000 + 4
    assert meter.peak == 3 * 4000
    assert total > 0


def test_the_backward_pass_is_counted_with_what_the_forward_pass_saved():
    with LiveBytes() as meter:
        weights = torch.zeros(1000, requires_grad=True)
        loss = weights.exp().sum()
        assert meter.live() == 2 * 4000 + 4  # exp keeps its result
        loss.backward()
        assert meter.live() == 2 * 4000 + 4  # the gradient in its place
        weights.grad = None
        assert meter.live() == 4000 + 4


def test_what_was_there_before_counts_only_where_it_is_watched():
    before = torch.zeros(1000)
    with LiveBytes() as meter:
        view = before.view(10, 100)
        assert meter.live() == 0
        meter.watch([before, view])
        assert meter.live() == 4000
        before.add_(1)
        assert meter.live() == 4000


def test_a_storage_that_grows_counts_as_large_as_it_is():
    with LiveBytes() as meter:
        values = torch.zeros(10)
        values.resize_(1000)
        assert meter.live() == 4000


def test_sgd_keeps_parameters_momentum_buffers_and_the_batch(tiny):
    memory = memory_of(tiny, None)
    buffers = sum(b.nbytes for b in tiny.model.buffers())
    batch = tiny.images.nbytes + tiny.labels.nbytes
    assert memory.kept == 2 * parameter_bytes(tiny.model) + buffers + batch
    # While gradients are there as well.
    assert memory.peak >= memory.kept + parameter_bytes(tiny.model)


def test_the_state_of_a_method_is_counted_to_the_byte(tiny, holder):
    plain, held = memory_of(tiny, None), memory_of(tiny, partial(holder.make, 0.01))
    assert held.kept - plain.kept == parameter_bytes(tiny.model)
    assert held.peak - plain.peak == parameter_bytes(tiny.model)
    assert held.twinned is None


def test_the_twins_of_filters_are_as_large_as_the_filters(tiny):
    case = Case("dessilbi", "unit", {"twin": "filter"})
    memory = memory_of(tiny, partial(case.make, 0.01))
    assert memory.twinned == tiny.model[0].weight.nbytes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_allocator_counts_parameters_and_momentum(tiny):
    there = Setting(tiny.model, tiny.couplings, tiny.images, tiny.labels, torch.device("cuda"))
    memory = memory_of(there, None)
    assert memory.peak > memory.kept >= 2 * parameter_bytes(tiny.model)


def test_ratios_are_taken_within_rounds():
    rounds = [
        (Times(1.0, 0.1), Times(1.1, 0.2)),
        (Times(10.0, 1.0), Times(12.0, 3.0)),
        (Times(2.0, 0.5), Times(2.6, 0.5)),
    ]
    found = timing(rounds)
    assert found.step_ratio.median == pytest.approx(1.2)
    assert (found.step_ratio.low, found.step_ratio.high) == pytest.approx((1.15, 1.25))
    assert found.optimizer_ratio.median == pytest.approx(2.0)
    assert found.optimizer_share.median == pytest.approx(0.1)
    assert found.sgd_seconds == pytest.approx(2.0)


def test_training_that_overflows_is_no_timing(tiny):
    images = torch.full_like(tiny.images, torch.inf)
    broken = Setting(tiny.model, tiny.couplings, images, tiny.labels, CPU)
    make = partial(Case("dense", "unit", {}).make, 0.01)
    with pytest.raises(CheckError, match="not finite"):
        time_against_sgd(broken, make, 2, time.perf_counter)


def test_measuring_leaves_the_network_and_the_generator_as_they_were(tiny):
    before, state = tiny.model[0].weight.clone(), torch.get_rng_state()
    case = Case("dessilbi", "unit", {})
    time_against_sgd(tiny, partial(case.make, 0.01), 2, time.perf_counter)
    assert torch.equal(tiny.model[0].weight, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_every_method_is_measured_at_each_of_its_levels():
    found = {(case.method, case.level) for case in cases()}
    assert found == {(name, level) for name, method in METHODS.items() for level in method.levels}
    assert {case.level for case in cases(["dessilbi"], ["unit"])} == {"unit"}


def test_required_settings_are_given(holder):
    assert holder.settings().density == bench_step_cases.FALLBACK["density"]


class DemandingSettings(Settings):
    method: Literal["demanding"] = "demanding"
    hardness: float


def test_a_required_setting_that_nobody_knows_is_named_at_once(monkeypatch, capsys):
    method = Method("demanding", "none", "Demands.", DemandingSettings, Holder)
    monkeypatch.setitem(METHODS, "demanding", method)
    assert bench_step.main(["--methods", "demanding"]) == 2
    assert "demanding at level unit: hardness: Field required" in capsys.readouterr().err


def test_only_forms_with_a_schedule_have_rare_steps():
    assert Case("magnitude", "unit", {"schedule": "cubic", "density": 0.5}).has_rare
    assert not Case("magnitude", "unit", {}).has_rare
    assert not Case("dessilbi", "unit", {}).has_rare


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"step_ratio": 1.11}, ["step 1.110 > 1.10"]),
        ({"method": "itop", "twinned_bytes": None, "step_ratio": 1.2}, []),
        ({"method": "itop", "twinned_bytes": None, "step_ratio": 1.3}, ["step 1.300 > 1.25"]),
        ({"peak_bytes": 125_000_000}, []),
        ({"peak_bytes": 126_000_000}, ["memory +26.0 MB > 25.0 MB"]),
    ],
)
def test_a_row_names_the_bars_it_misses(changes, words):
    assert missed({**ROW, **changes}) == words


def test_a_missed_bar_is_told_and_has_exit_status_3(capsys):
    assert bench_step.verdict([ROW]) == 0
    assert capsys.readouterr().err == ""
    assert bench_step.verdict([ROW, {**ROW, "missed": ["step 1.30 > 1.10"]}]) == 3
    assert "MISSED: step 1.30 > 1.10" in capsys.readouterr().err


@pytest.fixture
def on_tiny(tiny, monkeypatch):
    """Let the tool measure the tiny network, whatever it is asked for, and no bar be missed."""
    monkeypatch.setattr(bench_step, "setting_of", lambda *_: tiny)
    # Of so short steps noise is most.
    monkeypatch.setattr(bench_step, "missed", lambda _: [])


def test_json_is_all_there_is_on_stdout(on_tiny, holder, capsys, tmp_path):
    words = ["--methods", "dense,dessilbi,holder", "--rounds", "2", "--device", "cpu", "--json"]
    assert bench_step.main([*words, "--docs", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["method"]: row for row in found["rows"] if row["model"] == "resnet18"}
    assert set(rows) == {"dense", "dessilbi", "holder"}
    assert all(set(row) == set(ROW) for row in rows.values())
    for row in found["rows"]:
        assert min(row["step_ratio"], row["optimizer_ratio"], row["memory_ratio"]) > 0
    assert rows["dense"]["state_bytes"] == 0 < rows["dessilbi"]["state_bytes"]
    assert rows["holder"]["update_ratio"] > 0
    assert rows["dense"]["update_ratio"] is None
    assert list(tmp_path.iterdir()) == []  # a table of some methods is not the published one


def test_a_full_run_writes_the_table_of_all_methods(on_tiny, capsys, tmp_path):
    assert bench_step.main(["--rounds", "2", "--device", "cpu", "--docs", str(tmp_path)]) == 0
    table = json.loads((tmp_path / "bench_step.json").read_text())
    assert {row["model"] for row in table["rows"]} == {"resnet18", "mobilenet_v2"}
    assert {row["method"] for row in table["rows"]} == set(METHODS)
    assert table["about"]["command"].startswith("tools/bench_step --rounds 2")
    assert (tmp_path / "bench_step.md").read_text() == as_markdown(table)
    assert len(capsys.readouterr().out.splitlines()) == len(table["rows"])


def test_the_page_shows_each_row_and_counts_the_missed():
    about = {
        **{"command": "tools/bench_step", "date": "2026-01-01", "versions": {"torch": "2"}},
        **{"device": "cpu", "cpu": "A CPU", "cores": 2, "torch_threads": 1, "isa_flags": []},
        **{"load_average": [0.5, 0.4, 0.3], "batch": 128, "rounds": 12},
    }
    bad = {**ROW, "method": "itop", "level": "weight", "update_ratio": 1.4, "missed": ["step"]}
    page = as_markdown({"about": about, "rows": [ROW, bad]})
    assert "| dessilbi `twin=filter` | unit | 1.050 (1.020 to 1.090) | 1.90, +4.0% |" in page
    assert "1 of 2 rows miss a bar" in page
    assert "A CPU, 2 cores" in page
    assert "Other programs" not in page
    busy = as_markdown({"about": {**about, "load_average": [3.5, 2, 1]}, "rows": [ROW]})
    assert "Other programs ran at the same time (3.5 on average" in busy


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["--models", "resnet19"], "resnet1"),
        (["--methods", "desilbi"], "dessilbi"),
        (["--levels", "units"], "unit"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(words, nearest, capsys):
    with pytest.raises(SystemExit) as ended:
        bench_step.main(words)
    assert ended.value.code == 2
    assert f"The nearest is {nearest}" in capsys.readouterr().err


def test_a_failure_is_one_line_with_its_exit_status(tiny, monkeypatch, capsys):
    images = torch.full_like(tiny.images, torch.inf)
    broken = Setting(tiny.model, tiny.couplings, images, tiny.labels, CPU)
    monkeypatch.setattr(bench_step, "setting_of", lambda *_: broken)
    words = ["--methods", "dense", "--rounds", "2", "--device", "cpu"]
    assert bench_step.main(words) == CheckError.exit_status
    assert len(capsys.readouterr().err.splitlines()) == 1
