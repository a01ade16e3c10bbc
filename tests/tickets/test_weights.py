"""Which weights the stripped network is tuned from, as the section ``ticket`` says."""

import pytest
import torch
from safetensors.torch import load_file

from compressor.errors import BudgetError, RecipeError
from compressor.files import read_json, sha256, write_json
from compressor.pipeline import STAGES
from compressor.recipe import find_recipe, load_recipe
from compressor.run import Run
from compressor.stages.keys import settings_of
from compressor.stages.ticket import TICKET_FILE, tuned_from
from compressor.strip.apply import apply
from compressor.strip.plan import StripPlan
from compressor.tickets.file import tensors_sha256
from compressor.train.mask_file import load_masks
from compressor.train.ticket import TicketSettings

MAGNITUDE = {
    "weight": "sparsity={method='magnitude', level='weight', density=0.5}",
    "2:4": "sparsity={method='magnitude', level='2:4'}",
}


def weights_of(folder, name="strip/weights.safetensors"):
    return load_file(folder / name)


def equal(first, second):
    return first.keys() == second.keys() and all(first[n].equal(second[n]) for n in first)


def cut(folder, full):
    """The tensors of the full network after the plan of a run."""
    plan = StripPlan.from_json(read_json(folder / "strip" / "plan.json"))
    return apply(plan, full).state_dict()


def test_the_weights_found_are_kept_unless_a_recipe_says_otherwise(tmp_path, digits_in):
    digits_in(tmp_path / "run")
    certificate = read_json(tmp_path / "run/strip/certificate.json")
    found = weights_of(tmp_path / "run")
    assert tensors_sha256(found) == certificate["slim_sha256"]
    assert not (tmp_path / "run/strip" / TICKET_FILE).exists()


def test_rewound_weights_are_those_that_the_search_started_from(
    stripped_copy, digits_in, searched_from
):
    before = read_json(stripped_copy / "strip/certificate.json")
    said = digits_in(stripped_copy, "ticket.weights=rewind")
    assert equal(weights_of(stripped_copy), cut(stripped_copy, searched_from()))
    record = read_json(stripped_copy / "strip" / TICKET_FILE)
    assert (record["weights"], record["seed"], record["file"]) == ("rewind", 0, None)
    assert "tuning starts from other weights than were found (ticket.weights = rewind)" in said
    # The certificate goes on speaking of what was searched.
    assert read_json(stripped_copy / "strip/certificate.json") == before


def test_weights_of_the_dense_network_are_cut_by_the_plan_of_the_search(
    stripped_copy, digits_in, searched_from
):
    before = read_json(stripped_copy / "strip/certificate.json")
    said = digits_in(stripped_copy, "ticket.weights=dense")
    full = searched_from()
    full.load_state_dict(load_file(stripped_copy / "dense/weights.safetensors"))
    assert equal(weights_of(stripped_copy), cut(stripped_copy, full))
    assert read_json(stripped_copy / "strip" / TICKET_FILE)["stage"] == "dense"
    assert "(ticket.weights = dense)" in said
    assert read_json(stripped_copy / "strip/certificate.json") == before
    digits_in(stripped_copy, "ticket.weights=dense", "dense.lr=0.05")
    full.load_state_dict(load_file(stripped_copy / "dense/weights.safetensors"))
    assert equal(weights_of(stripped_copy), cut(stripped_copy, full)), "of the dense network anew"


def test_tuning_starts_from_the_rewound_weights(tmp_path, digits_in):
    # So small a rate moves no weight.
    overrides = ("ticket.weights=rewind", "tune.lr=1e-30", "tune.norm_batches=2")
    digits_in(tmp_path / "run", *overrides, until="tune")
    start = weights_of(tmp_path / "run")
    tuned = weights_of(tmp_path / "run", "tune/weights.safetensors")
    changed = {n for n in start if not torch.allclose(start[n], tuned[n], rtol=0, atol=1e-20)}
    # Statistics of norms follow the images.
    assert changed
    assert all("running" in name or "num_batches" in name for name in changed)


def test_weights_of_an_epoch_are_those_after_it(stripped_run, searched_from, tmp_path, digits_in):
    full = searched_from()
    full.load_state_dict(load_file(stripped_run / "train/epoch-1.safetensors"))
    assert equal(weights_of(stripped_run), cut(stripped_run, full))
    assert read_json(stripped_run / "strip" / TICKET_FILE)["epoch"] == 1
    digits_in(tmp_path / "run", "ticket.weights=rewind-to-epoch-2", until="train")
    last, found = (
        weights_of(tmp_path / "run/train", f"{name}.safetensors") for name in ("epoch-2", "weights")
    )
    assert equal(last, found)
    assert not equal(last, full.state_dict())
    # The search itself is the same, whatever is kept of it.
    assert equal(found, weights_of(stripped_run, "train/weights.safetensors"))


def test_the_weights_of_an_epoch_outlive_a_stop(stripped_run, tmp_path, digits_in, monkeypatch):
    log = Run.log

    def stop_after_the_second(self, event, fields):
        if event == "epoch" and (fields["stage"], fields["epoch"]) == ("train", 2):
            raise KeyboardInterrupt
        log(self, event, fields)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", stop_after_the_second)
        with pytest.raises(KeyboardInterrupt):
            digits_in(tmp_path / "run", "ticket.weights=rewind-to-epoch-1")
    digits_in(tmp_path / "run", "ticket.weights=rewind-to-epoch-1", resume=True)
    for name in ("train/epoch-1.safetensors", "train/weights.safetensors"):
        assert sha256(tmp_path / "run" / name) == sha256(stripped_run / name)
    assert not (tmp_path / "run/train/checkpoint").exists()


