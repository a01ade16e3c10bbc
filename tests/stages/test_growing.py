"""A recipe that grows, from its first round to what is left after stripping."""

import io
import json

import pytest

from compressor.console import Console
from compressor.errors import RecipeError, RunError
from compressor.files import read_json
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe, shipped_recipes
from compressor.stages import growing
from compressor.stages.growing import told
from compressor.structure import Structure
from compressor.summary import PASSES, make_summary
from compressor.tickets.make import make_ticket

SHORT = ("train.epochs=6", "grow.round_epochs=1", "tune.epochs=1", "dense.epochs=1")
SHORT += ("bench.rounds=4", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0")


def load(name, *overrides):
    return load_recipe(find_recipe(name), overrides)


def run(folder, *overrides, until=None):
    recipe = load("digits-grow", *SHORT, *overrides)
    stream = io.StringIO()
    where = Where(folder, Console(stream=stream), "cpu", resume=True, until=until)
    return run_recipe(recipe, where), recipe, stream.getvalue()


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    return run(tmp_path_factory.mktemp("grow") / "run")


def film(made):
    return read_json(made.path("train", "film.json"))["rounds"]


def test_the_network_grew_below_its_ceiling_and_strip_keeps_just_that(grown):
    made, _recipe, said = grown
    rounds = film(made)
    assert rounds[-1]["macs"] > rounds[0]["macs"]
    assert rounds[-1]["macs_share"] <= 0.5
    structure = Structure.from_json(read_json(made.path("strip", "structure.json")))
    assert structure.widths() == rounds[-1]["widths"]
    assert "train: grew" in said


def test_the_certificate_holds_for_the_grown_network(grown):
    made, _recipe, _said = grown
    assert read_json(made.path("strip", "certificate.json"))["max_rel_diff_fp64"] < 1e-12


def test_the_compute_is_that_of_the_widths_on_the_way(grown):
    made, recipe, _said = grown
    summary = make_summary(recipe, made)
    slim, tuned = summary["slim"], read_json(made.path("tune", "compute.json"))
    search = slim["training_macs"] - PASSES * slim["macs"] * tuned["images"]
    search -= summary["dense"]["macs"] * tuned["teacher_images"]
    assert search == PASSES * film(made)[-1]["forward_macs"]
    whole = read_json(made.path("train", "compute.json"))["images"] * summary["dense"]["macs"]
    assert search < PASSES * whole


def test_each_round_is_in_the_log_when_it_is_over(grown):
    made, _recipe, said = grown
    events = [json.loads(line) for line in (made.folder / "log.jsonl").read_text().splitlines()]
    course = [e for e in events if e["event"] == "growth" or e.get("stage") == "train"]
    order = [(e["event"], e["epoch"]) for e in course if "epoch" in e]
    epochs = range(1, len(film(made)) + 1)
    assert order == [(kind, epoch) for epoch in epochs for kind in ("epoch", "growth")]
    logged = [e for e in course if e["event"] == "growth"]
    assert [{**frame, **e} for frame, e in zip(film(made), logged, strict=True)] == logged
    assert said.count("train: round to epoch") == len(logged)


@pytest.mark.parametrize("name", [n for n in shipped_recipes() if load(n).grow is not None])
def test_every_recipe_that_grows_does(tmp_path, name):
    recipe = load(name, "dense.epochs=1", "train.epochs=4", "grow.round_epochs=1")
    quick = recipe.grow.model_copy(update={"entry_rounds": 0.3, "saturated": 0.3})
    recipe = recipe.model_copy(update={"grow": quick})
    made = run_recipe(recipe, Where(tmp_path / "run", Console(quiet=True), "cpu", until="train"))
    assert any("change_of_outputs" in frame for frame in film(made))


def test_of_a_grown_run_there_is_no_ticket(grown, tmp_path):
    made, _recipe, _said = grown
    with pytest.raises(RunError, match=r"has grown: it began with other widths"):
        make_ticket(made.folder, tmp_path / "ticket.safetensors", Console(quiet=True))


def test_a_round_is_told_with_its_forecast():
    frame = {"epoch": 3, "widths": {"a": 4, "b": 12}, "macs_share": 0.1, "cost_share": 0.05}
    frame |= {"entered": {"a": 1.0, "b": 0.5}, "next_widths": {"a": 8, "b": 12}}
    assert told(frame | {"cost_share_at_end": 0.2}) == (
        "round to epoch 3: widths 4-12, 10.0% of the full network's MACs, 62% of the units in; "
        "cost so far 5.0% of a search at full width, 20.0% by the last epoch if it stays at the "
        "next widths, 8-12"
    )
    assert told(frame | {"next_widths": None}).endswith(
        "cost so far 5.0% of a search at full width"
    )


def test_a_ceiling_in_time_is_measured(tmp_path, monkeypatch):
    asked = []

    class Shares:
        def __init__(self, problem, _around):
            self.widest = problem.couplings.num_units

        def __enter__(self):
            return self.share

        def __exit__(self, *exception):
            return None

        def share(self, structure):
            asked.append(structure)
            return structure.num_kept / self.widest

    monkeypatch.setattr(growing, "latency_shares", Shares)
    made, *_ = run(tmp_path / "slow", "grow.ceiling_latency=0.3", until="train")
    assert asked
    assert sum(film(made)[-1]["widths"].values()) <= 0.3 * sum(
        len(units["entry_step"])
        for units in read_json(made.path("train", "path.json"))["couplings"].values()
    )


@pytest.mark.parametrize(
    "sparsity", ["{method='magnitude'}", "{method='dessilbi', level='weight'}"]
)
def test_only_a_path_of_units_can_say_what_is_too_narrow(sparsity):
    with pytest.raises(RecipeError, match=r"grow: the path of units says what is too narrow"):
        load_recipe(find_recipe("digits-grow"), (f"sparsity={sparsity}", "strip.keep_macs=0.5"))
