"""Growing on real digits: rounds, the film, going on where it was stopped."""

import copy
import itertools
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.count import layer_macs
from compressor.couplings.trace import trace
from compressor.errors import CheckError
from compressor.files import read_json
from compressor.grow import rounds
from compressor.grow.carry import changed_by
from compressor.grow.film import under_way
from compressor.grow.growth import Growth, clock
from compressor.grow.rounds import FILM_FILE, grow
from compressor.grow.settings import GrowSettings
from compressor.grow.widths import Ceiling, Limits
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.strip.budget import removed_units
from compressor.strip.cost import Cost
from compressor.structure import NEVER, Structure
from compressor.train.checkpoint import load_state
from compressor.train.loop import Surroundings, _Loop, steps_per_epoch

GROW = GrowSettings(start_share=0.34, round_epochs=1, growth=1.3, saturated=0.5)


@pytest.fixture
def growth(make_job, make_net):
    def make(epochs=4, settings=GROW, method=SplitLBI, **more):
        training = {"batch_size": 64, "lr": 0.1, "schedule": "constant", **more}
        job = make_job(epochs=epochs, **training)
        full, task = job.model, job.task
        couplings = trace(full, task.example(2))
        cost = Cost.of(full, couplings, layer_macs(full, task.example(2)))
        horizon = clock(job.settings, settings, steps_per_epoch(task, job.settings), 0)

        def macs(structure):
            return cost.macs(removed_units(structure))

        whole = cost.macs({})
        ceiling = Ceiling("ceiling_macs", settings.ceiling_macs, lambda s: macs(s) / whole)
        return Growth(
            full=full,
            limits=Limits(
                couplings,
                {c.name: 1 for c in couplings.free},
                {c.name: 1 for c in couplings.free},
                [ceiling],
            ),
            settings=settings,
            job=job,
            sparsifier=lambda: method(SplitLBISettings(), horizon),
            inputs=task.example(4),
            macs=macs,
        )

    return make


def grown(growth, folder):
    return grow(growth, Surroundings(device="cpu"), folder)


@pytest.fixture(params=["split", "fresh"])
def new_units(request):
    return GROW.model_copy(update={"new_units": request.param})


def test_the_network_grows_and_keeps_its_function_each_time(growth, tmp_path, new_units):
    made = grown(growth(settings=new_units), tmp_path)
    changes = [f["change_of_outputs"] for f in made.film if "change_of_outputs" in f]
    assert changes
    assert max(changes) < 1e-6
    widths = [sum(frame["widths"].values()) for frame in made.film]
    assert widths == sorted(widths)
    assert widths[-1] > widths[0]


def test_the_film_adds_up_what_the_training_cost(growth, tmp_path):
    made = grown(growth(), tmp_path)
    images, spent = 0, 0
    for frame in made.film:
        spent += frame["macs"] * (frame["step"] * 64 - images)
        images = frame["step"] * 64
        assert frame["forward_macs"] == spent
    assert made.history[-1]["epoch"] == 4


def test_the_path_speaks_of_the_full_network(growth, tmp_path):
    plan = growth()
    made = grown(plan, tmp_path)
    for coupling in plan.limits.couplings.free:
        units, kept = made.path.couplings[coupling.name], made.cutting.structure.keep
        assert len(units) == coupling.num_units
        assert (units.entry_step[~kept[coupling.name]] == -1).all()


class EverySecond(SplitLBI):
    """Every second unit has entered, the others never do, whatever the training says."""

    def structure(self):
        keep = super().structure().keep
        return Structure({name: torch.arange(len(kept)) % 2 == 0 for name, kept in keep.items()})

    def path(self):
        def units(found):
            entered = torch.arange(len(found)) % 2 == 0
            never = torch.full_like(found.entry_step, NEVER)
            return replace(
                found,
                entry_step=torch.where(entered, 1, never),
                entry_time=torch.where(entered, 1.0, torch.inf).double(),
            )

        path = super().path()
        return replace(path, couplings={n: units(found) for n, found in path.couplings.items()})


class Stop(Exception):
    pass


def assert_same(one, other):
    for name, tensor in one.model.state_dict().items():
        assert other.model.state_dict()[name].equal(tensor), name
    assert json.dumps(other.film) == json.dumps(one.film)


@pytest.mark.parametrize("optimizer", [{}, {"optimizer": "adamw", "lr": 0.005}])
def test_what_is_stopped_inside_a_round_goes_on_as_if_it_had_not_been(
    growth, tmp_path, monkeypatch, optimizer
):
    optimizer = optimizer | {"method": EverySecond}
    whole = grown(growth(**optimizer), tmp_path / "whole")
    assert all("change_of_outputs" in frame for frame in whole.film[:2])
    original, count = _Loop._train_step, []

    def stopping(self, *args):
        count.append(self)
        if len(count) == 50:  # of twenty in an epoch, so in the middle of the third round
            raise Stop
        original(self, *args)

    often = Surroundings(device="cpu", checkpoint_seconds=0.0)
    with monkeypatch.context() as patched:
        patched.setattr(_Loop, "_train_step", stopping)
        with pytest.raises(Stop):
            grow(growth(**optimizer), often, tmp_path / "stopped")
    state = load_state(tmp_path / "stopped" / "round-2")
    assert state["step"] == 49
    assert_same(whole, grow(growth(**optimizer), often, tmp_path / "stopped"))