def test_an_epoch_that_the_search_did_not_reach_is_refused(stripped_copy, digits_in):
    history = stripped_copy / "train/history.json"
    write_json(history, read_json(history)[:1])

    class Context:
        """As much as is read before the refusal."""

        recipe = load_recipe(find_recipe("digits"), ["ticket.weights=rewind-to-epoch-2"])
        run = Run(stripped_copy)

        def fresh_model(self):
            return torch.nn.Identity()

    with pytest.raises(BudgetError, match="the search ended after 1 epochs. Name one of them"):
        tuned_from(Context(), stripped_copy, None, None, None)


def test_fresh_weights_are_another_draw_and_always_the_same(
    stripped_copy, tmp_path, digits_in, searched_from
):
    digits_in(stripped_copy, "ticket.weights=fresh")
    digits_in(tmp_path / "other", "ticket.weights=fresh")
    fresh, first = weights_of(stripped_copy), cut(stripped_copy, searched_from())
    assert equal(fresh, weights_of(tmp_path / "other"))
    drawn = [name for name in fresh if fresh[name].dim() > 1]
    assert drawn
    assert not any(fresh[name].equal(first[name]) for name in drawn)
    assert read_json(stripped_copy / "strip" / TICKET_FILE)["seed"] != 0


def test_fresh_weights_are_as_large_as_if_drawn_for_the_slim_widths(stripped_copy, digits_in):
    digits_in(stripped_copy, "ticket.weights=fresh")
    fresh = weights_of(stripped_copy)
    name = max(fresh, key=lambda name: fresh[name].numel())
    drawn = torch.nn.Conv2d(fresh[name].shape[1], len(fresh[name]), fresh[name].shape[2])
    full = torch.nn.Conv2d(16, 16, fresh[name].shape[2])
    assert fresh[name].shape[1] < 12
    found, expected, wide = (
        float(weight.detach().std()) for weight in (fresh[name], drawn.weight, full.weight)
    )
    assert abs(found - expected) < abs(found - wide)


def test_given_weights_are_what_is_rewound_to_and_no_fresh_draw(
    stripped_run, tmp_path, digits_in, searched_from
):
    given, found = stripped_run / "train/weights.safetensors", searched_from()
    found.load_state_dict(load_file(given))
    start = f"model.weights={given}"
    digits_in(tmp_path / "run", start, "ticket.weights=rewind")
    assert equal(weights_of(tmp_path / "run"), cut(tmp_path / "run", found))
    assert read_json(tmp_path / "run/strip" / TICKET_FILE)["file"] == str(given)
    digits_in(tmp_path / "run", start, "ticket.weights=fresh")
    fresh = weights_of(tmp_path / "run")
    # As networks are built: norms have nothing of the given weights.
    scales = [value for name, value in fresh.items() if "norm" in name and name.endswith("weight")]
    assert all((scale == 1).all() for scale in scales)


@pytest.mark.parametrize("level", MAGNITUDE)
def test_rewound_single_weights_keep_the_masks_that_were_found(
    tmp_path, digits_in, searched_from, level
):
    digits_in(tmp_path / "run", MAGNITUDE[level])
    kept = sha256(tmp_path / "run/strip/masks.safetensors")
    digits_in(tmp_path / "run", MAGNITUDE[level], "ticket.weights=rewind")
    assert sha256(tmp_path / "run/strip/masks.safetensors") == kept
    masks = load_masks(tmp_path / "run/strip/masks.safetensors").keep
    start, first = weights_of(tmp_path / "run"), cut(tmp_path / "run", searched_from())
    assert any(not mask.all() for mask in masks.values())
    for name, value in start.items():
        mask = masks.get(name, torch.ones(value.shape, dtype=torch.bool))
        assert value.equal(first[name] * mask)


def stage_settings(*overrides):
    recipe = load_recipe(find_recipe("digits"), overrides)
    stages = [stage for stage in STAGES if stage.name != "package"]
    return {stage.name: settings_of(stage.name, stage.sections, recipe) for stage in stages}


def test_only_what_reads_the_ticket_depends_on_it():
    before, rewound = stage_settings(), stage_settings("ticket.weights=rewind")
    to_epoch = stage_settings("ticket.weights=rewind-to-epoch-3")
    assert [name for name in before if before[name] != rewound[name]] == ["strip"]
    assert [name for name in before if before[name] != to_epoch[name]] == ["train", "strip"]
    # Runs from before there were tickets are not stale.
    assert not any("ticket" in settings for settings in before.values())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["ticket.weights=rewound"], 'ticket.weights: "rewound" is none of keep, rewind, dense'),
        (["ticket.weights=rewind-to-epoch-0"], "with a number K from 1"),
        (["ticket.weights=rewind-to-epoch-k"], "as in rewind-to-epoch-3; choose one."),
        (["ticket.weights=rewind-to-epoch-5"], "the search has no such epoch, train.epochs is 4"),
        (["ticket.weights=rewind-to-epoch-2", "grow={}"], "so there is nothing to go back to"),
        (["ticket.weights=fresh", "tune.epochs=0"], "these weights would never be trained"),
        (["ticket.weights=rewind", "tune.epochs=0"], "with tune.epochs = 0 these weights would"),
        (["ticket.weight=keep"], "there is no such key. Did you mean weights?"),
    ],
)
def test_wrong_tickets_are_refused_in_one_line(overrides, said):
    with pytest.raises(RecipeError) as caught:
        load_recipe(find_recipe("digits"), overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "epoch"), [("keep", None), ("rewind", None), ("rewind-to-epoch-12", 12)]
)
def test_the_epoch_is_that_of_the_name(weights, epoch):
    assert TicketSettings(weights=weights).epoch == epoch
