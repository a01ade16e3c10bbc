"""The claims, and what decides whether they hold: pure functions of the figures of all seeds.

The conditions are written down before the experiments and are not moved to fit them. What is only
reported never fails the whole.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from seeds import spread

Figures = dict[str, Any]
Row = dict[str, Any]

POINT = 0.01
"""One percentage point of accuracy."""


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, and what was measured."""

    holds: bool
    measured: dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        name: As E1.
        says: The claim in words.
        how: What is done, in words.
        condition: When it holds, in words.
        part: What is run for it.
        judge: Decides, from the figures of each seed.
        gates: Whether the exit status depends on it; else it is only reported.
    """

    name: str
    says: str
    how: str
    condition: str
    part: str
    judge: Callable[[Sequence[Figures]], Verdict]
    gates: bool = True


def over_seeds(seeds: Sequence[Figures], *names: str) -> dict[str, Any]:
    """Mean and error of some figures."""
    return {name: spread([float(figures[name]) for figures in seeds]) for name in names}


def mean(seeds: Sequence[Figures], name: str) -> float:
    """Mean of one figure over the seeds."""
    return statistics.fmean(float(figures[name]) for figures in seeds)


def judge_path(seeds: Sequence[Figures]) -> Verdict:
    """E1, of every seed."""
    orders = [_order(figures["support"]) for figures in seeds]
    exits = [figures["exits"] / max(1, figures["entries"]) for figures in seeds]
    final = [figures["support"][-1] / figures["filters"] for figures in seeds]
    first = [figures["support"][0] for figures in seeds]
    holds = max(first) == 0 and max(exits) <= 0.02 and min(orders) >= 0.99 and min(final) >= 0.6
    falls = [_falls(figures["support"]) for figures in seeds]
    measured = {
        "support_after_first_epoch": spread(first),
        "epochs_with_a_smaller_support": spread(falls),
        "exits_share": spread(exits),
        "spearman": spread(orders),
        "final_share": spread(final),
    }
    return Verdict(holds, measured)


def _falls(support: Sequence[int]) -> int:
    """Epochs after which the support is smaller than before."""
    return sum(after < before for before, after in pairwise(support))


def _order(support: Sequence[int]) -> float:
    """Rank correlation of epoch and support; zero where the support never changes.

    Epochs with equal supports share a rank, so a support that rises and then stays is below one.
    """
    from scipy.stats import spearmanr  # takes seconds to import

    if min(support) == max(support):
        return 0.0
    return float(spearmanr(range(len(support)), support).statistic)


CHANCE_AT_MOST = 0.2
"""Near chance, which is 0.1: what guessing one or two of ten classes gives."""


def judge_sparse_weights(seeds: Sequence[Figures]) -> Verdict:
    """E2."""
    gaps = [abs(f["accuracy_sparse"][-1] - f["accuracy_dense"][-1]) for f in seeds]
    before = [_before_selection(figures) for figures in seeds]
    measured = {
        "final_gap_accuracy": spread(gaps),
        "final_accuracy_dense": spread([f["accuracy_dense"][-1] for f in seeds]),
        "final_accuracy_sparse": spread([f["accuracy_sparse"][-1] for f in seeds]),
        "before_selection_accuracy": spread(before),
    }
    return Verdict(
        statistics.fmean(gaps) <= 0.5 * POINT and max(before) <= CHANCE_AT_MOST, measured
    )


def _before_selection(figures: Figures) -> float:
    """Largest accuracy of W* after an epoch without support; one if there is no such epoch."""
    pairs = zip(figures["support"], figures["accuracy_sparse"], strict=True)
    return max((accuracy for support, accuracy in pairs if support == 0), default=1.0)


def judge_ticket(seeds: Sequence[Figures]) -> Verdict:
    """E3: the ticket of 40 to 60 % of the filters against the dense network."""
    inside = all(0.4 <= figures["ticket_share"] <= 0.6 for figures in seeds)
    gain = mean(seeds, "ticket_accuracy") - mean(seeds, "dense_accuracy")
    names = ("ticket_accuracy", "dense_accuracy", "ticket_random_accuracy")
    measured = over_seeds(seeds, "ticket_share", *names, "ticket_epoch")
    return Verdict(inside and gain >= -1.0 * POINT, {"gain_accuracy": gain, **measured})


def judge_early_ticket(seeds: Sequence[Figures]) -> Verdict:
    """E3b: the ticket of a fifth of the filters against random filters."""
    gains = [f["early_accuracy"] - f["early_random_accuracy"] for f in seeds]
    names = ("early_share", "early_accuracy", "early_random_accuracy", "early_epoch")
    measured = {"gain_accuracy": spread(gains), **over_seeds(seeds, *names)}
    return Verdict(statistics.fmean(gains) >= 2.0 * POINT, measured)


MASKED = ("masked_filters_accuracy", "masked_units_accuracy")

WIDEST_NOISE = 1.5
"""Points that two standard errors may widen the tolerance to: noise is no proof of being equal."""


def judge_masked(seeds: Sequence[Figures]) -> Verdict:
    """E3c: the ticket trained at full width under masks against the stripped one."""
    least = mean(seeds, "dense_accuracy") - 1.0 * POINT
    holds = all(mean(seeds, name) >= least for name in ("ticket_accuracy", *MASKED))
    measured: dict[str, Any] = {}
    for name in MASKED:
        gain = spread([figures[name] - figures["ticket_accuracy"] for figures in seeds])
        noise = 2 * (gain["standard_error"] or 0.0)
        allowed = min(WIDEST_NOISE * POINT, max(1.0 * POINT, noise))
        holds &= abs(gain["mean"]) <= allowed
        about = {"accuracy": gain, "two_errors": noise, "allowed": allowed}
        measured |= {name.replace("accuracy", f"gain_{k}"): found for k, found in about.items()}
    return Verdict(
        holds, measured | over_seeds(seeds, "ticket_accuracy", *MASKED, "dense_accuracy")
    )


def judge_descent(seeds: Sequence[Figures]) -> Verdict:
    """E4, at both strengths of the coupling and of every seed."""
    rises = [run["largest_rise"] for figures in seeds for run in figures["runs"]]
    shares = [run["last_quarter"] / run["first_quarter"] for f in seeds for run in f["runs"]]
    faults = [run["invariant_fault"] for figures in seeds for run in figures["runs"]]
    measured = {
        "largest_rise": max(rises),
        "last_over_first_quarter": spread(shares),
        "invariant_fault": max(faults),
        "steps": seeds[0]["runs"][0]["steps"],
    }
    return Verdict(max(rises) <= 1e-12 and max(shares) < 1, measured)


SPARSITIES = ("0.9", "0.95", "0.98")


def judge_supermask(seeds: Sequence[Figures]) -> Verdict:
    """E5, at each sparsity."""
    measured: dict[str, Any] = {"dense_accuracy": spread([f["dense"] for f in seeds])}
    gains = []
    for sparsity in SPARSITIES:
        each = {name: [figures[sparsity][name] for figures in seeds] for name in seeds[0][sparsity]}
        best = max(statistics.fmean(values) for name, values in each.items() if name != "optg")
        gains.append(statistics.fmean(each["optg"]) - best)
        measured[f"gain_{sparsity}_accuracy"] = gains[-1]
        measured |= {f"{name}_{sparsity}_accuracy": spread(v) for name, v in each.items()}
    return Verdict(min(gains) >= 2.0 * POINT, measured)


DENSITIES = ("0.1", "0.05")
NEVER, RARELY, OFTEN, HASTILY = "never", "2500", "500", "20"


def judge_exploration(seeds: Sequence[Figures]) -> Verdict:
    """E6, at both densities."""
    holds, measured = True, {}
    for density in DENSITIES:
        still, few, many = (
            statistics.fmean(figures[density][interval]["accuracy"] for figures in seeds)
            for interval in (NEVER, RARELY, OFTEN)
        )
        holds &= still < few < many and many - still >= 2.0 * POINT
        measured[f"gain_{density}_accuracy"] = many - still
        measured |= _explored(seeds, density, (NEVER, RARELY, OFTEN))
    return Verdict(holds, measured)


def judge_reliability(seeds: Sequence[Figures]) -> Verdict:
    """E6b, at both densities."""
    holds, measured = True, {}
    for density in DENSITIES:
        means = {
            interval: (
                statistics.fmean(figures[density][interval]["accuracy"] for figures in seeds),
                statistics.fmean(figures[density][interval]["explored"] for figures in seeds),
            )
            for interval in seeds[0][density]
        }
        accuracy, explored = means.pop(HASTILY)
        best = max(accuracy for accuracy, _ in means.values())
        holds &= accuracy <= best + 1.0 * POINT
        holds &= explored > max(explored for _, explored in means.values())
        measured[f"gain_{density}_accuracy"] = accuracy - best
        measured |= _explored(seeds, density, (*means, HASTILY))
    return Verdict(holds, measured)


def _explored(seeds: Sequence[Figures], density: str, intervals: Sequence[str]) -> dict[str, Any]:
    """Accuracy and explored share at one density."""
    return {
        f"{name}_{density}_{interval}": spread([f[density][interval][figure] for f in seeds])
        for interval in intervals
        for name, figure in (("accuracy", "accuracy"), ("explored_share", "explored"))
    }


def judge_longer(seeds: Sequence[Figures]) -> Verdict:
    """E6c: three times the epochs at the same interval."""
    holds, measured = True, {}
    for density, longer in seeds[0]["longer"].items():
        del longer
        short = [figures[density][OFTEN] for figures in seeds]
        long = [figures["longer"][density] for figures in seeds]
        for name, figure in (("explored_share", "explored"), ("accuracy", "accuracy")):
            measured[f"{name}_{density}_1x"] = spread([run[figure] for run in short])
            measured[f"{name}_{density}_3x"] = spread([run[figure] for run in long])
        gain = _gain(measured, f"accuracy_{density}")
        holds &= _gain(measured, f"explored_share_{density}") > 0 and gain >= -0.5 * POINT
    return Verdict(holds, measured)


def _gain(measured: dict[str, Any], name: str) -> float:
    return float(measured[f"{name}_3x"]["mean"] - measured[f"{name}_1x"]["mean"])


def judge_gates(seeds: Sequence[Figures]) -> Verdict:
    """E7."""
    names = ("zero_share", "gates_accuracy", "dense_accuracy", "control_zeros", "control_accuracy")
    names += ("sum_zero_share", "sum_accuracy")
    gain = mean(seeds, "gates_accuracy") - mean(seeds, "dense_accuracy")
    zeros = min(figures["zero_share"] for figures in seeds)
    holds = zeros >= 0.1 and gain >= -1.0 * POINT
    holds &= all(figures["control_zeros"] == 0 for figures in seeds)
    return Verdict(holds, {"gain_accuracy": gain, **over_seeds(seeds, *names)})


def judge_growing(seeds: Sequence[Figures]) -> Verdict:
    """E8."""
    ended = all(figures["ended"] for figures in seeds)
    gain = mean(seeds, "grown_accuracy") - mean(seeds, "fixed_accuracy")
    small = all(figures["grown_macs"] <= figures["fixed_macs"] for figures in seeds)
    cheap = all(f["grown_training_macs"] < f["fixed_training_macs"] for f in seeds)
    names = (
        *("grown_accuracy", "fixed_accuracy", "grown_macs", "fixed_macs", "rounds"),
        *("grown_training_macs", "fixed_training_macs"),
    )
    measured: dict[str, Any] = {"ended": ended, "gain_accuracy": gain}
    measured["widths"] = [figures["widths"][-1] for figures in seeds]
    holds = ended and small and cheap and gain >= -1.5 * POINT
    return Verdict(holds, {**measured, **over_seeds(seeds, *names)})


def judge_transfer(seeds: Sequence[Figures]) -> Verdict:
    """E9, from the same initialisation and from a fresh one."""
    names = ("same_init_accuracy", "fresh_init_accuracy", "random_accuracy", "dense_accuracy")
    gains = [mean(seeds, name) - mean(seeds, "dense_accuracy") for name in names[:2]]
    measured: dict[str, Any] = {"same_init_gain_accuracy": gains[0]}
    measured |= {"fresh_init_gain_accuracy": gains[1], **over_seeds(seeds, "share", *names)}
    return Verdict(min(gains) >= -1.5 * POINT, measured)


def judge_resume(seeds: Sequence[Figures]) -> Verdict:
    """E11, of every method and seed."""
    different = sorted({name for f in seeds for name, same in f["same"].items() if not same})
    methods = sorted(seeds[0]["same"])
    return Verdict(not different, {"methods": methods, "different": different})
