"""The tool of the claims: its frame, its conditions on figures made by hand, and one experiment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).resolve().parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

import claims  # noqa: E402  the tools are no package
import claims_descent  # noqa: E402
import claims_digits  # noqa: E402
import claims_gates  # noqa: E402
import claims_growing  # noqa: E402
import claims_judge as judge  # noqa: E402
import claims_page  # noqa: E402
import claims_parts  # noqa: E402
import claims_paths  # noqa: E402
import claims_resume  # noqa: E402
import claims_signals  # noqa: E402
import claims_sources  # noqa: E402
from claims_list import CLAIMS  # noqa: E402

from compressor.errors import MissingExtra, TrainError  # noqa: E402

GOOD_PATH = {
    "support": [0, 3, 20, 60, 80, 90],
    "filters": 112,
    "entries": 91,
    "exits": 1,
    "accuracy_dense": [0.4, 0.8, 0.9, 0.95, 0.98, 0.984],
    "accuracy_sparse": [0.1, 0.1, 0.5, 0.93, 0.98, 0.982],
}


@pytest.fixture
def ran(monkeypatch):
    """No part is run; the list says which would have been, ``figures`` what they give."""
    made = []

    def run(part, seed, effort):
        made.append((part.name, seed, effort))
        if isinstance(ran.figures, Exception):
            raise ran.figures
        return ran.figures

    ran.figures, ran.made = GOOD_PATH, made
    monkeypatch.setattr(claims_parts.Part, "run", run)
    return ran


def ran_with(tmp_path, *arguments):
    return claims.main([*arguments, "--runs", str(tmp_path / "runs"), "--docs", str(tmp_path)])


def test_json_is_all_that_is_printed_and_some_claims_write_no_table(ran, tmp_path, capsys):
    assert ran_with(tmp_path, "--only", "E1,E2", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["claim"], row["holds"], row["seeds"]) for row in rows] == [
        ("E1", True, 3),
        ("E2", True, 3),
    ]
    assert {"condition", "measured"} <= rows[0].keys()
    assert not list(tmp_path.glob("claims.*"))


def test_a_part_serves_several_claims_and_is_kept(ran, tmp_path):
    ran_with(tmp_path, "--only", "E1,E2")
    assert ran.made == [("path", seed, 1.0) for seed in range(3)]
    ran_with(tmp_path, "--only", "E2")
    assert len(ran.made) == 3
    ran_with(tmp_path, "--only", "E2", "--seeds", "4")
    assert ran.made[3:] == [("path", 3, 1.0)]


def test_a_changed_source_makes_figures_out_of_date(ran, tmp_path, monkeypatch):
    ran_with(tmp_path, "--only", "E1")
    monkeypatch.setattr(claims_parts, "sha256", lambda _file: "other")
    ran_with(tmp_path, "--only", "E1")
    assert len(ran.made) == 6


def test_a_claim_that_does_not_hold_makes_the_status_three(ran, tmp_path, capsys):
    ran.figures = {**GOOD_PATH, "exits": 50}
    assert ran_with(tmp_path, "--only", "E1") == 3
    assert "E1   holds: NO" in capsys.readouterr().out


def test_what_is_reported_only_fails_nothing(ran, tmp_path, capsys):
    names = ("share", "accuracy", "random_accuracy", "epoch")
    early = dict(zip((f"early_{name}" for name in names), (0.2, 0.7, 0.9, 10), strict=True))
    ran.figures = early
    assert ran_with(tmp_path, "--only", "E3b", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["holds"] is False
    assert row["gates"] is False


def test_an_error_of_the_product_is_a_note_and_status_one(ran, tmp_path, capsys):
    ran.figures = TrainError("The loss is nan.")
    assert ran_with(tmp_path, "--only", "E1", "--json") == 1
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["holds"] is None
    assert row["note"].startswith("not run: seed 0: The loss is nan.")
    assert not list((tmp_path / "runs").glob("*"))


def test_a_quick_look_judges_nothing_and_is_kept_apart(ran, tmp_path, capsys):
    ran.figures = {**GOOD_PATH, "exits": 50}
    assert ran_with(tmp_path, "--quick", "--only", "E1", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["holds"], row["seeds"]) == (None, 1)
    assert "no evidence" in row["note"]
    assert ran.made == [("path", 0, claims_parts.QUICK_EFFORT)]
    ran_with(tmp_path, "--only", "E1", "--seeds", "1")
    assert ran.made[1:] == [("path", 0, 1.0)]


def test_one_seed_has_no_error_and_is_called_weak(ran, tmp_path, capsys):
    ran_with(tmp_path, "--only", "E1", "--seeds", "1", "--json")
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["measured"]["spearman"]["standard_error"] is None
    assert "weak evidence" in row["note"]


def test_a_full_run_writes_the_page_with_date_versions_and_command(
    ran, tmp_path, monkeypatch, capsys
):
    of_path = {name: claim for name, claim in CLAIMS.items() if claim.part == "path"}
    monkeypatch.setattr(claims, "CLAIMS", of_path)
    ran_with(tmp_path)
    page = (tmp_path / "claims.md").read_text(encoding="utf-8")
    about = json.loads((tmp_path / "claims.json").read_text())["about"]
    assert page.startswith("# Claims of the papers")
    assert f"`{about['command']}`, {about['date']}, python " in page
    assert "2 of 2 judged claims hold." in page
    assert torch.__version__.startswith(about["versions"]["torch"])
    capsys.readouterr()


@pytest.mark.parametrize(
    ("only", "names"), [("E1", ["E1"]), ("E6", ["E6", "E6b", "E6c"]), ("E6b,E3", None)]
)
def test_a_claim_stands_for_its_parts_and_for_no_other(only, names):
    chosen = [claim.name for claim in claims.wanted(claims._parser(), only)]
    assert chosen == (names or ["E3", "E3b", "E3c", "E6b"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "E7x"], "no such claim. The nearest is E7."),
        (["--seeds", "0"], "0 is not a whole number from 1 on"),
    ],
)
def test_wrong_usage_is_status_two(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        claims.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_launcher_needs_no_torch_to_refuse_a_name():
    done = subprocess.run(
        [sys.executable, str(TOOLS / "claims"), "--only", "E77"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "The nearest is E7." in done.stderr


def test_a_part_over_its_time_is_a_reason(tmp_path, monkeypatch):
    slow = claims_parts.Part("path", "claims_paths:follow", seconds=0.2)
    monkeypatch.setattr(claims_parts.Part, "run", lambda *_: wait())
    outcome = claims_parts.Shelf(tmp_path, 1.0).outcome(slow, 0)
    assert outcome.figures is None
    assert outcome.reason == "seed 0 took more than 0.2 s"


def wait():
    import time

    while True:
        time.sleep(0.01)


def test_every_claim_has_its_part_and_every_part_its_sources():
    assert {claim.part for claim in CLAIMS.values()} == set(claims_parts.PARTS)
    for part in claims_parts.PARTS.values():
        module = part.function.split(":")[0]
        names = {file.name for file in claims_sources.files_behind(module)}
        assert {f"{module}.py", "errors.py"} <= names
    behind = {file.name for file in claims_sources.files_behind("claims_paths")}
    assert {"split_lbi.py", "loop.py", "claims_digits.py"} <= behind
    assert "itop.py" not in behind


# The conditions.


@pytest.mark.parametrize(
    "change",
    [
        {"support": [1, 3, 20, 60, 80, 90]},
        {"support": [0, 60, 20, 3, 80, 90]},
        {"support": [0, 3, 20, 30, 40, 60]},
        {"exits": 2},
    ],
)
def test_one_bad_seed_breaks_the_path(change):
    assert judge.judge_path([GOOD_PATH, GOOD_PATH]).holds
    assert not judge.judge_path([GOOD_PATH, {**GOOD_PATH, **change}]).holds


def test_a_support_that_rises_and_then_stays_never_falls_but_correlates_less():
    late = {**GOOD_PATH, "support": [0, 40, 80, 80, 80, 80]}
    measured = judge.judge_path([late]).measured
    assert measured["epochs_with_a_smaller_support"]["mean"] == 0
    assert measured["spearman"]["mean"] < 0.99


def test_sparse_weights_have_to_reach_the_dense_ones_and_start_at_chance():
    early = {**GOOD_PATH, "accuracy_sparse": [0.5, 0.1, 0.5, 0.93, 0.98, 0.982]}
    late = {**GOOD_PATH, "accuracy_sparse": [0.1, 0.1, 0.5, 0.93, 0.98, 0.97]}
    assert judge.judge_sparse_weights([GOOD_PATH]).holds
    assert not judge.judge_sparse_weights([early]).holds
    assert not judge.judge_sparse_weights([late]).holds


@pytest.mark.parametrize(
    ("share", "accuracy", "holds"), [(0.5, 0.975, True), (0.5, 0.965, False), (0.7, 0.99, False)]
)
def test_a_ticket_is_judged_at_its_share_only(share, accuracy, holds):
    figures = {
        "ticket_share": share,
        "ticket_accuracy": accuracy,
        "dense_accuracy": 0.98,
        "ticket_random_accuracy": 0.97,
        "ticket_epoch": 12,
    }
    assert judge.judge_ticket([figures]).holds is holds


@pytest.mark.parametrize(
    ("rise", "last", "holds"), [(1e-13, 0.5, True), (1e-11, 0.5, False), (-1e-3, 2.0, False)]
)
def test_descent_allows_no_rise_and_slows_down(rise, last, holds):
    run = {"largest_rise": rise, "first_quarter": 1.0, "last_quarter": last}
    run |= {"invariant_fault": 0.0, "steps": 8}
    assert judge.judge_descent([{"runs": [run]}]).holds is holds


@pytest.mark.parametrize(("cubic", "holds"), [(0.7, True), (0.79, False)])
def test_optg_is_compared_with_the_best_magnitude(cubic, holds):
    each = {"optg": 0.8, "magnitude_cubic": cubic, "magnitude_one_shot": 0.5}
    figures = {"dense": 0.9, **dict.fromkeys(judge.SPARSITIES, each)}
    assert judge.judge_supermask([figures]).holds is holds


def explored(accuracies, longer=0.75):
    shares = (0.1, 0.15, 0.3, 0.7, 0.99)
    runs = {
        name: {"accuracy": accuracy, "explored": share}
        for name, accuracy, share in zip(
            ("never", "2500", "500", "100", "20"), accuracies, shares, strict=True
        )
    }
    long = {"accuracy": longer, "explored": 0.6}
    densities = judge.DENSITIES
    return {**dict.fromkeys(densities, runs), "longer": dict.fromkeys(densities, long)}


@pytest.mark.parametrize(
    ("accuracies", "rises", "reliable"),
    [
        ((0.70, 0.72, 0.74, 0.75, 0.74), True, True),
        ((0.70, 0.70, 0.74, 0.75, 0.74), False, True),
        ((0.73, 0.735, 0.74, 0.75, 0.78), False, False),
    ],
)
def test_exploration_has_to_help_and_haste_must_not(accuracies, rises, reliable):
    assert judge.judge_exploration([explored(accuracies)]).holds is rises
    assert judge.judge_reliability([explored(accuracies)]).holds is reliable


@pytest.mark.parametrize(("longer", "holds"), [(0.736, True), (0.73, False)])
def test_longer_training_may_not_cost_accuracy(longer, holds):
    figures = explored((0.70, 0.72, 0.74, 0.75, 0.74), longer)
    assert judge.judge_longer([figures]).holds is holds


@pytest.mark.parametrize(
    ("change", "holds"),
    [({}, True), ({"zero_share": 0.05}, False), ({"control_zeros": 1}, False)],
)
def test_gates_need_zeros_and_their_control_none(change, holds):
    figures = {"zero_share": 0.4, "gates_accuracy": 0.98, "dense_accuracy": 0.985}
    figures |= {"control_zeros": 0, "control_accuracy": 0.98}
    figures |= {"sum_zero_share": 0.3, "sum_accuracy": 0.98}
    assert judge.judge_gates([{**figures, **change}]).holds is holds


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"ended": False}, False),
        ({"grown_macs": 11}, False),
        ({"grown_training_macs": 20}, False),
    ],
)
def test_a_grown_network_has_to_end_and_be_small(change, holds):
    figures = {"ended": True, "rounds": 3, "widths": [[4, 4, 4]], "grown_macs": 9}
    figures |= {"grown_training_macs": 10, "fixed_training_macs": 20}
    figures |= {"fixed_macs": 10, "grown_accuracy": 0.98, "fixed_accuracy": 0.985}
    assert judge.judge_growing([{**figures, **change}]).holds is holds


def test_transfer_is_judged_from_both_initialisations():
    figures = {"share": 0.5, "same_init_accuracy": 0.98, "fresh_init_accuracy": 0.97}
    figures |= {"random_accuracy": 0.98, "dense_accuracy": 0.98}
    assert judge.judge_transfer([figures]).holds
    assert not judge.judge_transfer([{**figures, "fresh_init_accuracy": 0.96}]).holds


def test_one_method_that_resumes_otherwise_is_named():
    verdict = judge.judge_resume([{"same": {"optg": True, "itop": False}}])
    assert not verdict.holds
    assert verdict.measured["different"] == ["itop"]


def test_the_standard_error_is_that_of_the_mean():
    assert judge.spread([1.0, 2.0, 3.0])["standard_error"] == pytest.approx(1 / 3**0.5)


def test_differences_are_shown_in_points_and_shares_in_percent():
    assert claims_page.shown("gain_accuracy", 0.0213) == "2.13 points"
    assert claims_page.shown("final_accuracy", judge.spread([0.5, 0.7])) == "60.00 % ± 10.00 %"
    assert claims_page.shown("rounds", judge.spread([3.0])) == "3"


# What the experiments are built of.


def test_the_search_stops_where_the_share_is_reached_and_no_layer_is_empty():
    full, none = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    half = torch.tensor([True, False, True, False])
    course = [{"a": none, "b": none}, {"a": full, "b": none}, {"a": half, "b": half}]
    assert claims_paths.stopped(course, 0.4) == (course[2], 3)
    keep, epoch = claims_paths.stopped(course[:2], 0.4)
    assert epoch == 2
    assert keep["b"].tolist() == [True, False, False, False]


def test_random_filters_are_as_many_in_each_layer():
    keep = {"a": torch.arange(10) < 3, "b": torch.arange(6) < 5}
    drawn = claims_digits.random_like(keep, seed=1)
    assert {name: int(kept.sum()) for name, kept in drawn.items()} == {"a": 3, "b": 5}
    assert not torch.equal(drawn["a"], keep["a"])


def test_some_digits_have_labels_of_their_own():
    task = claims_digits.digits(range(5, 10))
    labels = task.batch(torch.arange(task.num_train), torch.Generator()).targets
    assert labels.unique().tolist() == [0, 1, 2, 3, 4]


def test_a_filter_counts_as_zero_only_with_its_bias():
    net = claims_digits.network(0, widths=(4, 4, 4))
    couplings = claims_digits.couplings_of(net, claims_digits.digits())
    first = net.features[0]
    with torch.no_grad():
        first.weight[:2] = 0.0
        first.bias[:1] = 0.0
        first.bias[1] = 1e-30
    assert claims_gates.num_zero(net, couplings) == 1


def test_scales_of_one_change_nothing_and_are_what_plain_l1_pulls():
    net, task = claims_digits.network(0, widths=(4, 6, 8)), claims_digits.digits()
    batch = task.batch(torch.arange(8), torch.Generator())
    plain = task.loss(net(batch.inputs), batch).item()
    loss = claims_gates.PlainL1(task, 0.01).loss(claims_gates.scaled(net), batch)
    assert loss.item() == pytest.approx(plain + 0.01 * (4 + 6 + 8), abs=1e-5)


def test_without_the_generator_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(MissingExtra, match="pip install mnist1d"):
        claims_signals.signals.__wrapped__()


def test_states_are_equal_only_to_the_last_bit():
    state = {"a": [torch.ones(2), 1.0], "b": ("x", None)}
    other = {"a": [torch.ones(2) * (1 + 2e-7), 1.0], "b": ("x", None)}
    assert claims_resume.equal(state, {"a": [torch.ones(2), 1.0], "b": ("x", None)})
    assert not claims_resume.equal(state, other)


def test_fewer_seeds_write_no_table(ran, tmp_path, monkeypatch, capsys):
    of_path = {name: claim for name, claim in CLAIMS.items() if claim.part == "path"}
    monkeypatch.setattr(claims, "CLAIMS", of_path)
    ran_with(tmp_path, "--seeds", "1")
    assert not list(tmp_path.glob("claims.*"))
    assert "weak evidence" in capsys.readouterr().out


def test_the_augmented_loss_falls_in_a_quick_look(monkeypatch):
    monkeypatch.setattr(claims_descent, "RUNS", ((1.0, 0.05),))
    figures = claims_descent.descend(0, 0.01)
    assert judge.judge_descent([figures]).holds
    assert figures["runs"][0]["invariant_fault"] < 1e-12


def test_a_short_growing_starts_at_four_filters_and_counts_its_training():
    figures = claims_growing.grown(0, effort=0.02)
    assert figures["widths"][0] == [4, 4, 4]
    assert figures["grown_macs"] <= figures["fixed_macs"]
    assert 0 < figures["grown_training_macs"] < figures["fixed_training_macs"]
