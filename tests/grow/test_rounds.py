"""Growing on real digits: rounds, the film, going on where it was stopped."""

import json

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
from compressor.train.loop import Surroundings, steps_per_epoch

GROW = GrowSettings(start_share=0.34, round_epochs=1, growth=1.3, saturated=0.5)


@pytest.fixture
def growth(make_job, make_net):
    def make(epochs=4, settings=GROW, **more):
        job = make_job(epochs=epochs, batch_size=64, lr=0.1, schedule="constant", **more)
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
            sparsifier=lambda: SplitLBI(SplitLBISettings(), horizon),
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


class Stop(Exception):
    pass


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
    again = grown(growth(), tmp_path / "stopped")
    for name, tensor in whole.model.state_dict().items():
        assert again.model.state_dict()[name].equal(tensor), name
    assert json.dumps(again.film) == json.dumps(whole.film)


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


def test_a_growth_that_changes_the_output_is_refused():
    inputs = torch.randn(3, 2)
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    with pytest.raises(CheckError, match="Widening changed the output"):
        changed_by(one, other, inputs)


def test_the_clock_lets_a_unit_of_constant_norm_enter_after_the_rounds_asked_for(make_job):
    job = make_job(epochs=10, batch_size=64, lr=0.1, schedule="constant")
    per_epoch = steps_per_epoch(job.task, job.settings)
    settings = GrowSettings(round_epochs=2, entry_rounds=3.0)
    horizon = clock(job.settings, settings, per_epoch, 0)
    method = SplitLBI(SplitLBISettings(), horizon)
    assert method.nu == pytest.approx(SplitLBI(SplitLBISettings(entry_share=0.35), horizon).nu)
    assert horizon.path_time * 0.35 == pytest.approx(3 * 2 * per_epoch * 0.1)


def test_what_never_entered_is_stripped_and_its_macs_are_spent(growth, tmp_path):
    settings = GROW.model_copy(update={"strips": 1, "saturated": 1.0, "entry_rounds": 0.6})
    made = grown(growth(epochs=14, settings=settings), tmp_path)
    place = next((n for n, f in enumerate(made.film) if "stripped_to" in f), None)
    assert place is not None, "this run must strip"
    before, after = made.film[place], made.film[place + 1]
    less = before["stripped_to"]
    assert sum(less.values()) < sum(before["widths"].values())
    assert all(after["widths"][name] >= less[name] for name in less)
    assert after["macs"] <= before["macs"]
    assert sum("stripped_to" in frame for frame in made.film) == 1
