"""A recipe that grows, from its first round to what is left after stripping."""

import io

import pytest

from compressor.console import Console
from compressor.errors import BudgetError, RecipeError
from compressor.files import read_json
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.stages import growing
from compressor.structure import Structure
from compressor.summary import PASSES, make_summary

SHORT = ("train.epochs=6", "grow.round_epochs=1", "tune.epochs=1", "dense.epochs=1")
SHORT += ("bench.rounds=4", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0")


def run(folder, *overrides, until=None):
    recipe = load_recipe(find_recipe("digits-grow"), (*SHORT, *overrides))
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


def test_each_round_is_in_the_log(grown):
    made, _recipe, _said = grown
    events = (made.folder / "log.jsonl").read_text().splitlines()
    assert sum('"event": "growth"' in line for line in events) == len(film(made))


def test_a_ceiling_below_the_start_is_refused(tmp_path):
    with pytest.raises(BudgetError, match=r"grow.ceiling_macs = 0.001: the network that growing"):
        run(tmp_path / "low", "grow.ceiling_macs=0.001", until="train")


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
