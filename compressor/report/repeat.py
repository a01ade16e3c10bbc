"""The section on how to make the run again: the recipe and the commands."""

import re
import shlex
from collections.abc import Iterator

from compressor.report.family_file import Family
from compressor.report.page import Listing, Section
from compressor.report.run_files import RunRecord
from compressor.report.toml_text import as_toml

EXTRAS = ("openvino", "tensorrt", "tensorrt-rtx", "timm")
"""Parts of the project that are installed on demand, named like the engines that they are for."""

TIMM = "timm:"

UNSAFE = re.compile(r"[^\w.-]+")


def repeat_section(run: RunRecord) -> Section:
    """Commands that repeat the run, and the full recipe that they need."""
    name = UNSAFE.sub("-", run.summary.recipe).strip("-.") or "recipe"
    told = f"Recipe {run.summary.recipe}, seed {run.summary.seed}."
    text = (told, *_cautions(run), f"Save the recipe below as {name}.toml, then:")
    listings = (
        Listing("Commands", "\n".join(_commands(run, name)), "sh", folded=False),
        Listing("The recipe with every setting", as_toml(run.settings), "toml"),
    )
    return Section("repeat", "Repeat it", text, listings=listings)


def _commands(run: RunRecord, name: str) -> Iterator[str]:
    extras = ",".join(_extras(run))
    version = run.environment.get("versions", {}).get("compressor")
    checkout = f"  # in a checkout of compressor {version}" if version else "  # in a checkout"
    yield f"python -m pip install {shlex.quote(f'.[{extras}]') if extras else '.'}{checkout}"
    threads = run.environment.get("omp_num_threads")
    before = f"OMP_NUM_THREADS={shlex.quote(str(threads))} " if threads else ""
    out = shlex.quote(f"{name}-again")
    # Runs of before do not say it: without a GPU it can only have been the processor.
    device = run.environment.get("device", "cuda" if run.environment.get("gpu") else "cpu")
    yield f"{before}compressor run {shlex.quote(name)}.toml --out {out}{_on(device)}"
    yield f"compressor verify {out}/package"
    if run.family is not None:
        yield f"{before}compressor family {out} {_family_options(run.family, device)}"


def _family_options(family: Family, device: str) -> str:
    sizes = ",".join(f"{member.share:g}" for member in family.members)
    changes = "".join(f" --set {shlex.quote(change)}" for change in family.overrides)
    return f"--sizes {sizes} --tune {family.tune_epochs}{changes}{_on(family.device or device)}"


def _on(device: str) -> str:
    """The option that takes this device; a GPU is taken by itself."""
    return " --device cpu" if device == "cpu" else ""


def _extras(run: RunRecord) -> list[str]:
    """What the engines and networks that were used need beyond the plain install."""
    strip, bench = run.settings.get("strip", {}), run.settings.get("bench", {})
    used = {*bench.get("engines", ()), *(plan.engine for plan in run.plans)}
    used |= {converted.measured_by for converted in run.converted}
    if strip.get("keep_latency") or strip.get("latency_ms"):
        used.add(run.settings.get("target", {}).get("engine"))
    if str(run.settings.get("model", {}).get("factory")).startswith(TIMM):
        used.add("timm")
    return [extra for extra in EXTRAS if extra in used]


def _cautions(run: RunRecord) -> Iterator[str]:
    # The same folder may be looked in twice.
    folders = tuple(dict.fromkeys(run.places.model_folders))
    model, data = run.settings.get("model", {}), run.settings.get("data", {})
    named = {
        "model.factory": model.get("factory"),
        "model.weights": model.get("weights"),
        "data.path": data.get("path"),
    }
    files = [f"{key} ({value})" for key, value in named.items() if _is_path(value)]
    if files:
        places = f", of the network relative to {' or '.join(folders)}" if folders else ""
        yield f"It needs the files that the recipe names: {', '.join(files)}{places}."
    if not run.train_history:
        yield (
            "This run searched nothing itself: its structure came from another run or a ticket. "
            "The commands search anew."
        )
    yield (
        "On the same versions and kind of processor, with as many threads, a CPU gives the same "
        "weights again, bit for bit; latencies are as good as the machine is idle."
    )


def _is_path(value: object) -> bool:
    return isinstance(value, str) and not value.startswith(("torchvision:", TIMM))