def test_what_is_stopped_between_rounds_goes_on_as_if_it_had_not_been(
    growth, tmp_path, monkeypatch
):
    whole = grown(growth(), tmp_path / "whole")
    original, count = rounds.train, []

    def stopping(job, around):
        count.append(job)
        if len(count) == 3:
            raise Stop
        return original(job, around)

    monkeypatch.setattr(rounds, "train", stopping)
    with pytest.raises(Stop):
        grown(growth(), tmp_path / "stopped")
    assert read_json(tmp_path / "stopped" / FILM_FILE)["film"]
    monkeypatch.setattr(rounds, "train", original)
    assert_same(whole, grown(growth(), tmp_path / "stopped"))


def test_a_ceiling_is_not_passed(growth, tmp_path):
    low = GROW.model_copy(update={"ceiling_macs": 0.4})
    made = grown(growth(settings=low), tmp_path)
    assert made.film[-1]["macs_share"] <= 0.4


def test_growing_ends_when_nothing_grows_and_nothing_enters(growth, tmp_path):
    never = GrowSettings(start_share=1.0, round_epochs=1, entry_rounds=0.2)
    made = grown(growth(epochs=12, settings=never), tmp_path)
    assert made.history[-1]["epoch"] < 12


def frame(widths, entered):
    return {"widths": widths, "entered": entered}


def test_a_path_that_has_not_reached_a_coupling_is_under_way():
    assert under_way([frame({"a": 4, "b": 4}, {"a": 1.0, "b": 0.0})])


def test_units_that_still_enter_are_under_way():
    first = frame({"a": 4}, {"a": 0.25})
    assert under_way([first, frame({"a": 4}, {"a": 0.5})])
    assert not under_way([first, frame({"a": 4}, {"a": 0.25})])


def test_units_are_counted_whole_whatever_their_share_is_of():
    assert 1 / 49 * 49 < 1 / 50 * 50
    assert not under_way([frame({"a": 49}, {"a": 1 / 49}), frame({"a": 50}, {"a": 1 / 50})])


def test_a_growth_that_changes_the_output_is_refused():
    inputs = torch.randn(3, 2)
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    with pytest.raises(CheckError, match="Widening changed the output"):
        changed_by(one, other, inputs)


def test_a_growth_is_judged_in_double_precision_where_a_millionth_shows():
    inputs, one = torch.randn(3, 2), nn.Linear(2, 2)
    other = copy.deepcopy(one)
    with torch.no_grad():
        other.bias.add_(3e-6 * float(one(inputs).abs().max()))
    with pytest.raises(CheckError, match=r"changed the output by 3\..e-06, more than 1e-06"):
        changed_by(one, other, inputs)
    change = changed_by(one, copy.deepcopy(one), inputs)
    assert (change.in_float64, change.in_float32) == (0.0, 0.0)
    assert one.weight.dtype == torch.float32


def test_each_round_is_told_when_it_is_over_with_what_follows(growth, tmp_path):
    plan, told, epochs = growth(), [], []
    around = Surroundings(device="cpu", on_epoch=lambda record: epochs.append(record["epoch"]))
    made = grow(plan, around, tmp_path, lambda frame: told.append((epochs[-1], dict(frame))))
    assert told == [(frame["epoch"], frame) for frame in made.film]
    whole = plan.macs(plan.limits.couplings.everything()) * made.film[-1]["step"] * 64
    for frame, after in itertools.pairwise(made.film):
        assert frame["next_widths"] == after["widths"]
        wider = sum(after["widths"].values()) > sum(frame["widths"].values())
        assert ("change_of_outputs" in frame) is ("change_of_outputs_fp32" in frame) is wider
        rest = after["macs"] * (made.film[-1]["step"] - frame["step"]) * 64
        at_end = (frame["forward_macs"] + rest) / whole
        assert frame["cost_share_at_end"] == pytest.approx(at_end)
    last = made.film[-1]
    assert last["next_widths"] is None
    assert last["cost_share_at_end"] == last["cost_share"] < 1


def test_the_clock_lets_a_unit_of_constant_norm_enter_after_the_rounds_asked_for(make_job):
    job = make_job(epochs=10, batch_size=64, lr=0.1, schedule="constant")
    per_epoch = steps_per_epoch(job.task, job.settings)
    settings = GrowSettings(round_epochs=2, entry_rounds=3.0)
    horizon = clock(job.settings, settings, per_epoch, 0)
    method = SplitLBI(SplitLBISettings(), horizon)
    assert method.nu == pytest.approx(SplitLBI(SplitLBISettings(entry_share=0.35), horizon).nu)
    assert horizon.path_time * 0.35 == pytest.approx(3 * 2 * per_epoch * 0.1)


def test_what_never_entered_is_stripped_and_its_macs_are_spent(growth, tmp_path):
    settings = GROW.model_copy(update={"start_share": 0.8, "strips": 1, "saturated": 1.0})
    made = grown(growth(epochs=6, settings=settings, method=EverySecond), tmp_path)
    # Nothing is ever saturated, and after a round without an entry nothing is under way.
    (place,) = (n for n, frame in enumerate(made.film) if "stripped_to" in frame)
    before, after = made.film[place], made.film[place + 1]
    less = before["stripped_to"]
    assert less == {name: (width + 1) // 2 for name, width in before["widths"].items()}
    assert all(after["widths"][name] >= less[name] for name in less)
    assert sum(after["widths"].values()) > sum(less.values())
    assert after["macs"] <= before["macs"]
    assert before["change_of_outputs"] < 1e-6
    # There is one strip, and then the network has its size before the last epoch.
    assert made.history[-1]["epoch"] < 6
