"""Families: several sizes beside each other, their curve and what they cost."""

import copy
import io
import shutil

import pytest
from click.testing import CliRunner

from compressor.cli import main
from compressor.console import Console
from compressor.context import Shared
from compressor.errors import BudgetError
from compressor.files import read_json, write_json
from compressor.run import Run
from compressor.sizes.curve import as_text, judged_by, mark_dominated
from compressor.sizes.family import (
    LEAST_SHARE,
    NUM_SIZES,
    FamilyPlan,
    _cost,
    _Making,
    _possible_shares,
    default_shares,
    make_family,
)
from compressor.sizes.slices import Source

SHARES = (1.0, 0.4)


@pytest.fixture(scope="module")
def family(digits_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("sizes") / "family"
    plan = FamilyPlan(out, SHARES, tune_epochs=1, overrides=("bench.rounds=4",))
    record = make_family(Source.open(digits_run.folder), plan, Console(quiet=True), "cpu")
    return out, record


def test_each_member_is_a_package_of_its_size(family):
    out, record = family
    assert [member["share"] for member in record["members"]] == list(SHARES)
    for member in record["members"]:
        assert 0.98 * member["share"] <= member["macs_share"] <= member["share"]
        assert (out / f"keep_macs-{member['share']:g}" / "package" / "manifest.json").is_file()
    assert read_json(out / "family.json") == record


def test_what_the_members_were_made_with_is_on_record(family):
    _, record = family
    assert (record["overrides"], record["device"]) == (["bench.rounds=4"], "cpu")


def test_all_are_timed_beside_the_dense_network(family):
    _, record = family
    assert set(record["timing"]["latency"]) == {"dense", "1", "0.4"}
    assert record["dense"]["speedup"]["median"] == 1.0
    assert all(member["latency_ms"] > 0 for member in record["members"])


def test_the_cost_is_that_of_one_search_instead_of_one_for_each(family, digits_run):
    _, record = family
    cost = record["cost"]
    search = cost["separate_macs"] - cost["family_macs"]
    images = read_json(digits_run.folder / "train" / "compute.json")["images"]
    assert search == 3 * record["dense"]["macs"] * images * (len(SHARES) - 1)
    assert cost["macs_share"] == cost["family_macs"] / cost["separate_macs"] < 1


def test_a_network_that_grew_costs_what_it_was_and_not_its_full_width(digits_copy):
    run = Run(digits_copy.folder)
    file = run.path("train", "compute.json")
    full = _cost(run, [run])
    compute, dense = read_json(file), read_json(run.path("strip", "counts.json"))["dense"]["macs"]
    write_json(file, compute | {"forward_macs": dense * compute["images"] // 4})
    saved = full["family_macs"] - _cost(run, [run])["family_macs"]
    assert saved == pytest.approx(0.75 * 3 * dense * compute["images"], rel=1e-6)


def test_no_member_is_timed_for_itself(family):
    out, record = family
    assert not list(out.glob("*/bench"))
    assert all(member["speedup"]["median"] > 0 for member in record["members"])


def test_the_page_has_a_line_for_each(family):
    out, record = family
    page = (out / "family.md").read_text()
    assert page == as_text(record)
    assert "| dense |" in page
    assert page.count("| 0.4 |") == 1


def test_a_family_that_is_made_is_not_made_again(family, digits_run):
    out, record = family
    stream = io.StringIO()
    plan = FamilyPlan(out, SHARES, tune_epochs=1, overrides=("bench.rounds=4",))
    again = make_family(Source.open(digits_run.folder), plan, Console(stream=stream), "cpu")
    assert "tune: epoch" not in stream.getvalue()
    assert [m["accuracy"] for m in again["members"]] == [m["accuracy"] for m in record["members"]]


def test_a_size_below_the_floors_is_refused_before_anything_is_tuned(digits_run, tmp_path):
    plan = FamilyPlan(tmp_path / "f", (0.5, 0.01), tune_epochs=1)
    write_json(tmp_path / "f" / "family.json", {"of": "other members"})
    with pytest.raises(BudgetError, match="floors alone cost"):
        make_family(Source.open(digits_run.folder), plan, Console(quiet=True), "cpu")
    assert not list((tmp_path / "f").glob("*/tune"))
    assert not (tmp_path / "f" / "family.json").exists()


def shares_with_floors_of_everything(digits_run, out):
    plan = FamilyPlan(out, overrides=("strip.floor_share=1.0",))
    source, console = Source.open(digits_run.folder), Console(stream=io.StringIO())
    return _possible_shares(_Making(source, plan, console, "cpu", Shared()))


def test_floors_of_everything_leave_one_size_and_nothing_of_the_attempt(digits_run, tmp_path):
    assert shares_with_floors_of_everything(digits_run, tmp_path / "f") == (1.0,)
    assert not list((tmp_path / "f").iterdir())


def test_a_member_that_was_tuned_outlives_floors_that_it_does_not_fit(digits_run, tmp_path):
    member = tmp_path / "f" / "keep_macs-0.05"
    shutil.copytree(digits_run.folder, member)
    assert shares_with_floors_of_everything(digits_run, tmp_path / "f") == (1.0,)
    assert (member / "tune" / "weights.safetensors").is_file()


def test_default_sizes_fall_in_equal_ratios_to_the_least():
    shares = default_shares(0.0)
    assert len(shares) == NUM_SIZES
    assert shares[0] == 1.0
    assert shares[-1] == LEAST_SHARE
    ratios = [after / before for before, after in zip(shares, shares[1:], strict=False)]
    assert max(ratios) - min(ratios) < 0.01


def test_default_sizes_end_at_floors_that_cost_more():
    assert default_shares(0.11)[-1] == 0.11


def test_default_sizes_begin_at_what_was_grown_and_are_never_twice_the_same():
    shares = default_shares(0.0, most=0.4567)
    assert (shares[0], shares[-1], len(shares)) == (0.456, LEAST_SHARE, NUM_SIZES)
    assert default_shares(1.0) == (1.0,)
    assert default_shares(0.6, most=0.5) == (0.5,)


def row(accuracy, macs, test=0.5):
    costs = dict.fromkeys(("params", "bytes", "latency_ms"), macs)
    return {"accuracy": {"validation": accuracy, "test": test}, "macs": macs, **costs}


def test_a_member_is_dominated_if_another_is_as_accurate_and_no_dearer():
    rows = [row(0.9, 100), row(0.92, 50), row(0.8, 10)]
    mark_dominated(rows)
    assert [bool(r["dominated"]) for r in rows] == [True, False, False]


def test_of_two_equal_members_the_first_stays():
    rows = [row(0.9, 50), row(0.9, 50)]
    mark_dominated(rows)
    assert [bool(r["dominated"]) for r in rows] == [False, True]


def test_domination_is_told_for_each_cost_apart():
    slower = row(0.9, 50) | {"latency_ms": 70}
    rows = [slower, row(0.95, 60)]
    mark_dominated(rows)
    assert rows[0]["dominated"] == ["latency_ms"]


def test_members_are_judged_by_the_same_images_all_of_them():
    # By validation where there is one, 0.9 would be set against a test accuracy of 0.95.
    rows = [row(0.9, 100, test=0.97), row(None, 50, test=0.95)]
    mark_dominated(rows)
    assert judged_by(rows) == "test"
    assert [bool(r["dominated"]) for r in rows] == [False, False]


@pytest.mark.parametrize("images", ["validation", "test"])
def test_the_page_says_by_which_images_members_are_judged(family, images):
    record = copy.deepcopy(family[1])
    if images == "test":
        record["members"][0]["accuracy"]["validation"] = None
    assert f"at least as accurate on {images} images" in as_text(record)


def test_untuned_members_are_judged_by_test_images():
    rows = [row(None, 100, test=0.8), row(None, 50, test=0.9)]
    mark_dominated(rows)
    assert rows[0]["dominated"]


@pytest.mark.parametrize("sizes", ["1,two", "0", "1.5,0.5", ""])
def test_sizes_that_are_no_shares_are_refused(digits_run, sizes):
    result = CliRunner().invoke(main, ["family", str(digits_run.folder), "--sizes", sizes])
    assert result.exit_code == 2
    assert "give shares above 0 and up to 1" in result.stderr
