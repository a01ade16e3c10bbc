"""``summary.json``: the figures of one run in one place, for people and for machines."""

from typing import Any

from compressor.files import read_json
from compressor.recipe import Recipe
from compressor.run import Run

NO_GAIN = (
    "Engines do not gain from single zeros by themselves: MACs and latency are those of the widths."
)
"""Said wherever a share of weights is."""

PLAN_KEYS = ("file", "profile", "engine", "num_bytes", "accuracy", "unmeasured")
"""What the summary tells of a plan; the rest stands in its sidecar and in ``build/plans.json``."""

GIVEN_FILE = "given.json"
"""In ``dense``, where the recipe names weights: what they get right before anything is trained."""

PASSES = 3
"""Training costs three forward passes: forward, gradient of the inputs, gradient of the weights."""


def make_summary(recipe: Recipe, run: Run) -> dict[str, Any]:
    """The summary of a run whose stages up to ``bench`` are done.

    ``training_macs`` counts forward and backward as three forward passes per image, and the
    teacher's forward passes; for the slim network search and tuning together, without what the
    dense teacher cost. ``weights`` says how many parameters of the slim network are not zero, as a
    share of its own and of the dense network's; at the granularity ``channel`` none are masked.
    ``alignment`` says how many weights have widths that suit the target. ``plans`` are TensorRT's,
    where the recipe asks for some. ``given`` is the network of the weights that the recipe names,
    before any training; its accuracy is None where its classes are others.
    """
    counts = read_json(run.path("strip", "counts.json"))
    verified = read_json(run.path("verify", "verify.json"))
    latency = read_json(run.path("bench", "latency.json"))
    certificate = read_json(run.path("strip", "certificate.json"))
    compute = {s: read_json(run.path(s, "compute.json")) for s in ("dense", "train", "tune")}
    accuracy = verified["accuracy"]
    dense, slim = (
        counts[name] | {"nonzero_params": verified["nonzero_params"][name]}
        for name in ("dense", "slim")
    )
    dense_compute = PASSES * dense["macs"] * compute["dense"]["images"]
    slim_compute = (
        PASSES * search_macs(dense["macs"], compute["train"])
        + PASSES * slim["macs"] * compute["tune"]["images"]
        + dense["macs"] * compute["tune"]["teacher_images"]
    )
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "test_images": verified["test_images"],
        **_given(run),
        "dense": _side("dense", accuracy, dense, dense_compute, latency, run),
        "slim": _side("slim", accuracy, slim, slim_compute, latency, run),
        "masked": {"accuracy": accuracy["masked"]},
        "stripped_before_tuning": {"accuracy": accuracy["stripped_before_tuning"]},
        "certificate": {
            key: certificate[key] for key in ("max_rel_diff_fp32", "max_rel_diff_fp64", "inputs")
        },
        "verify": verified["files"],
        "budget": {
            "asked": recipe.strip.budget(),
            "reached": {
                "macs_share": slim["macs"] / dense["macs"],
                "params_share": slim["params"] / dense["params"],
                **_time_reached(recipe, run),
            },
        },
        "alignment": read_json(run.path("strip", "alignment.json")),
        "weights": {
            "granularity": verified["granularity"],
            "share_of_slim": slim["nonzero_params"] / slim["params"],
            "share_of_dense": slim["nonzero_params"] / dense["params"],
        },
        **_plans(recipe, run, latency),
        "speedup": latency["speedup"],
        "seconds": run.seconds(),
    }


def search_macs(dense_macs: int, compute: dict[str, int]) -> int:
    """MACs of one forward pass of each image of the search; a network that grew was narrower."""
    return compute.get("forward_macs", dense_macs * compute["images"])


def _given(run: Run) -> dict[str, Any]:
    """The network as it was given; nothing where none was, or before it was measured."""
    path = run.folder / "dense" / GIVEN_FILE
    return {"given": read_json(path)} if path.is_file() else {}


def _time_reached(recipe: Recipe, run: Run) -> dict[str, float]:
    """The slim network's time on the target as ``strip`` measured it, in the unit of the budget."""
    if not recipe.strip.in_time:
        return {}
    got = read_json(run.path("strip", "latency_budget.json"))["got"]
    if recipe.strip.latency_ms is not None:
        return {"latency_ms": got["ms"]}
    return {"latency_share": got["share"]}


def _plans(recipe: Recipe, run: Run, latency: dict[str, Any]) -> dict[str, Any]:
    """Each plan with its times by batch size; none where it was not timed."""
    if not recipe.tensorrt.profiles:
        return {}
    cells = latency.get("chain", {}).get("latency", {})
    plans = read_json(run.path("build", "plans.json"))
    return {
        "plans": [
            {key: plan[key] for key in PLAN_KEYS}
            | {
                "latency_ms": {
                    batch: links[plan["label"]]
                    for batch, links in cells.items()
                    if plan["label"] in links
                }
            }
            for plan in plans
        ]
    }


def _side(
    name: str,
    accuracy: dict[str, float],
    counts: dict[str, int],
    training_macs: int,
    latency: dict[str, Any],
    run: Run,
) -> dict[str, Any]:
    file = run.path("export", "model.onnx" if name == "slim" else "dense.onnx")
    return {
        "accuracy": accuracy[name],
        "macs": counts["macs"],
        "params": counts["params"],
        "nonzero_params": counts["nonzero_params"],
        "bytes": file.stat().st_size,
        "training_macs": training_macs,
        "latency_ms": latency[name],
    }
